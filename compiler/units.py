"""How a layer's packed weights are cut into what one load brings, and where that lies in the weight buffer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from ..hw.commands import Finish, Memory
from ..hw.config import Config
from .schedule import Schedule
from .staging import Piece, tile_bytes
from .tiling import split
from .work import Chunk, Layer, Work


def smallest_unit(config: Config) -> int:
    """The fewest bytes of weights that any work can be cut into: one tile and its parameters."""
    return (config.rows + config.parameter_rows) * config.weight_row_bytes


def weight_units(layer: Layer, config: Config, unit_bytes: int, *, tapers: bool = False) -> list[list[Chunk]]:
    """The layer's weights in units of at most `unit_bytes`, in the order of the packed image.

    Where it `tapers`, the last of many units is short: little is left to compute when it has arrived.

    Returns
    -------
    Lists of chunks that complete some outputs: one chunk, the parts of one block, or those of a group of works.
    """
    groups, offset = [], 0
    for works in layer.groups:
        if len(works) == 1:
            groups += _work_units(works[0], config, unit_bytes, offset, tapers, works[0].blocks(config))
            offset += works[0].packed_bytes(config)
            continue
        chunks = []
        for work in works:
            chunks.append(_whole(work, offset, 0, work.blocks(config), config))
            offset += chunks[-1].size
        groups.append(chunks)
    if len(layer.works) > 1 and offset <= unit_bytes:
        # Many small things are loaded as one.
        return [[replace(chunk, loaded=(0, offset)) for chunk in chunks] for chunks in groups]
    return groups


def cut_ends(groups: list[list[Chunk]], config: Config) -> list[list[Chunk]]:
    """The same commands, with two ends cut off as commands of their own, so that layers that follow each other overlap.

    One is the last block of channels: what reads the other channels need not await it. The other is the last run of the
    first block: what is before it need not await the last channels of the input. Both only for works that read
    `by_channels`; others would but have more commands to fetch.
    """
    if not groups[0][0].work.by_channels:
        return groups
    groups = list(groups)
    if len(groups[-1]) == 1:
        groups[-1] = _cut_last_block(groups[-1][0])
    return [_cut_last_run(groups[0][0], config) + groups[0][1:], *groups[1:]]


def _cut_last_block(chunk: Chunk) -> list[Chunk]:
    if chunk.blocks == 1:
        return [chunk]
    size = chunk.size // chunk.blocks
    last = chunk.size - size
    loaded = chunk.loaded or (chunk.offset, chunk.size)
    return [
        replace(chunk, blocks=chunk.blocks - 1, size=last, loaded=loaded),
        replace(
            chunk,
            first_block=chunk.first_block + chunk.blocks - 1,
            blocks=1,
            offset=chunk.offset + last,
            size=size,
            loaded=loaded,
        ),
    ]


def _cut_last_run(chunk: Chunk, config: Config) -> list[Chunk]:
    runs = chunk.runs - 1
    if chunk.kernel_rows * chunk.kernel_columns > 1 or not runs or not chunk.finish:
        return [chunk]
    size, block = runs * config.rows * config.weight_row_bytes, chunk.size // chunk.blocks
    part = replace(chunk, blocks=1, size=size, loaded=chunk.loaded or (chunk.offset, chunk.size))
    first = replace(part, runs=runs, finish=Finish.KEEP)
    if chunk.work.channels_read(first, config) is None:
        return [chunk]
    last = replace(part, run=chunk.run + runs, runs=1, offset=part.offset + size, size=block - size, accumulate=True)
    chunks = [first, last]
    if chunk.blocks > 1:
        rest = replace(part, first_block=chunk.first_block + 1, blocks=chunk.blocks - 1)
        chunks.append(replace(rest, offset=part.offset + block, size=chunk.size - block))
    return chunks


def staged_units(
    layer: Layer, config: Config, unit_bytes: int, pieces: Sequence[Piece], *, tapers: bool = False
) -> list[list[Chunk]]:
    """The units of a layer whose blocks from the first piece's on are staged, those among the others.

    The bus loads what is not staged while the array works through what is.
    """
    (work,) = layer.works
    first, end = pieces[0].first_block, work.blocks(config)
    units = _work_units(work, config, unit_bytes, 0, tapers, first) if first else []
    gaps = max(1, len(units) - 1)
    bounds = sorted({first + (end - first) * i // gaps for i in range(gaps + 1)} | {p.first_block for p in pieces})
    staged = [[_staged(work, a, b - a, pieces, config)] for a, b in pairwise(bounds)]
    groups: list[list[Chunk]] = []
    for i in range(gaps):
        groups += units[i : i + 1]
        until = first + (end - first) * (i + 1) // gaps
        groups += [chunks for chunks in staged if first + (end - first) * i // gaps <= chunks[0].first_block < until]
    return groups + units[gaps:]


def _staged(work: Work, block: int, blocks: int, pieces: Sequence[Piece], config: Config) -> Chunk:
    """Some blocks of a piece, in whose image all tiles lie before all parameters."""
    piece = next(piece for piece in reversed(pieces) if piece.first_block <= block)
    tiles, whole = tile_bytes(work, config), work.block_bytes(config)
    parameters = piece.first_block * whole + piece.blocks * tiles
    before = block - piece.first_block
    return replace(
        _whole(work, 0, block, blocks, config),
        offset=parameters + before * (whole - tiles),
        size=blocks * (whole - tiles),
        loaded=(parameters, piece.blocks * (whole - tiles)),
        tiles=piece.address + before * tiles,
    )


def _whole(work: Work, offset: int, first: int, blocks: int, config: Config) -> Chunk:
    """All passes of some blocks."""
    kernel_rows, kernel_columns, runs = work.loops(config)
    size = blocks * work.block_bytes(config)
    return Chunk(
        *(work, offset, size, first, blocks, 0, kernel_rows, 0, kernel_columns, 0, runs),
        *(work.accumulate, work.finish),
    )


def _work_units(
    work: Work, config: Config, unit_bytes: int, offset: int, tapers: bool, blocks: int
) -> list[list[Chunk]]:
    """The weights of a work's first blocks, which begin at `offset`."""
    rows, width = config.rows, config.weight_row_bytes
    each = work.block_bytes(config)
    if each <= unit_bytes:
        units = -(-blocks // (unit_bytes // each))
        bounds = [blocks * i // units for i in range(units + 1)]
        if tapers and units > 2 and bounds[-1] - bounds[-2] > 1:
            bounds.insert(-1, blocks - 1)
        return [[_whole(work, offset + a * each, a, b - a, config)] for a, b in pairwise(bounds)]
    parts = list(_kernel_parts(*work.loops(config), (unit_bytes // width - config.parameter_rows) // rows))
    groups = []
    for block in range(blocks):
        chunks = []
        for number, (row, row_count, column, column_count, run, run_count) in enumerate(parts):
            last = number == len(parts) - 1
            finish = work.finish if last else Finish.KEEP
            size = (row_count * column_count * run_count * rows + (config.parameter_rows if finish else 0)) * width
            chunks.append(
                Chunk(
                    *(work, offset, size, block, 1, row, row_count, column, column_count, run, run_count),
                    *(work.accumulate or number > 0, finish),
                )
            )
            offset += size
        groups.append(chunks)
    return groups


def _kernel_parts(rows: int, columns: int, runs: int, passes: int) -> Iterator[tuple[int, int, int, int, int, int]]:
    """A kernel in parts of at most `passes` passes: whole rows of it if they fit, else columns, else runs."""
    if columns * runs <= passes:
        for row, count in split(rows, passes // (columns * runs)):
            yield row, count, 0, columns, 0, runs
        return
    for row in range(rows):
        if runs <= passes:
            for column, count in split(columns, passes // runs):
                yield row, 1, column, count, 0, runs
            continue
        for column in range(columns):
            for run, count in split(runs, passes):
                yield row, 1, column, 1, run, count


class WeightBuffer:
    """What lies where in the weight buffer. What has not been used for longest makes room.

    Parameters
    ----------
    config
        The machine.
    resident
        All packed weights are there before the stream begins, each at the address that is its offset in DRAM.
    """

    def __init__(self, config: Config, *, resident: bool = False) -> None:
        self._config = config
        self._resident = resident
        # By offset in DRAM and size: the address. In the order of their last use.
        self._held: dict[tuple[int, int], int] = {}

    def require(self, schedule: Schedule, weights: int, chunk: Chunk, note: str) -> int:
        """The address of a chunk, loaded if it is not there; its layer's packed weights lie at `weights` in DRAM."""
        if self._resident:
            return weights + chunk.offset
        offset, size = chunk.loaded or (chunk.offset, chunk.size)
        key = dram, size = weights + offset, size
        address = self._held.pop(key, None)
        if address is None:
            address = self._make_room(dram, size)
            schedule.load(dram=dram, length=size, memory=Memory.WEIGHTS, address=address, note=note)
        self._held[key] = address
        return address + chunk.offset - offset

    def _make_room(self, dram: int, size: int) -> int:
        bus = self._config.bus_bytes
        held = [(address, address + length) for (_, length), address in self._held.items()]

        def age(address: int) -> int:
            """How recently the last of what is in the way was used; -1 where nothing is."""
            latest = range(len(held) - 1, -1, -1)
            return next((i for i in latest if held[i][0] < address + size and address < held[i][1]), -1)

        # Bytes keep their lanes of the bus.
        starts = (start + (dram - start) % bus for start in {0, *(stop for _, stop in held)})
        address = min(
            (start for start in starts if start + size <= self._config.weight_bytes), key=lambda s: (age(s), s)
        )
        self._held = {k: a for k, a in self._held.items() if a + k[1] <= address or address + size <= a}
        return address
