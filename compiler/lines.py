"""Bytes that are computed each by itself, in lines: the array passes them through, the accumulators combine them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..hw.commands import Combine, Execute, Finish, Mode
from ..hw.config import Config
from .tiling import split
from .work import Chunk, Parameters, Part, Target, Work


@dataclass(frozen=True)
class Bounds:
    """An image in which lines lie, where they may begin and end outside.

    Parameters
    ----------
    top, left
        The row in which the first line lies, and its first byte's place in that row.
    height, row_bytes
        Rows of the image, and bytes of each.
    """

    top: int
    left: int
    height: int
    row_bytes: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Lines(Work):
    """Lines of bytes, in vectors of C; what channel a byte belongs to does not matter.

    Parameters
    ----------
    lines, length
        Lines of each image, and bytes of each.
    last
        Bytes of an image's last line.
    pitch, offset
        Bytes between lines of the source, and where in it the first one begins. Where the pitch is 0, an image is one
        line, which is read again and again.
    bounds
        Where lines may reach beyond an image; then `pitch` is a row of it. None: they lie in the source whole.
    sources
        One, or two that are streamed in turn, vector by vector; or none, and zeros are streamed.
    weights
        What the bytes of each source are multiplied by.
    """

    target: Target
    lines: int
    length: int
    last: int
    pitch: int
    offset: int = 0
    bounds: Bounds | None = None
    fill: int = 0
    sources: tuple[int, ...]
    weights: tuple[int, ...]
    weight_zero_point: int = 0
    parameters: Parameters
    zero_point: int = 0
    lower: int = -128
    upper: int = 127
    accumulate: bool = False
    finish: Finish = Finish.STORE
    combine: Combine = Combine.ADD
    pre_shift: int = 0
    square: bool = False

    @property
    def shape(self) -> Hashable:
        return (
            *(self.target, self.lines, self.length, self.last, self.pitch, self.offset, self.bounds),
            *(self.sources, self.accumulate, self.finish, self.combine),
        )

    @property
    def reading(self) -> Hashable:
        rows = self.target.first_row, self.target.every_row
        return (*rows, self.lines, self.length, self.last, self.pitch, self.offset, self.bounds)

    @property
    def image_bytes(self) -> int:
        """Bytes of an image of the source."""
        if self.bounds:
            return self.bounds.height * self.pitch
        if not self.pitch:
            return self.length
        return (self.lines - 1) * self.pitch + (self.last if self.pitch == self.length else self.pitch)

    def channels(self, config: Config) -> int:
        return config.columns

    def loops(self, config: Config) -> tuple[int, int, int]:
        return 1, 1, 1

    def taps(self, config: Config) -> npt.NDArray[np.int8]:
        taps = np.full((config.columns, config.rows), self.weight_zero_point, np.int64)
        # The latest vector is the last source's.
        taps[:, : len(self.weights)] += np.array(self.weights[::-1], np.int64)
        return taps.astype(np.int8)

    def pixels(self, config: Config) -> int:
        return -(-self.length // config.columns) * max(1, len(self.sources))

    def tile_rows(self, config: Config) -> int:
        return max(1, self._most(config) // self.pixels(config)) * self.target.every_row

    def overreach(self, config: Config) -> int:
        # A vector of the tensor that lies before the other is read whole.
        return config.columns if len(self.sources) == 2 else 0

    def _most(self, config: Config) -> int:
        """Vectors of one command."""
        return min(config.accumulator_depth, Execute.largest("pixels") // max(1, len(self.sources)))

    def reads(self, image: int, top: int, bottom: int) -> tuple[int, int]:
        first, last = self.target.within(top, bottom, self.lines)
        if first >= last:
            return 0, 0
        start = image * self.image_bytes
        if self.bounds:
            inside = (min(max(self.bounds.top + line, 0), self.bounds.height) for line in (first, last))
            first, last = inside
            return start + first * self.pitch, start + last * self.pitch
        length = self.last if last == self.lines else self.length
        start += self.offset
        return start + first * self.pitch, start + (last - 1) * self.pitch + length

    def most(self, rows: int) -> int:
        lines = -(-rows // self.target.every_row) if self.pitch else 1
        return lines * max(self.pitch, self.length)

    def parts(self, image: int, top: int, bottom: int, config: Config) -> Iterator[Part]:
        first, last = self.target.within(top, bottom, self.lines)
        odd = last == self.lines and self.last != self.length
        for start, stop, length in ((first, last - odd, self.length), (last - odd, last, self.last)):
            if start < stop:
                yield from self._vectors(image, start, stop, length, config)

    def _vectors(self, image: int, first: int, last: int, length: int, config: Config) -> Iterator[Part]:
        """Whole vectors of lines `[first, last)`, then what is left of each."""
        whole, rest = divmod(length, config.columns)
        most = self._most(config)
        for left, columns in split(whole, most) if whole else ():
            for start, lines in split(last - first, most // columns):
                yield Part(image, first + start, first + start + lines, left, left + columns, config.columns)
        for start, lines in split(last - first, most) if rest else ():
            yield Part(image, first + start, first + start + lines, whole, whole + 1, rest)

    def fields(self, part: Part, chunk: Chunk, config: Config, sources: Sequence[int]) -> dict[str, int]:
        lines, columns = part.bottom - part.top, part.right - part.left
        fields = {
            "mode": Mode.DEPTHWISE,
            "combine": self.combine,
            "pre_shift": self.pre_shift,
            "square": self.square,
            "fill": self.fill,
            "zero_point": self.zero_point,
            "lower": self.lower,
            "upper": self.upper,
            "pixels": lines * columns,
            "columns": columns,
            "column_step": config.columns,
            "row_step": self.pitch,
            "destination_column_step": config.columns,
        }
        if not self.sources:
            return fields
        left = part.left * config.columns
        offset = part.image * self.image_bytes + self.offset + part.top * self.pitch + left
        if self.bounds:
            top, x = self.bounds.top + part.top, self.bounds.left + left
            return fields | {
                "source": sources[self.sources[0]] + offset + self.bounds.top * self.pitch + self.bounds.left,
                "origin_y": top,
                "origin_x": x,
                "height": self.bounds.height,
                "row_bytes": self.bounds.row_bytes,
                "row_y": 1,
            }
        length = left + (columns - 1) * config.columns + (part.channels or config.columns)
        fields |= {"source": sources[self.sources[0]] + offset, "height": 1, "origin_x": left, "row_bytes": length}
        if len(self.sources) == 2:
            fields |= self._pairs(part, config, [sources[position] + offset for position in self.sources])
        return fields

    def _pairs(self, part: Part, config: Config, sources: Sequence[int]) -> dict[str, int]:
        """The vectors of two sources in turn, a row for each pair."""
        if part.right - part.left > 1:
            raise ValueError("lines of two sources are at most a vector long")
        distance = sources[1] - sources[0]
        return {
            "source": sources[0],
            "origin_x": max(0, -distance),
            "row_bytes": abs(distance) + (part.channels or config.columns),
            "pixels": 2 * (part.bottom - part.top),
            "columns": 2,
            "column_step": distance,
            "skip_columns": 1,
        }
