"""L2_NORMALIZATION: a vector along the last dimension, divided by its length."""

from __future__ import annotations

import numpy as np

from ..numerics import multiply_by_quantized_multiplier
from .fixed_point import inverse_square_root
from .node import Array, Evaluate, Node, kernel

# Outputs have the scale 1/128.
_OUTPUT_BITS = 7


@kernel("L2_NORMALIZATION")
def l2_normalization(node: Node) -> Evaluate:
    """The integer sum of squares, its inverse square root by Newton's method, and one product per element."""
    x, output = node.input(0), node.output
    node.expect_type(x, "int8", "uint8", "float32")
    node.expect_type(output, x.dtype.name)
    node.expect_shape(x.shape)
    if node.option("fused_activation_function") != "NONE" or not x.shape:
        raise node.fail("a fused activation or a scalar is not supported")
    if x.dtype == np.float32:
        return _float
    _, zero_point = node.quantization(x)
    zero_out = 128 if x.dtype == np.uint8 else 0
    if node.quantization(output) != (np.float32(1 / 128), zero_out):
        raise node.fail(f"the output must have the scale 1/128 and the zero point {zero_out}")
    limits = np.iinfo(output.dtype)

    def evaluate(x: Array) -> tuple[Array]:
        centered = x.astype(np.int64) - zero_point
        squares = (centered * centered).sum(axis=-1, keepdims=True)
        pairs = np.array([inverse_square_root(int(s)) for s in squares.reshape(-1)], np.int64).reshape(-1, 2)
        q, s = (pairs[:, i].reshape(squares.shape) for i in range(2))
        if x.dtype == np.uint8:
            result = multiply_by_quantized_multiplier(centered << _OUTPUT_BITS, q, s)
        else:
            result = multiply_by_quantized_multiplier(centered, q, s + _OUTPUT_BITS)
        return (np.clip(result + zero_out, limits.min, limits.max).astype(output.dtype),)

    return evaluate


def _float(x: Array) -> tuple[Array]:
    length = np.sqrt((x * x).sum(axis=-1, keepdims=True, dtype=np.float32))
    return (x / np.maximum(length, np.float32(1e-6)),)
