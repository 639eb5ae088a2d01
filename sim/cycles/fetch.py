"""Fetch and dispatch in time: when each word of the program passes to an engine's queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...hw import queue
from ...hw.commands import WORD_BITS, Command, Opcode
from ...hw.config import Config
from ...hw.fetch import ASK_LATENCY, BUFFER_LATENCY, BURST_BYTES, MAX_BURSTS, PASS_LATENCY, QUEUE_COMMANDS, ROOM_LATENCY
from .agenda import Agenda, Phase
from .bus import ReadBus
from .engine import Engine
from .transfer import bursts


class Fetch:
    """Reads the program's beats and makes words of them.

    Parameters
    ----------
    agenda, config, bus
        Of the run.
    address
        DRAM byte address of the program.
    words
        Its length.
    """

    def __init__(self, agenda: Agenda, config: Config, bus: ReadBus, *, address: int, words: int) -> None:
        longest = min(config.burst_beats, 8 * BURST_BYTES // config.bus_bits)
        self.beats = -(-words * WORD_BITS // config.bus_bits)
        self._agenda = agenda
        self._bus = bus
        self._bursts = bursts(address // config.bus_bytes, self.beats, longest)
        self._room = (MAX_BURSTS - 1) * longest
        self._parts = config.bus_bits // WORD_BITS  # words in a beat; 0 if a word is two beats
        self._asked = 0  # when it did last; the run's first cycle is as good
        self._arrivals: list[int] = []
        self._taken: list[int] = []  # when each beat left the buffer
        self._planned = False
        self.dispatch: Dispatch | None = None

    def plan(self) -> None:
        """Asks for the next burst once there is room for a whole one, if it is known when."""
        if self._planned or not self._bursts:
            return
        away = len(self._arrivals) - self._room
        if away > len(self._taken):
            return
        room = self._taken[away - 1] + BUFFER_LATENCY if away > 0 else 0
        self._planned = True
        self._agenda.add(max(self._asked + ASK_LATENCY, room), Phase.FETCH, self._ask)

    def _ask(self, cycle: int) -> None:
        beats = self._bursts.popleft()
        first = self._bus.ask_for_fetch(cycle, beats)
        self._arrivals.extend(range(first, first + beats))
        self._asked = cycle
        self._planned = False
        self._take_low()
        self.plan()
        if self.dispatch is not None:
            self.dispatch.proceed()

    def offered(self, word: int, passed: int) -> int | None:
        """When a word is offered to the dispatcher, if that is known; its predecessor passed in cycle `passed`."""
        if self._parts == 0:
            return self._joined(word, passed)
        beat, part = divmod(word, self._parts)
        if beat >= len(self._arrivals):
            return None
        moved = max(self._at_output(beat) if part == 0 else 0, passed)
        if part == self._parts - 1:
            self._taken.append(moved)
            self.plan()
        return moved + 1

    def _joined(self, word: int, passed: int) -> int | None:
        """The same where a word is two beats."""
        if 2 * word + 1 >= len(self._arrivals):
            return None
        taken = max(self._at_output(2 * word + 1), passed)
        self._taken.append(taken)
        self._take_low()
        self.plan()
        return taken + 1

    def _take_low(self) -> None:
        """The first beat of a word leaves the buffer at once, even if the word before it does not pass."""
        beat = len(self._taken)
        if self._parts == 0 and beat % 2 == 0 and beat < len(self._arrivals):
            self._taken.append(self._at_output(beat))

    def _at_output(self, beat: int) -> int:
        """When a beat, whose predecessor was taken, is at the buffer's output."""
        popped = self._arrivals[beat] + queue.WRITE_LATENCY
        if beat:
            popped = max(popped, self._taken[beat - 1])
        return popped + queue.READ_LATENCY


class Dispatch:
    """Hands commands to the engines.

    Parameters
    ----------
    fetch
        Where words come from.
    engines
        Where they go.
    commands
        The program.
    """

    def __init__(self, fetch: Fetch, engines: Mapping[Opcode, Engine[Any]], commands: Sequence[Command]) -> None:
        self._fetch = fetch
        self._commands = [(engines[command.opcode], command.words()) for command in commands]
        self._number = 0
        self._word = 0
        self._passed = 1  # when the latest word passed; of no words, that has been seen a cycle after the start
        self._offered: int | None = None
        self._words: list[int] = []
        self._proceeding = False

    @property
    def finished(self) -> int:
        """The first cycle in which the whole program has passed."""
        return self._passed + 1

    def proceed(self) -> None:
        """Passes words as far as it is known when they pass."""
        if self._proceeding:
            return
        self._proceeding = True
        while self._number < len(self._commands) and self._pass_command(*self._commands[self._number]):
            self._number += 1
        self._proceeding = False

    def _pass_command(self, engine: Engine[Any], words: int) -> bool:
        while len(self._words) < words:
            if self._offered is None:
                self._offered = self._fetch.offered(self._word, self._passed)
            if self._offered is None:
                return False
            passed = self._offered
            if not self._words:
                left = len(engine.passed) - QUEUE_COMMANDS  # the last command that must leave the queue before
                if left >= len(engine.left):
                    return False
                if left >= 0:
                    passed = max(passed, engine.left[left] + ROOM_LATENCY)
            self._words.append(passed)
            self._passed = passed
            self._offered = None
            self._word += 1
        passes, self._words = self._words, []
        engine.offer([passed + PASS_LATENCY for passed in passes])
        return True
