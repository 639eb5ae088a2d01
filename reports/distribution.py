"""How weights and activations use their eight bits: histograms, saturation, and the noise of rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..golden.graph import Graph, Quantization, Tensor
from ..golden.kernels import SUMS_OF_PRODUCTS

LEVELS = 256


@dataclass(frozen=True, eq=False)
class Distribution:
    """How a tensor of 8 bits uses them.

    Parameters
    ----------
    operator, op
        The operator that reads it as weights or writes it as activations, and its kind.
    tensor
        Its index.
    kind
        Which of the two.
    counts
        How many elements have each value from the type's smallest to its largest; int64, `(256,)`.
    saturated
        The share of elements at the smallest or largest value, unless that stands for zero, as behind a RELU.
    sqnr
        Signal to quantization noise in decibels, if rounding to a step is noise that is uniform over it: the mean of
        `(scale * (q - zero point))^2` over that of `scale^2 / 12`, channel by channel. None where all elements are 0.
    """

    operator: int
    op: str
    tensor: int
    kind: Literal["weights", "activations"]
    counts: npt.NDArray[np.int64]
    saturated: float
    sqnr: float | None

    @property
    def levels(self) -> int:
        """How many values occur."""
        return int(np.count_nonzero(self.counts))


def distributions(graph: Graph, tensors: Mapping[int, npt.NDArray[Any]]) -> Iterator[Distribution]:
    """Of the weights and the output of every operator, where they are quantized to 8 bits.

    Parameters
    ----------
    graph
        The network.
    tensors
        By index, what one inference computed.
    """
    for operator in graph.operators:
        if operator.kind in SUMS_OF_PRODUCTS and len(operator.inputs) > 1:
            tensor = graph.tensors[operator.inputs[1]]
            if tensor.data is not None and _fits(tensor):
                yield _of(operator.index, operator.kind, tensor, tensor.data, "weights")
        for index in operator.outputs[:1]:
            tensor = graph.tensors[index]
            if index in tensors and _fits(tensor):
                yield _of(operator.index, operator.kind, tensor, tensors[index], "activations")


def _fits(tensor: Tensor) -> bool:
    return tensor.quantization is not None and tensor.dtype.itemsize == 1 and tensor.dtype.kind in "iu"


def _of(
    operator: int, op: str, tensor: Tensor, value: npt.NDArray[Any], kind: Literal["weights", "activations"]
) -> Distribution:
    low = int(np.iinfo(value.dtype).min)
    counts = np.bincount(value.reshape(-1).astype(np.int64) - low, minlength=LEVELS)
    elements = max(1, value.size)
    quantization = tensor.quantization
    zeros = set() if quantization is None else {int(zero) - low for zero in quantization.zero_point}
    ends = {0, LEVELS - 1} - zeros
    return Distribution(
        operator=operator,
        op=op,
        tensor=tensor.index,
        kind=kind,
        counts=counts,
        saturated=float(sum(int(counts[end]) for end in ends)) / elements,
        sqnr=None if quantization is None else _sqnr(value, quantization),
    )


def _sqnr(value: npt.NDArray[Any], quantization: Quantization) -> float | None:
    scales = quantization.scale.astype(np.float64)
    zero_points = quantization.zero_point.astype(np.int64)
    if scales.size > 1:
        channels = np.moveaxis(value, quantization.axis, 0).reshape(scales.size, -1)
    else:
        channels = value.reshape(1, -1)
    if channels.size == 0:
        return None
    centred = channels.astype(np.int64) - zero_points.reshape(-1, 1)
    signal = float((scales**2 * (centred**2).sum(axis=1)).sum())
    noise = float((scales**2).sum()) * channels.shape[1] / 12
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None
