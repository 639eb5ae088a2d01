"""SOFTMAX: a distribution over the last dimension."""

from __future__ import annotations

import numpy as np

from ..numerics import quantize_multiplier, rounding_divide_by_pot, saturating_rounding_doubling_high_mul
from .fixed_point import exp_on_negative_values, reciprocal
from .node import Array, Evaluate, Node, kernel

_DIFFERENCE_BITS, _SUM_BITS = 5, 12


@kernel("SOFTMAX")
def softmax(node: Node) -> Evaluate:
    """Over the last dimension: exponentials of differences to the maximum in Q5.26, their sum in Q12.19."""
    x, output = node.input(0), node.output
    node.expect_type(x, "int8", "uint8")
    node.expect_type(output, x.dtype.name)
    if not x.shape:
        raise node.fail("the input is a scalar")
    node.expect_shape(x.shape)
    beta = float(node.option("beta"))
    scale, _ = node.quantization(x)
    real = min(beta * float(scale) * 2 ** (31 - _DIFFERENCE_BITS), 2.0**31 - 1)
    if not real > 1:
        raise node.fail(f"beta * scale is {beta * float(scale)}; expected more than 2^-26")
    multiplier, left_shift = quantize_multiplier(real)
    # Below this difference the exponential is zero.
    least = -((2**_DIFFERENCE_BITS - 1) * 2 ** (31 - _DIFFERENCE_BITS) // 2**left_shift)
    limits = np.iinfo(output.dtype)

    def evaluate(values: Array) -> tuple[Array]:
        wide = values.astype(np.int64)
        difference = wide - wide.max(axis=-1, keepdims=True)
        counted = difference >= least
        scaled = saturating_rounding_doubling_high_mul(np.maximum(difference, least) << left_shift, multiplier)
        exponential = exp_on_negative_values(scaled, _DIFFERENCE_BITS)
        total = np.where(counted, rounding_divide_by_pot(exponential, _SUM_BITS), 0).sum(axis=-1, keepdims=True)
        inverse, exponent = reciprocal(total, _SUM_BITS)
        product = saturating_rounding_doubling_high_mul(inverse, exponential)
        result = rounding_divide_by_pot(product, exponent + 31 - 8) + int(limits.min)
        return (np.where(counted, np.clip(result, limits.min, limits.max), limits.min).astype(output.dtype),)

    return evaluate
