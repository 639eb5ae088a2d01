"""CONV_2D and DEPTHWISE_CONV_2D.

    acc[n, y, x, o] = sum over taps (i, j) and channels c of
                      (input[n, y * stride + i * dilation - top, ...] - zx) * (w[o, i, j, c] - zw) + bias[o]
    output = clamp(requantize(acc) + zo)

Taps outside the image contribute nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..graph import Graph, Operator
from ..numerics import Rounding
from .node import Array, Evaluate, Node, kernel
from .product import check_accumulator, check_real_types, check_types, float_product, requantization_of
from .windows import Axis, axes_of

# What the rows of one block need, so that it stays in a cache.
_BLOCK_BYTES = 1 << 21


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
    if node.input(0).dtype == np.float32:
        return _float_convolution(node)
    check_types(node)
    geometry = geometry_of(node)
    node.expect_shape(geometry.output_shape)
    requantization, product = requantization_of(node), float_product(node)
    zero_point = node.quantization(node.input(0))[1]
    groups, each = geometry.groups, geometry.output_channels // geometry.groups
    columns = geometry.horizontal.outputs

    def evaluate(x: Array, *_: Array) -> tuple[Array]:
        output = np.empty(geometry.output_shape, node.output.dtype)
        # One matrix (outputs of the group, taps) for each group.
        matrices = product.weights().reshape(groups, each, -1)
        for n, rows in _blocks(geometry, geometry.taps + geometry.output_channels, product.kind):
            strip = _strip(x[n], geometry, rows, zero_point, product.kind)
            sums = np.empty(((rows.stop - rows.start) * columns, geometry.output_channels), product.kind)
            for g, matrix in enumerate(matrices):
                np.matmul(_patches(strip, geometry, g, rows), matrix.T, out=sums[:, g * each : (g + 1) * each])
            check_accumulator(node, sums, product.bias, product.bound)
            outputs = requantization.apply(sums, output.dtype, bias=product.bias)
            output[n, rows] = outputs.reshape(-1, columns, geometry.output_channels)
        return (output,)

    return evaluate


def _blocks(geometry: ConvolutionGeometry, pixel: int, kind: type[np.floating[Any]]) -> Iterator[tuple[int, slice]]:
    """Images and their output rows, in blocks that stay in a cache; an output pixel needs `pixel` values."""
    row = max(1, geometry.horizontal.outputs * pixel * np.dtype(kind).itemsize)
    step = max(1, _BLOCK_BYTES // row)
    for n in range(geometry.batch):
        for top in range(0, geometry.vertical.outputs, step):
            yield n, slice(top, min(top + step, geometry.vertical.outputs))


def _strip(
    image: Array, geometry: ConvolutionGeometry, rows: slice, zero_point: int, kind: type[np.floating[Any]]
) -> Array:
    """What output rows need of an image (height, width, channels), as floats, with zero points around it."""
    vertical, horizontal = geometry.vertical, geometry.horizontal
    first = rows.start * vertical.stride - vertical.before
    last = (rows.stop - 1) * vertical.stride - vertical.before + vertical.reach
    inside = image[max(first, 0) : min(last, vertical.size)]
    if inside.shape[0] == last - first and not (horizontal.before or horizontal.after):
        return inside.astype(kind)
    width = horizontal.before + horizontal.size + horizontal.after
    strip = np.full((last - first, width, geometry.input_channels), zero_point, kind)
    top = max(-first, 0)
    strip[top : top + inside.shape[0], horizontal.before : horizontal.before + horizontal.size] = inside
    return strip


def _patches(strip: Array, geometry: ConvolutionGeometry, group: int, rows: slice) -> Array:
    """The im2col matrix (pixels, taps) of a strip."""
    vertical, horizontal = geometry.vertical, geometry.horizontal
    channels = geometry.input_channels // geometry.groups
    part = strip[:, :, group * channels : (group + 1) * channels]
    if vertical.kernel == horizontal.kernel == 1:
        return part[:: vertical.stride, :: horizontal.stride].reshape(-1, channels)
    down, right, deep = part.strides
    windows = np.lib.stride_tricks.as_strided(
        part,
        (rows.stop - rows.start, horizontal.outputs, vertical.kernel, horizontal.kernel, channels),
        (
            down * vertical.stride,
            right * horizontal.stride,
            down * vertical.dilation,
            right * horizontal.dilation,
            deep,
        ),
        writeable=False,
    )
    return windows.reshape((rows.stop - rows.start) * horizontal.outputs, -1)


def reference_tail(channels: int, rounding: Rounding) -> int:
    """The first channel of a depthwise convolution that is rounded as the reference kernels do; `channels`: none is.

    LiteRT's optimized kernel takes eight channels at a time, and leaves the rest to the reference.
    """
    return channels // 8 * 8 if rounding is Rounding.DOUBLE_UP else channels


@kernel("DEPTHWISE_CONV_2D")
def depthwise_conv_2d(node: Node) -> Evaluate:
    """A sum over a window for each channel by itself, tap by tap."""
    if node.input(0).dtype == np.float32:
        return _float_convolution(node)
    check_types(node)
    geometry = geometry_of(node)
    node.expect_shape(geometry.output_shape)
    vertical, horizontal = geometry.vertical, geometry.horizontal
    channels, columns = geometry.output_channels, geometry.horizontal.outputs
    requantization, product = requantization_of(node), float_product(node)
    zero_point = node.quantization(node.input(0))[1]
    tail = reference_tail(channels, requantization.rounding)
    reference = replace(requantization, rounding=Rounding.DOUBLE)

    def evaluate(x: Array, *_: Array) -> tuple[Array]:
        output = np.empty(geometry.output_shape, node.output.dtype)
        # The weights of a tap, once for each output of a row: rows then are multiplied in one go.
        taps = np.empty((vertical.kernel, horizontal.kernel, columns, channels), product.kind)
        taps[...] = product.weights()[0][:, :, None]
        taps = taps.reshape(vertical.kernel, horizontal.kernel, columns * channels)
        for n, rows in _blocks(geometry, 4 * channels, product.kind):
            strip = _strip(x[n], geometry, rows, zero_point, product.kind)
            if channels != geometry.input_channels:
                strip = np.repeat(strip, channels // geometry.input_channels, axis=2)
            # Every stride-th column, so that neighbours in the output are neighbours in memory.
            phases = [
                np.ascontiguousarray(strip[:, p :: horizontal.stride]).reshape(strip.shape[0], -1)
                for p in range(min(horizontal.stride, strip.shape[1]))
            ]
            sums = np.empty((rows.stop - rows.start, columns * channels), product.kind)
            term = np.empty_like(sums)
            for i in range(vertical.kernel):
                lines = slice(i * vertical.dilation, i * vertical.dilation + (len(sums) - 1) * vertical.stride + 1)
                for j in range(horizontal.kernel):
                    start, phase = divmod(j * horizontal.dilation, horizontal.stride)
                    part = phases[phase][lines, start * channels : (start + columns) * channels]
                    target = term if i or j else sums
                    np.multiply(part[:: vertical.stride], taps[i, j], out=target)
                    if target is term:
                        sums += term
            sums = sums.reshape(-1, channels)
            check_accumulator(node, sums, product.bias, product.bound)
            outputs = requantization.apply(sums, output.dtype, bias=product.bias)
            if tail < channels:
                left = reference.apply(sums, output.dtype, bias=product.bias)
                outputs[:, tail:] = left[:, tail:]
            output[n, rows] = outputs.reshape(-1, columns, channels)
        return (output,)

    return evaluate


def _float_convolution(node: Node) -> Evaluate:
    """Real numbers. Sums of floats depend on their order: equal to other runtimes' up to rounding errors."""
    geometry = geometry_of(node)
    node.expect_shape(geometry.output_shape)
    check_real_types(node)
    low, high = node.float_bounds()
    depthwise = node.operator.kind == "DEPTHWISE_CONV_2D"
    each = geometry.output_channels // geometry.groups

    def evaluate(x: Array, weights: Array, *bias: Array) -> tuple[Array]:
        if depthwise:
            weights = weights[0].transpose(2, 0, 1)
        matrices = weights.reshape(geometry.groups, each, -1)
        output = np.empty(geometry.output_shape, np.float32)
        for n, rows in _blocks(geometry, geometry.taps + geometry.output_channels, np.float32):
            strip = _strip(x[n], geometry, rows, 0, np.float32)
            for g, matrix in enumerate(matrices):
                sums = _patches(strip, geometry, g, rows) @ matrix.T
                output[n, rows, :, g * each : (g + 1) * each] = sums.reshape(-1, geometry.horizontal.outputs, each)
        if bias and bias[0] is not None:
            output += bias[0]
        return (np.clip(output, low, high),)

    return evaluate
