"""The store engine in time."""

from __future__ import annotations

from collections.abc import Sequence

from ...hw import queue, scratchpad, store
from ...hw.commands import Opcode, Store
from ...hw.config import Config
from .agenda import Agenda, Phase
from .engine import TransferEngine
from .scratchpad import Scratchpad
from .transfer import Extent, bursts

_ROW_REQUEST = scratchpad.STORE_LATENCY - 1
"""Cycles from the request of a row to its read."""

_REGISTER = 1
"""Cycles from a beat's move to the output to the bus; from an answer to its count."""


class StoreEngine(TransferEngine[Store]):
    """Nothing but its own commands holds it up, so that a command's whole course is known when it starts.

    Parameters
    ----------
    latency
        Cycles from the memory's acceptance of a burst's last beat to its answer.
    """

    opcode = Opcode.STORE

    def __init__(
        self,
        agenda: Agenda,
        commands: Sequence[Store],
        *,
        config: Config,
        latency: int,
        scratchpad: Scratchpad,
        base_address: int,
    ) -> None:
        super().__init__(agenda, commands)
        self._config = config
        self._latency = latency
        self._scratchpad = scratchpad
        self._extents = [Extent.of(command, config, base_address) for command in commands]
        self.beats = sum(extent.beats for extent in self._extents)
        self.rows = 0
        self._free = 0  # when the next command may start
        self._taken: list[int] = []  # when each command left the sender's queue
        self._queued: list[int] = []  # when it left that queue's memory
        self._announced = -1  # when the latest burst was
        self._answers: list[int] = []  # when each burst is answered
        self._asked = -1  # when the latest row was
        self._released: list[int] = []  # when each row is done with
        self._moved = -1  # when the latest beat moved to the output

    def consider(self, cycle: int) -> None:
        number = self.starting
        if number is None or (met := self.met(number)) is None:
            return
        if cycle < self._free:
            self.agenda.add(self._free, Phase.COMMAND, self.consider)
            return
        self._send(cycle, self._extents[number])
        waiting = number + 1 - store.TRANSFERS
        self._free = max(self._announced, self._asked, self._queued[waiting] if waiting >= 0 else 0) + 1
        self.start(cycle, *met, self.idle_from())
        end = self._answers[-1] + store.COMPLETION_LATENCY
        self.agenda.add(end, Phase.COMPLETION, self.complete)

    def _send(self, cycle: int, extent: Extent) -> None:
        """The course of a command that starts in `cycle`."""
        queued = max(cycle + queue.WRITE_LATENCY, self._taken[-1] if self._taken else 0)
        taken = max(queued + queue.READ_LATENCY, self._moved)
        self._queued.append(queued)
        self._taken.append(taken)
        part = extent.part
        row = None  # from when on the current row's beats can move
        move = max(self._moved, taken)
        for beats in bursts(extent.place, extent.beats, self._config.burst_beats):
            self._announce(cycle)
            move = max(move, self._announced)
            while beats:
                if row is None:
                    row = self._ask(cycle)
                count = min(beats, extent.parts - part)
                move = max(move + 1, row) + count - 1
                beats -= count
                part = (part + count) % extent.parts
                if part == 0:
                    self._released.append(move)
                    row = None
            self._answers.append(move + _REGISTER + self._latency)
        if row is not None:
            self._released.append(move)
        self._moved = move

    def _announce(self, start: int) -> None:
        """The next burst of a command that starts in cycle `start`."""
        away = len(self._answers) - self._config.outstanding_bursts
        answered = self._answers[away] + _REGISTER if away >= 0 else 0
        self._announced = max(start, self._announced, answered) + 1

    def _ask(self, start: int) -> int:
        """Asks for the next row of a command that starts in cycle `start`; returns when its beats can move."""
        away = len(self._released) - store.ROWS
        released = self._released[away] if away >= 0 else 0
        self._asked = max(start, self._asked, released) + 1
        self._scratchpad.store_reads.append(self._asked + _ROW_REQUEST)
        self.rows += 1
        return self._asked + store.ROW_LATENCY
