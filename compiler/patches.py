"""Convolutions whose kernel rows are short: all rows of a patch gathered first, so that passes are full.

A pass reads R contiguous bytes. Where a kernel row has fewer (few channels, a narrow kernel), every kernel row is a
pass of its own that leaves rows of the array idle. So first, for each output column, the `kw * cin` bytes of every
image row that its windows see are copied to one *strip*, row after row, padding included. In a strip the `kh` rows of
a window are contiguous: `ceil(kh * kw * cin / R)` passes remain of `kh * ceil(kw * cin / R)`, for one vector per image
row and output column of copying.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np

from ..golden.kernels.windows import Axis
from ..golden.numerics import quantize_multiplier
from ..hw.config import Config
from .convolution import Convolution
from .tiling import strip_bytes
from .work import Chunk, Layer, Parameters, Part, Target

AWAIT = 64
"""Cycles that it takes, more or less, until what one command wrote can be read by the next."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Patches(Convolution):
    """A convolution whose source is strips.

    Parameters
    ----------
    pitch
        Bytes from the strip of an output column to that of the next.
    """

    pitch: int

    @property
    def shape(self) -> Hashable:
        return (*super().shape, self.pitch)  # type: ignore[misc]

    @property
    def strip_row_bytes(self) -> int:
        """Bytes of a row of a strip: of a kernel row."""
        return self.horizontal.kernel * self.channels_in

    @property
    def part_bytes(self) -> int:
        return self.vertical.kernel * self.strip_row_bytes

    def loops(self, config: Config) -> tuple[int, int, int]:
        return 1, 1, -(-self.part_bytes // config.rows)

    def reads(self, image: int, top: int, bottom: int) -> tuple[int, int]:
        last = (bottom - 1) * self.vertical.stride * self.strip_row_bytes
        end = (self.horizontal.outputs - 1) * self.pitch + last + self.part_bytes
        return top * self.vertical.stride * self.strip_row_bytes, end

    def most(self, rows: int) -> int:
        return self.horizontal.outputs * self.pitch

    def overreach(self, config: Config) -> int:
        # The last run of a patch goes on to the strip's next rows, which meet no weights.
        return -self.part_bytes % config.rows

    def _rows(self, part: Part, chunk: Chunk, config: Config, image: int) -> dict[str, int]:
        step = self.vertical.stride * self.strip_row_bytes
        start = part.left * self.pitch + part.top * step + chunk.run * config.rows
        size = self.horizontal.outputs * self.pitch
        return {
            "source": image + start,
            "origin_x": start,
            "row_bytes": size,
            "height": 1,
            "pixels": (part.bottom - part.top) * (part.right - part.left),
            "row_step": step,
            "columns": part.right - part.left,
            "column_step": self.pitch,
        }


def gathered(layer: Layer, config: Config, strips: int) -> tuple[Layer, ...]:
    """The layers that compute a layer in the fewest cycles: itself, or a copy of strips and what goes on with them.

    Parameters
    ----------
    layer
        What to compute.
    config
        The machine.
    strips
        A number for the tensor between the two, that no other has.
    """
    (works, *others) = layer.groups
    work = works[0]
    if others or len(works) > 1 or layer.batch > 1 or not isinstance(work, Convolution):
        return (layer,)
    apart = work.kernel_columns > 1 or work.channels_in < work.pixel_bytes or work.vertical.dilation > 1
    if work.depthwise or apart or work.vertical.kernel == 1:
        return (layer,)
    copy, patches = _copy(work), _patches(work)
    size = patches.most(1)
    least = size + config.scratchpad_row_bytes + strip_bytes(layer, 1, config)
    if copy.vertical.outputs > 255 or size > config.scratchpad_bytes // 8 or least > config.scratchpad_bytes:
        return (layer,)
    copying = copy.blocks(config) * copy.filters(config).slots(config, copy.vertical.outputs) + AWAIT
    if copying + _slots(patches, config) >= _slots(work, config):
        return (layer,)
    return (
        replace(
            layer,
            destination=strips,
            rows=copy.vertical.outputs,
            row_bytes=copy.outputs,
            size=size,
            groups=((copy,),),
        ),
        replace(layer, sources=(strips,), source_bytes=(size,), groups=((patches,),)),
    )


def _copy(convolution: Convolution) -> Convolution:
    """What copies strips: each row of a window, with its padding, as channels of a pixel."""
    vertical, horizontal = convolution.vertical, convolution.horizontal
    rows = (vertical.outputs - 1) * vertical.stride + vertical.kernel
    size = horizontal.kernel * convolution.channels_in
    multiplier, shift = quantize_multiplier(1.0)
    return replace(
        convolution,
        target=Target(rows, size, 0, rows * size),
        channels_in=1,
        outputs=size,
        vertical=Axis(vertical.size, 1, 1, 1, vertical.before, rows - vertical.size - vertical.before, rows),
        horizontal=replace(horizontal, kernel=1),
        weights=np.ones((size, 1, 1, 1), np.int8),
        weight_zero_point=0,
        parameters=Parameters(
            np.zeros(size, np.int32), np.full(size, multiplier, np.int32), np.full(size, shift, np.int32)
        ),
        zero_point=0,
        lower=-128,
        upper=127,
        depthwise=True,
    )


def _patches(convolution: Convolution) -> Patches:
    fields = {name: getattr(convolution, name) for name in convolution.__dataclass_fields__}
    vertical = convolution.vertical
    rows = (vertical.outputs - 1) * vertical.stride + vertical.kernel
    return Patches(**fields, pitch=rows * convolution.horizontal.kernel * convolution.channels_in)


def _slots(convolution: Convolution, config: Config) -> int:
    """Cycles of the array."""
    pixels = convolution.vertical.outputs * convolution.horizontal.outputs
    return convolution.blocks(config) * convolution.passes(config) * max(pixels, config.rows)
