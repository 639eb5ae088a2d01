"""The execute engine in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...hw import queue
from ...hw.commands import Execute, Finish, Mode, Opcode
from ...hw.config import Config
from ...hw.engine import CHECK_LATENCY
from ...hw.execute import Pipeline
from ...hw.sequencer import pass_slots, return_tail
from .agenda import Agenda, Phase
from .engine import Engine, covered
from .scratchpad import Accesses, Scratchpad

EXECUTE_COUNTERS = (
    "accumulator_reads",
    "accumulator_writes",
    "weight_reads",
    "scratchpad_reads",
    "array_steps",
    "outputs",
)
"""Counters that tell what execute commands do, and not when; of the scratchpad's reads, those of other engines lack."""


@dataclass(frozen=True, slots=True)
class Passes:
    """A command's passes.

    Parameters
    ----------
    blocks, passes
        Of how many blocks there are how many.
    vectors
        That each pass streams.
    outputs
        How many of them give an output.
    pixels
        To how many pixels these belong: as many, or one that gathers them.
    stored
        In which vectors of a block's last pass pixels go to the scratchpad, a byte each; None stands for all.
    turns
        In which cycles of a block's last pass the lanes have a turn of which outputs go there, a byte each; up to the
        last turn of all. The same where a turn is all that a pixel takes.
    worked
        After how many cycles of that pass the lanes are through with it.
    slots
        Cycles of each pass but a block's last.
    last_slots
        Cycles of a block's last, whatever the lanes do.
    finish
        What becomes of a block's sums.
    staged
        Rows of weights that come from the scratchpad before each pass.
    """

    blocks: int
    passes: int
    vectors: int
    outputs: int
    pixels: int
    stored: bytes | None
    turns: bytes | None
    worked: int
    slots: int
    last_slots: int
    finish: int
    staged: int

    @classmethod
    def of(cls, command: Execute, config: Config) -> Passes:
        """The passes of a command."""
        vectors = command.pixels

        def slots(finish: int) -> int:
            apart = command.mode == Mode.DEPTHWISE or bool(command.staged)
            least, tail = pass_slots(config, apart=apart, finish=finish)
            return max(vectors, least) + tail

        pattern = _pattern(
            vectors,
            columns=command.columns,
            strip_rows=command.strip_rows,
            skip=(command.skip_rows, command.skip_columns),
            every=(command.every_row, command.every_column),
        )
        outputs = sum(pattern)
        stored = pattern
        if command.finish != Finish.STORE:
            stored = bytes(vectors)
        elif command.gather:
            stored = bytes(vectors - 1) + pattern[-1:]
        entering = stored if command.finish != Finish.RETURN else pattern
        turns = stored if config.turns == 1 else _turns(entering, stored, config.turns)
        return cls(
            blocks=command.blocks,
            passes=command.kernel_rows * command.kernel_columns * command.runs,
            vectors=vectors,
            outputs=outputs,
            pixels=min(1, outputs) if command.gather else outputs,
            stored=None if all(stored) else stored,
            turns=None if all(turns) else turns,
            worked=len(turns),
            slots=slots(Finish.KEEP),
            last_slots=slots(command.finish),
            finish=command.finish,
            staged=config.rows if command.staged else 0,
        )

    @property
    def finishes_at_once(self) -> bool:
        """Whether every pass finishes its block."""
        return self.passes == 1 and self.finish != Finish.KEEP

    @property
    def block(self) -> int:
        """Cycles of a block, whatever the lanes do."""
        return (self.passes - 1) * self.slots + self.last_slots

    @property
    def steps(self) -> int:
        """Vectors streamed in all passes."""
        return self.blocks * self.passes * self.vectors

    def accesses(self, command: Execute, config: Config) -> dict[str, int]:
        """What `command`, whose passes these are, adds to each of `EXECUTE_COUNTERS`, whenever it runs."""
        sums = self.blocks * self.passes * self.outputs
        finished = self.blocks * (self.vectors if self.stored is None else sum(self.stored))
        rows = self.passes * (config.rows - self.staged) + (config.parameter_rows if command.finish else 0)
        return {
            "accumulator_reads": sums - (0 if command.accumulate else self.blocks * self.pixels),
            "accumulator_writes": sums - finished,
            "weight_reads": self.blocks * rows,
            "array_steps": self.steps,
            "scratchpad_reads": self.steps + self.blocks * self.passes * self.staged,
            "outputs": finished,
        }


