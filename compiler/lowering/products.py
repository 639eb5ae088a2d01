"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED.

The array multiplies raw int8 inputs `x` by `w - zw`. What golden computes is

    acc = sum((x - zx) * (w - zw)) + bias = sum(x * (w - zw)) + bias',    bias' = bias - zx * sum(w - zw)

where every tap takes part in both sums, so bytes outside the image must read as `zx`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...golden.kernels import Node, operands_of, requantization_of
from ...golden.kernels import convolution as golden_convolution
from ...golden.kernels import dense as golden_dense
from ...golden.kernels.windows import Axis
from ...hw.config import Config
from ..convolution import Convolution, is_pointwise
from ..filters import filters_of
from ..grouped import by_groups
from ..sharing import share_columns
from ..work import Layer, Parameters, Target
from .reasons import HostReason, expect_fields, expect_rounding, signed_offset

MOST_PARTS = 256
"""Convolutions that a grouped one is divided into, beyond which the host is no slower."""


def lower(node: Node, config: Config) -> Layer:
    """The layer of a sum of products.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    _check(node)
    loops = _loops(node)
    rounding = requantization_of(node).rounding
    expect_rounding(node, config, rounding)
    left = loops.outputs - golden_convolution.reference_tail(loops.outputs, rounding)
    if left and node.operator.kind == "DEPTHWISE_CONV_2D":
        raise HostReason(f"the last {left} of {loops.outputs} channels are rounded in another way")
    _check_range(loops, config)
    return _layer(node, loops, config)


def _check(node: Node) -> None:
    x, weights, bias = node.input(0), node.input(1), node.optional(2)
    if x.dtype.name not in ("int8", "uint8") or node.output.dtype != x.dtype or weights.dtype != x.dtype:
        raise HostReason(f"the machine computes int8 and uint8, not {x.dtype.name} with {weights.dtype.name} weights")
    if not weights.constant or (bias is not None and not bias.constant):
        raise HostReason("the weights are computed at run time")
    if x.constant:
        raise HostReason("the input is a constant")
    if np.unique(node.affine(weights).zero_point).size != 1:
        raise HostReason("the weights have several zero points")


@dataclass(frozen=True)
class _Loops:
    batch: int
    channels: int
    outputs: int
    vertical: Axis
    horizontal: Axis
    depthwise: bool = False
    groups: int = 1


def _loops(node: Node) -> _Loops:
    """The loops of an operator. A depthwise convolution has one output for each channel, else it is grouped."""
    one = Axis(1, 1, 1, 1, 0, 0, 1)
    if node.operator.kind == "FULLY_CONNECTED":
        dense = golden_dense.geometry_of(node)
        return _Loops(1, dense.inputs, dense.outputs, Axis(dense.rows, 1, 1, 1, 0, 0, dense.rows), one)
    g = golden_convolution.geometry_of(node)
    channels = g.input_channels, g.output_channels
    if g.groups != 1 and g.groups == g.input_channels == g.output_channels:
        return _Loops(g.batch, *channels, g.vertical, g.horizontal, depthwise=True)
    if is_pointwise(g.vertical, g.horizontal):
        pixels = g.batch * g.vertical.size * g.horizontal.size
        return _Loops(1, *channels, Axis(pixels, 1, 1, 1, 0, 0, pixels), one, groups=g.groups)
    return _Loops(g.batch, *channels, g.vertical, g.horizontal, groups=g.groups)


def _check_range(loops: _Loops, config: Config) -> None:
    """Refuses a convolution with a number that no field of an `Execute` command holds."""
    vertical, horizontal = loops.vertical, loops.horizontal
    if loops.depthwise and filters_of(vertical, horizontal, config) is None:
        raise HostReason("no strip of the image is narrow enough for the command's fields")
    row_bytes = horizontal.size * loops.channels
    image_rows = 1 if is_pointwise(vertical, horizontal) else vertical.size
    expect_fields(
        row_y=vertical.stride,
        kernel_rows=vertical.kernel,
        kernel_row_y=vertical.dilation,
        kernel_columns=horizontal.kernel,
        origin_y=image_rows + vertical.kernel * vertical.dilation,
        origin_x=row_bytes + horizontal.kernel * horizontal.dilation * loops.channels,
        row_step=max(vertical.stride, vertical.dilation) * row_bytes,
        destination_row_step=horizontal.outputs * loops.outputs,
        runs=-(-horizontal.kernel * loops.channels // config.rows),
    )


def _layer(node: Node, loops: _Loops, config: Config) -> Layer:
    operands = operands_of(node)
    requantization = requantization_of(node)
    offset = signed_offset(node.input(0))
    channels = 1 if loops.depthwise else loops.channels // loops.groups
    shape = (loops.outputs, loops.vertical.kernel, loops.horizontal.kernel, channels)
    weights = operands.weights
    if node.operator.kind == "DEPTHWISE_CONV_2D":
        # Output channels are the last axis there.
        weights = np.ascontiguousarray(np.moveaxis(weights, -1, 0))
    sums = weights.reshape(loops.outputs, -1).sum(axis=1, dtype=np.int64)
    taps = loops.vertical.kernel * loops.horizontal.kernel * channels
    weights = weights ^ np.uint8(0x80) if offset else weights
    fill = operands.input_zero_point - offset
    bias = operands.bias - fill * (sums - taps * operands.weights_zero_point)

    def per_channel(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        return np.broadcast_to(values, (loops.outputs,)).astype(np.int32)

    row_bytes = loops.horizontal.outputs * loops.outputs
    convolution = Convolution(
        target=Target(loops.vertical.outputs, row_bytes, 0, loops.outputs),
        channels_in=channels,
        pixel_bytes=loops.channels,
        outputs=loops.outputs,
        vertical=loops.vertical,
        horizontal=loops.horizontal,
        weights=weights.view(np.int8).reshape(shape),
        weight_zero_point=operands.weights_zero_point - offset,
        fill=fill,
        parameters=Parameters(
            # The accumulators wrap, and so does the fold: the result is the same modulo 2^32.
            bias.astype(np.uint32).view(np.int32),
            per_channel(requantization.multiplier),
            per_channel(requantization.shift),
        ),
        zero_point=requantization.zero_point - offset,
        lower=requantization.minimum - offset,
        upper=requantization.maximum - offset,
        depthwise=loops.depthwise,
    )
    works = [share_columns(convolution, config)]
    if loops.groups > 1:
        works = list(by_groups(convolution, loops.groups, config))
        if len(works) > MOST_PARTS:
            raise HostReason(f"its {loops.groups} groups take {len(works)} convolutions, more than {MOST_PARTS}")
    return Layer(
        operator=node.operator.index,
        sources=(node.input(0).index,),
        source_bytes=(math.prod(node.input(0).shape),),
        destination=node.output.index,
        batch=loops.batch,
        rows=loops.vertical.outputs,
        row_bytes=row_bytes,
        size=loops.batch * loops.vertical.outputs * row_bytes,
        groups=tuple((work,) for work in works),
    )
