"""How a layer is cut into strips, which pass through the scratchpad, and tiles, which commands compute."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..hw.config import Config

if TYPE_CHECKING:
    from .work import Layer


@dataclass(frozen=True)
class Tiling:
    """How to cut a layer.

    Parameters
    ----------
    strip_rows
        Output rows whose input and output are in the scratchpad at once.
    buffers
        Strips that have room at once: 2 lets the next strip be loaded while this one is computed.
    tile_rows
        Output rows that are computed before others are: those of one command, whose sums fit the accumulators; where
        even one row's do not, it takes several commands.
    unit_bytes
        The most weights that one load brings and one command uses.
    head, tail
        How many of a strip's first and last groups of blocks are computed tile by tile, so that what follows them can
        begin early: the first tiles while input still arrives, the stores while later tiles are still computed. The
        groups in between are computed one after the other for all tiles, which asks for each one's weights just once.
    edge_rows
        Output rows of a tile in head and tail.
    tapers
        Whether the last of many units is short, as nothing follows in whose shadow it could be computed.
    """

    strip_rows: int
    buffers: int
    tile_rows: int
    unit_bytes: int
    head: int
    tail: int
    edge_rows: int
    tapers: bool = False


@dataclass(frozen=True)
class Tile:
    """Output rows `[top, bottom)`, counted over all images, but all of one."""

    top: int
    bottom: int


def split(total: int, most: int) -> Iterator[tuple[int, int]]:
    """`(start, count)` of as few, equal parts as there can be with at most `most` each."""
    parts = -(-total // most)
    for i in range(parts):
        yield total * i // parts, total * (i + 1) // parts - total * i // parts


def tiles_of(layer: Layer, first: int, last: int, rows: int) -> list[Tile]:
    """Output rows `[first, last)` in tiles of at most so many rows, in order."""
    tiles = []
    while first < last:
        end = min(last, (first // layer.rows + 1) * layer.rows)
        tiles += [Tile(first + start, first + start + count) for start, count in split(end - first, rows)]
        first = end
    return tiles


def strips_of(layer: Layer, rows: int) -> Iterator[tuple[int, int]]:
    """Output rows `[first, last)` of each strip: all of them at once, or parts of one image."""
    if rows >= layer.output_rows:
        yield 0, layer.output_rows
        return
    for image in range(layer.batch):
        for start, count in split(layer.rows, rows):
            first = image * layer.rows + start
            yield first, first + count


def strip_bytes(layer: Layer, rows: int, config: Config, whole: Collection[int] = ()) -> int:
    """The most bytes that a strip of so many output rows needs; the tensors `whole` are in the scratchpad anyway."""
    size = 0
    for position, tensor in enumerate(layer.sources):
        if tensor not in whole:
            size += layer.most(position, rows) + config.bus_bytes - 1
    if layer.destination not in whole:
        size += rows * layer.row_bytes + config.bus_bytes - 1
    return size


def row_needs(layer: Layer, config: Config) -> str:
    """What `strip_bytes` says of one row, in words that the bytes in all end."""
    inputs = " and ".join(str(layer.most(position, 1)) for position in range(len(layer.sources)))
    return (
        f"an output row has {layer.row_bytes} bytes, the rows that it is computed from {inputs}; aligned to the bus "
        f"they need {strip_bytes(layer, 1, config)}"
    )
