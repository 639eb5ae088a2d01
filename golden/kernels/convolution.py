"""CONV_2D and DEPTHWISE_CONV_2D.

    acc[n, y, x, o] = sum over taps (i, j) and channels c of
                      (input[n, y * stride + i * dilation - top, ...] - zx) * (w[o, i, j, c] - zw) + bias[o]
    output = clamp(requantize(acc) + zo)

Taps outside the image contribute nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..graph import Graph, Operator
from .node import Array, Evaluate, Node, kernel
from .product import (
    accumulator_bound,
    check_accumulator,
    check_types,
    exact_float,
    operands_of,
    requantization_of,
)
from .windows import Axis, axes_of, pad_image

# Rows of an im2col matrix at a time: what one block needs stays in the last-level cache.
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class ConvolutionGeometry:
    """The loops of a convolution.

    Parameters
    ----------
    batch, input_channels, output_channels
        Sizes.
    vertical, horizontal
        Input size, kernel, stride, dilation, padding and output size along each axis.
    groups
        1 for CONV_2D with full weights; `input_channels` for DEPTHWISE_CONV_2D. Output channel `o` reads the input
        channels of group `o // (output_channels / groups)`.
    """

    batch: int
    input_channels: int
    output_channels: int
    vertical: Axis
    horizontal: Axis
    groups: int

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """NHWC."""
        return self.batch, self.vertical.outputs, self.horizontal.outputs, self.output_channels

    @property
    def taps(self) -> int:
        """Products per output: `kernel height * kernel width * channels of a group`."""
        return self.vertical.kernel * self.horizontal.kernel * (self.input_channels // self.groups)

    @property
    def macs(self) -> int:
        """Products in all, those with taps outside the image included."""
        batch, height, width, channels = self.output_shape
        return batch * height * width * channels * self.taps


def convolution_geometry(operator: Operator, graph: Graph) -> ConvolutionGeometry:
    """The loops of a CONV_2D or DEPTHWISE_CONV_2D of a graph's main subgraph.

    Raises
    ------
    ModelError
        Shapes or options that describe no convolution.
    """
    return geometry_of(Node.of(operator, graph))


def geometry_of(node: Node) -> ConvolutionGeometry:
    """The loops of a convolution."""
    x, weights = node.input(0), node.input(1)
    if len(weights.shape) != 4:
        raise node.fail(f"the weights have the shape {list(weights.shape)}; expected four dimensions")
    vertical, horizontal = axes_of(node, weights.shape[1], weights.shape[2])
    batch, channels = x.shape[0], x.shape[3]
    if node.operator.kind == "DEPTHWISE_CONV_2D":
        outputs, groups = weights.shape[3], channels
        if weights.shape[0] != 1 or not channels or outputs % channels:
            raise node.fail(f"weights of the shape {list(weights.shape)} do not fit {channels} channels")
    else:
        outputs = weights.shape[0]
        if not weights.shape[3] or channels % weights.shape[3] or outputs % (channels // weights.shape[3] or 1):
            raise node.fail(f"weights of the shape {list(weights.shape)} do not fit {channels} channels")
        groups = channels // weights.shape[3]
    if not outputs or not groups:
        raise node.fail(f"weights of the shape {list(weights.shape)} do not fit {channels} channels")
    return ConvolutionGeometry(batch, channels, outputs, vertical, horizontal, groups)


@kernel("CONV_2D")
def conv_2d(node: Node) -> Evaluate:
    """A sum over a window and all channels (of a group), as products of matrices."""
    check_types(node)
    geometry = geometry_of(node)
    node.expect_shape(geometry.output_shape)
    requantization, operands = requantization_of(node), operands_of(node)
    bound = accumulator_bound(node)
    kind = exact_float(bound)
    groups, each = geometry.groups, geometry.output_channels // geometry.groups
    centered = operands.weights.astype(np.int64) - operands.weights_zero_point
    # One matrix (taps, outputs of the group) for each group.
    matrices = [
        np.ascontiguousarray(centered[g * each : (g + 1) * each].reshape(each, -1).T, kind) for g in range(groups)
    ]

    def evaluate(x: Array, *_: Array) -> tuple[Array]:
        vertical, horizontal = geometry.vertical, geometry.horizontal
        image = pad_image(x, vertical, horizontal, operands.input_zero_point, kind)
        image -= operands.input_zero_point
        output = np.empty(geometry.output_shape, node.output.dtype)
        rows = _rows_per_block(geometry, image.itemsize)
        for n in range(geometry.batch):
            for top in range(0, vertical.outputs, rows):
                bottom = min(top + rows, vertical.outputs)
                accumulator = np.empty((bottom - top, horizontal.outputs, geometry.output_channels), np.int64)
                for g, matrix in enumerate(matrices):
                    patches = _patches(image[n], geometry, g, top, bottom)
                    accumulator[..., g * each : (g + 1) * each] = (patches @ matrix).reshape(
                        *accumulator.shape[:2], each
                    )
                accumulator += operands.bias
                check_accumulator(node, accumulator, bound)
                output[n, top:bottom] = requantization.apply(accumulator, output.dtype)
        return (output,)

    return evaluate


def _rows_per_block(geometry: ConvolutionGeometry, itemsize: int) -> int:
    row = geometry.horizontal.outputs * (geometry.taps + geometry.output_channels) * itemsize
    return max(1, _BLOCK_BYTES // row)


def _patches(image: Array, geometry: ConvolutionGeometry, group: int, top: int, bottom: int) -> Array:
    """The im2col matrix (pixels, taps) of output rows `top` to `bottom` of a padded image (height, width, channels)."""
    vertical, horizontal = geometry.vertical, geometry.horizontal
    channels = geometry.input_channels // geometry.groups
    first = top * vertical.stride
    part = image[first:, :, group * channels : (group + 1) * channels]
    down, right, deep = part.strides
    windows = np.lib.stride_tricks.as_strided(
        part,
        (bottom - top, horizontal.outputs, vertical.kernel, horizontal.kernel, channels),
        (
            down * vertical.stride,
            right * horizontal.stride,
            down * vertical.dilation,
            right * horizontal.dilation,
            deep,
        ),
        writeable=False,
    )
    return windows.reshape((bottom - top) * horizontal.outputs, -1)


@kernel("DEPTHWISE_CONV_2D")
def depthwise_conv_2d(node: Node) -> Evaluate:
    """A sum over a window for each channel by itself, tap by tap."""
    check_types(node)
    geometry = geometry_of(node)
    node.expect_shape(geometry.output_shape)
    multiplier = geometry.output_channels // geometry.input_channels
    requantization, operands = requantization_of(node), operands_of(node)
    bound = accumulator_bound(node)
    kind = exact_float(bound)
    weights = (operands.weights[0].astype(np.int64) - operands.weights_zero_point).astype(kind)

    def evaluate(x: Array, *_: Array) -> tuple[Array]:
        vertical, horizontal = geometry.vertical, geometry.horizontal
        image = pad_image(x, vertical, horizontal, operands.input_zero_point, kind)
        image -= operands.input_zero_point
        if multiplier > 1:
            image = np.repeat(image, multiplier, axis=3)
        sums = np.zeros(geometry.output_shape, kind)
        for i in range(vertical.kernel):
            for j in range(horizontal.kernel):
                sums += image[:, vertical.tap(i), horizontal.tap(j)] * weights[i, j]
        accumulator = sums.astype(np.int64) + operands.bias
        check_accumulator(node, accumulator, bound)
        return (requantization.apply(accumulator, node.output.dtype),)

    return evaluate
