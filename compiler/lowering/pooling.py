"""Operators that make one pixel of many: AVERAGE_POOL_2D, MAX_POOL_2D, MEAN."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import groupby, product
from typing import Any

import numpy as np

from ...golden.kernels import Node
from ...golden.kernels.pooling import windows_of
from ...golden.kernels.reduction import mean_of
from ...golden.kernels.windows import Axis
from ...golden.numerics import multiply_by_quantized_multiplier
from ...hw.commands import Combine, Execute
from ...hw.config import Config
from ..convolution import Convolution
from ..filters import filters_of, single_taps
from ..gathering import Gather
from ..work import Layer, Parameters, Target, Work
from .layers import IDENTITY, independent_layer, parameters
from .reasons import HostReason, expect_bytes, expect_fields, expect_rounding, signed_offset


def average(node: Node, config: Config) -> Layer:
    """AVERAGE_POOL_2D: sums, which are divided exactly by as many pixels as a window has inside the image.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    x = node.input(0)
    expect_bytes(node, x)
    vertical, horizontal, (batch, rows, columns, channels) = windows_of(node)
    offset = signed_offset(x)
    minimum, maximum = node.bounds()

    def divided(count: int) -> dict[str, Any]:
        return {
            "parameters": division(count, offset, config),
            # Sums of uint8 are divided as such.
            "zero_point": -offset,
            "lower": minimum - offset,
            "upper": maximum - offset,
        }

    works: list[Work] = []
    row_bytes = columns * channels
    if (rows, columns) == (1, 1) and _covers(vertical) and _covers(horizontal):
        count = vertical.size * horizontal.size
        works = [_sum(count, channels, config, **divided(count))]
    else:
        for (top, down, high), (left, right, wide) in product(_regions(vertical), _regions(horizontal)):
            if filters_of(down, right, config) is None:
                raise HostReason("no strip of the image is narrow enough for the command's fields")
            _check_range(down, right, channels)
            works.append(
                Convolution(
                    target=Target(rows, row_bytes, left * channels, channels, top),
                    channels_in=1,
                    pixel_bytes=channels,
                    outputs=channels,
                    vertical=down,
                    horizontal=right,
                    weights=np.ones((channels, down.kernel, right.kernel, 1), np.int8),
                    weight_zero_point=0,
                    fill=0,
                    depthwise=True,
                    **divided(high * wide),
                )
            )
    return independent_layer(node, [x], batch, rows, row_bytes, works)


def greatest(node: Node, config: Config) -> Layer:
    """MAX_POOL_2D: one tap after the other, of which the accumulators keep the greatest.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    x = node.input(0)
    expect_bytes(node, x)
    vertical, horizontal, (batch, rows, columns, channels) = windows_of(node)
    if single_taps(vertical, horizontal, config) is None:
        raise HostReason("no strip of the image is narrow enough for the command's fields")
    _check_range(vertical, horizontal, channels)
    expect_fields(kernel_rows=vertical.kernel, kernel_columns=horizontal.kernel)
    minimum, maximum = node.bounds()
    offset = signed_offset(x)
    work = Convolution(
        target=Target(rows, columns * channels, 0, channels),
        channels_in=1,
        pixel_bytes=channels,
        outputs=channels,
        vertical=vertical,
        horizontal=horizontal,
        weights=np.ones((channels, vertical.kernel, horizontal.kernel, 1), np.int8),
        weight_zero_point=0,
        fill=-128,
        parameters=parameters(),
        zero_point=0,
        lower=minimum - offset,
        upper=maximum - offset,
        depthwise=True,
        combine=Combine.MAXIMUM,
    )
    return independent_layer(node, [x], batch, rows, columns * channels, [work])


def mean(node: Node, config: Config) -> Layer:
    """MEAN over neighbouring dimensions: sums, which are requantized.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    x = node.input(0)
    expect_bytes(node, x)
    axes, subtracted, requantization = mean_of(node)
    expect_rounding(node, config, requantization.rounding)
    first, last = (axes[0], axes[-1]) if axes else (0, -1)
    if any(x.shape[i] > 1 and i not in axes for i in range(first, last + 1)):
        raise HostReason("the dimensions are not neighbours")
    batch, count = math.prod(x.shape[:first]), math.prod(x.shape[first : last + 1])
    channels = math.prod(x.shape[last + 1 :])
    offset = signed_offset(x)
    bias = offset * count - subtracted
    work = _sum(
        count,
        channels,
        config,
        parameters=parameters(bias, (int(requantization.multiplier[0]), int(requantization.shift[0]))),
        zero_point=requantization.zero_point - offset,
        lower=requantization.minimum - offset,
        upper=requantization.maximum - offset,
    )
    return independent_layer(node, [x], batch, 1, channels, [work])


