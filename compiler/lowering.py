"""From operators of a graph to convolutions as the machine computes them: signed bytes, folded zero points.

The array multiplies raw int8 inputs `x` by `w - zw`. What golden computes is

    acc = sum((x - zx) * (w - zw)) + bias = sum(x * (w - zw)) + bias',    bias' = bias - zx * sum(w - zw)

where every tap takes part in both sums, so bytes outside the image must read as `zx`. A legacy uint8 tensor becomes
int8 by flipping its top bit, which lowers its values and its zero point by 128 alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..golden.graph import Graph, Operator
from ..golden.kernels import Node, convolution_geometry, dense_geometry, operands_of, requantization_of
from ..golden.kernels.windows import Axis
from ..golden.numerics import Profile
from ..hw.commands import Execute
from ..hw.config import Config
from .filters import Filters, filters_of

KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""The operators that the machine computes."""


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution over NHWC bytes, ready for the machine.

    Parameters
    ----------
    operator
        Index of the operator that it computes.
    source, destination
        Tensor indices of its input and output.
    batch, channels, outputs
        Images, input channels and output channels.
    vertical, horizontal
        How the kernel slides. Where the convolution is `pointwise`, the images are one column of pixels:
        `batch` and the width are 1.
    weights
        int8, shape `(outputs, kernel height, kernel width, channels)`; of a depthwise convolution, with one channel.
    weight_zero_point
        To subtract from every weight.
    fill
        The input's zero point as a signed byte.
    bias, multiplier, shift
        int32, shape `(outputs,)`: the folded bias and the requantization of each channel.
    zero_point, lower, upper
        Of the output, as signed bytes.
    depthwise
        Whether each output channel sees only the input channel of the same number.
    """

    operator: int
    source: int
    destination: int
    batch: int
    channels: int
    outputs: int
    vertical: Axis
    horizontal: Axis
    weights: npt.NDArray[np.int8]
    weight_zero_point: int
    fill: int
    bias: npt.NDArray[np.int32]
    multiplier: npt.NDArray[np.int32]
    shift: npt.NDArray[np.int32]
    zero_point: int
    lower: int
    upper: int
    depthwise: bool = False

    @property
    def pointwise(self) -> bool:
        """Whether every output pixel sees just the input pixel of the same number, but all of its channels."""
        return not self.depthwise and _pointwise(self.vertical, self.horizontal)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of the input image."""
        return self.horizontal.size * self.channels

    @property
    def output_row_bytes(self) -> int:
        """Bytes of one row of the output image."""
        return self.horizontal.outputs * self.outputs

    @property
    def rows(self) -> int:
        """Input rows of all images."""
        return self.batch * self.vertical.size

    @property
    def output_rows(self) -> int:
        """Output rows of all images."""
        return self.batch * self.vertical.outputs

    @property
    def kernel_columns(self) -> int:
        """Parts of a kernel row that lie apart in memory: its columns if it is dilated, else the row is one."""
        return self.horizontal.kernel if self.horizontal.dilation > 1 else 1

    @property
    def part_bytes(self) -> int:
        """Contiguous bytes of each such part."""
        return self.horizontal.kernel // self.kernel_columns * self.channels

    @property
    def macs(self) -> int:
        """Products, those with taps outside the image included."""
        taps = self.vertical.kernel * self.horizontal.kernel * (1 if self.depthwise else self.channels)
        return self.output_rows * self.horizontal.outputs * self.outputs * taps

    def filters(self, config: Config) -> Filters:
        """How a depthwise convolution is laid on the array."""
        filters = filters_of(self.vertical, self.horizontal, config)
        if filters is None:
            raise ValueError(f"operator {self.operator} has no filters that a command can hold")
        return filters

    def loops(self, config: Config) -> tuple[int, int, int]:
        """Kernel rows, kernel columns and runs of the passes for each block of output channels."""
        if self.depthwise:
            return *self.filters(config).passes, 1
        return self.vertical.kernel, self.kernel_columns, -(-self.part_bytes // config.rows)

    def passes(self, config: Config) -> int:
        """Tiles of weights for each block of output channels."""
        return math.prod(self.loops(config))

    def input_rows(self, first: int, last: int) -> tuple[int, int]:
        """The input rows `[start, stop)` that output rows `[first, last)` of one image read.

        Rows are counted over all images. The range is empty where the windows see nothing but padding.
        """
        vertical = self.vertical
        image, top = divmod(first, vertical.outputs)
        bottom = last - 1 - image * vertical.outputs
        start = min(max(top * vertical.stride - vertical.before, 0), vertical.size)
        stop = min(max(bottom * vertical.stride - vertical.before + vertical.reach, start), vertical.size)
        return image * vertical.size + start, image * vertical.size + stop


def reason_for_host(operator: Operator, graph: Graph, config: Config, profile: Profile) -> str | None:
    """Why an operator does not run on the machine; None where it does.

    Raises
    ------
    ModelError
        The operator describes nothing that can be computed.
    """
    if operator.kind not in KINDS:
        return "the machine does not compute this operator"
    node = Node.of(operator, graph, profile)
    x, weights, bias = node.input(0), node.input(1), node.optional(2)
    if x.dtype.name not in ("int8", "uint8") or node.output.dtype != x.dtype or weights.dtype != x.dtype:
        return f"the machine computes int8 and uint8, not {x.dtype.name} with {weights.dtype.name} weights"
    if not weights.constant or (bias is not None and not bias.constant):
        return "the weights are computed at run time"
    if x.constant:
        return "the input is a constant"
    if np.unique(node.affine(weights).zero_point).size != 1:
        return "the weights have several zero points"
    loops = _loops(operator, graph)
    if loops is None:
        return "the convolution is grouped, or has several outputs for each of its channels"
    rounding = requantization_of(node).rounding
    if rounding is not config.rounding:
        return f"profile {profile.value} rounds {rounding.value} here; the machine rounds {config.rounding.value}"
    return _out_of_range(loops, config)


@dataclass(frozen=True)
class _Loops:
    batch: int
    channels: int
    outputs: int
    vertical: Axis
    horizontal: Axis
    depthwise: bool = False


def _loops(operator: Operator, graph: Graph) -> _Loops | None:
    """The loops of an operator; None where they are neither a convolution's nor a depthwise convolution's."""
    one = Axis(1, 1, 1, 1, 0, 0, 1)
    if operator.kind == "FULLY_CONNECTED":
        dense = dense_geometry(operator, graph)
        return _Loops(1, dense.inputs, dense.outputs, Axis(dense.rows, 1, 1, 1, 0, 0, dense.rows), one)
    g = convolution_geometry(operator, graph)
    if g.groups != 1:
        if not g.groups == g.input_channels == g.output_channels:
            return None
        return _Loops(g.batch, g.input_channels, g.output_channels, g.vertical, g.horizontal, True)
    if _pointwise(g.vertical, g.horizontal):
        pixels = g.batch * g.vertical.size * g.horizontal.size
        return _Loops(1, g.input_channels, g.output_channels, Axis(pixels, 1, 1, 1, 0, 0, pixels), one)
    return _Loops(g.batch, g.input_channels, g.output_channels, g.vertical, g.horizontal)


def _pointwise(vertical: Axis, horizontal: Axis) -> bool:
    return all((axis.kernel, axis.stride, axis.outputs) == (1, 1, axis.size) for axis in (vertical, horizontal))


def _out_of_range(loops: _Loops, config: Config) -> str | None:
    """Which number of a convolution no field of an `Execute` command holds."""
    vertical, horizontal = loops.vertical, loops.horizontal
    if loops.depthwise and filters_of(vertical, horizontal, config) is None:
        return "no strip of the image is narrow enough for the command's fields"
    row_bytes = horizontal.size * loops.channels
    image_rows = 1 if _pointwise(vertical, horizontal) else vertical.size
    for name, value in {
        "row_y": vertical.stride,
        "kernel_rows": vertical.kernel,
        "kernel_row_y": vertical.dilation,
        "kernel_columns": horizontal.kernel,
        "origin_y": image_rows + vertical.kernel * vertical.dilation,
        "origin_x": row_bytes + horizontal.kernel * horizontal.dilation * loops.channels,
        "row_step": max(vertical.stride, vertical.dilation) * row_bytes,
        "destination_row_step": horizontal.outputs * loops.outputs,
        "runs": -(-horizontal.kernel * loops.channels // config.rows),
    }.items():
        if value > (largest := Execute.largest(name)):
            return f"{value} exceeds {largest}, the machine's largest {name}"
    return None


def lower(operator: Operator, graph: Graph, profile: Profile) -> Convolution:
    """The convolution that an operator without a `reason_for_host` amounts to."""
    node = Node.of(operator, graph, profile)
    loops = _loops(operator, graph)
    if loops is None:
        raise ValueError(f"operator {operator.index} is no convolution for the machine")
    operands = operands_of(node)
    requantization = requantization_of(node)
    offset = 128 if node.input(0).dtype == np.uint8 else 0
    channels = 1 if loops.depthwise else loops.channels
    shape = (loops.outputs, loops.vertical.kernel, loops.horizontal.kernel, channels)
    weights = operands.weights
    if operator.kind == "DEPTHWISE_CONV_2D":
        # Output channels are the last axis there.
        weights = np.ascontiguousarray(np.moveaxis(weights, -1, 0))
    sums = weights.reshape(loops.outputs, -1).sum(axis=1, dtype=np.int64)
    taps = loops.vertical.kernel * loops.horizontal.kernel * channels
    weights = weights ^ np.uint8(0x80) if offset else weights
    fill = operands.input_zero_point - offset
    bias = operands.bias - fill * (sums - taps * operands.weights_zero_point)

    def per_channel(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        return np.broadcast_to(values, (loops.outputs,)).astype(np.int32)

    return Convolution(
        operator=operator.index,
        source=operator.inputs[0],
        destination=operator.outputs[0],
        batch=loops.batch,
        channels=loops.channels,
        outputs=loops.outputs,
        vertical=loops.vertical,
        horizontal=loops.horizontal,
        weights=weights.view(np.int8).reshape(shape),
        weight_zero_point=operands.weights_zero_point - offset,
        fill=fill,
        # The accumulators wrap, and so does the fold: the result is the same modulo 2^32.
        bias=bias.astype(np.uint32).view(np.int32),
        multiplier=per_channel(requantization.multiplier),
        shift=per_channel(requantization.shift),
        zero_point=requantization.zero_point - offset,
        lower=requantization.minimum - offset,
        upper=requantization.maximum - offset,
        depthwise=loops.depthwise,
    )
