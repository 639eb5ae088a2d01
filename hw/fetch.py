"""Fetch and dispatch: the program's way from DRAM to the engines' queues."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from . import axi
from .commands import COMMANDS, COUNT_BITS, INDEX_BITS, WORD_BITS, Field, Load
from .config import Config
from .engine import ERROR, Error, note_error
from .queue import Queue, is_full
from .registers import ErrorCode
from .transfer import bits_below, modulo

QUEUE_COMMANDS = 8
"""Commands that wait in each engine's queue."""

BURST_BYTES = 128
"""The longest burst of the fetch: short, for it goes before loads."""

MAX_BURSTS = 4
"""Bursts of the fetch that may be under way, or their beats not yet dispatched, at once."""

WORD = data.StructLayout({"word": WORD_BITS, "error": 1})
"""A word of the program, or the news that the bus could not deliver it."""

ASK_LATENCY = 2
"""Cycles from the start, or from the asking for a burst, to the asking for the next."""

BUFFER_LATENCY = ASK_LATENCY + 1
"""Cycles from a beat's leaving the buffer to the asking for a burst that may take its room."""

ROOM_LATENCY = 2
"""Cycles from the one in which a command's last word leaves its queue to the first in which another may pass: one to
see it, one to count it."""

PASS_LATENCY = 1
"""Cycles from the one in which a word passes to its entry into the queue."""

_WORD_BYTES = WORD_BITS // 8


