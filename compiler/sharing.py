"""Neighbouring output pixels side by side in the array's columns.

Where a convolution has fewer output channels than the array has columns, or leaves some of the last block's unused, `p`
neighbouring pixels are computed as one with `p` times as many channels: in memory they are that. Its kernel is as wide
as all of theirs together, `kw + (p - 1) * stride` pixels, and each has its weights where its own window lies.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..hw.config import Config
from .convolution import Convolution
from .work import Parameters


def share_columns(convolution: Convolution, config: Config) -> Convolution:
    """The same convolution, of as many pixels at once as take the fewest cycles."""
    horizontal = convolution.horizontal
    apart = convolution.kernel_columns > 1 or convolution.channels_in < convolution.pixel_bytes
    if convolution.depthwise or convolution.pointwise or apart:
        return convolution
    counts = (p for p in range(1, config.columns + 1) if horizontal.outputs % p == 0)
    return min((_together(convolution, p) for p in counts), key=lambda wide: _cost(wide, config))


def _together(convolution: Convolution, pixels: int) -> Convolution:
    """The convolution that computes so many pixels as one."""
    if pixels == 1:
        return convolution
    horizontal = convolution.horizontal
    outputs, height, width, channels = convolution.weights.shape
    reach = width + (pixels - 1) * horizontal.stride
    # A weight that equals the zero point is none.
    weights = np.full((pixels, outputs, height, reach, channels), convolution.weight_zero_point, np.int8)
    for pixel in range(pixels):
        left = pixel * horizontal.stride
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
    pixels = convolution.vertical.outputs * convolution.horizontal.outputs
    slots = convolution.blocks(config) * convolution.passes(config) * max(pixels, config.rows)
    return slots, convolution.packed_bytes(config)
