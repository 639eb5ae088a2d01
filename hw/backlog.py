"""The backlog: the way of totals from the accumulators to requantization, on which they wait if lanes are few."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

from . import accumulators, requantization
from .config import Config
from .delay import DelayLine
from .requantization import TOLD

_LEAD = accumulators.LEAD + accumulators.LATENCY
"""Cycles from a step's control to its totals."""


def latency(config: Config) -> int:
    """Cycles from totals, before which none wait, to the first of their turns in the lanes."""
    return 0 if config.turns == 1 else 1 + TOLD


def result_latency(config: Config) -> int:
    """Cycles from the lanes' accumulators to their results. Lanes that columns share shift by multiplication."""
    return requantization.result_latency(multiplied=config.turns > 1)


def return_latency(config: Config) -> int:
    """Cycles from a pixel's sums to its first results, where they come back to the accumulators."""
    return accumulators.LATENCY + latency(config) + result_latency(config) + accumulators.EARLIER


class Backlog(wiring.Component):
    """Brings totals to the lanes: at once where there is a lane for each column, in `Config.turns` turns otherwise.

    A pixel's turns follow each other, and take the lanes for as many cycles. Meanwhile the totals of others wait in a
    queue, which has room for those of one pass: a memory that takes a pixel at once, and gives a turn of it.

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
    exchange, passed : In(1), In(sum_bits * columns)
        Where columns share lanes: with `begins`, whether results come back in this block; what takes the place of
        totals if they do.
    begin : Out(1)
        The block begins in the lanes.
    valid, turn, accumulators : Out(1), Out(range(turns)), Out(32 * lanes)
        For the lanes.
    back, part, o_place : Out(1), Out(range(turns)), Out
        In `accumulators.LEAD - accumulators.EARLIER` cycles the results of these columns are there, with their place.
    comes, first, final : Out(1)
        In the next cycle the lanes have outputs: a pixel's first, its last.
    o_note : Out(width)
        The pixel's note, a cycle before each `comes`.
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
                **({"exchange": In(1), "passed": In(config.sum_bits * config.columns)} if config.turns > 1 else {}),
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
        places = config.accumulator_depth
        depth = places << (config.turns - 1).bit_length()
        self._totals = MemoryData(shape=32 * config.lane_count, depth=depth, init=[])
        self._sums = MemoryData(shape=config.sum_bits * config.lane_count + 1, depth=depth, init=[])
        self._noted = result_latency(config)  # cycles from the lanes' accumulators to the last before their outputs
        self._notes = MemoryData(shape=width, depth=places + ahead + latency(config) + self._noted, init=[])
        # From the lanes' accumulators to the step's control with which their results come back.
        self._back = result_latency(config) + accumulators.EARLIER - accumulators.LEAD

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if self._config.turns == 1:
            # The block begins one cycle before its first totals, or turn, is there.
            m.d.comb += self.begin.eq(self._later(m, self.begins, _LEAD - 1))
            self._elaborate_passing(m)
        else:
            m.d.comb += self.begin.eq(self._later(m, self.begins, _LEAD - 1 + latency(self._config) - TOLD))
            self._elaborate_turns(m)
        return m

    def _later(self, m: Module, value: Value, cycles: int) -> Signal:
        """What it was some cycles ago."""
        line = Signal(len(value) * cycles)
        m.d.sync += line.eq(Cat(value, line))
        return line[-len(value) :]

    def _elaborate_passing(self, m: Module) -> None:
        m.submodules.notes = notes = DelayLine(width=len(self.note), cycles=self._ahead + self._noted - 1)
        m.submodules.places = places = DelayLine(width=len(self.place), cycles=_LEAD + self._back)
        m.d.comb += [
            self.valid.eq(self._later(m, self.enters, _LEAD)),
            self.accumulators.eq(self.totals),
            places.i_valid.eq(self.returns),
            places.i_data.eq(self.place),
            self.back.eq(places.o_valid),
            self.o_place.eq(places.o_data),
            notes.i_valid.eq(self.note_valid),
            notes.i_data.eq(self.note),
            self.comes.eq(self._later(m, notes.o_valid, 1)),
            self.first.eq(1),
            self.final.eq(1),
            self.o_note.eq(notes.o_data),
        ]

    def _elaborate_turns(self, m: Module) -> None:
        config = self._config
        turns, turn_bits = range(config.turns), len(self.turn)
        enters, returns = self._later(m, self.enters, _LEAD), self._later(m, self.returns, _LEAD)
        waiting = Signal(range(config.accumulator_depth + 1))
        reading, leaves, ends = Signal(), Signal(), Signal()
        m.d.comb += [
            reading.eq((self.turn != 0) | (waiting != 0)),
            leaves.eq(reading & (self.turn == 0)),
            ends.eq(reading & (self.turn == config.turns - 1)),
        ]
        m.d.sync += waiting.eq(waiting + enters - leaves)
        with m.If(ends):
            m.d.sync += self.turn.eq(0)
        with m.Elif(reading):
            m.d.sync += self.turn.eq(self.turn + 1)

        # Of all that a pass brings, either the totals are meant or the sums.
        following, exchange = Signal(), Signal()
        with m.If(self.begins):
            m.d.sync += following.eq(self.exchange)
        with m.If(self.begin):
            m.d.sync += exchange.eq(following)
        way_in = self._places(m, "in", config.accumulator_depth, enters)
        way_out = self._places(m, "out", config.accumulator_depth, ends)
        read = {}
        bits = config.sum_bits * config.lane_count
        words = {
            "totals": (self._totals, [self.totals.word_select(turn, 32 * config.lane_count) for turn in turns]),
            "sums": (self._sums, [Cat(self.passed.word_select(turn, bits), returns) for turn in turns]),
        }
        for name, (init, parts) in words.items():
            # No collisions: no word leaves in the cycle in which it enters.
            m.submodules[name] = memory = Memory(init, attrs={"no_rw_check": 1, "ram_style": "block"})
            port = memory.read_port()
            m.d.comb += [port.addr.eq(Cat(self.turn, way_out)), port.en.eq(reading)]
            read[name] = port.data
            for turn, part in enumerate(parts):
                port = memory.write_port()
                m.d.comb += [port.addr.eq(Cat(Const(turn, turn_bits), way_in)), port.data.eq(part), port.en.eq(enters)]
        # A memory's words go straight to a register, which an FPGA's memory has.
        there = self._later(m, reading, TOLD - 1)
        held = {name: Signal.like(word, name=f"held_{name}", reset_less=True) for name, word in read.items()}
        with m.If(there):
            m.d.sync += [register.eq(read[name]) for name, register in held.items()]
        exchanged = self._later(m, exchange, TOLD)
        sums = accumulators.widened(held["sums"][:bits], config.sum_bits)
        m.d.comb += self.accumulators.eq(Mux(exchanged, sums, held["totals"]))
        m.d.sync += self.valid.eq(there)

        # What comes back goes to one pixel after the other, as it went.
        back = self._later(m, self.valid & held["sums"][bits], TOLD - 2 + self._back)
        part = self._later(m, self.turn, TOLD + self._back)
        place = Signal.like(self.place, reset_less=True)
        with m.If(self.begins):
            m.d.sync += place.eq(self.place)
        with m.Elif(back & (part == config.turns - 1)):
            m.d.sync += place.eq(place + 1)
        m.d.comb += [self.back.eq(back), self.part.eq(part), self.o_place.eq(place)]

        comes, turn = self._later(m, reading, TOLD + self._noted), self._later(m, self.turn, TOLD + self._noted)
        away = self._later(m, leaves, TOLD - 3 + self._noted)
        note = Signal.like(self.note, reset_less=True)
        m.d.sync += note.eq(self._queue(m, "notes", self._notes, self.note_valid, self.note, away))
        m.d.comb += [
            self.comes.eq(comes),
            self.first.eq(turn == 0),
            self.final.eq(turn == config.turns - 1),
            self.o_note.eq(note),
        ]

    def _queue(self, m: Module, name: str, init: MemoryData, enters: Value, word: Value, leaves: Value) -> Value:
        """Words in order; one that leaves is there from the next cycle on."""
        # No collisions: no word leaves in the cycle in which it enters.
        m.submodules[name] = memory = Memory(init, attrs={"no_rw_check": 1})
        write, read = memory.write_port(), memory.read_port()
        for port, moves, way in ((write, enters, "in"), (read, leaves, "out")):
            m.d.comb += [port.addr.eq(self._places(m, f"{name}_{way}", init.depth, moves)), port.en.eq(moves)]
        m.d.comb += write.data.eq(word)
        return read.data

    def _places(self, m: Module, name: str, count: int, moves: Value) -> Signal:
        """One place after the other, round and round."""
        place = Signal(range(count), name=f"{name}_place")
        with m.If(moves):
            m.d.sync += place.eq(Mux(place == count - 1, 0, place + 1))
        return place
