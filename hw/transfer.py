"""What loads and stores have in common: a run of bytes that a bus moves in beats and bursts."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from . import axi
from .config import Config
from .registers import ErrorCode


class Extent:
    """Where a load or store command's bytes lie on the bus, and whether they may: one cycle after the command is there.

    Parameters
    ----------
    m
        The module that computes it.
    command
        View of a `Load` or `Store`.
    base_address
        Added to the command's DRAM address; its bits within a beat are ignored.
    bus_bytes
        Width of the bus.
    outside
        Given the on-chip address of the byte behind the last, the error code of a command that reaches beyond its
        memory; NONE for others.

    Attributes
    ----------
    place
        The first beat's DRAM address, in beats.
    first_lane, last_lane
        The first byte's place in the first beat, and the last byte's in the last.
    more
        Beats that follow the first.
    code
        The error: a command of no bytes, bytes that change their lane between DRAM and the on-chip memory, or
        `outside`.
    """

    def __init__(self, m: Module, command: Any, *, base_address: Any, bus_bytes: int, outside: Any) -> None:
        bus_bits = (bus_bytes - 1).bit_length()
        self.place = Signal(axi.ADDRESS_BITS - bus_bits, reset_less=True)
        self.first_lane = command.dram_address[:bus_bits]
        self.last_lane = Signal(bus_bits, reset_less=True)
        self.more = Signal(len(command.length) - bus_bits + 1, reset_less=True)
        self.code = Signal(ErrorCode, reset_less=True)
        end = Signal(len(command.address) + 1)
        m.d.comb += end.eq(command.address + command.length)
        m.d.sync += [
            self.place.eq(base_address[bus_bits:] + command.dram_address[bus_bits:]),
            Cat(self.last_lane, self.more).eq(command.length + (self.first_lane - 1)),
            self.code.eq(
                Mux(
                    command.length == 0,
                    ErrorCode.ILLEGAL_COMMAND,
                    Mux(self.first_lane == command.address[:bus_bits], outside(end), ErrorCode.ALIGNMENT),
                )
            ),
        ]


def bits_below(count: int) -> int:
    """Width of the numbers below `count`, but at least 1: Verilog has no signals of no bits."""
    return max(1, (count - 1).bit_length())


def modulo(value: Any, count: int) -> Any:
    """`value` modulo a power of two, `bits_below(count)` wide."""
    return value[: bits_below(count)] if count > 1 else Const(0, 1)


def lane_mask(lanes: int, first: Any, first_lane: Any, last: Any, last_lane: Any) -> Any:
    """The lanes of a beat that count: from `first_lane` on if it is the first, up to `last_lane` if it is the last.

    `lanes` is a power of two.
    """
    every = Const((1 << lanes) - 1, lanes)
    head = Mux(first, (every << first_lane)[:lanes], every)
    tail = Mux(last, every >> ~last_lane, every)  # ~lane is lanes - 1 - lane
    return head & tail


def beats_bits(config: Config) -> int:
    """Width of the number of beats of the longest transfer, which begins and ends within a beat."""
    return (max(config.scratchpad_bytes, config.weight_bytes) // config.bus_bytes + 1).bit_length()


class BurstSplitter(wiring.Component):
    """Divides transfers into bursts at DRAM addresses that are multiples of a whole burst.

    The first burst is there in the cycle after the transfer was taken; one burst per cycle; the next transfer is taken
    no sooner than the cycle after the last burst was.

    Members
    -------
    i : In(stream)
        `place` of the first beat, in beats, and how many `more` there are.
    o : Out(stream)
        `burst` for an address channel, and whether it is the `last` of its transfer.
    """

    def __init__(self, config: Config) -> None:
        self._bus_bits = (config.bus_bytes - 1).bit_length()
        self._burst_beats = config.burst_beats
        super().__init__(
            {
                "i": In(
                    stream.Signature(
                        data.StructLayout({"place": axi.ADDRESS_BITS - self._bus_bits, "more": beats_bits(config)})
                    )
                ),
                "o": Out(stream.Signature(data.StructLayout({"burst": axi.BURST, "last": 1}))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        bits = (self._burst_beats - 1).bit_length()
        # The memory is divided into aligned pieces of a whole burst. All bursts but the first begin with their piece,
        # all but the last end with it: `first` and `end` are beats within a piece.
        place = self.i.payload.place
        piece = Signal(len(place) - bits, reset_less=True)
        first, end = (Signal(max(1, bits), name=name, reset_less=True) for name in ("first", "end"))
        reach = Signal(len(self.i.payload.more) + 1)
        left = Signal(signed(len(reach) - bits + 1), reset_less=True)  # pieces behind the next one
        begin, step = Signal(), Signal()
        o = self.o.payload
        m.d.comb += [
            begin.eq(self.i.valid & self.i.ready),
            step.eq(self.o.valid & self.o.ready),
            self.i.ready.eq(~self.o.valid),
            reach.eq(place[:bits] + self.i.payload.more),
            o.last.eq(left < 0),
            o.burst.address.eq(Cat(Const(0, self._bus_bits), first[:bits], piece)),
            o.burst.length.eq(Mux(o.last, end, self._burst_beats - 1) - first),
        ]
        with m.If(begin | step):
            m.d.sync += [
                self.o.valid.eq(~self.o.valid | ~o.last),
                piece.eq(Mux(self.o.valid, piece, place[bits:]) + self.o.valid),
                first.eq(Mux(self.o.valid, 0, place[:bits])),
                left.eq(Mux(self.o.valid, left, reach[bits:]) - 1),
            ]
        with m.If(begin):
            m.d.sync += end.eq(reach[:bits])
        return m
