"""Grouped convolutions, and depthwise ones with several outputs for each channel, as small convolutions side by side.

A block of output channels sees the input channels of its own groups only. Each of the small convolutions computes as
many groups as fit a block; where they are several, a group's weights for the others' channels are zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..hw.config import Config
from .convolution import Convolution
from .work import Parameters


def by_groups(convolution: Convolution, groups: int, config: Config) -> Iterator[Convolution]:
    """The parts of a convolution whose weights, shape `(outputs, height, width, channels of a group)`, are grouped."""
    inputs, outputs = convolution.channels_in, convolution.outputs // groups
    together = max(1, config.columns // outputs)
    for first in range(0, groups, together):
        count = min(together, groups - first)
        yield _part(convolution, range(first, first + count), inputs, outputs, config)


def _part(convolution: Convolution, groups: range, inputs: int, outputs: int, config: Config) -> Convolution:
    own = slice(groups.start * outputs, groups.stop * outputs)
    offset, channels = groups.start * inputs, len(groups) * inputs
    _, height, width, _ = convolution.weights.shape
    if -(-width * convolution.pixel_bytes // config.rows) < width * -(-channels // config.rows):
        # Whole pixels are neighbours, so that a kernel row is one run of bytes.
        offset, channels = 0, convolution.pixel_bytes
    weights = np.full((own.stop - own.start, height, width, channels), convolution.weight_zero_point, np.int8)
    for number, group in enumerate(groups):
        first = group * inputs - offset
        of_group = slice(group * outputs, (group + 1) * outputs)
        weights[number * outputs : (number + 1) * outputs, ..., first : first + inputs] = convolution.weights[of_group]
    each = convolution.parameters
    return replace(
        convolution,
        target=replace(convolution.target, offset=convolution.target.offset + own.start),
        channels_in=channels,
        offset=convolution.offset + offset,
        outputs=own.stop - own.start,
        weights=weights,
        parameters=Parameters(*(values[own] for values in (each.bias, each.multiplier, each.shift))),
    )
