"""Convolutions as the machine computes them, over NHWC bytes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..golden.kernels.windows import Axis
from ..hw.commands import Combine, Execute, Finish, Mode
from ..hw.config import Config
from .filters import Filters, filters_of, single_taps
from .hazards import Channels
from .tiling import split
from .work import Chunk, Parameters, Part, Target, Work


def is_pointwise(vertical: Axis, horizontal: Axis) -> bool:
    """Whether every output pixel sees just the input pixel of the same number."""
    return all((axis.kernel, axis.stride, axis.outputs) == (1, 1, axis.size) for axis in (vertical, horizontal))


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Work):
    """A convolution over NHWC bytes, ready for the machine.

    Parameters
    ----------
    channels_in, outputs
        Input channels that an output sees, and output channels.
    vertical, horizontal
        How the kernel slides. Where the convolution is `pointwise`, the images are one column of pixels: there is one,
        and its width is 1.
    weights
        int8, shape `(outputs, kernel height, kernel width, channels_in)`; of a depthwise convolution, with one channel.
    weight_zero_point
        To subtract from every weight.
    fill
        Stands for bytes outside the image: the input's zero point as a signed byte.
    parameters
        The folded bias and the requantization of each channel.
    zero_point, lower, upper
        Of the output, as signed bytes.
    depthwise
        Whether each output channel sees only the input channel of the same number.
    combine
        What becomes of the sums of its passes. Where they are not added, a pass has one tap.
    pixel_bytes, offset
        Bytes from one pixel of the image to the next, and where in a pixel the input channels begin.
    """

    target: Target
    channels_in: int
    outputs: int
    vertical: Axis
    horizontal: Axis
    weights: npt.NDArray[np.int8]
    weight_zero_point: int
    fill: int
    parameters: Parameters
    zero_point: int
    lower: int
    upper: int
    depthwise: bool = False
    combine: Combine = Combine.ADD
    pixel_bytes: int
    offset: int = 0
    sources: tuple[int, ...] = (0,)
    accumulate: bool = False
    finish: Finish = Finish.STORE

    @property
    def pointwise(self) -> bool:
        """Whether every output pixel sees just the input pixel of the same number, but all of its channels."""
        return not self.depthwise and self.horizontal.size == 1 and is_pointwise(self.vertical, self.horizontal)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of the input image."""
        return self.horizontal.size * self.pixel_bytes

    @property
    def kernel_columns(self) -> int:
        """Parts of a kernel row that lie apart in memory: its columns if it is dilated, else the row is one."""
        apart = self.horizontal.dilation > 1 or self.channels_in < self.pixel_bytes
        return self.horizontal.kernel if apart and not self.depthwise else 1

    @property
    def part_bytes(self) -> int:
        """Contiguous bytes of each such part."""
        return self.horizontal.kernel // self.kernel_columns * self.channels_in

    @property
    def shape(self) -> Hashable:
        return (
            *(self.target, self.channels_in, self.outputs, self.vertical, self.horizontal),
            *(self.depthwise, self.combine, self.pixel_bytes, self.offset, self.sources),
        )

    @property
    def reading(self) -> Hashable:
        return self.vertical, self.row_bytes, self.target.first_row, self.target.every_row

    def filters(self, config: Config) -> Filters:
        """How a depthwise convolution is laid on the array."""
        choose = filters_of if self.combine is Combine.ADD else single_taps
        held = self.accumulate or self.finish is not Finish.STORE
        filters = choose(self.vertical, self.horizontal, config, self.rows_at_once(config), held=held)
        if filters is None:
            raise ValueError("the depthwise convolution has no filters that a command can hold")
        return filters

    def rows_at_once(self, config: Config) -> int:
        """Output rows of a strip, more or less, where an image and its output do not fit the scratchpad."""
        row = self.vertical.stride * self.row_bytes + self.horizontal.outputs * self.target.pixel_bytes
        if self.vertical.outputs * row <= config.scratchpad_bytes:
            return self.vertical.outputs
        return max(1, config.scratchpad_bytes // 4 // row)

    def channels(self, config: Config) -> int:
        return self.outputs

    def loops(self, config: Config) -> tuple[int, int, int]:
        if self.depthwise:
            return *self.filters(config).passes, 1
        return self.vertical.kernel, self.kernel_columns, -(-self.part_bytes // config.rows)

    def taps(self, config: Config) -> npt.NDArray[np.int8]:
        return self._filter_taps(config) if self.depthwise else self._operand_rows(config)

    def _operand_rows(self, config: Config) -> npt.NDArray[np.int8]:
        """Each contiguous part ends with a pass."""
        kernel_rows, kernel_columns, runs = self.loops(config)
        parts = kernel_rows * kernel_columns
        padded = np.full((self.outputs, parts, runs * config.rows), np.int8(self.weight_zero_point), np.int8)
        padded[..., : self.part_bytes] = self.weights.reshape(self.outputs, parts, self.part_bytes)
        return padded.reshape(self.outputs, -1)

    def _filter_taps(self, config: Config) -> npt.NDArray[np.int8]:
        """Depthwise weights in the rows of the array that the filters say."""
        filters = self.filters(config)
        across = filters.passes[1]
        taps = np.full((self.outputs, self.passes(config), config.rows), np.int8(self.weight_zero_point), np.int8)
        for row, column in np.ndindex(self.weights.shape[1:3]):
            (down, a), (right, b) = filters.rows.place(row), filters.columns.place(column)
            taps[:, down * across + right, filters.tap(a, b)] = self.weights[:, row, column, 0]
        return taps.reshape(self.outputs, -1)

    def pixels(self, config: Config) -> int:
        return self.horizontal.outputs

    def tile_rows(self, config: Config) -> int:
        most, columns = _most_pixels(config), self.horizontal.outputs
        rows = self.filters(config).tile_rows(config) if self.depthwise else max(1, most // columns)
        return rows * self.target.every_row

    def reads(self, image: int, top: int, bottom: int) -> tuple[int, int]:
        vertical = self.vertical
        first, last = self.target.within(top, bottom, vertical.outputs)
        if first >= last:
            return 0, 0
        start = min(max(first * vertical.stride - vertical.before, 0), vertical.size)
        stop = min(max((last - 1) * vertical.stride - vertical.before + vertical.reach, start), vertical.size)
        return (image * vertical.size + start) * self.row_bytes, (image * vertical.size + stop) * self.row_bytes

    @property
    def by_channels(self) -> bool:
        return self.depthwise or self.part_bytes == self.channels_in

    def channels_read(self, chunk: Chunk, config: Config, source: int = 0) -> Channels | None:
        if not self.by_channels:
            return None
        first, count = (
            (chunk.first_block * config.columns, chunk.blocks * config.columns)
            if self.depthwise
            else (chunk.run * config.rows, chunk.runs * config.rows)
        )
        first += self.offset
        # A vector with fewer channels reaches into the next pixel.
        return Channels(self.pixel_bytes, source, first, first + count) if first + count <= self.pixel_bytes else None

    def most(self, rows: int) -> int:
        rows = -(-rows // self.target.every_row)
        return min((rows - 1) * self.vertical.stride + self.vertical.reach, self.vertical.size) * self.row_bytes

    def parts(self, image: int, top: int, bottom: int, config: Config) -> Iterator[Part]:
        first, last = self.target.within(top, bottom, self.vertical.outputs)
        if first >= last:
            return
        if self.depthwise:
            filters = self.filters(config)
            for left, strips in filters.parts(config):
                yield Part(image, first, last, left, left + strips * filters.outputs)
            return
        for left, columns in split(self.horizontal.outputs, _most_pixels(config)):
            for start, rows in split(last - first, max(1, _most_pixels(config) // columns)):
                yield Part(image, first + start, first + start + rows, left, left + columns)

    def fields(self, part: Part, chunk: Chunk, config: Config, sources: Sequence[int]) -> dict[str, int]:
        fields = {
            "combine": self.combine,
            "fill": self.fill,
            "zero_point": self.zero_point,
            "lower": self.lower,
            "upper": self.upper,
            "kernel_rows": chunk.kernel_rows,
            "kernel_columns": chunk.kernel_columns,
            "runs": chunk.runs,
            "row_bytes": self.row_bytes,
            "height": self.vertical.size,
        }
        (position,) = self.sources
        image = sources[position] + part.image * self.vertical.size * self.row_bytes
        if self.depthwise:
            return fields | self._strips(part, chunk, config, image)
        if self.pointwise:
            return fields | self._column(part, chunk, config, image)
        return fields | self._rows(part, chunk, config, image)

    def _rows(self, part: Part, chunk: Chunk, config: Config, image: int) -> dict[str, int]:
        vertical, horizontal = self.vertical, self.horizontal
        column_bytes = horizontal.dilation * self.pixel_bytes
        y = part.top * vertical.stride - vertical.before + chunk.kernel_row * vertical.dilation
        x = (part.left * horizontal.stride - horizontal.before) * self.pixel_bytes + self.offset
        x += chunk.kernel_column * column_bytes + chunk.run * config.rows
        return {
            "source": image + y * self.row_bytes + x,
            "origin_y": y,
            "origin_x": x,
            "pixels": (part.bottom - part.top) * (part.right - part.left),
            "row_y": vertical.stride,
            "row_step": vertical.stride * self.row_bytes,
            "columns": part.right - part.left,
            "column_step": horizontal.stride * self.pixel_bytes,
            "kernel_row_y": vertical.dilation,
            "kernel_row_step": vertical.dilation * self.row_bytes,
            "kernel_column_step": column_bytes,
        }

    def _column(self, part: Part, chunk: Chunk, config: Config, image: int) -> dict[str, int]:
        """A column of pixels is as well a row: as a column, a long one fits no field."""
        pixels, x = part.bottom - part.top, chunk.run * config.rows + self.offset
        return {
            "source": image + part.top * self.pixel_bytes + x,
            "origin_x": x,
            "pixels": pixels,
            "row_bytes": pixels * self.pixel_bytes,
            "height": 1,
            "columns": pixels,
            "column_step": self.pixel_bytes,
            "kernel_column_step": self.pixel_bytes,
            "destination_row_step": 0,
            "destination_column_step": self.target.row_step,
        }

    def _strips(self, part: Part, chunk: Chunk, config: Config, image: int) -> dict[str, int]:
        """A depthwise convolution streams strips, and each block its own channels."""
        filters = self.filters(config)
        vertical, horizontal = self.vertical, self.horizontal
        rows, strips = part.bottom - part.top, (part.right - part.left) // filters.outputs
        down, across = filters.rows.offset, filters.columns.offset
        y = part.top * vertical.stride - vertical.before + chunk.kernel_row * down
        x = (part.left * horizontal.stride - horizontal.before + chunk.kernel_column * across) * self.pixel_bytes
        x += self.offset + chunk.first_block * config.columns
        x += filters.border * self.pixel_bytes
        # A pass may stream rows that are none of the kernel's, for the sake of those that others need. The image ends
        # where they begin.
        above = max(0, y)
        below = (part.bottom - 1) * vertical.stride - vertical.before + vertical.reach
        y -= filters.lead * filters.rows.step
        return {
            "mode": Mode.DEPTHWISE,
            "source": image + y * self.row_bytes + x,
            "height": max(0, min(below, vertical.size) - above),
            "origin_y": y - above,
            "origin_x": x,
            "pixels": filters.vectors(rows, strips),
            "row_y": filters.rows.step,
            "row_step": filters.rows.step * self.row_bytes,
            "columns": filters.width,
            "column_step": filters.columns.step * self.pixel_bytes,
            "kernel_row_y": down,
            "kernel_row_step": down * self.row_bytes,
            "kernel_column_step": across * self.pixel_bytes,
            "strip_rows": filters.strip_rows(rows),
            "strip_step": filters.outputs * horizontal.stride * self.pixel_bytes,
            "destination_strip_step": filters.outputs * self.target.pixel_bytes,
            "skip_rows": filters.skip[0],
            "skip_columns": filters.skip[1],
            "every_row": filters.rows.every,
            "every_column": filters.columns.every,
        }


def _most_pixels(config: Config) -> int:
    return min(config.accumulator_depth, Execute.largest("pixels"))
