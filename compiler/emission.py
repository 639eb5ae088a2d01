"""From a convolution, its tiling and the places of its tensors to commands."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace

from ..hw.commands import Mode
from ..hw.config import Config
from .hazards import Access, Space
from .lowering import Convolution
from .schedule import Schedule, Window
from .tiling import Tile, Tiling, strips_of, tiles_of
from .units import Chunk, WeightBuffer, weight_units


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

    @property
    def key(self) -> Hashable:
        """What two places have in common that differ in DRAM addresses only, which are all aligned alike."""
        window = self.window
        held = window and (window.base, window.start, window.stop, window.ready, window.dram is None)
        return (self.dram is None, held, self.stored)


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
    def key(self) -> Hashable:
        """What two sites have in common where all commands for them differ in DRAM addresses only."""
        return (self.source.key, self.destination.key, self.workspace)

    @property
    def room(self) -> int:
        """Bytes of the workspace."""
        return self.workspace[1] - self.workspace[0]


def emit(schedule: Schedule, layer: Convolution, tiling: Tiling, site: Site, weight_buffer: WeightBuffer) -> None:
    """Emits the commands of a convolution; `weight_buffer` says what is there already."""
    groups = weight_units(layer, schedule.config, tiling.unit_bytes)
    for number, (first, last) in enumerate(strips_of(layer, tiling.strip_rows)):
        room = site.workspace[0] + site.room // tiling.buffers * (number % tiling.buffers)
        reads, writes = _windows(layer, first, last, site, room, schedule.config.bus_bytes)
        # Back and forth: what the buffer still holds of the last strip's weights is used first.
        for tile, chunks, complete in _order(layer, groups[::-1] if number % 2 else groups, first, last, tiling):
            schedule.fill(reads, layer.input_rows(tile.top, tile.bottom)[1] * layer.row_bytes)
            for part in _parts(layer, tile, schedule.config):
                for chunk in chunks:
                    address = weight_buffer.require(schedule, site.weights + chunk.offset, chunk.size, _describe(chunk))
                    _execute(schedule, layer, part, chunk, reads.base, writes.base, address)
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


def _parts(layer: Convolution, tile: Tile, config: Config) -> Iterator[Tile]:
    """What single commands compute of a tile: a depthwise convolution's strips may take several."""
    if not layer.depthwise:
        yield tile
        return
    filters = layer.filters(config)
    for left, strips in filters.parts(config):
        yield replace(tile, left=left, right=left + strips * filters.outputs)


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
    if layer.depthwise:
        fields |= _stream(layer, tile, chunk, config, source)
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


def _stream(layer: Convolution, tile: Tile, chunk: Chunk, config: Config, source: int) -> dict[str, int]:
    """Where the command of a depthwise convolution differs: it streams strips, and each block its own channels."""
    filters = layer.filters(config)
    vertical, horizontal = layer.vertical, layer.horizontal
    image, top = divmod(tile.top, vertical.outputs)
    rows, strips = tile.bottom - tile.top, (tile.right - tile.left) // filters.outputs
    down, across = filters.rows * vertical.dilation, filters.columns * horizontal.dilation
    y = top * vertical.stride - vertical.before + chunk.kernel_row * down
    x = tile.left * horizontal.stride - horizontal.before + chunk.kernel_column * across
    first_byte = x * layer.channels + chunk.first_block * config.columns
    return {
        "mode": Mode.DEPTHWISE,
        "source": source + (image * vertical.size + y) * layer.row_bytes + first_byte,
        "origin_y": y,
        "origin_x": first_byte,
        "pixels": filters.vectors(rows, strips),
        "row_y": filters.row_step,
        "row_step": filters.row_step * layer.row_bytes,
        "columns": filters.width,
        "column_step": filters.column_step * layer.channels,
        "kernel_row_y": down,
        "kernel_row_step": down * layer.row_bytes,
        "kernel_column_step": across * layer.channels,
        "strip_rows": filters.height(rows),
        "strip_step": filters.outputs * horizontal.stride * layer.channels,
        "destination_strip_step": filters.outputs * layer.outputs,
        "skip_rows": filters.skip_rows,
        "skip_columns": filters.skip_columns,
        "every_row": filters.every_row,
        "every_column": filters.every_column,
    }


def _store(schedule: Schedule, layer: Convolution, tile: Tile, window: Window) -> None:
    """Stores a finished tile, whose bytes are contiguous."""
    start = _pixel(layer, tile.top, tile.left) * layer.outputs
    stop = (_pixel(layer, tile.bottom - 1, tile.right - 1) + 1) * layer.outputs
    if window.dram is None:
        raise ValueError("a tensor that is stored needs a place in DRAM")
    note = f"rows {tile.top} to {tile.bottom - 1}"
    schedule.store(address=window.base + start, dram=window.dram + start, length=stop - start, note=note)
