"""What a layer is to the compiler: works, each of them one kind of command over some of the layer's outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..hw.commands import Finish
from ..hw.config import Config
from .hazards import Access, Channels, Space


@dataclass(frozen=True)
class Target:
    """Where a work's outputs lie among those of its layer, which are bytes in rows.

    Parameters
    ----------
    rows, row_bytes
        Output rows of each of the layer's images, and bytes of each.
    first_row, every_row
        The layer's row that the work's first one is, and rows from one to the next.
    offset, pixel_bytes
        The byte of a row at which the work begins, and bytes from one of its pixels to the next.
    """

    rows: int
    row_bytes: int
    offset: int
    pixel_bytes: int
    first_row: int = 0
    every_row: int = 1

    def within(self, top: int, bottom: int, outputs: int) -> tuple[int, int]:
        """Which of the work's `outputs` rows are among the rows `[top, bottom)` of an image of the layer."""
        first, last = (min(max(-(-(row - self.first_row) // self.every_row), 0), outputs) for row in (top, bottom))
        return first, last

    def address(self, image: int, row: int, column: int) -> int:
        """The byte of the layer's output at which a pixel of the work lies."""
        row = image * self.rows + self.first_row + row * self.every_row
        return row * self.row_bytes + self.offset + column * self.pixel_bytes

    @property
    def row_step(self) -> int:
        """Bytes between the work's rows."""
        return self.every_row * self.row_bytes


@dataclass(frozen=True)
class Part:
    """What one command computes of a work: rows `[top, bottom)` and pixels `[left, right)` of one image.

    Parameters
    ----------
    channels
        Of the last block; None: all that there are.
    """

    image: int
    top: int
    bottom: int
    left: int
    right: int
    channels: int | None = None


@dataclass(frozen=True)
class Chunk:
    """Packed weights for one command: whole blocks of output channels, or some of one block's passes.

    Parameters
    ----------
    work
        What they are weights of.
    offset, size
        Bytes of the layer's packed weights.
    first_block, blocks
        Its blocks.
    kernel_row, kernel_rows, kernel_column, kernel_columns, run, runs
        Its part of the kernel: the first of each and how many.
    accumulate, finish
        Whether something meets what the accumulators hold before, and what becomes of the sums.
    loaded
        Offset and size of what is loaded at once, of which it is a part; None: nothing else is.
    tiles
        Where its tiles lie in the scratchpad, where they are staged; `offset` and `size` are then of its parameters.
    """

    work: Work
    offset: int
    size: int
    first_block: int
    blocks: int
    kernel_row: int
    kernel_rows: int
    kernel_column: int
    kernel_columns: int
    run: int
    runs: int
    accumulate: bool
    finish: Finish
    loaded: tuple[int, int] | None = None
    tiles: int | None = None


@dataclass(frozen=True)
class Parameters:
    """Requantization of each output channel: int32, shape `(channels,)` or one for all."""

    bias: npt.NDArray[np.int32]
    multiplier: npt.NDArray[np.int32]
    shift: npt.NDArray[np.int32]


class Work(ABC):
    """Commands of one kind: a convolution, copied lines, a sum of pixels.

    Attributes
    ----------
    sources
        What it reads, as positions among the sources of its layer.
    target
        Where its outputs go.
    accumulate
        Whether it goes on with what the work before it left in the accumulators.
    finish
        What becomes of its sums.
    weight_zero_point
        To subtract from every weight.
    parameters
        Of the requantization.
    """

    sources: tuple[int, ...]
    target: Target
    accumulate: bool
    finish: Finish
    weight_zero_point: int
    parameters: Parameters

    @property
    @abstractmethod
    def shape(self) -> Hashable:
        """Equal for works whose commands differ in weights and parameters only."""

    @property
    @abstractmethod
    def reading(self) -> Hashable:
        """Equal for works whose `reads` and `most` are the same functions."""

    @abstractmethod
    def channels(self, config: Config) -> int:
        """Channels of an output pixel."""

    @abstractmethod
    def loops(self, config: Config) -> tuple[int, int, int]:
        """Kernel rows, kernel columns and runs of the passes for each block of output channels."""

    @abstractmethod
    def taps(self, config: Config) -> npt.NDArray[np.int8]:
        """The weights in the order of the passes, first row first, shape `(channels, passes * R)`."""

    @abstractmethod
    def pixels(self, config: Config) -> int:
        """Vectors or so of one output row: how much work a row is."""

    @abstractmethod
    def tile_rows(self, config: Config) -> int:
        """The most rows of the layer that one command should compute; the layer's rows are the bound."""

    @abstractmethod
    def reads(self, image: int, top: int, bottom: int) -> tuple[int, int]:
        """The bytes `[start, stop)` of each of its sources that rows `[top, bottom)` of an image of the layer need."""

    @abstractmethod
    def most(self, rows: int) -> int:
        """The most bytes that `reads` gives for so many rows."""

    @abstractmethod
    def parts(self, image: int, top: int, bottom: int, config: Config) -> Iterator[Part]:
        """The parts that compute rows `[top, bottom)` of an image of the layer."""

    @abstractmethod
    def fields(self, part: Part, chunk: Chunk, config: Config, sources: Sequence[int]) -> dict[str, int]:
        """The fields of a command, but for those that all works have; `sources` are scratchpad addresses."""

    def overreach(self, config: Config) -> int:
        """Bytes behind those of `reads` that may be read, and do not matter."""
        return 0

    @property
    def by_channels(self) -> bool:
        """Whether its chunks may read some channels of the source, and not others."""
        return False

    def channels_read(self, chunk: Chunk, config: Config, source: int = 0) -> Channels | None:
        """What a chunk reads of every pixel of a source at that address; None where it may read all."""
        return None

    def passes(self, config: Config) -> int:
        """Tiles of weights for each block of output channels."""
        kernel_rows, kernel_columns, runs = self.loops(config)
        return kernel_rows * kernel_columns * runs

    def blocks(self, config: Config) -> int:
        """Blocks of output channels."""
        return -(-self.channels(config) // config.columns)

    def block_bytes(self, config: Config) -> int:
        """Packed bytes of one block of output channels."""
        parameters = config.parameter_rows if self.finish else 0
        return (self.passes(config) * config.rows + parameters) * config.weight_row_bytes

    def packed_bytes(self, config: Config) -> int:
        """Packed bytes of all of its weights."""
        return self.blocks(config) * self.block_bytes(config)

    def write(self, part: Part, chunk: Chunk, config: Config, destination: int) -> tuple[dict[str, int], Access]:
        """The fields about outputs, and the bytes that they are; `destination` is where the layer's output begins."""
        last = chunk.first_block + chunk.blocks - 1
        channels = min(config.columns, part.channels or self.channels(config) - last * config.columns)
        block = chunk.first_block * config.columns
        first, final = (
            destination + self.target.address(part.image, row, column)
            for row, column in ((part.top, part.left), (part.bottom - 1, part.right - 1))
        )
        fields = {
            "blocks": chunk.blocks,
            "last_channels": channels,
            "destination": first + block,
            "destination_row_step": self.target.row_step,
            "destination_column_step": self.target.pixel_bytes,
        }
        if chunk.finish is not Finish.STORE:
            return {"last_channels": channels}, Access(Space.SCRATCHPAD, 0, 0, True)
        stop, pixel = block + (chunk.blocks - 1) * config.columns + channels, self.target.pixel_bytes
        # Of all channels there is nothing to say, nor of some that do not keep their places in pixels of one grid.
        if chunk.blocks == self.blocks(config) or stop > pixel or self.target.row_bytes % pixel:
            return fields, Access(Space.SCRATCHPAD, first, final + stop, True)
        some = Channels(pixel, first, block, stop)
        return fields, Access(Space.SCRATCHPAD, first, final + self.channels(config), True, some)


@dataclass(frozen=True, eq=False)
class Layer:
    """What the machine does for one operator.

    Parameters
    ----------
    operator
        Its index.
    sources, source_bytes
        The tensors that it reads, and their sizes.
    destination
        The tensor that it computes.
    batch, rows, row_bytes
        Its output: images, rows of each, bytes of each.
    size
        Bytes of the output: what the last row has too many does not exist.
    groups
        Its works. Those of a group go on with each other's sums, in order; groups know nothing of each other.
    """

    operator: int
    sources: tuple[int, ...]
    source_bytes: tuple[int, ...]
    destination: int
    batch: int
    rows: int
    row_bytes: int
    size: int
    groups: tuple[tuple[Work, ...], ...]

    @cached_property
    def works(self) -> tuple[Work, ...]:
        """All works, in the order of their packed weights."""
        return tuple(work for group in self.groups for work in group)

    @cached_property
    def _readers(self) -> Sequence[Sequence[Work]]:
        """For each source, the works that read it; one of those that read alike."""
        return [
            list({work.reading: work for work in self.works if position in work.sources}.values())
            for position in range(len(self.sources))
        ]

    @property
    def shape(self) -> Hashable:
        """Equal for layers whose commands differ in weights and parameters only."""
        groups = tuple(tuple(work.shape for work in group) for group in self.groups)
        return (self.source_bytes, self.batch, self.rows, self.row_bytes, self.size, groups)

    @property
    def output_rows(self) -> int:
        """Output rows of all images."""
        return self.batch * self.rows

    def span(self, first: int, last: int) -> tuple[int, int]:
        """The output bytes `[start, stop)` of output rows `[first, last)`, counted over all images."""
        return first * self.row_bytes, min(last * self.row_bytes, self.size)

    def reads(self, position: int, first: int, last: int) -> tuple[int, int]:
        """The bytes `[start, stop)` of a source that output rows `[first, last)` need; empty where they need none."""
        spans = []
        (image, top), (final, bottom) = divmod(first, self.rows), divmod(last - 1, self.rows)
        for work in self._readers[position]:
            if image == final:
                spans.append(work.reads(image, top, bottom + 1))
            else:
                spans += [work.reads(image, top, self.rows), work.reads(final, 0, bottom + 1)]
        spans = [span for span in spans if span[0] < span[1]] or spans[:1]
        return min(start for start, _ in spans), max(stop for _, stop in spans)

    def most(self, position: int, rows: int) -> int:
        """The most bytes of a source that so many output rows need."""
        if rows >= self.output_rows:
            return self.source_bytes[position]
        readers = self._readers[position]
        if len(readers) == 1:
            return min(readers[0].most(rows), self.source_bytes[position])
        spans = (self.reads(position, row, min(row + rows, self.rows)) for row in range(self.rows))
        return max(stop - start for start, stop in spans)

    def tile_rows(self, config: Config) -> int:
        """The most output rows of one tile."""
        return max(1, min(self.rows, *(work.tile_rows(config) for work in self.works)))

    def packed_bytes(self, config: Config) -> int:
        """Packed bytes of all weights."""
        return sum(work.packed_bytes(config) for work in self.works)
