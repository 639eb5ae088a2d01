"""The AXI4 port in time: the memory behind it, and the arbiter in front of its read channels."""

from __future__ import annotations

from ...hw import arbiter


class ReadBus:
    """Answers bursts in the order in which they were asked for, a beat per cycle.

    Parameters
    ----------
    latency
        Cycles from the memory's acceptance of a burst to its first beat, at least 1.
    """

    def __init__(self, latency: int) -> None:
        self._latency = latency
        self._free = 0
        self._fetch_asked = -1

    def ask(self, cycle: int, beats: int) -> int:
        """A burst that passes the arbiter in `cycle`; returns the cycle in which its first beat is back there."""
        first = max(cycle + arbiter.LATENCY + self._latency, self._free)
        self._free = first + beats
        return first + arbiter.LATENCY

    def ask_for_fetch(self, cycle: int, beats: int) -> int:
        """The same for a burst of the fetch, which keeps loads from asking in this cycle."""
        self._fetch_asked = cycle
        return self.ask(cycle, beats)

    def is_free(self, cycle: int) -> bool:
        """Whether a load can ask in `cycle`."""
        return self._fetch_asked != cycle
