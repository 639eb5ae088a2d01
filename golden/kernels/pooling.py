"""AVERAGE_POOL_2D and MAX_POOL_2D. Neither requantizes: input and output share their quantization."""

from __future__ import annotations

import numpy as np

from .node import Array, Evaluate, Node, kernel
from .windows import Axis, axes_of, pad_image


def windows_of(node: Node) -> tuple[Axis, Axis, tuple[int, int, int, int]]:
    """The vertical and the horizontal axis of a pool, and its output's shape, after a check of its types."""
    node.expect_type(node.input(0), "int8", "uint8", "int16", "float32")
    node.expect_type(node.output, node.input(0).dtype.name)
    vertical, horizontal = axes_of(node, node.option("filter_height"), node.option("filter_width"), dilated=False)
    batch, _, _, channels = node.input(0).shape
    shape = (batch, vertical.outputs, horizontal.outputs, channels)
    node.expect_shape(shape)
    return vertical, horizontal, shape


@kernel("AVERAGE_POOL_2D")
def average_pool_2d(node: Node) -> Evaluate:
    """The mean of the pixels inside the image, rounded to nearest with ties away from zero."""
    vertical, horizontal, shape = windows_of(node)
    minimum, maximum = node.float_bounds() if node.output.dtype == np.float32 else node.bounds()

    def inside(first: int, axis_size: int, kernel_size: int) -> int:
        return min(first + kernel_size, axis_size) - max(first, 0)

    rows = [
        inside(y * vertical.stride - vertical.before, vertical.size, vertical.kernel) for y in range(vertical.outputs)
    ]
    columns = [
        inside(x * horizontal.stride - horizontal.before, horizontal.size, horizontal.kernel)
        for x in range(horizontal.outputs)
    ]
    counts = np.outer(rows, columns)[None, :, :, None].astype(np.int32)

    def evaluate(x: Array) -> tuple[Array]:
        floating = x.dtype == np.float32
        image = pad_image(x, vertical, horizontal, 0, np.float32 if floating else np.int32)
        sums = np.zeros(shape, image.dtype)
        for i in range(vertical.kernel):
            for j in range(horizontal.kernel):
                sums += image[:, vertical.tap(i), horizontal.tap(j)]
        if floating:
            return (np.clip(sums / counts.astype(np.float32), minimum, maximum),)
        # Ties away from zero; the magnitude's floor is the truncation that C does.
        means = np.sign(sums) * ((np.abs(sums) + counts // 2) // counts)
        return (np.clip(means, minimum, maximum).astype(x.dtype),)

    return evaluate


@kernel("MAX_POOL_2D")
def max_pool_2d(node: Node) -> Evaluate:
    """The greatest pixel inside the image."""
    vertical, horizontal, shape = windows_of(node)
    minimum, maximum = node.float_bounds() if node.output.dtype == np.float32 else node.bounds()

    def evaluate(x: Array) -> tuple[Array]:
        lowest = -np.inf if x.dtype == np.float32 else np.iinfo(x.dtype).min
        image = pad_image(x, vertical, horizontal, lowest)
        greatest = np.full(shape, lowest, x.dtype)
        for i in range(vertical.kernel):
            for j in range(horizontal.kernel):
                np.maximum(greatest, image[:, vertical.tap(i), horizontal.tap(j)], out=greatest)
        return (np.clip(greatest, minimum, maximum),)

    return evaluate
