"""Commands, in an order in which each would be right after the other; waits and the final order follow from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..hw.commands import Command, Execute, Finish, Load, Memory, Opcode, Store
from ..hw.config import Config
from .hazards import Access, Hazards, Space
from .timing import Clock, execute_cycles, transfer_cycles

HIDDEN_BEAT = 0.25
"""What a beat on the bus costs, in cycles, where it delays nothing: energy, and room for the layers around."""

_WAITS = {opcode: f"wait_{opcode.name.lower()}" for opcode in Opcode}


class Scheduled(NamedTuple):
    """A command of a stream: when it is thought to start, the operator that it works for, and what it is about."""

    start: int
    command: Command
    operator: int
    note: str


@dataclass(frozen=True)
class Activity:
    """What some commands do, by estimate.

    Parameters
    ----------
    array_cycles, writes
        For how long they keep the array, and how often they write to the scratchpad meanwhile, at most.
    bytes
        Of loads and stores.
    """

    array_cycles: int = 0
    writes: int = 0
    bytes: int = 0

    def __sub__(self, other: Activity) -> Activity:
        return Activity(self.array_cycles - other.array_cycles, self.writes - other.writes, self.bytes - other.bytes)


@dataclass(eq=False)
class Window:
    """Bytes `[start, stop)` of a tensor in the scratchpad: byte `b` lies at `base + b`.

    Parameters
    ----------
    dram
        Offset of the tensor's first byte in DRAM; None where it has no place there.
    ready
        What lies before this byte is in the scratchpad, or will be by commands already emitted.
    """

    base: int
    start: int
    stop: int
    dram: int | None
    ready: int


class TooDear(Exception):
    """A schedule has come to cost as much as it may."""


class Schedule:
    """Collects the commands of one stream; gives up with `TooDear` as soon as they cost `limit`."""

    def __init__(self, config: Config, limit: float = math.inf) -> None:
        self.config = config
        self._limit = limit
        self.operator = -1
        self._hazards = Hazards()
        self._clock = Clock(config)
        self._commands: list[Scheduled] = []
        self._executes = 0
        self._array_cycles = 0
        self._writes = 0
        self._bytes = 0

    @property
    def activity(self) -> Activity:
        """What all commands so far do."""
        return Activity(self._array_cycles, self._writes, self._bytes)

    @property
    def bytes(self) -> int:
        """Bytes of all loads and stores so far."""
        return self._bytes

    @property
    def beats(self) -> int:
        """Beats on the bus, if no transfer had edges."""
        return self._bytes // self.config.bus_bytes

    @property
    def cycles(self) -> int:
        """An estimate of the cycles until all is done."""
        return self._clock.end

    @property
    def cost(self) -> float:
        """What is to be small; it never falls as commands are added."""
        return self.cycles + HIDDEN_BEAT * self.beats

    @property
    def issued(self) -> int:
        """Commands so far."""
        return len(self._commands)

    @property
    def executes(self) -> int:
        """Execute commands so far."""
        return self._executes

    def load(self, *, dram: int, length: int, memory: Memory, address: int, note: str, executes: int = 0) -> None:
        """Copies bytes from DRAM to a memory, not before so many execute commands have completed."""
        space = Space.WEIGHTS if memory is Memory.WEIGHTS else Space.SCRATCHPAD
        self._emit(
            Load,
            {"dram_address": dram, "length": length, "address": address, "memory": memory},
            [Access(Space.DRAM, dram, dram + length, False), Access(space, address, address + length, True)],
            note,
            executes,
        )

    def store(self, *, address: int, dram: int, length: int, note: str) -> None:
        """Copies bytes from the scratchpad to DRAM."""
        self._emit(
            Store,
            {"dram_address": dram, "length": length, "address": address},
            [
                Access(Space.SCRATCHPAD, address, address + length, False),
                Access(Space.DRAM, dram, dram + length, True),
            ],
            note,
        )

    def execute(self, fields: Mapping[str, int], accesses: Iterable[Access], note: str) -> None:
        """Computes; `accesses` are the bytes of scratchpad and weight buffer that it needs or makes."""
        self._executes += 1
        self._emit(Execute, fields, accesses, note)

    def hold(self, window: Window) -> None:
        """Keeps a tensor that is computed now until all of it is there, so that it can be seen, whoever reads it."""
        self._hazards.hold(Opcode.EXECUTE, Space.SCRATCHPAD, window.base + window.start, window.base + window.stop)

    def fill(self, window: Window, stop: int) -> None:
        """Loads a window of a tensor up to its byte `stop`, as far as that has not been done."""
        stop = min(stop, window.stop)
        if window.ready >= stop:
            return
        if window.dram is None:
            raise ValueError(f"bytes {window.ready} to {stop} of a tensor without a place in DRAM are not there")
        self.load(
            dram=window.dram + window.ready,
            length=stop - window.ready,
            memory=Memory.SCRATCHPAD,
            address=window.base + window.ready,
            note=f"input bytes {window.ready} to {stop - 1}",
        )
        window.ready = stop

    def commands(self) -> list[Scheduled]:
        """The stream.

        Engines keep the order of emission; between them, commands go in the order in which they are thought to start,
        so that no queue fills up with commands that wait while others could go on.
        """
        return sorted(self._commands, key=lambda scheduled: scheduled.start)

    def _emit(
        self,
        kind: type[Load | Execute | Store],
        fields: Mapping[str, int],
        accesses: Iterable[Access],
        note: str,
        executes: int = 0,
    ) -> None:
        awaited = self._hazards.issue(kind.opcode, accesses)
        if executes > awaited.get(Opcode.EXECUTE, 0):
            awaited = {**awaited, Opcode.EXECUTE: executes}
        command = kind(**fields, **{_WAITS[opcode]: count for opcode, count in awaited.items()})
        if isinstance(command, Execute):
            busy = execute_cycles(command, self.config)
            self._array_cycles += busy
            self._writes += command.blocks * command.pixels if command.finish == Finish.STORE else 0
        else:
            busy = transfer_cycles(command, self.config)
            self._bytes += command.length
        start = self._clock.run(command, busy, awaited)
        self._commands.append(Scheduled(start, command, self.operator, note))
        if self.cost >= self._limit:
            raise TooDear
