"""How well an integer network approximates its float network: layer by layer, and in what it recognises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..golden import affine
from ..golden.graph import Graph, Operator
from ..golden.numerics import Profile
from ..golden.runtime import Session
from .calibration import Progress
from .evaluation import activations, quantized_inputs
from .quantization import LAYERS
from .samples import Floats, Samples


@dataclass(frozen=True)
class LayerQuality:
    """How well one operator's output is approximated.

    Signal to noise ratios (SQNR) are in decibels, `10 log10(sum(float^2) / sum(error^2))` over all samples and
    elements; None where nothing differs, or where there is nothing but zeros to compare with.

    Parameters
    ----------
    index, op, name
        The operator's position in the float network, and the name of the tensor that it computes.
    low, high
        The range that the integers of the output stand for.
    scale, zero_point
        Of the output.
    weight_sqnr
        Of the weights; None where the operator has none.
    rounding_sqnr
        Of the float network's output rounded to this quantization: the best that it could be.
    sqnr
        Of the integer network's output: all errors up to here.
    saturated
        The share of elements whose float value lies beyond the range.
    """

    index: int
    op: str
    name: str
    low: float
    high: float
    scale: float
    zero_point: int
    weight_sqnr: float | None
    rounding_sqnr: float | None
    sqnr: float | None
    saturated: float


@dataclass(frozen=True, eq=False)
class Agreement:
    """What `measure` found.

    Parameters
    ----------
    layers
        One for each operator whose output is quantized, in order.
    float_classes, classes
        Where the first output of each sample is largest, in the float and in the integer network; the first of equals.
    """

    layers: tuple[LayerQuality, ...]
    float_classes: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]


def measure(
    graph: Graph,
    quantized: Graph,
    samples: Samples,
    *,
    profile: Profile = Profile.TFLM,
    progress: Progress = lambda: None,
) -> Agreement:
    """Runs both networks on all samples.

    Parameters
    ----------
    graph
        The float network.
    quantized
        What `quantize` made of it: tensors have the same numbers.
    profile
        Whose arithmetic computes the integer network.

    Raises
    ------
    ModelError
        As `runtime.run`, or the float network computes what is not finite.
    """
    session = Session(quantized, profile)
    layers = [
        _Layer(operator, quantized)
        for operator in graph.operators
        if graph.tensors[operator.outputs[0]].dtype == np.float32
    ]
    output = graph.main.outputs[0]
    float_classes, classes = [], []
    for feed, floats in zip(samples.feeds(graph), activations(graph, samples), strict=True):
        integers = session.run(quantized_inputs(quantized, feed)).tensors
        for layer in layers:
            layer.add(floats, integers)
        float_classes.append(int(floats[output].argmax()) if output in floats else 0)
        classes.append(int(integers[output].argmax()))
        progress()
    return Agreement(
        tuple(layer.quality(graph) for layer in layers),
        np.array(float_classes, np.int64),
        np.array(classes, np.int64),
    )


class _Noise:
    """Sums of the squares of a reference, and of the errors of what approximates it."""

    def __init__(self) -> None:
        self.signal = self.noise = 0.0

    def add(self, reference: Floats, approximation: Floats) -> None:
        wide = reference.astype(np.float64)
        self.signal += float(np.sum(wide**2))
        self.noise += float(np.sum((approximation - wide) ** 2))

    @property
    def sqnr(self) -> float | None:
        """In decibels."""
        return 10 * float(np.log10(self.signal / self.noise)) if self.signal and self.noise else None


class _Layer:
    """One operator's output, over all samples."""

    def __init__(self, operator: Operator, quantized: Graph) -> None:
        self.operator, self.quantized = operator, quantized
        self.tensor = quantized.tensors[operator.outputs[0]]
        self.affine = affine.known(self.tensor)
        self.ends = affine.representable(self.affine, self.tensor.dtype)
        self.rounding, self.whole = _Noise(), _Noise()
        self.elements = self.beyond = 0

    def add(self, floats: Mapping[int, Floats], integers: Mapping[int, npt.NDArray[Any]]) -> None:
        real = floats[self.tensor.index]
        rounded = affine.quantize(real, self.affine, self.tensor.dtype)
        self.rounding.add(real, affine.dequantize(rounded, self.affine))
        self.whole.add(real, affine.dequantize(integers[self.tensor.index], self.affine))
        half = self.affine.scale / 2
        self.beyond += int(np.sum((real < self.ends[0] - half) | (real > self.ends[1] + half)))
        self.elements += real.size

    def quality(self, graph: Graph) -> LayerQuality:
        return LayerQuality(
            index=self.operator.index,
            op=self.operator.kind,
            name=self.tensor.name,
            low=float(self.ends[0][0]),
            high=float(self.ends[1][0]),
            scale=float(self.affine.scale[0]),
            zero_point=int(self.affine.zero_point[0]),
            weight_sqnr=self.weight_sqnr(graph),
            rounding_sqnr=self.rounding.sqnr,
            sqnr=self.whole.sqnr,
            saturated=self.beyond / max(self.elements, 1),
        )

    def weight_sqnr(self, graph: Graph) -> float | None:
        if self.operator.kind not in LAYERS:
            return None
        place = LAYERS[self.operator.kind].weights
        twin = next(o for o in self.quantized.operators if o.outputs == self.operator.outputs)
        exact, rounded = graph.tensors[self.operator.inputs[place]], self.quantized.tensors[twin.inputs[place]]
        if exact.data is None or rounded.data is None:
            return None
        noise = _Noise()
        noise.add(exact.data, affine.dequantize(rounded.data, affine.known(rounded)))
        return noise.sqnr
