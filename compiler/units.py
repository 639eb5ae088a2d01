"""How a convolution's packed weights are cut into what one load brings, and where that lies in the weight buffer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ..hw.commands import Memory
from ..hw.config import Config
from .lowering import Convolution
from .schedule import Schedule


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


def block_bytes(layer: Convolution, config: Config) -> int:
    """Packed bytes of one block of output channels."""
    return (layer.passes(config) * config.rows + config.parameter_rows) * config.weight_row_bytes


def packed_bytes(layer: Convolution, config: Config) -> int:
    """Bytes of all packed weights of a layer."""
    return -(-layer.outputs // config.columns) * block_bytes(layer, config)


def smallest_unit(config: Config) -> int:
    """The fewest bytes of weights that any convolution can be cut into: one tile and its parameters."""
    return (config.rows + config.parameter_rows) * config.weight_row_bytes


def weight_units(layer: Convolution, config: Config, unit_bytes: int) -> list[list[Chunk]]:
    """The layer's weights in units of at most `unit_bytes`, in the order of the packed image.

    Returns
    -------
    Lists of chunks that complete some blocks of output channels: one chunk, or the parts of one block.
    """
    rows, width = config.rows, config.weight_row_bytes
    blocks = -(-layer.outputs // config.columns)
    each = block_bytes(layer, config)
    kernel_rows, kernel_columns, runs = layer.loops(config)
    if each <= unit_bytes:
        units = -(-blocks // (unit_bytes // each))
        bounds = [blocks * i // units for i in range(units + 1)]
        return [
            [Chunk(a * each, (b - a) * each, a, b - a, 0, kernel_rows, 0, kernel_columns, 0, runs, False, True)]
            for a, b in pairwise(bounds)
        ]
    parts = list(
        _kernel_parts(kernel_rows, kernel_columns, runs, (unit_bytes // width - config.parameter_rows) // rows)
    )
    groups = []
    for block in range(blocks):
        chunks, offset = [], block * each
        for number, (row, row_count, column, column_count, run, run_count) in enumerate(parts):
            finish = number == len(parts) - 1
            size = (row_count * column_count * run_count * rows + (config.parameter_rows if finish else 0)) * width
            chunks.append(
                Chunk(offset, size, block, 1, row, row_count, column, column_count, run, run_count, number > 0, finish)
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


def split(total: int, most: int) -> Iterator[tuple[int, int]]:
    """`(start, count)` of as few, equal parts as there can be with at most `most` each."""
    parts = -(-total // most)
    for i in range(parts):
        yield total * i // parts, total * (i + 1) // parts - total * i // parts


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