class Fetch(wiring.Component):
    """Reads the program from DRAM, ahead of its use.

    The program's memory is divided into aligned pieces of at most `BURST_BYTES`; a burst reads what the program has in
    one. It is asked for when the buffer of `MAX_BURSTS` pieces has room for a whole piece, counting what is under way,
    `ASK_LATENCY` cycles after the burst before it, `BUFFER_LATENCY` after the room became free. A beat that arrives in
    cycle t is a word at the output from t + 3 on; words follow each other without a pause (every second cycle on a
    4-byte bus).

    Members
    -------
    start : In(1)
        Begin at `address` with `words` words. Once only between resets.
    address : In(32)
        DRAM byte address, a multiple of the bus width; lower bits are ignored.
    words : In(32)
        Length of the program.
    halt : In(1)
        Ask for nothing more.
    read : Out(ReadChannels)
    o : Out(stream of WORD)
    quiet : Out(1)
        No burst is under way.
    """

    def __init__(self, config: Config) -> None:
        self._bus_bytes = config.bus_bytes
        self._burst_beats = min(config.burst_beats, BURST_BYTES // config.bus_bytes)
        super().__init__(
            {
                "start": In(1),
                "address": In(axi.ADDRESS_BITS),
                "words": In(32),
                "halt": In(1),
                "read": Out(axi.ReadChannels(config.bus_bytes)),
                "o": Out(stream.Signature(WORD)),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        depth = MAX_BURSTS * self._burst_beats
        beat = data.StructLayout({"data": 8 * self._bus_bytes, "error": 1})
        m.submodules.buffer = buffer = Queue(shape=beat, depth=depth)
        bus_bits = (self._bus_bytes - 1).bit_length()

        place = Signal(axi.ADDRESS_BITS - bus_bits)  # of the next beat to ask for
        left = Signal(33)  # beats to ask for
        reserved = Signal(range(depth + 1))  # beats under way or in the buffer
        bursts = Signal(range(MAX_BURSTS + 1))
        room = self._burst_beats - modulo(place, self._burst_beats)
        beats = Signal(range(self._burst_beats + 1), reset_less=True)
        able = Signal()
        few = len(beats)
        ar, r = self.read.ar, self.read.r
        asked = ar.valid & ar.ready
        answered = r.valid & r.payload.last
        taken = Signal()
        m.d.comb += [
            ar.valid.eq(able & ~self.halt),
            ar.payload.address.eq(place << bus_bits),
            ar.payload.length.eq(beats - 1),
            r.ready.eq(1),
            buffer.i.valid.eq(r.valid),
            buffer.i.payload.data.eq(r.payload.data),
            buffer.i.payload.error.eq(r.payload.response[1]),
            self.quiet.eq(bursts == 0),
        ]
        m.d.sync += taken.eq(buffer.o.valid & buffer.o.ready)
        # What the next burst is takes a cycle to see. Nothing but asking makes less of what is left, or of the room.
        m.d.sync += [
            able.eq((left != 0) & (reserved <= depth - self._burst_beats) & ~asked),
            beats.eq(Mux(left[few:].any() | (left[:few] >= room), room, left)),
        ]
        with m.If(asked | taken):
            m.d.sync += reserved.eq(reserved + Mux(asked, beats, 0) - taken)
        with m.If(asked ^ answered):
            m.d.sync += bursts.eq(Mux(asked, bursts + 1, bursts - 1))
        if self._bus_bytes < _WORD_BYTES:
            all_beats = self.words << 1
        else:
            words_per_beat = self._bus_bytes // _WORD_BYTES
            all_beats = (self.words + (words_per_beat - 1)) >> (words_per_beat - 1).bit_length()
        with m.If(self.start | asked):
            step = Mux(self.start, 0, beats)  # what is chosen before an adder costs nothing
            m.d.sync += [
                place.eq(Mux(self.start, self.address[bus_bits:], place) + step),
                left.eq(Mux(self.start, all_beats, left) - step),
            ]

        free = ~self.o.valid | self.o.ready
        if self._bus_bytes < _WORD_BYTES:
            self._join(m, buffer.o, free)
        else:
            self._split(m, buffer.o, free)
        return m

    def _join(self, m: Module, beats: Any, free: Any) -> None:
        """Two beats make a word."""
        low = Signal.like(beats.payload, reset_less=True)
        has_low = Signal()
        m.d.comb += beats.ready.eq(~has_low | free)
        with m.If(free):
            m.d.sync += self.o.valid.eq(beats.valid & has_low)
        with m.If(beats.valid & beats.ready):
            m.d.sync += has_low.eq(~has_low)
            with m.If(has_low):
                m.d.sync += [
                    self.o.payload.word.eq(Cat(low.data, beats.payload.data)),
                    self.o.payload.error.eq(low.error | beats.payload.error),
                ]
            with m.Else():
                m.d.sync += low.eq(beats.payload)

    def _split(self, m: Module, beats: Any, free: Any) -> None:
        """A beat holds one or several words."""
        parts = self._bus_bytes // _WORD_BYTES
        part = Signal(bits_below(parts))
        m.d.comb += beats.ready.eq(free & (part == parts - 1))
        with m.If(free):
            m.d.sync += self.o.valid.eq(beats.valid)
            with m.If(beats.valid):
                m.d.sync += [
                    part.eq(modulo(part + 1, parts)),
                    self.o.payload.word.eq(beats.payload.data.word_select(part, WORD_BITS)),
                    self.o.payload.error.eq(beats.payload.error),
                ]


class Dispatch(wiring.Component):
    """Hands each command to its engine's queue.

    A command's first word passes in the first cycle in which it is there and the queue is seen to have room for the
    whole command, `ROOM_LATENCY` cycles after the last word of another has left it; the other words follow as they
    come, one per cycle. The first word takes the command's place in the program along. Each queue holds
    `QUEUE_COMMANDS` commands, up to their last word.

    Members
    -------
    start : In(1)
        The program is to have `words` words. Once only between resets.
    words : In(32)
    halt : In(1)
        Pass nothing more.
    i : In(stream of WORD)
        The first comes two cycles after the start, or later.
    load, execute, store : Out(stream of 64-bit words)
        The queues' ends.
    load_dispatched, execute_dispatched, store_dispatched : Out(20)
        Commands that were begun to pass.
    finished : Out(1)
        The whole program has passed.
    stalled : Out(1)
        Nothing can pass before a queue empties, or the program has passed.
    error : Out(ERROR)
        An opcode that no command has, a stream that ends within a command, or a word that the bus could not deliver.
    """

    _ENGINES = tuple((opcode.name.lower(), opcode, kind) for opcode, kind in COMMANDS.items())

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "words": In(32),
                "halt": In(1),
                "i": In(stream.Signature(WORD)),
                **{name: Out(stream.Signature(WORD_BITS)) for name, _, _ in self._ENGINES},
                **{f"{name}_dispatched": Out(COUNT_BITS) for name, _, _ in self._ENGINES},
                "finished": Out(1, init=1),
                "stalled": Out(1),
                "error": Out(ERROR),
            }
        )

    @staticmethod
    def _field(name: str) -> Field:
        """A header's field, which is the same in all commands."""
        return next(field for field in Load.layout() if field.name == name)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        left = Signal(32)
        most = max(kind.words() for kind in COMMANDS.values())
        rest = Signal(signed(most.bit_length() + 1))  # words of this command to follow, less two
        header = Signal(init=1)  # none
        receiver = Signal(len(COMMANDS))
        index = Signal(INDEX_BITS)
        failed = Signal()

        word = self.i.payload.word
        opcode_at, index_at = (self._field(name) for name in ("opcode", "index"))
        opcode = word[opcode_at.offset : opcode_at.offset + opcode_at.bits]
        chosen = Signal(len(COMMANDS))
        free = Signal(len(COMMANDS))
        short = Signal(len(COMMANDS))
        # A register between here and the queues' memories: a word, whether it is its command's last, and whose it is.
        item = data.StructLayout({"word": WORD_BITS, "last": 1})
        passed = Signal(item, reset_less=True)
        pushes = Signal(len(COMMANDS))
        few = most.bit_length()
        many = left[few:].any()
        passing = Signal()
        for place, (name, code, kind) in enumerate(self._ENGINES):
            # Room for whole commands: the words of one never wait on each other.
            depth = QUEUE_COMMANDS * kind.words()
            m.submodules[f"{name}_queue"] = queue = Queue(shape=item, depth=depth, block=True)
            port = getattr(self, name)
            waiting = Signal(range(QUEUE_COMMANDS + 1), name=f"{name}_commands")
            enters, leaves = passing & header & chosen[place], Signal(name=f"{name}_leaves")
            m.d.sync += leaves.eq(port.valid & port.ready & queue.o.payload.last)
            with m.If(enters ^ leaves):
                m.d.sync += waiting.eq(Mux(leaves, waiting - 1, waiting + 1))
            m.d.comb += [
                chosen[place].eq(opcode == code),
                free[place].eq(~is_full(waiting, QUEUE_COMMANDS)),
                queue.i.valid.eq(pushes[place]),
                queue.i.payload.eq(passed),
                queue.o.ready.eq(port.ready),
                port.valid.eq(queue.o.valid),
                port.payload.eq(queue.o.payload.word),
            ]
            # Whether the program would end within a command is known a cycle ahead.
            size = kind.words()
            m.d.sync += short[place].eq(~many & Mux(passing, left[:few] <= size, left[:few] < size))

        illegal = Signal()
        good = Signal()
        m.d.comb += [
            illegal.eq(header & ((chosen == 0) | (chosen & short).any())),
            # What follows the program's last word in a wide beat stays where it is.
            good.eq(self.i.valid & ~self.finished & ~failed),
            passing.eq(good & ~self.i.payload.error & ~self.halt & (~header | (chosen & free & ~short).any())),
            self.i.ready.eq(passing),
            self.stalled.eq(self.finished | (self.i.valid & header & ~illegal & ~(chosen & free).any())),
        ]
        ends = ~header & (rest < 0)
        m.d.sync += pushes.eq(Mux(header, chosen, receiver) & passing.replicate(len(pushes)))
        m.d.sync += [passed.word.eq(Mux(header, Cat(word[: index_at.offset], index), word)), passed.last.eq(ends)]
        m.d.sync += self.finished.eq(~many & Mux(passing, left[:few] == 1, left[:few] == 0) & ~self.start)
        with m.If(self.start | passing):
            m.d.sync += left.eq(Mux(self.start, self.words, left) - ~self.start)
        with m.If(passing):
            with m.If(header):
                m.d.sync += receiver.eq(chosen)
                for place, (name, _, kind) in enumerate(self._ENGINES):
                    dispatched = getattr(self, f"{name}_dispatched")
                    with m.If(chosen[place]):
                        m.d.sync += [rest.eq(kind.words() - 3), dispatched.eq(dispatched + 1)]
            with m.Else():
                m.d.sync += rest.eq(rest - 1)
            # Every command has a second word.
            m.d.sync += header.eq(ends)
            with m.If(ends):
                m.d.sync += index.eq(index + 1)
        note_error(
            m,
            self,
            failed,
            Error(good & self.i.payload.error, ErrorCode.FETCH_BUS, index),
            Error(good & illegal, ErrorCode.ILLEGAL_COMMAND, index),
        )
        return m
