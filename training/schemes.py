"""One network quantized in many ways: what each choice costs in accuracy, noise and bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..golden.graph import Graph
from ..golden.numerics import Profile
from ..golden.writer import write
from .evaluation import accuracy
from .float16 import widened
from .measurement import LayerQuality, measure
from .post_training import Settings, quantize_after_training
from .quantization import LAYERS, LEGACY, Scheme, check_float
from .samples import Samples

FORMAT = "eightfold-schemes/1"

PER_TENSOR = Scheme(per_channel=False)

WAYS: tuple[Settings, ...] = (
    Settings(),
    Settings(ranges="percentile"),
    Settings(ranges="mse"),
    Settings(bias_correction=True),
    Settings(Scheme(symmetric=True)),
    Settings(PER_TENSOR),
    Settings(PER_TENSOR, bias_correction=True),
    Settings(PER_TENSOR, equalize=True),
    Settings(PER_TENSOR, equalize=True, bias_correction=True),
    Settings(Scheme(per_channel=False, symmetric=True)),
    Settings(LEGACY),
)
"""The ways of quantization after training that are compared."""

Report = Callable[[int, int], None]
"""Told how many rows of the table are done, and how many there will be."""


@dataclass(frozen=True)
class Way:
    """One row: a network quantized in one way, computed under one profile.

    Parameters
    ----------
    name
        `float32` or `float16` by the weights, the type of the integers, or what a trained network is called.
    scheme
        Of weights and activations, for trained networks as their tensors show it; None for the float network.
    settings
        What quantization after training did; None for the float network and for trained ones.
    profile
        Whose arithmetic; None for the float network.
    accuracy
        The share of test samples whose label has the largest output; None where the data have no labels.
    agreement
        The share for which it is largest where it is in the float network; None for networks that were trained on.
    sqnr
        Signal to quantization noise ratio, in decibels, of the last layer with weights (the logits of a classifier);
        None where there is nothing to compare with.
    bytes
        Of the file.
    """

    name: str
    scheme: Scheme | None
    settings: Settings | None
    profile: str | None
    accuracy: float | None
    agreement: float | None
    sqnr: float | None
    bytes: int


@dataclass(frozen=True)
class SchemeComparison:
    """All rows, with the float network as the first."""

    model: str
    calibration_samples: int
    test_samples: int
    ways: tuple[Way, ...]

    def to_json(self) -> dict[str, Any]:
        """The figures as plain values."""
        return {"format": FORMAT, **asdict(self)}


def compare_schemes(
    graph: Graph,
    samples: Samples,
    test: Samples,
    trained: Mapping[str, Graph] | None = None,
    *,
    report: Report = lambda done, total: None,
) -> SchemeComparison:
    """Quantizes a float network in each of `WAYS`, and computes the first under each profile.

    Parameters
    ----------
    graph
        The float network.
    samples
        The calibration data.
    test
        What accuracy and noise are measured on.
    trained
        Networks with integer inputs that came about otherwise, such as by training with quantization, by name.
    report
        Told of every row.

    Raises
    ------
    ModelError
        As `quantize_after_training`.
    """
    check_float(widened(graph))
    total = 1 + len(WAYS) + len(Profile) - 1 + len(trained or {})
    ways: list[Way] = []
    for way in _ways(graph, samples, test, trained or {}):
        ways.append(way)
        report(len(ways), total)
    return SchemeComparison(graph.name, len(samples), len(test), tuple(ways))


def _ways(graph: Graph, samples: Samples, test: Samples, trained: Mapping[str, Graph]) -> Iterator[Way]:
    labels = test.labels
    known = labels is not None
    plain = widened(graph)
    name = "float32" if plain is graph else "float16"
    yield Way(name, None, None, None, accuracy(plain, test) if known else None, 1.0, None, len(write(graph)))
    first: Graph | None = None
    for settings in WAYS:
        result = quantize_after_training(graph, samples, settings, test=test)
        first = first or result.graph
        found = result.measurement
        yield Way(
            settings.scheme.dtype,
            settings.scheme,
            settings,
            Profile.TFLM.value,
            None if found.accuracy is None else found.accuracy.quantized,
            found.agreement,
            _sqnr(found.layers),
            found.quantized_bytes,
        )
    for name, network in trained.items():
        share = accuracy(network, test) if known else None
        yield Way(name, scheme_of(network), None, Profile.TFLM.value, share, None, None, len(write(network)))
    for profile in Profile:
        if profile is not Profile.TFLM and first is not None:
            found_by = measure(plain, first, test, profile=profile)
            yield Way(
                WAYS[0].scheme.dtype,
                WAYS[0].scheme,
                WAYS[0],
                profile.value,
                None if labels is None else float(np.mean(found_by.classes == labels)),
                float(np.mean(found_by.classes == found_by.float_classes)),
                _sqnr(found_by.layers),
                len(write(first)),
            )


def scheme_of(graph: Graph) -> Scheme | None:
    """The scheme of a quantized network, as its layers with weights show it; None if none of them is 8-bit."""
    layers = [(operator, LAYERS[operator.kind]) for operator in graph.operators if operator.kind in LAYERS]
    weights = [graph.tensors[operator.inputs[places.weights]] for operator, places in layers]
    signed = {tensor.dtype.name == "int8" for tensor in weights if tensor.dtype.name in ("int8", "uint8")}
    if len(signed) != 1:
        return None
    activations = [graph.tensors[operator.outputs[0]].quantization for operator, _ in layers]
    middle = 0 if True in signed else 128
    return Scheme(
        "int8" if True in signed else "uint8",
        per_channel=any(tensor.quantization is not None and tensor.quantization.per_axis for tensor in weights),
        symmetric=all(q is not None and (q.zero_point == middle).all() for q in activations),
    )


def _sqnr(layers: Sequence[LayerQuality]) -> float | None:
    """At the last layer with weights."""
    return next((layer.sqnr for layer in reversed(layers) if layer.op in LAYERS), None)
