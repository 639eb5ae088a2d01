"""TRANSPOSE_CONV: each input pixel adds its channels, times the kernel, to a window of the output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..numerics import Rounding
from .node import Array, Evaluate, Node, kernel
from .product import check_accumulator, exact_float, requantization_for


@kernel("TRANSPOSE_CONV")
def transpose_conv(node: Node) -> Evaluate:
    """Inputs: the output's shape, the weights `(out, height, width, in)`, the image, and perhaps a bias."""
    weights, x, bias_tensor = node.input(1), node.input(2), node.optional(3)
    node.expect_type(x, "int8", "uint8", "int16", "float32")
    floating = x.dtype == np.float32
    node.expect_type(weights, {"uint8": "uint8", "float32": "float32"}.get(x.dtype.name, "int8"))
    node.expect_type(node.output, x.dtype.name)
    if bias_tensor is not None:
        node.expect_type(bias_tensor, *(("float32",) if floating else ("int32", "int64")))
    if len(x.shape) != 4 or len(weights.shape) != 4 or x.shape[3] != weights.shape[3] or 0 in weights.shape:
        raise node.fail(f"weights of the shape {list(weights.shape)} do not fit {list(x.shape)}")
    outputs, kernel_height, kernel_width, channels = weights.shape
    shape = node.integers(0)
    if len(shape) != 4 or shape[0] != x.shape[0] or shape[3] != outputs or min(shape) < 1:
        raise node.fail(f"the output's shape is {list(shape)} for an input of {list(x.shape)} and {outputs} channels")
    node.expect_shape(shape)
    strides = node.option("stride_h"), node.option("stride_w")
    top, height = _before(node, x.shape[1], kernel_height, strides[0], shape[1])
    left, width = _before(node, x.shape[2], kernel_width, strides[1], shape[2])
    if height * width > 4 * shape[1] * shape[2] + 2**20:
        raise node.fail(f"an output of {shape[1]} x {shape[2]} is cut from {height} x {width}")
    if bias_tensor is not None and bias_tensor.shape != (outputs,):
        raise node.fail(f"the bias has the shape {list(bias_tensor.shape)}; expected [{outputs}]")

    def scatter(image: Array, matrix: Array) -> Array:
        """The sums of all products, for a matrix (in, height * width * out)."""
        n, h, w, _ = image.shape
        parts = (image.reshape(-1, channels) @ matrix).reshape(n, h, w, kernel_height, kernel_width, outputs)
        canvas = np.zeros((n, height, width, outputs), image.dtype)
        for i in range(kernel_height):
            for j in range(kernel_width):
                rows = slice(i, i + (h - 1) * strides[0] + 1, strides[0])
                columns = slice(j, j + (w - 1) * strides[1] + 1, strides[1])
                canvas[:, rows, columns] += parts[:, :, :, i, j]
        sums = np.zeros(shape, image.dtype)
        part = canvas[:, top : top + shape[1], left : left + shape[2]]
        sums[:, : part.shape[1], : part.shape[2]] = part
        return sums

    if floating:
        low, high = node.float_bounds()

        def evaluate_floats(_: Array, weights: Array, x: Array, *bias: Array) -> tuple[Array]:
            sums = scatter(x, weights.transpose(3, 1, 2, 0).reshape(channels, -1))
            return (np.clip(sums + bias[0] if bias and bias[0] is not None else sums, low, high),)

        return evaluate_floats
    requantization = requantization_for(node, x, weights)
    zero, weights_zero = node.quantization(x)[1], int(node.affine(weights).zero_point[0])
    centered = node.constant(1).astype(np.int64) - weights_zero
    bias = np.zeros(outputs, np.int64) if bias_tensor is None else node.constant(3).astype(np.int64)
    sums = np.abs(centered).reshape(outputs, -1).sum(axis=1)
    limits = np.iinfo(x.dtype)
    bound = int((sums * max(int(limits.max) - zero, zero - int(limits.min)) + np.abs(bias)).max(initial=0))
    kind = exact_float(bound)
    # One product of matrices gives the contribution to every tap.
    matrix = np.ascontiguousarray(centered.transpose(3, 1, 2, 0).reshape(channels, -1), kind)

    def evaluate(_: Array, __: Array, x: Array, *___: Array) -> tuple[Array]:
        accumulator = scatter(x.astype(kind) - kind(zero), matrix).astype(np.int64)
        check_accumulator(node, accumulator, bias, bound)
        output = requantization.apply(accumulator, node.output.dtype, bias=bias)
        if requantization.rounding is Rounding.DOUBLE_UP:
            # The optimized kernel takes 16 elements at a time, and rounds those that are left as the reference does.
            head = output.size // 16 * 16
            reference = replace(requantization, rounding=Rounding.DOUBLE).apply(accumulator, output.dtype, bias=bias)
            output.reshape(-1)[head:] = reference.reshape(-1)[head:]
        return (output,)

    return evaluate


def _before(node: Node, size: int, kernel_size: int, stride: int, outputs: int) -> tuple[int, int]:
    """How many pixels of the whole canvas come before the output's first, and the canvas's size.

    The padding is that of the convolution that maps the output to the input.
    """
    if min(size, stride) < 1:
        raise node.fail(f"size {size} and stride {stride} along one axis; expected at least 1")
    canvas = (size - 1) * stride + kernel_size
    padding = node.option("padding")
    if padding == "VALID":
        return 0, canvas
    expected = -(-outputs // stride)
    total = max((expected - 1) * stride + kernel_size - outputs, 0)
    return total // 2, canvas
