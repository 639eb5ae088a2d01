"""How one convolution is cut into commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from ..hw.commands import Memory
from ..hw.config import Config
from .hazards import Access, Space
from .lowering import Convolution
from .packing import PARAMETER_ROWS
from .schedule import Schedule, Window

MAX_PIXELS = (1 << 16) - 1


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
class Chunk:
    """Packed weights for one command: whole blocks of output channels, or some of one block's passes.

    Parameters
    ----------
    offset, size
        Bytes of the layer's packed weights.
    first_block, blocks
        Its blocks.
    kernel_row, kernel_rows, kernel_column, kernel_columns, run, runs
        Its part of the kernel: the first of each and how many.
    accumulate, finish
        Whether passes of the same block come before, and whether none comes after.
    """

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
    finish: bool


@dataclass(frozen=True)
class Tile:
    """Output rows `[top, bottom)`, counted over all images, and columns `[left, right)`."""

    top: int
    bottom: int
    left: int
    right: int


def block_bytes(layer: Convolution, config: Config) -> int:
    """Packed bytes of one block of output channels."""
    return (layer.passes(config.rows) * config.rows + PARAMETER_ROWS) * config.weight_row_bytes


def packed_bytes(layer: Convolution, config: Config) -> int:
    """Bytes of all packed weights of a layer."""
    return -(-layer.outputs // config.columns) * block_bytes(layer, config)


def smallest_unit(config: Config) -> int:
    """The fewest bytes of weights that any convolution can be cut into: one tile and its parameters."""
    return (config.rows + PARAMETER_ROWS) * config.weight_row_bytes


def weight_units(layer: Convolution, config: Config, unit_bytes: int) -> list[list[Chunk]]:
    """The layer's weights in units of at most `unit_bytes`, in the order of the packed image.

    Returns
    -------
    Lists of chunks that complete some blocks of output channels: one chunk, or the parts of one block.
    """
    rows, width = config.rows, config.weight_row_bytes
    blocks = -(-layer.outputs // config.columns)
    each = block_bytes(layer, config)
    kernel_rows, kernel_columns, runs = layer.vertical.kernel, layer.kernel_columns, layer.runs(rows)
    if each <= unit_bytes:
        units = -(-blocks // (unit_bytes // each))
        bounds = [blocks * i // units for i in range(units + 1)]
        return [
            [Chunk(a * each, (b - a) * each, a, b - a, 0, kernel_rows, 0, kernel_columns, 0, runs, False, True)]
            for a, b in pairwise(bounds)
        ]
    parts = list(_kernel_parts(kernel_rows, kernel_columns, runs, (unit_bytes // width - PARAMETER_ROWS) // rows))
    groups = []
    for block in range(blocks):
        chunks, offset = [], block * each
        for number, (row, row_count, column, column_count, run, run_count) in enumerate(parts):
            finish = number == len(parts) - 1
            size = (row_count * column_count * run_count * rows + (PARAMETER_ROWS if finish else 0)) * width
            chunks.append(
                Chunk(offset, size, block, 1, row, row_count, column, column_count, run, run_count, number > 0, finish)
            )
            offset += size
        groups.append(chunks)
    return groups


def _kernel_parts(rows: int, columns: int, runs: int, passes: int) -> Iterator[tuple[int, int, int, int, int, int]]:
    """A kernel in parts of at most `passes` passes: whole rows of it if they fit, else columns, else runs."""
    if columns * runs <= passes:
        for row, count in _split(rows, passes // (columns * runs)):
            yield row, count, 0, columns, 0, runs
        return
    for row in range(rows):
        if runs <= passes:
            for column, count in _split(columns, passes // runs):
                yield row, 1, column, count, 0, runs
            continue
        for column in range(columns):
            for run, count in _split(runs, passes):
                yield row, 1, column, 1, run, count


def _split(total: int, most: int) -> Iterator[tuple[int, int]]:
    """`(start, count)` of as few, equal parts as there can be with at most `most` each."""
    parts = -(-total // most)
    for i in range(parts):
        yield total * i // parts, total * (i + 1) // parts - total * i // parts


def tiles_of(layer: Convolution, first: int, last: int, rows: int, columns: int) -> list[Tile]:
    """Output rows `[first, last)` in tiles of at most so many rows and columns, in raster order, each of one image."""
    tiles = []
    height, width = layer.vertical.outputs, layer.horizontal.outputs
    while first < last:
        end = min(last, (first // height + 1) * height)
        for start, count in _split(end - first, rows):
            tiles += [
                Tile(first + start, first + start + count, left, left + some) for left, some in _split(width, columns)
            ]
        first = end
    return tiles


class WeightBuffer:
    """What lies where in the weight buffer. What has not been used for longest makes room."""

    def __init__(self, config: Config) -> None:
        self._config = config
        # By offset in DRAM and size: the address. In the order of their last use.
        self._held: dict[tuple[int, int], int] = {}

    def require(self, schedule: Schedule, dram: int, size: int, note: str) -> int:
        """The address of `size` bytes of weights, loaded if they are not there."""
        key = (dram, size)
        address = self._held.pop(key, None)
        if address is None:
            address = self._make_room(dram, size)
            schedule.load(dram=dram, length=size, memory=Memory.WEIGHTS, address=address, note=note)
        self._held[key] = address
        return address

    def _make_room(self, dram: int, size: int) -> int:
        bus = self._config.bus_bytes
        held = [(address, address + length) for (_, length), address in self._held.items()]

        def age(address: int) -> int:
            """How recently the last of what is in the way was used; -1 where nothing is."""
            return max((i for i, (a, b) in enumerate(held) if a < address + size and address < b), default=-1)

        # Bytes keep their lanes of the bus.
        starts = (start + (dram - start) % bus for start in {0, *(stop for _, stop in held)})
        address = min(
            (start for start in starts if start + size <= self._config.weight_bytes), key=lambda s: (age(s), s)
        )
        self._held = {k: a for k, a in self._held.items() if a + k[1] <= address or address + size <= a}
        return address


@dataclass(frozen=True, eq=False)
class Place:
    """Where a tensor is during a step.

    Parameters
    ----------
    dram
        Its offset in DRAM; None where it never lies there.
    window
        Where it lies whole in the scratchpad; None where it passes through in strips.
    stored
        Whether its producer is to store it to DRAM.
    """

    dram: int | None
    window: Window | None
    stored: bool

    def copy(self) -> Place:
        """The same, for a trial: what is loaded there is not loaded here."""
        return replace(self, window=replace(self.window) if self.window else None)


@dataclass(frozen=True, eq=False)
class Site:
    """What a layer works on.

    Parameters
    ----------
    source, destination
        Where its input and output are.
    workspace
        `[start, stop)` of the scratchpad, for what passes through in strips.
    weights
        Offset of its packed weights in DRAM.
    """

    source: Place
    destination: Place
    workspace: tuple[int, int]
    weights: int

    def copy(self) -> Site:
        """The same, for a trial."""
        return replace(self, source=self.source.copy(), destination=self.destination.copy())

    @property
    def room(self) -> int:
        """Bytes of the workspace."""
        return self.workspace[1] - self.workspace[0]


def emit(schedule: Schedule, layer: Convolution, tiling: Tiling, site: Site, weight_buffer: WeightBuffer) -> None:
    """Emits the commands of a convolution; `weight_buffer` says what is there already."""
    groups = weight_units(layer, schedule.config, tiling.unit_bytes)
    for number, (first, last) in enumerate(_strips(layer, tiling.strip_rows)):
        room = site.workspace[0] + site.room // tiling.buffers * (number % tiling.buffers)
        reads, writes = _windows(layer, first, last, site, room, schedule.config.bus_bytes)
        # Back and forth: what the buffer still holds of the last strip's weights is used first.
        for tile, chunks, complete in _order(layer, groups[::-1] if number % 2 else groups, first, last, tiling):
            schedule.fill(reads, layer.input_rows(tile.top, tile.bottom)[1] * layer.row_bytes)
            for chunk in chunks:
                address = weight_buffer.require(schedule, site.weights + chunk.offset, chunk.size, _describe(chunk))
                _execute(schedule, layer, tile, chunk, reads.base, writes.base, address)
            if site.destination.stored and complete:
                _store(schedule, layer, tile, writes)


def _order(
    layer: Convolution, groups: list[list[Chunk]], first: int, last: int, tiling: Tiling
) -> Iterator[tuple[Tile, list[Chunk], bool]]:
    """What is computed of a strip, step by step: `(tile, weights, whether that completes the tile)`."""
    middle = len(groups) - tiling.tail
    edge_tiles = tiles_of(layer, first, last, tiling.edge_rows, tiling.tile_columns)

    def by_tile(some: list[list[Chunk]], final: bool) -> Iterator[tuple[Tile, list[Chunk], bool]]:
        for number, tile in enumerate(edge_tiles if some else ()):
            # Back and forth here as well.
            sweep = some[::-1] if number % 2 else some
            for chunks in sweep:
                yield tile, chunks, final and chunks is sweep[-1]

    yield from by_tile(groups[: tiling.head], tiling.head == len(groups))
    for chunks in groups[tiling.head : middle]:
        for tile in tiles_of(layer, first, last, tiling.tile_rows, tiling.tile_columns):
            yield tile, chunks, chunks is groups[-1]
    yield from by_tile(groups[middle:], True)


def _strips(layer: Convolution, rows: int) -> Iterator[tuple[int, int]]:
    """Output rows `[first, last)` of each strip: all of them at once, or parts of one image."""
    if rows >= layer.output_rows:
        yield 0, layer.output_rows
        return
    for image in range(layer.batch):
        for start, count in _split(layer.vertical.outputs, rows):
            first = image * layer.vertical.outputs + start
            yield first, first + count


def strip_bytes(
    layer: Convolution, rows: int, config: Config, *, source_whole: bool = False, destination_whole: bool = False
) -> int:
    """The most bytes that a strip of so many output rows needs, for what is not whole in the scratchpad."""
    size = 0
    if not source_whole:
        reach = (layer.vertical.kernel - 1) * layer.vertical.dilation + 1
        most = layer.rows if rows >= layer.output_rows else (rows - 1) * layer.vertical.stride + reach
        size += min(most, layer.rows) * layer.row_bytes + config.bus_bytes - 1
    if not destination_whole:
        size += rows * layer.output_row_bytes + config.bus_bytes - 1
    return size


def _windows(layer: Convolution, first: int, last: int, site: Site, room: int, bus_bytes: int) -> tuple[Window, Window]:
    """The windows of input and output for output rows `[first, last)`; strips begin at the address `room`."""

    def strip(place: Place, start: int, stop: int, room: int) -> Window:
        if place.dram is None:
            raise ValueError("a tensor that passes through in strips needs a place in DRAM")
        # Bytes keep their lanes of the bus.
        address = room + (place.dram + start - room) % bus_bytes
        return Window(address - start, start, stop, place.dram, start)

    reads, writes = site.source.window, site.destination.window
    if reads is None:
        start, stop = layer.input_rows(first, first + 1)[0], layer.input_rows(last - 1, last)[1]
        reads = strip(site.source, start * layer.row_bytes, stop * layer.row_bytes, room)
        room = reads.base + reads.stop
    if writes is None:
        writes = strip(site.destination, first * layer.output_row_bytes, last * layer.output_row_bytes, room)
    return reads, writes


def _describe(chunk: Chunk) -> str:
    blocks = f"blocks {chunk.first_block} to {chunk.first_block + chunk.blocks - 1}"
    if not chunk.accumulate and chunk.finish:
        return blocks
    return (
        f"block {chunk.first_block}, kernel rows {chunk.kernel_row}+{chunk.kernel_rows}, "
        f"columns {chunk.kernel_column}+{chunk.kernel_columns}, runs {chunk.run}+{chunk.runs}"
    )


def _pixel(layer: Convolution, row: int, column: int) -> int:
    """The number of an output pixel, over all images."""
    return row * layer.horizontal.outputs + column


def _execute(
    schedule: Schedule, layer: Convolution, tile: Tile, chunk: Chunk, source: int, destination: int, weights: int
) -> None:
    """Emits the command for a tile and a chunk; `source`, `destination` and `weights` are byte addresses."""
    config = schedule.config
    vertical, horizontal = layer.vertical, layer.horizontal
    image, top = divmod(tile.top, vertical.outputs)
    left = tile.left * horizontal.stride - horizontal.before
    columns = tile.right - tile.left
    column_bytes = horizontal.dilation * layer.channels
    y = top * vertical.stride - vertical.before + chunk.kernel_row * vertical.dilation
    x = left * layer.channels + chunk.kernel_column * column_bytes + chunk.run * config.rows
    last_block = chunk.first_block + chunk.blocks - 1
    first_byte = destination + _pixel(layer, tile.top, tile.left) * layer.outputs + chunk.first_block * config.columns
    last_channels = min(config.columns, layer.outputs - last_block * config.columns)
    fields = {
        "accumulate": int(chunk.accumulate),
        "finish": int(chunk.finish),
        "weight_address": weights // config.weight_row_bytes,
        "blocks": chunk.blocks,
        "last_channels": last_channels,
        "fill": layer.fill,
        "weight_zero_point": layer.weight_zero_point,
        "source": source + (image * vertical.size + y) * layer.row_bytes + x,
        "row_bytes": layer.row_bytes,
        "height": vertical.size,
        "origin_y": y,
        "origin_x": x,
        "pixels": (tile.bottom - tile.top) * columns,
        "row_y": vertical.stride,
        "row_step": vertical.stride * layer.row_bytes,
        "columns": columns,
        "column_step": horizontal.stride * layer.channels,
        "kernel_rows": chunk.kernel_rows,
        "kernel_row_y": vertical.dilation,
        "kernel_row_step": vertical.dilation * layer.row_bytes,
        "kernel_columns": chunk.kernel_columns,
        "kernel_column_step": column_bytes,
        "runs": chunk.runs,
        "destination": first_byte,
        "destination_row_step": layer.output_row_bytes,
        "destination_column_step": layer.outputs,
        "zero_point": layer.zero_point,
        "lower": layer.lower,
        "upper": layer.upper,
    }
    if layer.pointwise:
        # A column of such pixels is as well a row: as a column, a long one fits no field.
        pixels = tile.bottom - tile.top
        fields |= {
            "row_bytes": pixels * layer.channels,
            "height": 1,
            "origin_y": 0,
            "row_y": 0,
            "row_step": 0,
            "columns": pixels,
            "column_step": layer.channels,
            "kernel_row_step": 0,
            "kernel_row_y": 0,
            "destination_row_step": 0,
        }
    rows = layer.input_rows(tile.top, tile.bottom)
    accesses = [
        Access(Space.SCRATCHPAD, source + rows[0] * layer.row_bytes, source + rows[1] * layer.row_bytes, False),
        Access(Space.WEIGHTS, weights, weights + chunk.size, False),
    ]
    if chunk.finish:
        last_byte = destination + _pixel(layer, tile.bottom - 1, tile.right - 1) * layer.outputs
        stop = last_byte + last_block * config.columns + last_channels
        accesses.append(Access(Space.SCRATCHPAD, first_byte, stop, True))
    note = f"rows {tile.top} to {tile.bottom - 1}"
    if columns < horizontal.outputs:
        note += f", columns {tile.left} to {tile.right - 1}"
    schedule.execute(fields, accesses, f"{note}, {_describe(chunk)}")


def _store(schedule: Schedule, layer: Convolution, tile: Tile, window: Window) -> None:
    """Stores a finished tile, whose bytes are contiguous."""
    start = _pixel(layer, tile.top, tile.left) * layer.outputs
    stop = (_pixel(layer, tile.bottom - 1, tile.right - 1) + 1) * layer.outputs
    if window.dram is None:
        raise ValueError("a tensor that is stored needs a place in DRAM")
    note = f"rows {tile.top} to {tile.bottom - 1}"
    schedule.store(address=window.base + start, dram=window.dram + start, length=stop - start, note=note)
