"""The scratchpad in time: in which cycles the execute engine gives way."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accesses:
    """When a command uses one of the scratchpad's ports, in the execute engine's own time.

    Passes follow each other, a block's in groups; each pass may use the port in its first cycles.

    Parameters
    ----------
    first
        Of the first pass.
    end
        Behind the last cycle of use.
    block
        Cycles from a block's first pass to the next block's.
    slots
        Cycles from a pass to the next in the same block.
    passes
        Passes in a block.
    last
        Cycles from a block's first pass to its last.
    vectors
        The first cycles of a pass.
    pattern
        In which of them it uses the port; None stands for all.
    """

    first: int
    end: int
    block: int
    slots: int
    passes: int
    last: int
    vectors: int
    pattern: bytes | None = None

    def at(self, moment: int) -> bool:
        """Whether the port is in use at a moment, which lies before the end."""
        within = (moment - self.first) % self.block
        if within >= self.last:
            within -= self.last
        else:
            within -= min(within // self.slots, self.passes - 2) * self.slots
        if moment < self.first or within >= self.vectors:
            return False
        return self.pattern is None or bool(self.pattern[within])


class _Port:
    """The execute engine's use of a port, asked about in the order of time."""

    def __init__(self) -> None:
        self._commands: deque[Accesses] = deque()

    def add(self, accesses: Accesses) -> None:
        self._commands.append(accesses)

    def at(self, moment: int) -> bool:
        commands = self._commands
        while commands and commands[0].end <= moment:
            commands.popleft()
        return bool(commands) and commands[0].at(moment)


class Scratchpad:
    """Tells the execute engine's own time, which stands still in the cycles in which it gives way.

    Members
    -------
    load_writes, store_reads
        Cycles in which those engines access it, rising; they must be known before that cycle is asked about.
    execute_reads, execute_writes
        The execute engine's, in its own time; must be known before it comes to them.
    """

    def __init__(self) -> None:
        self.load_writes: deque[int] = deque()
        self.store_reads: deque[int] = deque()
        self.execute_reads = _Port()
        self.execute_writes = _Port()
        self.repeated_writes = 0
        """Cycles in which the banks took a write of the execute engine's that they will take again."""
        self._frozen: list[int] = []
        self._moments: list[int] = []  # the same in the engine's own time

    @property
    def frozen(self) -> int:
        """Cycles in which the execute engine gave way."""
        return len(self._frozen)

    def moment(self, cycle: int) -> int:
        """The execute engine's own time in a cycle that is not before one asked about earlier."""
        self._advance(cycle)
        return cycle - len(self._frozen)

    def cycle(self, moment: int) -> int:
        """The first cycle of a moment that has come."""
        return moment + bisect_left(self._moments, moment)

    def moves(self, cycle: int) -> bool:
        """Whether the execute engine moves in a cycle that is not in the future."""
        self._advance(cycle + 1)
        place = bisect_left(self._frozen, cycle)
        return place == len(self._frozen) or self._frozen[place] != cycle

    def _advance(self, cycle: int) -> None:
        """Works through the accesses of the load and store engines before `cycle`."""
        writes, reads = self.load_writes, self.store_reads
        while True:
            write = writes[0] if writes else cycle
            read = reads[0] if reads else cycle
            now = min(write, read)
            if now >= cycle:
                return
            moment = now - len(self._frozen)
            writing = self.execute_writes.at(moment)
            frozen = False
            if write == now:
                writes.popleft()
                frozen = writing
            if read == now:
                reads.popleft()
                if self.execute_reads.at(moment):
                    frozen = True
                    self.repeated_writes += writing and write != now
            if frozen:
                self._frozen.append(now)
                self._moments.append(moment)
