"""Cross-layer equalization: moves factors between layers so that the channels of each have ranges alike.

Where a layer's output goes through a positively homogeneous function to one other layer, channel i may be divided by
s_i in the first and multiplied by s_i in the second, and the network computes the same. With r1 and r2 the largest
weights of the channel in the two, `s = sqrt(r1 / r2)` makes both `sqrt(r1 r2)` (Nagel et al. 2019, section 4.1,
equation 11). It helps weights that have one scale for all channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ..golden.graph import Graph, Operator
from .calibration import Range
from .samples import Floats

_HOMOGENEOUS = ("RELU", "MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "MEAN")
"""Operators that treat each channel alone, and for which f(s x) = s f(x) with s > 0."""

_EQUALIZED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_ROUNDS, _CLOSE = 40, 1e-3


@dataclass(frozen=True, eq=False)
class Equalization:
    """An equalized network.

    Parameters
    ----------
    graph
        It computes what the original does, up to rounding errors of float32.
    pairs
        The operators between which factors moved.
    held
        Operators whose RELU6 acts on the data, so that nothing may be moved past them.
    """

    graph: Graph
    pairs: tuple[tuple[int, int], ...]
    held: tuple[int, ...]


def equalize(graph: Graph, ranges: Mapping[int, Range]) -> Equalization:
    """Equalizes all pairs of layers of a float network.

    A RELU6 that never reaches 6 on the calibration data becomes a RELU; one that does stays, and its layer as it is.

    Parameters
    ----------
    ranges
        Of activations, as `calibrate` finds them by `minmax`.
    """
    pairs, held = [], []
    operators = list(graph.operators)
    for operator in graph.operators:
        follower = _follower(graph, operator)
        if follower is None:
            continue
        activation = operator.options.get("fused_activation_function", "NONE")
        if activation == "RELU6" and ranges[operator.outputs[0]][1] < 6:
            options = MappingProxyType({**operator.options, "fused_activation_function": "RELU"})
            operators[operator.index] = replace(operator, options=options)
        elif activation not in ("NONE", "RELU"):
            held.append(operator.index)
            continue
        pairs.append((operator, follower))
    constants = {t.index: t.data.copy() for t in graph.tensors if t.data is not None and t.dtype == np.float32}
    for _ in range(_ROUNDS):
        # A pair changes what its neighbours see.
        if max((_balance(constants, first, second) for first, second in pairs), default=0.0) < _CLOSE:
            break
    tensors = tuple(replace(t, data=constants[t.index]) if t.index in constants else t for t in graph.tensors)
    main = replace(graph.main, tensors=tensors, operators=tuple(operators))
    numbers = tuple((first.index, second.index) for first, second in pairs)
    return Equalization(replace(graph, subgraphs=(main, *graph.subgraphs[1:])), numbers, tuple(held))


def _follower(graph: Graph, operator: Operator) -> Operator | None:
    """The layer that alone reads this layer's output, where factors can pass between the two."""
    if operator.kind not in _EQUALIZED:
        return None
    index = operator.outputs[0]
    channels = graph.tensors[index].shape[-1]
    while True:
        readers = [reader for reader in graph.operators if index in reader.inputs]
        if len(readers) != 1 or index in graph.main.outputs:
            return None
        reader = readers[0]
        if reader.kind in _EQUALIZED:
            return reader if _fits(graph, operator, reader, channels) else None
        # Flattening one pixel leaves its channels in order.
        flattening = reader.kind == "RESHAPE" and graph.tensors[index].shape[-1] == np.prod(graph.tensors[index].shape)
        if reader.kind not in _HOMOGENEOUS and not flattening:
            return None
        if reader.options.get("fused_activation_function", "NONE") not in ("NONE", "RELU"):
            return None
        index = reader.outputs[0]


def _fits(graph: Graph, first: Operator, second: Operator, channels: int) -> bool:
    """Whether both have constant weights of their own, and the second an input for each output of the first."""
    constants = [index for operator in (first, second) for index in operator.inputs[1:] if index >= 0]
    used = [index for operator in graph.operators for index in operator.inputs]
    if any(graph.tensors[index].data is None or used.count(index) > 1 for index in constants):
        return False
    weights = graph.tensors[second.inputs[1]].shape
    return weights[3 if second.kind == "DEPTHWISE_CONV_2D" else -1] == channels


def _balance(constants: dict[int, Floats], first: Operator, second: Operator) -> float:
    """Moves the factors of one pair; returns the largest logarithm of one."""
    before, after = constants[first.inputs[1]], constants[second.inputs[1]]
    axis = 3 if first.kind == "DEPTHWISE_CONV_2D" else 0
    r1, r2 = _largest(before, axis), _largest(after, after.ndim - 1)
    moved = np.where((r1 > 0) & (r2 > 0), np.sqrt(np.divide(r1, r2, out=np.ones_like(r1), where=r2 > 0)), 1.0)
    factors = np.where(moved > 0, moved, 1.0).astype(np.float32)
    shape = [1] * before.ndim
    shape[axis] = len(factors)
    constants[first.inputs[1]] = before / factors.reshape(shape)
    constants[second.inputs[1]] = after * factors
    if len(first.inputs) > 2 and first.inputs[2] >= 0:
        constants[first.inputs[2]] = constants[first.inputs[2]] / factors
    return float(np.abs(np.log(factors)).max(initial=0.0))


def _largest(weights: Floats, axis: int) -> npt.NDArray[np.float64]:
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest: npt.NDArray[np.float64] = np.abs(weights).max(axis=others).astype(np.float64)
    return largest
