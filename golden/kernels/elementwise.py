"""Operators on pairs of elements: ADD, SUB, MUL. Shapes broadcast."""

from __future__ import annotations

import numpy as np

from ..numerics import multiply_by_quantized_multiplier, quantize_multiplier
from .node import Array, Evaluate, Node, kernel


def broadcast_shape(node: Node) -> tuple[int, ...]:
    """The shape of the output of an operator on pairs."""
    a, b = node.input(0), node.input(1)
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise node.fail(f"the shapes {list(a.shape)} and {list(b.shape)} do not broadcast") from None
    node.expect_shape(shape)
    return shape


@kernel("ADD", "SUB")
def add(node: Node) -> Evaluate:
    """Both inputs are brought to twice the larger of their scales, with 20 (int16: 15) more bits, and added."""
    node.expect_type(node.input(0), "int8", "uint8", "int16")
    for tensor in (node.input(1), node.output):
        node.expect_type(tensor, node.input(0).dtype.name)
    broadcast_shape(node)
    rounding = node.profile.elementwise_rounding
    left_shift = 15 if node.output.dtype == np.int16 else 20
    (s1, z1), (s2, z2), (so, zo) = (node.quantization(t) for t in (node.input(0), node.input(1), node.output))
    twice = 2 * float(max(s1, s2))
    q1, e1 = quantize_multiplier(float(s1) / twice, rounding=rounding)
    q2, e2 = quantize_multiplier(float(s2) / twice, rounding=rounding)
    qo, eo = quantize_multiplier(twice / (2**left_shift * float(so)), rounding=rounding)
    minimum, maximum = node.bounds()
    sign = -1 if node.operator.kind == "SUB" else 1

    def scaled(x: Array, zero_point: int, q: int, exponent: int) -> Array:
        shifted = (x.astype(np.int64) - zero_point) << left_shift
        return multiply_by_quantized_multiplier(shifted, q, exponent, rounding=rounding)

    def evaluate(a: Array, b: Array) -> tuple[Array]:
        total = scaled(a, z1, q1, e1) + sign * scaled(b, z2, q2, e2)
        result = multiply_by_quantized_multiplier(total, qo, eo, rounding=rounding) + zo
        return (np.clip(result, minimum, maximum).astype(node.output.dtype),)

    return evaluate
