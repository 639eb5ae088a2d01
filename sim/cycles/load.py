"""The load engine in time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ...hw import load
from ...hw.commands import Load, Memory, Opcode
from ...hw.config import Config
from .agenda import Agenda, Phase
from .bus import ReadBus
from .engine import TransferEngine
from .scratchpad import Scratchpad
from .transfer import Extent, bursts


class LoadEngine(TransferEngine[Load]):
    """Asks for bursts as the arbiter and the limit of bursts under way allow; beats find their place at once."""

    opcode = Opcode.LOAD

    def __init__(
        self,
        agenda: Agenda,
        commands: Sequence[Load],
        *,
        config: Config,
        bus: ReadBus,
        scratchpad: Scratchpad,
        base_address: int,
    ) -> None:
        super().__init__(agenda, commands)
        self._config = config
        self._bus = bus
        self._scratchpad = scratchpad
        self._extents = [Extent.of(command, config, base_address) for command in commands]
        self.beats = sum(extent.beats for extent in self._extents)
        self.rows = 0
        self._bursts: deque[int] = deque()  # of the command that started last, those to ask for
        self._received = 0  # beats of that command that are on their way
        self._asked = -1
        self._ends: list[int] = []  # when the last beat of each burst arrives

    def consider(self, cycle: int) -> None:
        number = self.starting
        if number is None or self._bursts or cycle <= self._asked or (met := self.met(number)) is None:
            return
        extent = self._extents[number]
        self._bursts = bursts(extent.place, extent.beats, self._config.burst_beats)
        self._received = 0
        self.start(cycle, *met, self.idle_from())
        self._plan(cycle + 1)

    def _plan(self, cycle: int) -> None:
        """The next burst is asked for in `cycle` or when fewer are under way."""
        away = len(self._ends) - self._config.outstanding_bursts
        if away >= 0:
            cycle = max(cycle, self._ends[away] + 1)
        self.agenda.add(cycle, Phase.LOAD, self._ask)

    def _ask(self, cycle: int) -> None:
        if not self._bus.is_free(cycle):
            self.agenda.add(cycle + 1, Phase.LOAD, self._ask)
            return
        beats = self._bursts.popleft()
        first = self._bus.ask(cycle, beats)
        last = first + beats - 1
        self._asked = cycle
        self._ends.append(last)
        number = len(self.started) - 1
        if self.commands[number].memory == Memory.SCRATCHPAD:
            self._write_rows(self._extents[number], first, beats)
        self._received += beats
        if self._bursts:
            self._plan(cycle + 1)
            return
        self.agenda.add(last + load.COMPLETION_LATENCY, Phase.COMPLETION, self.complete)
        self.agenda.add(cycle + 1, Phase.COMMAND, self.consider)

    def _write_rows(self, extent: Extent, first: int, beats: int) -> None:
        """A row is written behind the last of its beats, or of the command's."""
        written = first + load.WRITE_LATENCY
        to_last = -(extent.part + self._received + 1) % extent.parts
        rows = list(range(written + to_last, written + beats, extent.parts))
        end = written + beats - 1
        if not self._bursts and (not rows or rows[-1] != end):
            rows.append(end)
        self.rows += len(rows)
        self._scratchpad.load_writes.extend(rows)
