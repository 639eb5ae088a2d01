"""An estimate of when commands run, good enough to choose between schedules and to order a stream.

It sees three engines that work through their commands in order, and each command's dependencies. It is no cycle model:
it leaves out collisions in the scratchpad, the bus's details and the fetching of commands.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..hw.commands import WORD_BITS, Execute, Load, Mode, Opcode, Store
from ..hw.config import Config

DRAM_LATENCY = 64
"""Cycles from a request to its first data: what the estimate assumes."""


class Clock:
    """The time at which each engine is free, and at which each of its commands has completed. In cycles.

    Attributes
    ----------
    end
        When everything has completed.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._free = dict.fromkeys(Opcode, 0)
        self._done: dict[Opcode, list[int]] = {opcode: [0] for opcode in Opcode}
        self.end = 0

    def run(self, command: Load | Execute | Store, busy: int, awaited: Mapping[Opcode, int]) -> int:
        """Takes the next command of its engine, which it keeps `busy` for so many cycles; returns when it starts."""
        config, free = self._config, self._free
        opcode = command.opcode
        # Command words come through the channel that loads use.
        free[Opcode.LOAD] += -(-command.words() * WORD_BITS // config.bus_bits)
        ready = 0
        for other, count in awaited.items():
            ready = max(ready, self._done[other][count])
        if opcode is Opcode.EXECUTE:
            # The first tile of weights moves in while the last pass of the command before streams.
            start = max(free[opcode] - config.rows, ready)
            free[opcode] = start + config.rows + busy
            done = free[opcode] + config.rows + config.columns + 18
        else:
            start = max(free[opcode], ready)
            free[opcode] = start + busy
            done = free[opcode] + DRAM_LATENCY
        self._done[opcode].append(done)
        self.end = max(self.end, done)
        return start


def transfer_cycles(command: Load | Store, config: Config) -> int:
    """Beats of the bus that a command keeps."""
    lane = command.dram_address % config.bus_bytes
    return (lane + command.length + config.bus_bytes - 1) // config.bus_bytes


def execute_cycles(command: Execute, config: Config) -> int:
    """Cycles for which a command keeps the array, or nearly so.

    A pass takes as long as its vectors, or the rows that move in meanwhile; a depthwise or staged one as both together.
    """
    passes = command.kernel_rows * command.kernel_columns * command.runs
    if command.mode == Mode.DEPTHWISE or command.staged:
        block = passes * (command.pixels + config.rows)
    else:
        last = max(command.pixels, config.rows + (config.parameter_rows if command.finish else 0))
        block = (passes - 1) * max(command.pixels, config.rows) + last
    # The next block may begin while lanes that columns share still work on this one, and finish when they are through.
    if config.turns > 1 and command.finish:
        block = max(block, command.output_pixels * config.turns)
    return command.blocks * block
