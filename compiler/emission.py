"""From a layer, its tiling and the places of its tensors to commands."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..hw.commands import Memory
from .hazards import Access, Space
from .schedule import Schedule, Window
from .staging import Piece, tile_bytes
from .tiling import Tile, Tiling, strips_of, tiles_of
from .units import WeightBuffer, cut_ends, staged_units, weight_units
from .work import Chunk, Layer, Part


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
    sources, destination
        Where its inputs and its output are.
    workspace
        `[start, stop)` of the scratchpad, for what passes through in strips.
    weights
        Offset of its packed weights in DRAM.
    """

    sources: tuple[Place, ...]
    destination: Place
    workspace: tuple[int, int]
    weights: int

    def copy(self) -> Site:
        """The same, for a trial."""
        sources = tuple(source.copy() for source in self.sources)
        return replace(self, sources=sources, destination=self.destination.copy())

    @property
    def key(self) -> Hashable:
        """What two sites have in common where all commands for them differ in DRAM addresses only."""
        return (*(source.key for source in self.sources), self.destination.key, self.workspace)

    @property
    def room(self) -> int:
        """Bytes of the workspace."""
        return self.workspace[1] - self.workspace[0]


def emit(
    schedule: Schedule,
    layer: Layer,
    tiling: Tiling,
    site: Site,
    weight_buffer: WeightBuffer,
    pieces: Sequence[Piece] = (),
) -> None:
    """Emits the commands of a layer; `weight_buffer` says what is there already, and `pieces` what has been staged."""
    config = schedule.config
    if pieces:
        unit_bytes = max(config.weight_bytes // 8, layer.works[0].block_bytes(config))
        tiling = replace(tiling, unit_bytes=unit_bytes, head=0, tail=0)
        groups = staged_units(layer, config, unit_bytes, pieces, tapers=tiling.tapers)
    else:
        groups = weight_units(layer, config, tiling.unit_bytes, tapers=tiling.tapers)
        # A single pixel's passes are too short to hide anything; several works hide it as they are.
        if len(layer.works) == 1 and layer.output_rows * layer.works[0].pixels(config) > 1:
            groups = cut_ends(groups, config)
    for number, (first, last) in enumerate(strips_of(layer, tiling.strip_rows)):
        room = site.workspace[0] + site.room // tiling.buffers * (number % tiling.buffers)
        reads, writes = _windows(layer, first, last, site, room, schedule.config.bus_bytes)
        # Back and forth: what the buffer still holds of the last strip's weights is used first.
        for tile, chunks, complete in _order(layer, groups[::-1] if number % 2 else groups, first, last, tiling):
            for position, window in enumerate(reads):
                schedule.fill(window, layer.reads(position, tile.top, tile.bottom)[1])
            run_tile(schedule, layer, tile, chunks, reads, writes, weight_buffer, site.weights)
            if site.destination.stored and complete:
                store_tile(schedule, layer, tile, writes)


def stage(schedule: Schedule, layer: Layer, piece: Piece, weights: int, executes: int) -> None:
    """Loads a piece of a layer's weights, which lie at `weights` in DRAM, after so many execute commands."""
    (work,) = layer.works
    schedule.load(
        dram=weights + piece.first_block * work.block_bytes(schedule.config),
        length=piece.blocks * tile_bytes(work, schedule.config),
        memory=Memory.SCRATCHPAD,
        address=piece.address,
        note=f"ahead of time: blocks {piece.first_block} to {piece.first_block + piece.blocks - 1}",
        executes=executes,
    )


def run_tile(
    schedule: Schedule,
    layer: Layer,
    tile: Tile,
    chunks: Sequence[Chunk],
    reads: Sequence[Window],
    writes: Window,
    weight_buffer: WeightBuffer,
    weights: int,
) -> None:
    """Computes a tile with some of the layer's weights, which lie at `weights` in DRAM."""
    image, top = divmod(tile.top, layer.rows)
    sources = [window.base for window in reads]
    # What goes on with sums must do so before other sums take their place.
    for part in chunks[0].work.parts(image, top, top + tile.bottom - tile.top, schedule.config):
        for chunk in chunks:
            note = _describe(chunk) if chunk.loaded is None else f"{_describe(chunk)}, and what lies beside it"
            address = weight_buffer.require(schedule, weights, chunk, note)
            _execute(schedule, layer, tile, part, chunk, sources, writes.base, address)


def _order(
    layer: Layer, groups: list[list[Chunk]], first: int, last: int, tiling: Tiling
) -> Iterator[tuple[Tile, list[Chunk], bool]]:
    """What is computed of a strip, step by step: `(tile, weights, whether that completes the tile)`."""
    middle = len(groups) - tiling.tail
    edge_tiles = tiles_of(layer, first, last, tiling.edge_rows)

    def by_tile(some: list[list[Chunk]], final: bool) -> Iterator[tuple[Tile, list[Chunk], bool]]:
        for number, tile in enumerate(edge_tiles if some else ()):
            # Back and forth here as well.
            sweep = some[::-1] if number % 2 else some
            for chunks in sweep:
                yield tile, chunks, final and chunks is sweep[-1]

    yield from by_tile(groups[: tiling.head], tiling.head == len(groups))
    for chunks in groups[tiling.head : middle]:
        for tile in tiles_of(layer, first, last, tiling.tile_rows):
            yield tile, chunks, chunks is groups[-1]
    yield from by_tile(groups[middle:], True)


def _windows(layer: Layer, first: int, last: int, site: Site, room: int, bus_bytes: int) -> tuple[list[Window], Window]:
    """The windows of inputs and output for output rows `[first, last)`; strips begin at the address `room`."""

    def strip(place: Place, start: int, stop: int, room: int) -> Window:
        if place.dram is None:
            raise ValueError("a tensor that passes through in strips needs a place in DRAM")
        # Bytes keep their lanes of the bus.
        address = room + (place.dram + start - room) % bus_bytes
        return Window(address - start, start, stop, place.dram, start)

    reads = []
    for position, source in enumerate(site.sources):
        window = source.window
        if window is None:
            window = strip(source, *layer.reads(position, first, last), room)
            room = window.base + window.stop
        reads.append(window)
    writes = site.destination.window
    if writes is None:
        writes = strip(site.destination, *layer.span(first, last), room)
    return reads, writes


def _describe(chunk: Chunk) -> str:
    blocks = f"blocks {chunk.first_block} to {chunk.first_block + chunk.blocks - 1}"
    if not chunk.accumulate and chunk.finish:
        return blocks
    return (
        f"block {chunk.first_block}, kernel rows {chunk.kernel_row}+{chunk.kernel_rows}, "
        f"columns {chunk.kernel_column}+{chunk.kernel_columns}, runs {chunk.run}+{chunk.runs}"
    )


def _execute(
    schedule: Schedule,
    layer: Layer,
    tile: Tile,
    part: Part,
    chunk: Chunk,
    sources: Sequence[int],
    destination: int,
    weights: int,
) -> None:
    """Emits the command for a part of a tile and a chunk; `sources`, `destination` and `weights` are addresses."""
    config, work = schedule.config, chunk.work
    fields, written = work.write(part, chunk, config, destination)
    fields |= work.fields(part, chunk, config, sources)
    fields |= {
        "accumulate": int(chunk.accumulate),
        "finish": int(chunk.finish),
        "weight_address": weights // config.weight_row_bytes,
        "weight_zero_point": work.weight_zero_point,
    }
    if chunk.tiles is not None:
        fields |= {"staged": 1, "tile_address": chunk.tiles // config.weight_row_bytes}
    image, top = divmod(tile.top, layer.rows)
    start, stop = work.reads(image, top, top + tile.bottom - tile.top)
    stop += work.overreach(config)
    accesses = [
        Access(Space.SCRATCHPAD, at + start, at + stop, False, work.channels_read(chunk, config, at))
        for at in (sources[i] for i in work.sources)
    ]
    accesses += [Access(Space.WEIGHTS, weights, weights + chunk.size, False), written]
    if chunk.tiles is not None:
        size = chunk.blocks * tile_bytes(work, config)
        accesses.append(Access(Space.SCRATCHPAD, chunk.tiles, chunk.tiles + size, False))
    note = f"rows {tile.top} to {tile.bottom - 1}"
    if part.left or part.right < work.pixels(config):
        note += f", columns {part.left} to {part.right - 1}"
    schedule.execute(fields, accesses, f"{note}, {_describe(chunk)}")


def store_tile(schedule: Schedule, layer: Layer, tile: Tile, window: Window) -> None:
    """Stores a finished tile, whose bytes are contiguous."""
    start, stop = layer.span(tile.top, tile.bottom)
    if window.dram is None:
        raise ValueError("a tensor that is stored needs a place in DRAM")
    note = f"rows {tile.top} to {tile.bottom - 1}"
    schedule.store(address=window.base + start, dram=window.dram + start, length=stop - start, note=note)
