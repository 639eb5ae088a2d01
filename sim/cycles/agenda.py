"""What happens when: the events of a run, in the order of time."""

from __future__ import annotations

import enum
import heapq
from collections.abc import Callable

Action = Callable[[int], None]
"""Called with the cycle in which it happens."""


class Phase(enum.IntEnum):
    """The order of events within a cycle: those that others see in the same cycle come first."""

    COMPLETION = 0  # a count of completed commands has risen
    COMMAND = 1  # engines take words and start commands
    FETCH = 2  # the fetch asks for a burst, and goes before loads
    LOAD = 3  # the load engine asks for a burst


class Agenda:
    """A queue of events. An event may add others: in later cycles, or in its own cycle and a phase not yet past."""

    def __init__(self) -> None:
        self.cycle = 0
        """In which the latest event happened."""
        self._events: list[tuple[int, Phase, int, Action]] = []
        self._number = 0

    def add(self, cycle: int, phase: Phase, action: Action) -> None:
        """Calls `action` in that cycle.

        Raises
        ------
        RuntimeError
            The cycle is past: a cause would come after its effect.
        """
        if cycle < self.cycle:
            raise RuntimeError(f"an event of cycle {cycle} became known in cycle {self.cycle}")
        heapq.heappush(self._events, (cycle, phase, self._number, action))
        self._number += 1

    def run(self) -> None:
        """Calls every action, until none is left."""
        events = self._events
        while events:
            self.cycle, _, _, action = heapq.heappop(events)
            action(self.cycle)
