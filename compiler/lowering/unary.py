"""Functions of one byte: QUANTIZE between 8-bit types, RELU and its kin, LEAKY_RELU, pairs with a number.

Golden says what becomes of each of the 256 bytes. What the machine's lanes would make of them is computed here as well,
for one or two ways that suggest themselves; only what gives the same for all 256 runs on the machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ...golden.graph import Tensor
from ...golden.kernels import Node, prepare
from ...golden.kernels.elementwise import add_multipliers, mul_requantization
from ...golden.numerics import multiply_by_quantized_multiplier, quantize_multiplier
from ...hw.commands import Combine, Finish
from ...hw.config import Config
from ..work import Layer
from .layers import ADD_SHIFT, IDENTITY, flat_layer, flat_lines, parameters, signed_zero_point
from .reasons import HostReason, expect_bytes, signed_offset

Values = npt.NDArray[np.int64]

_BYTES: Values = np.arange(-128, 128)

_VECTOR = 16
"""Elements that LiteRT's optimized QUANTIZE takes at a time; what is left, it rounds in another way."""


@dataclass(frozen=True)
class _Lane:
    """`round((weight * x + bias) * 2^shift * multiplier)`: what a lane can make of a byte."""

    weight: int
    bias: int
    multiplier: tuple[int, int]
    shift: int = 0

    def apply(self, x: Values, config: Config) -> Values:
        accumulator = (self.weight * x + self.bias) << self.shift
        result: Values = multiply_by_quantized_multiplier(accumulator, *self.multiplier, rounding=config.rounding)
        return result


FUNCTIONS = ("QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU")
"""The operators that take one tensor."""

PAIRS = ("ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM")
"""Those that take two, of which one may be a number."""


def unchanged(node: Node) -> int | None:
    """The input whose bytes are the output's, by golden's arithmetic; None where none is."""
    position = 0 if node.operator.kind in FUNCTIONS else number_beside(node)
    if position is None:
        return None
    x = node.input(position)
    if x.constant or any(tensor.dtype.name not in ("int8", "uint8") for tensor in (x, node.output)):
        return None
    tables = [_table(node, position)]
    if math.prod(x.shape) % _VECTOR and node.operator.kind == "QUANTIZE":
        tables.append(_table(node, position, apart=True))
    return position if all(np.array_equal(table, _BYTES) for table in tables) else None


def number_beside(node: Node) -> int | None:
    """The input of an operator on pairs, of the output's shape, beside which the other is a constant number."""
    if node.operator.kind not in PAIRS:
        return None
    sizes = [math.prod(node.input(i).shape) for i in range(2)]
    for i in range(2):
        if node.input(1 - i).constant and sizes[1 - i] == 1 and sizes[i] == math.prod(node.output.shape):
            return i
    return None


def single(node: Node, config: Config) -> Layer:
    """QUANTIZE, RELU, RELU6 and RELU_N1_TO_1: a multiple, clamped.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    x = node.input(0)
    expect_bytes(node, x)
    table = _table(node)
    if math.prod(x.shape) % _VECTOR and not np.array_equal(table, _table(node, apart=True)):
        raise HostReason(f"profile {node.profile.value} rounds the last elements in another way")
    (scale, _), (scale_out, _) = node.quantization(x), node.quantization(node.output)
    # Runtimes divide in double or in single precision.
    ratios = (float(scale) / float(scale_out), float(scale / scale_out))
    lanes = [_Lane(1, -signed_zero_point(node, x), quantize_multiplier(ratio)) for ratio in ratios]
    return _layer(node, x, table, [(lane, signed_zero_point(node, node.output)) for lane in lanes], config)


def with_number(node: Node, config: Config) -> Layer:
    """ADD, SUB, MUL, MINIMUM or MAXIMUM of a tensor and a number.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    position = number_beside(node)
    if position is None:
        raise ValueError("neither input is a number")
    x, number = node.input(position), node.input(1 - position)
    expect_bytes(node, x)
    zero_point = signed_zero_point(node, x)
    kind = node.operator.kind
    if kind in ("MINIMUM", "MAXIMUM"):
        suggestions = [(_Lane(1, 0, IDENTITY), 0)]
    elif kind == "MUL":
        weight = int(node.constant(1 - position).reshape(-1)[0]) - node.quantization(number)[1]
        requantization = mul_requantization(node)
        multiplier = int(requantization.multiplier[0]), int(requantization.shift[0])
        suggestions = [(_Lane(weight, -weight * zero_point, multiplier), signed_zero_point(node, node.output))]
    else:
        ratio = float(node.quantization(x)[0]) / float(node.quantization(node.output)[0])
        suggestions = list(_lines(_table(node, position), -ratio if kind == "SUB" and position else ratio))
        with suppress(HostReason):
            return _layer(node, x, _table(node, position), suggestions, config)
        return _sum(node, position, config)
    return _layer(node, x, _table(node, position), suggestions, config)


