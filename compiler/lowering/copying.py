"""Operators that move bytes: PAD, PADV2, CONCATENATION, RESIZE_NEAREST_NEIGHBOR."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ...golden.kernels import Node
from ...golden.kernels.joining import rescaling_table
from ...golden.kernels.padding import widths_of
from ...golden.kernels.resizing import nearest_of
from ...golden.kernels.windows import Axis
from ...hw.config import Config
from ..convolution import Convolution
from ..filters import filters_of
from ..lines import Bounds, Lines
from ..work import Layer, Parameters, Target, Work
from .layers import IDENTITY, MOST_COPIES, independent_layer, parameters
from .reasons import HostReason, expect_bytes, expect_fields, signed_offset


def pad(node: Node, config: Config) -> Layer:
    """PAD and PADV2: a copy of lines that begin and end outside the image.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    x = node.input(0)
    expect_bytes(node, x)
    if node.input(1).data is None:
        raise HostReason("the paddings are computed at run time")
    widths = widths_of(node, node.constant(1))
    padded = [i for i, width in enumerate(widths) if any(width)] or [len(widths) - 1]
    first, last = padded[0], padded[-1]
    if len(widths) == 4 and not any(widths[0]) and not any(widths[3]):
        # As convolutions see images, which may add the border themselves.
        first, last = 1, 2
    if last - first > 1:
        raise HostReason("other than two neighbouring dimensions are padded")
    inner = math.prod(x.shape[last + 1 :])
    batch, height, before = 1, math.prod(x.shape[:last]), 0
    if first < last:
        batch, height, before = math.prod(x.shape[:first]), x.shape[first], widths[first][0]
    lines = height + (sum(widths[first]) if first < last else 0)
    row_bytes, left = x.shape[last] * inner, widths[last][0] * inner
    length = row_bytes + sum(widths[last]) * inner
    expect_fields(height=height, origin_y=max(lines, before), row_bytes=max(row_bytes, length))
    work = Lines(
        target=Target(lines, length, 0, config.columns),
        lines=lines,
        length=length,
        last=length,
        pitch=row_bytes,
        bounds=Bounds(-before, -left, height, row_bytes),
        fill=_filling(node),
        sources=(0,),
        weights=(1,),
        parameters=parameters(),
    )
    return independent_layer(node, [x], batch, lines, length, [work])


def _filling(node: Node) -> int:
    """What is around the image, as a signed byte."""
    if node.operator.kind == "PADV2":
        if node.input(2).data is None:
            raise HostReason("the padding's value is computed at run time")
        value = int(node.constant(2).reshape(-1)[0])
    else:
        value = 0 if node.output.quantization is None else node.quantization(node.output)[1]
    return value - signed_offset(node.output)


def concatenation(node: Node, config: Config) -> Layer:
    """CONCATENATION: lines of each input, side by side.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    inputs = [node.input(i) for i in range(len(node.inputs))]
    expect_bytes(node, *inputs)
    if len(inputs) > MOST_COPIES:
        raise HostReason(f"{len(inputs)} inputs are more than {MOST_COPIES}")
    axis = node.axis(node.option("axis"), len(node.output.shape))
    outer, inner = math.prod(node.output.shape[:axis]), math.prod(node.output.shape[axis + 1 :])
    row_bytes = node.output.shape[axis] * inner
    if any(rescaling_table(node, i) is not None for i in range(len(inputs)) if node.output.dtype == np.uint8):
        raise HostReason("an input has another scale than the output")
    tensors = list({tensor.index: tensor for tensor in inputs}.values())
    works: list[Work] = []
    offset = 0
    for tensor in inputs:
        length = tensor.shape[axis] * inner
        works.append(
            Lines(
                target=Target(outer, row_bytes, offset, config.columns),
                lines=outer,
                length=length,
                last=length,
                pitch=length,
                sources=(tensors.index(tensor),),
                weights=(1,),
                parameters=parameters(),
            )
        )
        offset += length
    return independent_layer(node, tensors, 1, outer, row_bytes, works)


def resize_nearest(node: Node, config: Config) -> Layer:
    """RESIZE_NEAREST_NEIGHBOR: copies of every so many-th pixel to every so many-th.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    x = node.input(0)
    expect_bytes(node, x)
    batch, height, width, channels = x.shape
    _, rows, columns, _ = node.output.shape
    down, across = (_periods(indices) for indices in nearest_of(node))
    if len(down[0]) * len(across[0]) > MOST_COPIES:
        raise HostReason(f"the image takes {len(down[0]) * len(across[0])} copies, more than {MOST_COPIES}")
    row_bytes = columns * channels
    ones = np.ones((channels, 1, 1, 1), np.int8)
    bias, q, s = (np.full(channels, value, np.int32) for value in (0, *IDENTITY))
    works: list[Work] = []
    for row, top in enumerate(down[0]):
        for column, left in enumerate(across[0]):
            vertical = _every(height, rows, top, row, down)
            horizontal = _every(width, columns, left, column, across)
            expect_fields(row_y=vertical.stride, origin_y=height, origin_x=width * channels)
            if filters_of(vertical, horizontal, config) is None:
                raise HostReason("no strip of the image is narrow enough for the command's fields")
            works.append(
                Convolution(
                    target=Target(
                        *(rows, row_bytes, column * channels, len(across[0]) * channels),
                        first_row=row,
                        every_row=len(down[0]),
                    ),
                    channels_in=1,
                    pixel_bytes=channels,
                    outputs=channels,
                    vertical=vertical,
                    horizontal=horizontal,
                    weights=ones,
                    weight_zero_point=0,
                    fill=0,
                    parameters=Parameters(bias, q, s),
                    zero_point=0,
                    lower=-128,
                    upper=127,
                    depthwise=True,
                )
            )
    return independent_layer(node, [x], batch, rows, row_bytes, works)


def _periods(indices: npt.NDArray[np.int64]) -> tuple[list[int], int]:
    """The first indices, and how much further the next as many are, and so on to the end."""
    for period in range(1, len(indices)):
        steps = indices[period:] - indices[:-period]
        if steps[0] > 0 and np.all(steps == steps[0]):
            return indices[:period].tolist(), int(steps[0])
    return indices.tolist(), 1


def _every(size: int, outputs: int, first: int, number: int, periods: tuple[list[int], int]) -> Axis:
    """The axis of the copies that begin with input pixel `first` and output pixel `number`."""
    starts, step = periods
    copies = -(-(outputs - number) // len(starts))
    return Axis(size, 1, step, 1, -first, 0, copies)
