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
    """The time at which each engine is free, and at which each of its commands has completed. In cycles."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._free = dict.fromkeys(Opcode, 0)
        self._done: dict[Opcode, list[int]] = {opcode: [0] for opcode in Opcode}

    @property
    def end(self) -> int:
        """When everything has completed."""
        return max(done[-1] for done in self._done.values())

    def run(self, command: Load | Execute | Store, awaited: Mapping[Opcode, int]) -> int:
        """Takes the next command of its engine; returns when it starts."""
        config = self._config
        opcode = command.opcode
        # Command words come through the channel that loads use.
        self._free[Opcode.LOAD] += -(-command.words() * WORD_BITS // config.bus_bits)
        ready = max((self._done[other][count] for other, count in awaited.items()), default=0)
        match command:
            case Execute():
                # The first tile of weights moves in while the last pass of the command before streams.
                start = max(self._free[opcode] - config.rows, ready, 0)
                begin = start + config.rows
                self._free[opcode] = begin + execute_cycles(command, config)
                done = self._free[opcode] + config.rows + config.columns + 18
            case Load() | Store():
                start = max(self._free[opcode], ready)
                lane = command.dram_address % config.bus_bytes
                self._free[opcode] = start + (lane + command.length + config.bus_bytes - 1) // config.bus_bytes
                done = self._free[opcode] + DRAM_LATENCY
        self._done[opcode].append(done)
        return start


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
