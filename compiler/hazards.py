"""Which earlier commands a command must await: the one place where the machine's dependency counts come from.

The compiler emits commands in an order in which they would be right one after the other. The machine runs three engines
at once, each in that order. Two commands of different engines that touch the same bytes, at least one of them writing,
must not overlap; here every memory remembers who last wrote and who since read each of its bytes.

Within an engine order is enough, except that an execute command may start to read before an earlier one has written.
"""

from __future__ import annotations

import enum
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..hw.commands import Opcode

ENGINES = tuple(Opcode)


class Space(enum.IntEnum):
    """An address space that commands read and write; its number is its place among the timelines."""

    DRAM = 0
    SCRATCHPAD = 1
    WEIGHTS = 2


class Channels(NamedTuple):
    """Some bytes of every pixel: those at `[first, last)`, in pixels of `pixel` bytes of which one is at `origin`."""

    pixel: int
    origin: int
    first: int
    last: int

    def meets(self, other: Channels) -> bool:
        """Whether both may have bytes in common: surely not if their pixels are the same and these are not."""
        same = self.pixel == other.pixel and (self.origin - other.origin) % self.pixel == 0
        return not same or (self.first < other.last and other.first < self.last)


class Access(NamedTuple):
    """Bytes `[start, stop)` that a command reads or writes; with `channels`, no others among them than those."""

    space: Space
    start: int
    stop: int
    write: bool
    channels: Channels | None = None


Counts = tuple[int, int, int]
"""Per engine, in the order of `ENGINES`, the number of its command, counted from 1; 0: none."""

_NONE: Counts = (0, 0, 0)


class _State(NamedTuple):
    """Who last wrote some bytes, and who has read them since.

    The latest execute command to write may have written some of the channels only, the `part`: of the others, `written`
    tells who wrote them last, or someone later.
    """

    written: Counts
    read: Counts
    part: Channels | None = None
    latest: int = 0

    def writers(self, channels: Channels | None) -> Counts:
        """Who last wrote some channels; None: all."""
        if self.part is None or (channels is not None and not self.part.meets(channels)):
            return self.written
        return _with(self.written, _EXECUTE, self.latest)


_UNTOUCHED = _State(_NONE, _NONE)
_EXECUTE = ENGINES.index(Opcode.EXECUTE)


def _with(counts: Counts, engine: int, count: int) -> Counts:
    changed = list(counts)
    changed[engine] = count
    return changed[0], changed[1], changed[2]


class _Timeline:
    """A state for every byte of one address space, kept as segments of equal state."""

    def __init__(self) -> None:
        # Segment i is [starts[i], starts[i + 1]); the last is endless.
        self._starts = [0]
        self._states = [_UNTOUCHED]

    def _split(self, address: int) -> int:
        """The index of the segment that begins at `address`, made if need be."""
        index = bisect_left(self._starts, address)
        if index == len(self._starts) or self._starts[index] != address:
            self._starts.insert(index, address)
            self._states.insert(index, self._states[index - 1])
        return index

    def states(self, start: int, stop: int) -> list[_State]:
        """The states of `[start, stop)`."""
        return self._states[bisect_right(self._starts, start) - 1 : bisect_left(self._starts, stop)]

    def read(self, start: int, stop: int, engine: int, count: int) -> None:
        """Notes a reader of `[start, stop)`."""
        first, last = self._split(start), self._split(stop)
        for index in range(first, last):
            state = self._states[index]
            self._states[index] = _State(state.written, _with(state.read, engine, count), state.part, state.latest)

    def write(self, start: int, stop: int, engine: int, count: int) -> None:
        """Notes the new writer of `[start, stop)`; who awaits it need not await those before."""
        first, last = self._split(start), self._split(stop)
        self._starts[first:last] = [start]
        self._states[first:last] = [_State(_with(_NONE, engine, count), _NONE)]

    def write_channels(self, start: int, stop: int, channels: Channels, count: int) -> None:
        """Notes an execute command that writes some channels of `[start, stop)`."""
        first, last = self._split(start), self._split(stop)
        for index in range(first, last):
            state = self._states[index]
            self._states[index] = _State(state.writers(None), state.read, channels, count)


class Hazards:
    """Follows the commands of a program, in the order in which they are emitted."""

    def __init__(self) -> None:
        self._timelines = [_Timeline() for _ in Space]
        self._issued = [0, 0, 0]

    def issue(self, engine: Opcode, accesses: Iterable[Access]) -> Mapping[Opcode, int]:
        """The next command of `engine`: for each engine, how many of its commands must have completed before.

        All reads of a command come before its writes. Empty accesses are allowed.

        Returns
        -------
        A count for every other engine, and for execute commands also for the execute engine itself.
        """
        own = ENGINES.index(engine)
        accesses = [access for access in accesses if access.start < access.stop]
        awaited = [0, 0, 0]
        others = [other for other in range(len(ENGINES)) if other != own]
        for space, start, stop, write, channels in accesses:
            writers = others if write or engine is not Opcode.EXECUTE else range(len(ENGINES))
            for state in self._timelines[space].states(start, stop):
                # `writers`, without a call where there is no part.
                written = state.written if state.part is None else state.writers(channels)
                for other in writers:
                    if written[other] > awaited[other]:
                        awaited[other] = written[other]
                for other in others if write else ():
                    if state.read[other] > awaited[other]:
                        awaited[other] = state.read[other]
        self._issued[own] += 1
        for space, start, stop, write, channels in sorted(accesses, key=lambda access: access.write):
            timeline = self._timelines[space]
            if write and channels is not None:
                timeline.write_channels(start, stop, channels, self._issued[own])
            else:
                (timeline.write if write else timeline.read)(start, stop, own, self._issued[own])
        return {
            other: awaited[index] for index, other in enumerate(ENGINES) if index != own or engine is Opcode.EXECUTE
        }

    def hold(self, engine: Opcode, space: Space, start: int, stop: int) -> None:
        """Keeps bytes as they are until all commands of an engine so far have completed, as if the last read them."""
        own = ENGINES.index(engine)
        if start < stop:
            self._timelines[space].read(start, stop, own, self._issued[own])
