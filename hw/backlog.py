"""The backlog: the way of totals from the accumulators to requantization, on which they wait if lanes are few."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

from . import accumulators, requantization
from .config import Config
from .delay import DelayLine

_LEAD = accumulators.LEAD + accumulators.LATENCY
"""Cycles from a step's control to its totals."""

_NOTED = requantization.LATENCY - 1
"""Cycles from the lanes' accumulators to the last before their outputs."""

_BACK = requantization.RESULT_LATENCY - accumulators.LEAD
"""Cycles from the lanes' accumulators to the step's control with which their results come back."""


def latency(config: Config) -> int:
    """Cycles from totals, before which none wait, to the first of their turns in the lanes."""
    return 0 if config.turns == 1 else 3


def return_latency(config: Config) -> int:
    """Cycles from a pixel's sums to its first results, where they come back to the accumulators."""
    return accumulators.LATENCY + latency(config) + requantization.RESULT_LATENCY


class Backlog(wiring.Component):
    """Brings totals to the lanes: at once where there is a lane for each column, in `Config.turns` turns otherwise.

    A pixel's turns follow each other, and take the lanes for as many cycles. Meanwhile the totals of others wait in a
    queue, which has room for those of one pass.

    Parameters
    ----------
    config
        The machine.
    width
        Bits of a note.
    ahead
        Cycles by which notes come before totals.

    Members
    -------
    note_valid, note : In(1), In(width)
        What shall be there beside the outputs of the pixel whose totals enter `ahead` cycles later.
    begins : In(1)
        With this step a block begins.
    enters, returns, place : In(1), In(1), In
        The step's totals go to the lanes; the results are to come back to this place in the accumulators. With the
        step's control, `accumulators.LEAD` cycles before its sums.
    totals : In(32 * columns)
        As they come from the accumulators.
    begin : Out(1)
        The block begins in the lanes.
    valid, turn, accumulators : Out(1), Out(range(turns)), Out(32 * lanes)
        For the lanes.
    back, part, o_place : Out(1), Out(range(turns)), Out
        In `accumulators.LEAD` cycles the results of these columns are there, with their place.
    comes, first, final : Out(1)
        In the next cycle the lanes have outputs: a pixel's first, its last.
    o_note : Out(width)
        The pixel's note, in the same cycle.
    """

    def __init__(self, config: Config, *, width: int, ahead: int) -> None:
        self._config = config
        self._ahead = ahead
        place = (config.accumulator_depth - 1).bit_length() + 3
        super().__init__(
            {
                "note_valid": In(1),
                "note": In(width),
                "begins": In(1),
                "enters": In(1),
                "returns": In(1),
                "place": In(place),
                "totals": In(32 * config.columns),
                "begin": Out(1),
                "valid": Out(1),
                "turn": Out(range(config.turns)),
                "accumulators": Out(32 * config.lane_count),
                "back": Out(1),
                "part": Out(range(config.turns)),
                "o_place": Out(place),
                "comes": Out(1),
                "first": Out(1),
                "final": Out(1),
                "o_note": Out(width),
            }
        )
        depth = config.accumulator_depth
        self._totals = MemoryData(shape=32 * config.columns + 1, depth=depth, init=[])
        self._notes = MemoryData(shape=width, depth=depth + ahead + latency(config) + _NOTED, init=[])

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        # The block begins one cycle before its first totals, or turn, is there.
        m.d.comb += self.begin.eq(self._later(m, self.begins, _LEAD - 1 + max(0, latency(self._config) - 1)))
        if self._config.turns == 1:
            self._elaborate_passing(m)
        else:
            self._elaborate_turns(m)
        return m

    def _later(self, m: Module, value: Value, cycles: int) -> Signal:
        """What it was some cycles ago."""
        line = Signal(len(value) * cycles)
        m.d.sync += line.eq(Cat(value, line))
        return line[-len(value) :]

    def _elaborate_passing(self, m: Module) -> None:
        m.submodules.notes = notes = DelayLine(width=len(self.note), cycles=self._ahead + _NOTED)
        m.submodules.places = places = DelayLine(width=len(self.place), cycles=_LEAD + _BACK)
        m.d.comb += [
            self.valid.eq(self._later(m, self.enters, _LEAD)),
            self.accumulators.eq(self.totals),
            places.i_valid.eq(self.returns),
            places.i_data.eq(self.place),
            self.back.eq(places.o_valid),
            self.o_place.eq(places.o_data),
            notes.i_valid.eq(self.note_valid),
            notes.i_data.eq(self.note),
            self.comes.eq(notes.o_valid),
            self.first.eq(1),
            self.final.eq(1),
            self.o_note.eq(notes.o_data),
        ]

    def _elaborate_turns(self, m: Module) -> None:
        config = self._config
        enters, returns = self._later(m, self.enters, _LEAD), self._later(m, self.returns, _LEAD)
        waiting = Signal(range(config.accumulator_depth + 1))
        active, leaves = Signal(), Signal()
        final = self.turn == config.turns - 1
        totals = self._queue(m, "totals", self._totals, enters, Cat(self.totals, returns), leaves)
        m.d.comb += leaves.eq((waiting != 0) & (~active | final))
        m.d.sync += [
            waiting.eq(waiting + enters - leaves),
            active.eq(leaves | (active & ~final)),
            self.turn.eq(Mux(leaves | final, 0, self.turn + active)),
            self.valid.eq(active),
        ]
        with m.If(active):
            m.d.sync += self.accumulators.eq(totals.word_select(self.turn, len(self.accumulators)))

        # What comes back goes to one pixel after the other, as it went.
        back = self._later(m, active & totals[-1], 1 + _BACK)
        part = self._later(m, self.turn, 1 + _BACK)
        place = Signal.like(self.place, reset_less=True)
        with m.If(self.begins):
            m.d.sync += place.eq(self.place)
        with m.Elif(back & (part == config.turns - 1)):
            m.d.sync += place.eq(place + 1)
        m.d.comb += [self.back.eq(back), self.part.eq(part), self.o_place.eq(place)]

        comes, turn = self._later(m, active, 1 + _NOTED), self._later(m, self.turn, 1 + _NOTED)
        away = self._later(m, leaves, 1 + _NOTED)
        m.d.comb += [
            self.comes.eq(comes),
            self.first.eq(turn == 0),
            self.final.eq(turn == config.turns - 1),
            self.o_note.eq(self._queue(m, "notes", self._notes, self.note_valid, self.note, away)),
        ]

    def _queue(self, m: Module, name: str, init: MemoryData, enters: Value, word: Value, leaves: Value) -> Value:
        """Words in order; one that leaves is there from the next cycle on."""
        # No collisions: no word leaves in the cycle in which it enters.
        m.submodules[name] = memory = Memory(init, attrs={"no_rw_check": 1})
        write, read = memory.write_port(), memory.read_port()
        for port, moves, way in ((write, enters, "in"), (read, leaves, "out")):
            place = Signal(range(init.depth), name=f"{name}_{way}")
            with m.If(moves):
                m.d.sync += place.eq(Mux(place == init.depth - 1, 0, place + 1))
            m.d.comb += [port.addr.eq(place), port.en.eq(moves)]
        m.d.comb += write.data.eq(word)
        return read.data
