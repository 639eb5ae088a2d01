"""An estimate of when commands run, good enough to choose between schedules and to order a stream.

It sees three engines that work through their commands in order, and each command's dependencies. It is no cycle model:
it leaves out collisions in the scratchpad, the bus's details and the fetching of commands.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..hw.commands import Execute, Load, Opcode, Store
from ..hw.config import Config

DRAM_LATENCY = 64
"""Cycles from a request to its first data: what the estimate assumes."""

PARAMETER_ROWS = 9


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
        opcode = command.opcode
        free = self._free[opcode]
        start = max([free, *(self._done[other][count] for other, count in awaited.items())])
        match command:
            case Execute():
                # The first tile of weights moves in while the pass before it streams, if there is one.
                prefill = self._config.rows if start > free else 0
                self._free[opcode] = start + prefill + execute_cycles(command, self._config)
                latency = self._config.rows + self._config.columns + 20
            case Load() | Store():
                bus = self._config.bus_bytes
                beats = (command.dram_address % bus + command.length + bus - 1) // bus
                self._free[opcode] = start + beats + 2
                latency = DRAM_LATENCY
        self._done[opcode].append(self._free[opcode] + latency)
        return start


def execute_cycles(command: Execute, config: Config) -> int:
    """Cycles for which a command keeps the array: a pass takes as long as its pixels, or as its rows of weights."""
    passes = command.kernel_rows * command.kernel_columns * command.runs
    last = max(command.pixels, config.rows + (PARAMETER_ROWS if command.finish else 0))
    return command.blocks * ((passes - 1) * max(command.pixels, config.rows) + last)
