"""How a convolution is cut into strips, which pass through the scratchpad, and tiles, which commands compute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..hw.config import Config
from .lowering import Convolution
from .units import split


@dataclass(frozen=True)
class Tiling:
    """How to cut a convolution.

    Parameters
    ----------
    strip_rows
        Output rows whose input and output are in the scratchpad at once.
    buffers
        Strips that have room at once: 2 lets the next strip be loaded while this one is computed.
    tile_rows, tile_columns
        Output rows and columns of one command, whose sums fit the accumulators; parts of a row are tiles by themselves.
    unit_bytes
        The most weights that one load brings and one command uses.
    head, tail
        How many of a strip's first and last groups of blocks are computed tile by tile, so that what follows them can
        begin early: the first tiles while input still arrives, the stores while later tiles are still computed. The
        groups in between are computed one after the other for all tiles, which asks for each one's weights just once.
    edge_rows
        Output rows of a tile in head and tail.
    """

    strip_rows: int
    buffers: int
    tile_rows: int
    tile_columns: int
    unit_bytes: int
    head: int
    tail: int
    edge_rows: int


@dataclass(frozen=True)
class Tile:
    """Output rows `[top, bottom)`, counted over all images, and columns `[left, right)`."""

    top: int
    bottom: int
    left: int
    right: int


def tiles_of(layer: Convolution, first: int, last: int, rows: int, columns: int) -> list[Tile]:
    """Output rows `[first, last)` in tiles of at most so many rows and columns, in raster order, each of one image."""
    tiles = []
    height, width = layer.vertical.outputs, layer.horizontal.outputs
    while first < last:
        end = min(last, (first // height + 1) * height)
        for start, count in split(end - first, rows):
            tiles += [
                Tile(first + start, first + start + count, left, left + some) for left, some in split(width, columns)
            ]
        first = end
    return tiles


def strips_of(layer: Convolution, rows: int) -> Iterator[tuple[int, int]]:
    """Output rows `[first, last)` of each strip: all of them at once, or parts of one image."""
    if rows >= layer.output_rows:
        yield 0, layer.output_rows
        return
    for image in range(layer.batch):
        for start, count in split(layer.vertical.outputs, rows):
            first = image * layer.vertical.outputs + start
            yield first, first + count


def strip_bytes(
    layer: Convolution, rows: int, config: Config, *, source_whole: bool = False, destination_whole: bool = False
) -> int:
    """The most bytes that a strip of so many output rows needs, for what is not whole in the scratchpad."""
    size = 0
    if not source_whole:
        reached = (rows - 1) * layer.vertical.stride + layer.vertical.reach
        most = layer.rows if rows >= layer.output_rows else reached
        size += min(most, layer.rows) * layer.row_bytes + config.bus_bytes - 1
    if not destination_whole:
        size += rows * layer.output_row_bytes + config.bus_bytes - 1
    return size