def leaky(node: Node, config: Config) -> Layer:
    """LEAKY_RELU: the greater of two multiples.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    x = node.input(0)
    expect_bytes(node, x)
    ratio = node.quantization(x)[0] / node.quantization(node.output)[0]
    alpha = np.float32(node.option("alpha"))
    zero_point, zero_out = signed_zero_point(node, x), signed_zero_point(node, node.output)
    lanes = []
    for factor in (float(ratio), float(ratio * alpha)):
        sign = -1 if factor < 0 else 1
        lanes.append(_Lane(sign, -sign * zero_point, quantize_multiplier(abs(factor))))
    greater = np.maximum(*(lane.apply(_BYTES, config) for lane in lanes))
    if not np.array_equal(np.clip(greater + zero_out, -128, 127), _table(node)):
        raise HostReason("the greater of two multiples is not what golden gives for each of the 256 values")
    works = [
        flat_lines(
            x,
            config,
            sources=(0,),
            weights=(lane.weight,),
            parameters=parameters(lane.bias, lane.multiplier),
            accumulate=number > 0,
            finish=Finish.RETURN,
            combine=Combine.MAXIMUM,
        )
        for number, lane in enumerate(lanes)
    ]
    end = flat_lines(x, config, sources=(), weights=(), parameters=parameters(), accumulate=True, zero_point=zero_out)
    return flat_layer(node, [x], [*works, end], config)


def _sum(node: Node, position: int, config: Config) -> Layer:
    """ADD or SUB as golden computes it: the tensor rescaled, the number as a bias beside it, and their sum rescaled."""
    x, number = node.input(position), node.input(1 - position)
    *inputs, output = add_multipliers(node)
    signs = (1, -1) if node.operator.kind == "SUB" else (1, 1)
    centered = int(node.constant(1 - position).reshape(-1)[0]) - node.quantization(number)[1]
    term = multiply_by_quantized_multiplier(
        np.array(centered << ADD_SHIFT), *inputs[1 - position], rounding=config.rounding
    )
    sign, zero_out = signs[position], signed_zero_point(node, node.output)
    rescaled = _Lane(sign, -sign * signed_zero_point(node, x), inputs[position], ADD_SHIFT)
    total = _Lane(1, signs[1 - position] * int(term), output)
    table = _table(node, position)
    lower, upper = int(table.min()), int(table.max())
    results = total.apply(rescaled.apply(_BYTES, config), config) + zero_out
    if not np.array_equal(np.clip(results, lower, upper), table):
        raise HostReason("a sum, rounded as the machine does, is not what golden gives for each of the 256 values")
    work = flat_lines(
        x,
        config,
        sources=(0,),
        weights=(rescaled.weight,),
        parameters=parameters(rescaled.bias, rescaled.multiplier),
        pre_shift=rescaled.shift,
        finish=Finish.RETURN,
    )
    end = flat_lines(
        x,
        config,
        sources=(),
        weights=(),
        parameters=parameters(total.bias, total.multiplier),
        accumulate=True,
        zero_point=zero_out,
        lower=lower,
        upper=upper,
    )
    return flat_layer(node, [x], [work, end], config)


def _table(node: Node, position: int = 0, *, apart: bool = False) -> Values:
    """What golden makes of the 256 values of an input, as signed bytes; `apart`: one at a time."""
    x = node.input(position)
    values = (_BYTES + signed_offset(x)).astype(x.dtype)
    evaluate = prepare(node)

    def results(part: npt.NDArray[np.integer[Any]]) -> Values:
        inputs = [part if i == position else tensor and tensor.data for i, tensor in enumerate(node.inputs)]
        return evaluate(*inputs)[0].astype(np.int64).reshape(-1) - signed_offset(node.output)

    return np.concatenate([results(part) for part in np.split(values, 256)]) if apart else results(values)


def _lines(table: Values, slope: float) -> Iterator[tuple[_Lane, int]]:
    """Lanes that may give a table of that slope, and the zero points behind them."""
    free = np.flatnonzero((table > table.min()) & (table < table.max()))
    if not free.size:
        return
    # Each entry that is not clamped bounds the line's height at 0 to an interval.
    heights = table[free] - slope * _BYTES[free]
    low, high = float(heights.max()) - 0.5, float(heights.min()) + 0.5
    for weight, part in product((1, 127, 64, 113), (0.5, 0.25, 0.75, 0.1, 0.9)):
        height = low + (high - low) * part
        zero_point = min(max(round(height), -128), 127)
        bias = round((height - zero_point) * weight / abs(slope))
        yield _Lane(weight if slope > 0 else -weight, bias, quantize_multiplier(abs(slope) / weight)), zero_point


def _layer(node: Node, x: Tensor, table: Values, suggestions: Sequence[tuple[_Lane, int]], config: Config) -> Layer:
    """One pass through the first lane that gives the table."""
    lower, upper = int(table.min()), int(table.max())
    for lane, zero_point in [*suggestions, (_Lane(0, 0, IDENTITY), lower)]:
        if np.array_equal(np.clip(lane.apply(_BYTES, config) + zero_point, lower, upper), table):
            break
    else:
        raise HostReason("no multiple, rounded as the machine does, is what golden gives for each of the 256 values")
    # Tiles hold weights with their zero point, which have eight bits of nine.
    weight_zero_point = min(max(0, -128 - lane.weight), 127) + max(min(0, 127 - lane.weight), -128)
    work = flat_lines(
        x,
        config,
        sources=(0,),
        weights=(lane.weight,),
        weight_zero_point=weight_zero_point,
        parameters=parameters(lane.bias, lane.multiplier),
        zero_point=zero_point,
        lower=lower,
        upper=upper,
    )
    return flat_layer(node, [x], [work], config)
