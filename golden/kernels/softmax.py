"""SOFTMAX and LOG_SOFTMAX over the last dimension."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..numerics import (
    INT32_MIN,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)
from .fixed_point import exp_on_negative_values, logarithm, reciprocal
from .node import Array, Evaluate, Node, kernel

# Differences to the maximum are Q5.26, sums of exponentials Q12.19.
_DIFFERENCE_BITS, _SUM_BITS = 5, 12


def _check(node: Node, *types: str) -> None:
    node.expect_type(node.input(0), *types)
    node.expect_type(node.output, node.input(0).dtype.name)
    if not node.input(0).shape or not node.input(0).shape[-1]:
        raise node.fail(f"the input has the shape {list(node.input(0).shape)}")
    node.expect_shape(node.input(0).shape)


class Exponentials:
    """Exponentials of differences to a row's maximum, in fixed point, by difference: 0 to 255 below the maximum.

    Parameters
    ----------
    scale
        What a difference of 1 stands for, times beta.

    Attributes
    ----------
    scaled
        The differences in Q5.26, not above 0.
    values
        Their exponentials in Q0.31.
    counted
        How many differences are small enough to count; below, the exponential is zero.

    Raises
    ------
    ValueError
        The scale is too small.
    """

    def __init__(self, scale: float) -> None:
        real = min(scale * 2 ** (31 - _DIFFERENCE_BITS), 2.0**31 - 1)
        if not real > 1:
            raise ValueError(f"beta * scale is {scale}; expected more than 2^-26")
        self.multiplier, self.shift = quantize_multiplier(real)
        self.counted = 1 + (2**_DIFFERENCE_BITS - 1) * 2 ** (31 - _DIFFERENCE_BITS) // 2**self.shift
        differences = -np.minimum(np.arange(256, dtype=np.int64), self.counted - 1) << self.shift
        self.scaled = saturating_rounding_doubling_high_mul(differences, self.multiplier)
        self.values = exp_on_negative_values(self.scaled, _DIFFERENCE_BITS)
        # What the sum in Q12.19 takes of each.
        self.terms = np.where(np.arange(256) < self.counted, rounding_divide_by_pot(self.values, _SUM_BITS), 0)

    def below(self, x: Array) -> npt.NDArray[np.int64]:
        """How far each element is below its row's maximum."""
        wide = x.astype(np.int64)
        difference: npt.NDArray[np.int64] = wide.max(axis=-1, keepdims=True) - wide
        return difference

    def total(self, below: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The sums of rows, in Q12.19."""
        total: npt.NDArray[np.int64] = self.terms[below].sum(axis=-1, keepdims=True)
        return total


def _exponentials(node: Node, beta: float) -> Exponentials:
    scale, _ = node.quantization(node.input(0))
    try:
        return Exponentials(beta * float(scale))
    except ValueError as error:
        raise node.fail(str(error)) from None


@kernel("SOFTMAX")
def softmax(node: Node) -> Evaluate:
    """exp(x - max) / sum, in fixed point; the reciprocal by Newton's method."""
    _check(node, "int8", "uint8", "float32")
    beta = float(node.option("beta"))
    if node.input(0).dtype == np.float32:
        return lambda x: (_float_softmax(x, beta),)
    exponentials = _exponentials(node, beta)
    limits = np.iinfo(node.output.dtype)

    def evaluate(x: Array) -> tuple[Array]:
        below = exponentials.below(x)
        inverse, exponent = reciprocal(exponentials.total(below), _SUM_BITS)
        product = saturating_rounding_doubling_high_mul(inverse, exponentials.values[below])
        result = rounding_divide_by_pot(product, exponent + 31 - 8) + int(limits.min)
        clamped = np.clip(result, limits.min, limits.max)
        return (np.where(below < exponentials.counted, clamped, limits.min).astype(node.output.dtype),)

    return evaluate


def _float_softmax(x: Array, beta: float) -> Array:
    exponential = np.exp((x - x.max(axis=-1, keepdims=True)) * np.float32(beta))
    result: Array = exponential / exponential.sum(axis=-1, keepdims=True, dtype=np.float32)
    return result


@kernel("LOG_SOFTMAX")
def log_softmax(node: Node) -> Evaluate:
    """x - max - log(sum(exp(x - max))). int8: fixed point; uint8: exponentials from a float32 table."""
    _check(node, "int8", "uint8", "float32")
    if node.input(0).dtype == np.float32:
        return lambda x: (_float_log_softmax(x),)
    zero_point = 255 if node.output.dtype == np.uint8 else 127
    if node.quantization(node.output) != (np.float32(16 / 256), zero_point):
        raise node.fail(f"the output must have the scale 1/16 and the zero point {zero_point}")
    if node.input(0).dtype == np.uint8:
        return _log_softmax_table(node)
    exponentials = _exponentials(node, 1.0)
    back, back_shift = quantize_multiplier(2.0 ** (31 - exponentials.shift) / exponentials.multiplier)
    output_bits = 4

    def evaluate(x: Array) -> tuple[Array]:
        below = exponentials.below(x)
        log_sum = logarithm(exponentials.total(below), _SUM_BITS, _DIFFERENCE_BITS)
        # The least difference whose logarithm still fits.
        fits = multiply_by_quantized_multiplier(log_sum + INT32_MIN, back, back_shift)
        least = np.maximum(-exponentials.counted, fits)
        scaled = saturating_rounding_doubling_high_mul(-below << exponentials.shift, exponentials.multiplier)
        result = rounding_divide_by_pot(scaled - log_sum, 31 - _DIFFERENCE_BITS - output_bits) + zero_point
        return (np.where(-below > least, np.clip(result, -128, 127), -128).astype(np.int8),)

    return evaluate


def _log_softmax_table(node: Node) -> Evaluate:
    scale, _ = node.quantization(node.input(0))
    scale_out, zero_point = node.quantization(node.output)
    # exp(-scale * d) for d = 0 to 255
    table = np.exp((-scale * np.arange(256, dtype=np.float32)).astype(np.float64)).astype(np.float32)

    def evaluate(x: Array) -> tuple[Array]:
        greatest = x.max(axis=-1, keepdims=True)
        exponential = table[(greatest - x).astype(np.uint8)]
        # One by one, as C adds floats.
        total = np.cumsum(exponential, axis=-1, dtype=np.float32)[..., -1:]
        offset = (scale * greatest.astype(np.float32) + np.log(total)) / scale_out
        result = np.rint(scale / scale_out * x.astype(np.float32) - offset) + zero_point
        return (np.clip(result, 0, 255).astype(np.uint8),)

    return evaluate


def _float_log_softmax(x: Array) -> Array:
    below = x - x.max(axis=-1, keepdims=True)
    result: Array = below - np.log(np.exp(below).sum(axis=-1, keepdims=True, dtype=np.float32))
    return result
