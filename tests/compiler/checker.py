"""An independent judge of command streams: does every command await all it must?

It knows nothing of the compiler. From the commands alone it works out the exact bytes that each reads and writes; from
the counts, by the transitive closure of "awaits" and of the engines' own order, what has completed when each starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from eightfold.hw.commands import Command, Execute, Finish, Load, Memory, Mode, Opcode, Store
from eightfold.hw.config import Config

ENGINES = tuple(Opcode)
Bytes = npt.NDArray[np.int64]


def accesses(command: Command, config: Config) -> Iterator[tuple[str, Bytes, bool]]:
    """`(memory, addresses, whether it writes)`."""
    match command:
        case Load():
            yield "dram", np.arange(command.dram_address, command.dram_address + command.length), False
            memory = "weights" if command.memory == Memory.WEIGHTS else "scratchpad"
            yield memory, np.arange(command.address, command.address + command.length), True
        case Store():
            yield "scratchpad", np.arange(command.address, command.address + command.length), False
            yield "dram", np.arange(command.dram_address, command.dram_address + command.length), True
        case Execute():
            yield from _execute(command, config)


def _execute(c: Execute, config: Config) -> Iterator[tuple[str, Bytes, bool]]:
    passes = c.kernel_rows * c.kernel_columns * c.runs
    tiles, parameters = (c.blocks * rows for rows in (passes * config.rows, config.parameter_rows * bool(c.finish)))
    width = config.weight_row_bytes
    if c.staged:
        yield "scratchpad", np.arange(c.tile_address * width, (c.tile_address + tiles) * width), False
    rows = parameters if c.staged else tiles + parameters
    yield "weights", np.arange(c.weight_address * width, (c.weight_address + rows) * width), False
    row, column = np.divmod(np.arange(c.pixels), c.columns)
    strip, row = np.divmod(row, c.strip_rows or c.pixels)
    # Axes: kernel row, kernel column, byte, pixel.
    kernel_row = np.arange(c.kernel_rows).reshape(-1, 1, 1, 1)
    kernel_column = np.arange(c.kernel_columns).reshape(-1, 1, 1)
    size = c.blocks * config.columns if c.mode == Mode.DEPTHWISE else c.runs * config.rows
    byte = np.arange(size).reshape(-1, 1)
    y = c.origin_y + kernel_row * c.kernel_row_y + row * c.row_y
    across = kernel_column * c.kernel_column_step + byte + column * c.column_step + strip * c.strip_step
    x = c.origin_x + across
    inside = (y >= 0) & (y < c.height) & (x >= 0) & (x < c.row_bytes)
    address = c.source + kernel_row * c.kernel_row_step + row * c.row_step + across
    touched = np.zeros(config.scratchpad_bytes, np.bool_)
    touched[address[inside]] = True
    yield "scratchpad", np.flatnonzero(touched), False
    if c.finish == Finish.STORE:
        channels = (c.blocks - 1) * config.columns + c.last_channels
        down = divmod(row - c.skip_rows, c.every_row)
        right = divmod(column - c.skip_columns, c.every_column)
        pixel = c.destination + strip * c.destination_strip_step
        pixel = pixel + down[0] * c.destination_row_step + right[0] * c.destination_column_step
        pixel = pixel[(down[0] >= 0) & (down[1] == 0) & (right[0] >= 0) & (right[1] == 0)]
        if c.gather:
            pixel = pixel[-1:]
        yield "scratchpad", (pixel[:, np.newaxis] + np.arange(channels)).reshape(-1), True


def violations(commands: Sequence[Command], config: Config, dram_bytes: int) -> list[str]:
    """Every dependency between bytes that no wait guards."""
    sizes = {"dram": dram_bytes, "scratchpad": config.scratchpad_bytes, "weights": config.weight_bytes}
    # For each memory, engine and byte, the number of the last command that wrote or read it; numbers count from 1.
    writers = {name: np.zeros((3, size), np.int32) for name, size in sizes.items()}
    readers = {name: np.zeros((3, size), np.int32) for name, size in sizes.items()}
    # What has completed when command n of an engine starts.
    known: list[list[npt.NDArray[np.int64]]] = [[np.zeros(3, np.int64)] for _ in ENGINES]
    found = []
    for index, command in enumerate(commands):
        own = ENGINES.index(command.opcode)
        waits = [getattr(command, f"wait_{engine.name.lower()}", 0) for engine in ENGINES]
        done = known[own][-1].copy()
        for engine, count in enumerate(waits):
            if count >= len(known[engine]):
                found.append(f"command {index} awaits {ENGINES[engine].name} {count}, which comes later: {command}")
                continue
            done = np.maximum(done, known[engine][count])
            done[engine] = max(done[engine], count)
        known[own].append(done)
        number = len(known[own]) - 1
        touched = list(accesses(command, config))
        for memory, addresses, write in touched:
            for engine in range(3):
                raw_in_array = engine == own and command.opcode is Opcode.EXECUTE and not write
                if engine == own and not raw_in_array:
                    continue
                last = writers[memory][engine, addresses].max(initial=0)
                if write:
                    last = max(last, readers[memory][engine, addresses].max(initial=0))
                if last > done[engine]:
                    found.append(f"command {index} does not await {ENGINES[engine].name} {last} ({memory}): {command}")
        for memory, addresses, write in touched:
            (writers if write else readers)[memory][own, addresses] = number
    return found
