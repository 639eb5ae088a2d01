"""What the engines have in common: queued commands, their dependencies, and the account that is kept of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from ...hw import queue
from ...hw.commands import Command, Opcode
from ...hw.engine import CHECK_LATENCY
from .agenda import Agenda, Phase

C = TypeVar("C", bound=Command)


class Engine(ABC, Generic[C]):
    """An engine that runs the commands of its queue in order.

    Parameters
    ----------
    agenda
        Where events go.
    commands
        The engine's commands.
    """

    opcode: ClassVar[Opcode]

    def __init__(self, agenda: Agenda, commands: Sequence[C]) -> None:
        self.agenda = agenda
        self.commands = commands
        self.passed: list[list[int]] = []
        """For each command, when its words enter the queue."""
        self.left: list[int] = []
        """When its last word leaves it."""
        self.arrived: list[int] = []
        """When it is all there and has been checked: the first cycle in which it might start."""
        self.started: list[int] = []
        """When it started."""
        self.completed: list[int] = []
        """When it began to count as completed."""
        self.waits: list[tuple[int, Opcode | None]] = []
        """How long the engine did nothing but to wait for its dependencies, and for whose."""
        self._awaited: list[list[tuple[Engine[Any], int]]] = []
        self._engines: Sequence[Engine[Any]] = ()
        self._make_room: Callable[[], None] = lambda: None

    def connect(self, engines: Mapping[Opcode, Engine[Any]], make_room: Callable[[], None]) -> None:
        """Introduces all engines; `make_room` is called when it is known when a command leaves the queue."""
        self._engines = tuple(engines.values())
        self._make_room = make_room
        self._awaited = [
            [(engines[opcode], count) for opcode, count in command.awaits.items()] for command in self.commands
        ]

    @property
    def taking(self) -> int | None:
        """The number of the command whose words come next, once it is known when, and the one before has started."""
        number = len(self.arrived)
        return number if number < len(self.passed) and number <= len(self.started) else None

    @property
    def starting(self) -> int | None:
        """The number of the command that has arrived and not started."""
        number = len(self.started)
        return number if number < len(self.arrived) and self.arrived[number] <= self.agenda.cycle else None

    def offer(self, passed: list[int]) -> None:
        """The words of the next command enter the queue in these cycles."""
        self.passed.append(passed)
        self.take_words()

    @abstractmethod
    def take_words(self) -> None:
        """Takes in the command `taking`, if there is one."""

    @abstractmethod
    def consider(self, cycle: int) -> None:
        """Starts the command `starting` in this cycle, if there is one and it can."""

    @abstractmethod
    def busy_cycles(self) -> int:
        """Cycles in which the engine was busy, once all commands have completed."""

    def awaited(self, number: int) -> tuple[int, Opcode | None] | None:
        """When the latest of the commands that this one awaits completed, and whose it is; None if not all have."""
        latest: tuple[int, Opcode | None] = 0, None
        for engine, count in self._awaited[number]:
            if len(engine.completed) < count:
                return None
            if engine.completed[count - 1] > latest[0]:
                latest = engine.completed[count - 1], engine.opcode
        return latest

    def leave(self, left: int) -> None:
        """The next command's last word leaves the queue then."""
        self.left.append(left)
        self._make_room()

    def arrive(self, arrived: int) -> None:
        """The next command will be there, and checked."""
        self.arrived.append(arrived)
        self.agenda.add(arrived, Phase.COMMAND, self.consider)

    def start(self, cycle: int, met: int, cause: Opcode | None, idle_from: int | None) -> None:
        """The next command starts.

        It is known since `met` that what it awaits has completed, at last `cause`. Had it not waited, the engine would
        have had nothing to do since `idle_from`.
        """
        number = len(self.started)
        self.started.append(cycle)
        waited = 0 if idle_from is None else max(0, met - max(self.arrived[number], idle_from))
        self.waits.append((waited, cause if waited else None))
        self.take_words()

    def complete(self, cycle: int) -> None:
        """One more command counts as completed, and others may start."""
        self.completed.append(cycle)
        for engine in self._engines:
            self.agenda.add(cycle + CHECK_LATENCY, Phase.COMMAND, engine.consider)

    @property
    def wait_cycles(self) -> int:
        """Cycles in which the engine did nothing but to wait."""
        return sum(waited for waited, _ in self.waits)


class TransferEngine(Engine[C]):
    """What load and store have in common: nothing ever holds their words up."""

    def take_words(self) -> None:
        while (number := self.taking) is not None:
            room = self.started[number - 1] + 1 if number else 0
            taken = self.arrived[number - 1] - 1 - CHECK_LATENCY if number else 0
            for cycle in self.passed[number]:
                popped = max(cycle + queue.WRITE_LATENCY, taken)
                taken = max(popped + queue.READ_LATENCY, room)
            self.arrive(taken + 1 + CHECK_LATENCY)
            self.leave(taken)

    def met(self, number: int) -> tuple[int, Opcode | None] | None:
        """Since when it is known that what a command awaits has completed, and what last; None before that."""
        awaited = self.awaited(number)
        if awaited is None or awaited[0] + CHECK_LATENCY > self.agenda.cycle:
            return None
        return awaited[0] + CHECK_LATENCY, awaited[1]

    def idle_from(self) -> int | None:
        """When all commands that have started had completed; None if not all have."""
        number = len(self.started)
        if len(self.completed) < number:
            return None
        return self.completed[-1] if number else 0

    def busy_cycles(self) -> int:
        return covered(zip((start + 1 for start in self.started), self.completed, strict=True))


def covered(intervals: Iterable[tuple[int, int]]) -> int:
    """Cycles that intervals `[first, end)` cover together; both firsts and ends rise."""
    total = until = 0
    for first, end in intervals:
        total += end - max(first, until)
        until = end
    return total
