"""Runs float networks, and int8 networks on real numbers: what calibration watches and accuracy is measured on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..golden import affine
from ..golden.graph import Graph, ModelError
from ..golden.numerics import Profile
from ..golden.runtime import Session
from .samples import Floats, Samples

Array = npt.NDArray[Any]


def activations(graph: Graph, samples: Samples) -> Iterator[Mapping[int, Floats]]:
    """Every activation of a float network, by tensor index, inputs included; one mapping per sample.

    Raises
    ------
    ModelError
        An operator is not supported, or computes what is not finite.
    """
    session = Session(graph)
    written = [(operator, index) for operator in graph.operators for index in operator.outputs]
    watched = [index for _, index in written if graph.tensors[index].dtype == np.float32]
    for number, feed in enumerate(samples.feeds(graph)):
        tensors = session.run(feed).tensors
        for operator, index in written:
            if not np.isfinite(tensors[index]).all():
                raise ModelError(
                    f"{graph.name}: operator {operator.index} ({operator.kind}) computes what is not finite "
                    f"in tensor {index} ({graph.tensors[index].name}) for sample {number}"
                )
        yield {index: tensors[index] for index in (*graph.main.inputs, *watched)}


def quantized_inputs(graph: Graph, feed: Sequence[Floats]) -> list[Array]:
    """Real numbers as a quantized network's inputs.

    Raises
    ------
    ModelError
        An input is not quantized.
    """
    tensors = zip(graph.inputs, feed, strict=True)
    return [affine.quantize(real, affine.known(tensor), tensor.dtype) for tensor, real in tensors]


def accuracy(graph: Graph, samples: Samples, profile: Profile = Profile.TFLM) -> float:
    """The share of samples for which a network's first output is largest at the label; of equals the first counts.

    A network with integer inputs gets the samples quantized, and is computed to the bit.

    Raises
    ------
    ModelError
        The samples have no labels, or as `runtime.run`.
    """
    if samples.labels is None:
        raise ModelError("the samples have no labels")
    session = Session(graph, profile)
    whole = any(tensor.dtype != np.float32 for tensor in graph.inputs)
    right = 0
    for feed, label in zip(samples.feeds(graph), samples.labels, strict=True):
        inputs = quantized_inputs(graph, feed) if whole else feed
        right += int(session.run(inputs, keep="outputs").outputs[0].argmax()) == label
    return float(right / len(samples))