@lru_cache
def _pattern(vectors: int, *, columns: int, strip_rows: int, skip: tuple[int, int], every: tuple[int, int]) -> bytes:
    """Which vectors of a pass give an output, a byte each; see the `Execute` command."""
    row, column = np.divmod(np.arange(vectors), columns)
    if strip_rows:
        row %= strip_rows
    emits = np.ones(vectors, bool)
    for place, skipped, step in ((row, skip[0], every[0]), (column, skip[1], every[1])):
        emits &= (place >= skipped) & ((place - skipped) % step == 0)
    return emits.tobytes()


@lru_cache
def _turns(entering: bytes, stored: bytes, turns: int) -> bytes:
    """Which cycles the lanes take for pixels that are stored, a byte each.

    To the lanes goes what comes of the vectors `entering`, and of the last in any case.
    A pixel takes `turns` cycles, from its vector's on or from where the one before it leaves off.
    """
    work = bytearray()
    for vector, (enters, stores) in enumerate(zip(entering[:-1] + b"\1", stored, strict=True)):
        if enters:
            work += bytes(max(0, vector - len(work))) + bytes((stores,)) * turns
    return bytes(work)


class ExecuteEngine(Engine[Execute]):
    """Counts in its own time, which the scratchpad tells: `moment` is a cycle of that, `cycle` one of the run's."""

    opcode = Opcode.EXECUTE

    def __init__(self, agenda: Agenda, commands: Sequence[Execute], *, config: Config, scratchpad: Scratchpad) -> None:
        super().__init__(agenda, commands)
        self._scratchpad = scratchpad
        self._rows = config.rows
        self._pipeline = Pipeline(config)
        self.passes = [Passes.of(command, config) for command in commands]
        self._began: list[int] = []  # when each command's first word was taken
        self._word = 0  # the next to be taken
        self._taken = 0  # when the latest was
        self._taking = False
        self._turns = config.turns
        self._tail = return_tail(config)
        self._end = 0  # the moment when streaming ends
        self._free = 0  # the moment when the lanes are through with all that streams
        self._vectors_end = 0  # when the last vector has been read
        self._planned = -1
        self._met = 0  # since when it is known that what the next command awaits has completed; 0 before that
        self._completions: list[int] = []  # moments

    def take_words(self) -> None:
        if not self._taking and self.taking is not None:
            self._taking = True
            self._take_word(self.agenda.cycle)

    def _take_word(self, cycle: int) -> None:
        """Takes words as far as they come by now."""
        number = len(self.arrived)
        passed = self.passed[number]
        room = self.started[number - 1] + 1 if number else 0
        while self._word < len(passed):
            popped = max(passed[self._word] + queue.WRITE_LATENCY, self._taken)
            taken = max(popped + queue.READ_LATENCY, room)
            while taken <= cycle and not self._scratchpad.moves(taken):
                taken += 1
            if taken > cycle:
                self.agenda.add(taken, Phase.COMMAND, self._take_word)
                return
            if self._word == 0:
                self._began.append(taken)
            self._taken = taken
            self._word += 1
        self.agenda.add(self._taken + 1 + CHECK_LATENCY, Phase.COMMAND, self._check)
        self.leave(self._taken)

    def _check(self, cycle: int) -> None:
        """All words have been there since the cycle before; a look at them takes one in which the engine moves."""
        if self._scratchpad.moves(cycle - CHECK_LATENCY):
            self._word = 0
            self._taking = False
            self._met = 0
            self.arrive(cycle)
        else:
            self.agenda.add(cycle + 1, Phase.COMMAND, self._check)

    def consider(self, cycle: int) -> None:
        number = self.starting
        if number is None or self._planned > cycle or (awaited := self.awaited(number)) is None:
            return
        met, cause = awaited
        # Counts, too, are looked at in a cycle in which the engine moves.
        if met < self.arrived[number]:
            self._met = self.arrived[number]
        elif not self._met and met < cycle and self._scratchpad.moves(cycle - CHECK_LATENCY):
            self._met = cycle
        if not self._met:
            self._planned = cycle + 1
            self.agenda.add(self._planned, Phase.COMMAND, self.consider)
            return
        moment = self._scratchpad.moment(cycle)
        early = self._end - self._rows - moment
        if self.passes[number].staged:
            early = max(early, self._vectors_end - moment)
        if self.passes[number].finishes_at_once:
            early = max(early, self._free_for_next() - moment)
        if early <= 0 and not self._scratchpad.moves(cycle):
            early = 1
        if early > 0:
            self._planned = cycle + early
            self.agenda.add(self._planned, Phase.COMMAND, self.consider)
            return
        idle = max(self._end, self._free_for_next())
        idle_from = self._scratchpad.cycle(idle) if idle <= moment else None
        self._stream(self.passes[number], moment)
        self.start(cycle, self._met, cause, idle_from)

    def _free_for_next(self) -> int:
        """The moment from which on a command may start whose first pass finishes: lanes have next to nothing to do."""
        return 0 if self._turns == 1 else max(self._free - self._rows, self._vectors_end)

    def _stream(self, passes: Passes, moment: int) -> None:
        """A command that starts at `moment`: what it does to the scratchpad, and when it completes."""
        at = self._pipeline
        first = moment + self._rows
        before = (passes.passes - 1) * passes.slots  # in a block, its last pass
        last = first + before
        period = passes.block
        if passes.finish:
            # The lanes are through with what a pass finishes when the next one finishes.
            last = max(last, self._free)
            period = max(period, passes.worked)
            if passes.finishes_at_once and self._turns > 1:
                period = max(period, passes.vectors + self._rows)
        final = last + (passes.blocks - 1) * period
        self._read(passes, first + at.read, last - first, period)
        if passes.stored is None or any(passes.stored):
            write, end = last + at.banks, final + at.banks + passes.worked
            self._scratchpad.execute_writes.add(Accesses(write, end, period, period, 1, 0, passes.worked, passes.turns))
        self._end = final + passes.last_slots
        self._vectors_end = final + passes.vectors
        if passes.finish:
            self._free = final + passes.worked
        else:
            # That the last vector has been streamed takes the lanes as long as a pixel.
            self._free = max(self._free, self._vectors_end - 1) + self._turns
        if passes.finish == Finish.RETURN:
            self._end = max(self._end, self._free + self._tail)
        completed = self._free - 1 + at.completed
        self._completions.append(completed)
        self.agenda.add(self.agenda.cycle + completed - moment, Phase.COMPLETION, self._complete)

    def _read(self, passes: Passes, first: int, last: int, period: int) -> None:
        """The reads of passes from the moment `first` on, in which the first block's last pass comes `last` later."""
        reads, blocks = self._scratchpad.execute_reads, passes.blocks
        first, vectors = first - passes.staged, passes.staged + passes.vectors
        # In the blocks that follow, passes wait longer for the last.
        then = period - passes.last_slots if passes.passes > 1 else 0
        if last != then and blocks > 1:
            end = first + last + vectors
            reads.add(Accesses(first, end, end - first, passes.slots, passes.passes, last, vectors))
            first, last, blocks = first + last + period - then, then, blocks - 1
        end = first + last + (blocks - 1) * period + vectors
        block = period if blocks > 1 else end - first
        reads.add(Accesses(first, end, block, passes.slots, passes.passes, last, vectors))

    def _complete(self, cycle: int) -> None:
        """The next command completes, if the engine has come so far."""
        early = self._completions[len(self.completed)] - self._scratchpad.moment(cycle)
        if early > 0:
            self.agenda.add(cycle + early, Phase.COMPLETION, self._complete)
        else:
            self.complete(cycle)

    def busy_cycles(self) -> int:
        return covered(zip((began + 1 for began in self._began), self.completed, strict=True)) - self.wait_cycles