def _sum(count: int, channels: int, config: Config, **requantization: Any) -> Work:
    """The sums over images of `count` pixels.

    Either the pixels of a block of channels come one after the other, or the blocks of a pixel do: such an image is one
    of C channels with a pixel in each row, and all of it the window of a depthwise convolution.
    """
    expect_fields(pixels=count + config.rows, row_bytes=count * channels)
    target = Target(1, channels, 0, channels)
    gather = Gather(target=target, count=count, outputs=channels, **requantization)
    across, rest = divmod(channels, config.columns)
    vertical, horizontal = Axis(count, count, 1, 1, 0, 0, 1), Axis(across, 1, 1, 1, 0, 0, across)
    if rest or count > Execute.largest("kernel_rows") or filters_of(vertical, horizontal, config) is None:
        return gather
    column = Convolution(
        target=replace(target, pixel_bytes=config.columns),
        channels_in=1,
        pixel_bytes=config.columns,
        outputs=config.columns,
        vertical=vertical,
        horizontal=horizontal,
        weights=np.ones((config.columns, count, 1, 1), np.int8),
        weight_zero_point=0,
        fill=0,
        depthwise=True,
        **requantization,
    )

    def cost(work: Work, vectors: int) -> int:
        slots = work.blocks(config) * work.passes(config) * (vectors + config.rows)
        return max(slots, work.packed_bytes(config) // config.bus_bytes)

    filters = column.filters(config)
    in_turn = cost(column, filters.vectors(1, filters.strips))
    return column if in_turn < cost(gather, gather.vectors(config)) else gather


def _covers(axis: Axis) -> bool:
    """Whether the only window sees every pixel."""
    return axis.kernel >= axis.size + axis.before


def _regions(axis: Axis) -> Iterator[tuple[int, Axis, int]]:
    """Neighbouring outputs whose windows have as many pixels inside: `(the first, their axis, how many pixels)`."""

    def inside(output: int) -> int:
        start = output * axis.stride - axis.before
        return min(start + axis.kernel, axis.size) - max(start, 0)

    first = 0
    for count, outputs in groupby(range(axis.outputs), key=inside):
        number = len(list(outputs))
        before = axis.before - first * axis.stride
        after = max((number - 1) * axis.stride - before + axis.kernel - axis.size, 0)
        yield first, Axis(axis.size, axis.kernel, axis.stride, 1, before, after, number), count
        first += number


def _check_range(vertical: Axis, horizontal: Axis, channels: int) -> None:
    """Refuses windows with a number that no field of a command holds."""
    expect_fields(
        row_y=vertical.stride,
        origin_y=vertical.size + vertical.kernel,
        origin_x=(horizontal.size + horizontal.kernel) * channels,
    )


@lru_cache(maxsize=256)
def division(count: int, offset: int, config: Config) -> Parameters:
    """What divides every sum of `count` bytes to the nearest integer, ties away from zero.

    The sums are of int8, or where `offset` is 128 of uint8 that lack it. A multiplier a little above `1 / count` moves
    ties away from zero, and nothing else as long as the sums are small enough: all of them are tried.
    """
    expect_fields(pixels=count)
    sums = np.arange(-128 * count, 127 * count + 1) + offset * count
    expected = np.sign(sums) * ((np.abs(sums) + count // 2) // count)
    q, s = ((1 << 31) // count + 1, 0) if count > 1 else IDENTITY
    if not np.array_equal(multiply_by_quantized_multiplier(sums, q, s, rounding=config.rounding), expected):
        raise HostReason(f"no multiplier divides all sums of {count} pixels exactly")
    return parameters(offset * count, (q, s))
