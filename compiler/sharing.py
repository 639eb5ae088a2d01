"""Neighbouring output pixels side by side in the array's columns.

Where a convolution has fewer output channels than the array has columns, or leaves some of the last block's unused, `p`
neighbouring pixels are computed as one with `p` times as many channels: in memory they are that. Its kernel is as wide
as all of theirs together, `kw + (p - 1) * stride` pixels, and each has its weights where its own window lies.

The vectors that a depthwise convolution streams are then `p` neighbouring pixels too. Their windows are a pixel apart,
as those of neighbouring outputs are where the stride is 1: so the kernel stays as it is, and the stride becomes `p`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..hw.config import Config
from .convolution import Convolution
from .filters import filters_of
from .work import Parameters


def share_columns(convolution: Convolution, config: Config) -> Convolution:
    """The same convolution, of as many pixels at once as take the fewest cycles."""
    horizontal = convolution.horizontal
    apart = convolution.kernel_columns > 1 or convolution.channels_in < convolution.pixel_bytes
    if convolution.pointwise or (horizontal.stride > 1 if convolution.depthwise else apart):
        return convolution
    counts = [p for p in range(1, config.columns + 1) if horizontal.outputs % p == 0]
    candidates = [_together(convolution, p) for p in counts]
    if convolution.depthwise:
        candidates = [c for c in candidates if filters_of(c.vertical, c.horizontal, config)]
    return min(candidates, key=lambda wide: _cost(wide, config))


def _together(convolution: Convolution, pixels: int) -> Convolution:
    """The convolution that computes so many pixels as one."""
    if pixels == 1:
        return convolution
    horizontal = convolution.horizontal
    outputs, height, width, channels = convolution.weights.shape
    distance = 0 if convolution.depthwise else horizontal.stride
    reach = width + (pixels - 1) * distance
    # A weight that equals the zero point is none.
    weights = np.full((pixels, outputs, height, reach, channels), convolution.weight_zero_point, np.int8)
    for pixel in range(pixels):
        left = pixel * distance
        weights[pixel, :, :, left : left + width] = convolution.weights
    each = convolution.parameters
    parameters = Parameters(*(np.tile(values, pixels) for values in (each.bias, each.multiplier, each.shift)))
    return replace(
        convolution,
        target=replace(convolution.target, pixel_bytes=pixels * convolution.target.pixel_bytes),
        outputs=pixels * outputs,
        horizontal=replace(
            horizontal,
            kernel=reach,
            stride=pixels * horizontal.stride,
            outputs=horizontal.outputs // pixels,
        ),
        weights=weights.reshape(pixels * outputs, height, reach, channels),
        parameters=parameters,
    )


def _cost(convolution: Convolution, config: Config) -> tuple[int, int]:
    """Slots of the array, then bytes of weights."""
    if convolution.depthwise:
        slots = convolution.filters(config).slots(config, convolution.rows_at_once(config))
    else:
        pixels = convolution.vertical.outputs * convolution.horizontal.outputs
        slots = convolution.passes(config) * max(pixels, config.rows)
    return convolution.blocks(config) * slots, convolution.packed_bytes(config)
