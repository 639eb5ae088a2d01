"""What loads and stores have in common: a run of bytes that a bus moves in beats and bursts."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from . import axi
from .config import Config
from .registers import ErrorCode


class Extent:
    """Where a load or store command's bytes lie on the bus, as combinational signals.

    Parameters
    ----------
    m
        The module that computes them.
    command
        View of a `Load` or `Store`.
    base_address
        Added to the command's DRAM address; its bits within a beat are ignored.
    bus_bytes
        Width of the bus.

    Attributes
    ----------
    place
        The first beat's DRAM address, in beats.
    first_lane, last_lane
        The first byte's place in the first beat, and the last byte's in the last.
    beats
        How many there are.
    end
        On-chip address of the byte behind the last.
    aligned
        No byte changes its lane between DRAM and the on-chip memory.
    """

    def __init__(self, m: Module, command: Any, *, base_address: Any, bus_bytes: int) -> None:
        bus_bits = (bus_bytes - 1).bit_length()
        span = Signal(len(command.length) + 1)  # bytes from the first beat's first to the command's last
        self.place = Signal(axi.ADDRESS_BITS - bus_bits)
        self.first_lane = command.dram_address[:bus_bits]
        self.last_lane = Signal(bus_bits)
        self.beats = Signal(len(span) - bus_bits + 1)
        self.end = Signal(len(command.address) + 1)
        self.aligned = self.first_lane == command.address[:bus_bits]
        m.d.comb += [
            span.eq(self.first_lane + command.length),
            self.place.eq(base_address[bus_bits:] + command.dram_address[bus_bits:]),
            self.last_lane.eq(span - 1),
            self.beats.eq((span + (bus_bytes - 1)) >> bus_bits),
            self.end.eq(command.address + command.length),
        ]

    def error(self, command: Any, *, outside: Any) -> Any:
        """The error code of a command that reaches beyond its memory if `outside` is not NONE."""
        return Mux(
            command.length == 0,
            ErrorCode.ILLEGAL_COMMAND,
            Mux(self.aligned, outside, ErrorCode.ALIGNMENT),
        )


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
        `place` of the first beat, in beats, and number of `beats`, at least 1.
    o : Out(stream)
        `burst` for an address channel, its `beats`, and whether it is the `last` of its transfer.
    """

    def __init__(self, config: Config) -> None:
        self._bus_bits = (config.bus_bytes - 1).bit_length()
        self._burst_beats = config.burst_beats
        super().__init__(
            {
                "i": In(
                    stream.Signature(
                        data.StructLayout({"place": axi.ADDRESS_BITS - self._bus_bits, "beats": beats_bits(config)})
                    )
                ),
                "o": Out(
                    stream.Signature(
                        data.StructLayout({"burst": axi.BURST, "beats": range(config.burst_beats + 1), "last": 1})
                    )
                ),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        place = Signal.like(self.i.payload.place, reset_less=True)
        left = Signal.like(self.i.payload.beats, reset_less=True)
        room = self._burst_beats - modulo(place, self._burst_beats)
        o = self.o.payload
        m.d.comb += [
            self.i.ready.eq(~self.o.valid),
            o.last.eq(left <= room),
            o.beats.eq(Mux(o.last, left, room)),
            o.burst.address.eq(Cat(Const(0, self._bus_bits), place)),
            o.burst.length.eq(o.beats - 1),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [self.o.valid.eq(1), place.eq(self.i.payload.place), left.eq(self.i.payload.beats)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [self.o.valid.eq(~o.last), place.eq(place + room), left.eq(left - room)]
        return m
