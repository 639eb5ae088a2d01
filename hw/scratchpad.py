"""The scratchpad: two banks that together deliver, and take, a few bytes at any byte address in every cycle."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out, Signature

from .commands import ADDRESS_BITS
from .config import Config

READ_LATENCY = 5
"""Cycles from an execute engine's read to its bytes."""

ROW_LATENCY = 3
"""Cycles from an execute engine's read to its row of weights."""

WRITE_LATENCY = 1
"""Cycles from an execute engine's write to the one in which the banks take it."""

STORE_LATENCY = 2
"""Cycles from a store engine's request to its row."""


def _byte_mask(mask: Any, width: int) -> Any:
    """Every bit of `mask` eight times over."""
    return Cat(mask[i].replicate(8) for i in range(width))


def _address_bits(config: Config) -> int:
    return (config.scratchpad_bytes // config.scratchpad_row_bytes - 1).bit_length()


def read_signature(config: Config) -> Signature:
    """How the execute engine reads."""
    return Signature(
        {
            "upcoming": Out(1),
            "enable": Out(1),
            "address": Out(signed(ADDRESS_BITS)),
            "mask": Out(config.vector_bytes),
            "fill": Out(8),
            "data": In(8 * config.vector_bytes),
            "row": In(8 * config.weight_row_bytes),
        }
    )


def write_signature(config: Config) -> Signature:
    """How the execute engine writes."""
    return Signature(
        {
            "enable": Out(1),
            "address": Out(ADDRESS_BITS),
            "mask": Out(config.lane_count),
            "data": Out(8 * config.lane_count),
        }
    )


def load_signature(config: Config) -> Signature:
    """How the load engine writes whole rows."""
    row = config.scratchpad_row_bytes
    return Signature(
        {
            "upcoming": Out(1),
            "enable": Out(1),
            "address": Out(_address_bits(config)),
            "mask": Out(row),
            "data": Out(8 * row),
        }
    )


def store_signature(config: Config) -> Signature:
    """How the store engine reads whole rows."""
    row = config.scratchpad_row_bytes
    return Signature({"enable": Out(1), "address": Out(_address_bits(config)), "data": In(8 * row)})


class Scratchpad(wiring.Component):
    """On-chip memory for activations.

    Bytes lie in rows of two lines, one line in each of two banks: any `line_bytes` neighbouring bytes touch each bank
    at most once, so that one access reaches them all. In a cycle the execute engine reads a vector and writes
    a byte from each requantization lane, both at any byte address; the load and store engines move whole rows.

    The load and store engines come first, always. Where one of them uses a port that the execute engine wants in the
    same cycle, `frozen` says so, and the execute engine repeats that cycle. As nearly every register of the machine
    has to know, it comes from a register of its own: all accesses are known one cycle ahead.

    Members
    -------
    events : Out
        The banks are `read`, or take a `write`, in this cycle.
    frozen : Out(1)
        The execute engine must hold still in this cycle and come again with the same read and write.
    read
        `upcoming`: the next cycle's `enable`, unless this one is frozen. `enable`, `address`: byte address of lane 0
        (signed; may lie before the first unmasked lane's), `mask`: lanes to read, `fill`: what the other lanes show.
        `data`, `READ_LATENCY` unfrozen cycles later: a vector, lane 0 lowest; it holds while `enable` was low. `row`,
        `ROW_LATENCY` unfrozen cycles later: the `weight_row_bytes` bytes from the address on, if that is a multiple of
        as many.
    write
        `enable`, `address`, `data`, `mask`: bytes to write, one per requantization lane.
    load
        `upcoming`: the next cycle's `enable`. `enable`, `address` of a row, `data`, `mask`: taken in the same cycle,
        visible to reads from the next on.
    store
        `enable`, `address` of a row, which is read in the next cycle; `data`, `STORE_LATENCY` cycles later, and only
        then.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__(
            {
                "events": Out(Signature({"read": Out(1), "write": Out(1)})),
                "frozen": Out(1),
                "read": In(read_signature(config)),
                "write": In(write_signature(config)),
                "load": In(load_signature(config)),
                "store": In(store_signature(config)),
            }
        )
        depth = config.scratchpad_bytes // config.scratchpad_row_bytes
        self._banks = [MemoryData(shape=8 * config.line_bytes, depth=depth, init=[]) for _ in range(2)]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        line = self._config.line_bytes
        row_bits = _address_bits(self._config)
        # The bits of a byte address: place in the line, bank, row.
        place_bits = (line - 1).bit_length()
        banks = []
        for side, data in enumerate(self._banks):
            # A byte is not read in the cycle in which it is written: commands await each other. Its neighbours may be,
            # which spoils the written bytes alone (AMD DS512, "Synchronous Write-Read Collisions").
            bank = Memory(data, attrs={"no_rw_check": 1})
            m.submodules[f"bank_{side}"] = bank
            banks.append((bank.read_port(), bank.write_port(granularity=8)))

        reading, writing, storing = self.read.enable, Signal(), Signal()
        store_row = Signal(row_bits, reset_less=True)
        moving = Signal(init=1)
        will_read = Mux(moving, self.read.upcoming, reading)
        will_write = Mux(moving, self.write.enable, writing)
        m.d.sync += [
            moving.eq(~((self.store.enable & will_read) | (self.load.upcoming & will_write))),
            storing.eq(self.store.enable),
        ]
        with m.If(self.store.enable):
            m.d.sync += store_row.eq(self.store.address)
        m.d.comb += [
            self.frozen.eq(~moving),
            self.events.read.eq(storing | (reading & moving)),
            self.events.write.eq(self.load.enable | writing),
        ]

        # An access that begins in the odd bank continues in the even bank one row further down.
        read_row = self.read.address[place_bits + 1 :][:row_bits]
        write_row = Signal(row_bits)
        write_odd = Signal()
        write_data = Signal(8 * line, reset_less=True)
        write_mask = Signal(2 * line, reset_less=True)
        for side, (read, write) in enumerate(banks):
            read_carry = self.read.address[place_bits] if side == 0 else 0
            write_carry = write_odd if side == 0 else 0
            half = slice(8 * line * side, 8 * line * (side + 1))
            lanes = slice(line * side, line * (side + 1))
            m.d.comb += [
                read.en.eq(storing | reading),
                read.addr.eq(Mux(storing, store_row, read_row + read_carry)),
                self.store.data[half].eq(read.data),
            ]
            with m.If(self.load.enable):
                m.d.comb += [
                    write.addr.eq(self.load.address),
                    write.data.eq(self.load.data[half]),
                    write.en.eq(self.load.mask[lanes]),
                ]
            with m.Else():
                m.d.comb += [
                    write.addr.eq(write_row + write_carry),
                    write.data.eq(write_data),
                    write.en.eq(Mux(writing, write_mask[lanes], 0)),
                ]

        self._elaborate_read(m, moving, [read.data for read, _ in banks], place_bits)
        # Write: one register, behind the rotation to the lanes of a line, which is the same for both banks.
        with m.If(moving):
            m.d.sync += writing.eq(self.write.enable)
            with m.If(self.write.enable):
                place, odd = self.write.address[:place_bits], self.write.address[place_bits]
                mask = _rotate_left(self.write.mask, line, place)
                first = _from(place, line)
                m.d.sync += [
                    write_row.eq(self.write.address[place_bits + 1 :]),
                    write_odd.eq(odd),
                    write_data.eq(_spread(self.write.data, 8 * line, place)),
                    write_mask.eq(Mux(odd, Cat(mask & ~first, mask & first), Cat(mask & first, mask & ~first))),
                ]
        return m

    def _elaborate_read(self, m: Module, moving: Any, halves: list[Any], place_bits: int) -> None:
        """Read: the banks' own register and one behind it, the choice of a bank for each lane and of a register of two,
        a coarse and a fine rotation.
        """
        lanes = self._config.vector_bytes
        line = self._config.line_bytes
        fine_bits = place_bits // 2
        stages = [
            {
                "enable": Signal(name=f"read_enable_{stage}"),
                "offset": Signal(place_bits + 1, name=f"read_offset_{stage}", reset_less=True),
                "mask": Signal(lanes, name=f"read_mask_{stage}", reset_less=True),
                "fill": Signal(8, name=f"read_fill_{stage}", reset_less=True),
            }
            for stage in range(4)
        ]
        # If a freeze comes while bytes leave the banks, the next cycle may show the store engine's in their place. So
        # they are taken in the first cycle in any case, and so are those that were taken before, by the register of two
        # that is not in use. Nothing is chosen before the first register: the banks are slow.
        leaving = Signal()
        turn = Signal()
        m.d.sync += leaving.eq(moving)
        taken = [Signal.like(half, name=f"taken_{side}", reset_less=True) for side, half in enumerate(halves)]
        with m.If(leaving & stages[0]["enable"]):
            m.d.sync += [register.eq(half) for register, half in zip(taken, halves, strict=True)]
        place, odd = stages[1]["offset"][:place_bits], stages[1]["offset"][place_bits]
        chosen = Signal(8 * line)
        first = _from(place, line)
        for lane in range(line):
            even = Mux(first[lane], ~odd, odd)
            byte = Mux(even, *(half.word_select(lane, 8) for half in taken))
            m.d.comb += chosen.word_select(lane, 8).eq(byte)
        held = [Signal(8 * line, name=f"held_{number}", reset_less=True) for number in range(2)]
        for number, register in enumerate(held):
            with m.If(leaving & stages[1]["enable"] & (turn != number)):
                m.d.sync += register.eq(chosen)
        registered = Mux(turn, held[1], held[0])

        coarse = Signal(8 * line, reset_less=True)
        data = Signal(8 * lanes, reset_less=True)
        # A row of weights keeps within a line; it needs no rotation.
        row_bytes = self._config.weight_row_bytes
        row_place = stages[2]["offset"][(row_bytes - 1).bit_length() : place_bits]
        m.d.comb += [self.read.data.eq(data), self.read.row.eq(registered.word_select(row_place, 8 * row_bytes))]
        with m.If(moving):
            previous = {
                "enable": self.read.enable,
                "offset": self.read.address[: place_bits + 1],
                "mask": self.read.mask,
                "fill": self.read.fill,
            }
            for stage in stages:
                m.d.sync += stage["enable"].eq(previous["enable"])
                with m.If(previous["enable"]):
                    m.d.sync += [stage[name].eq(previous[name]) for name in ("offset", "mask", "fill")]
                previous = stage
            with m.If(stages[1]["enable"]):
                m.d.sync += turn.eq(~turn)
            with m.If(stages[2]["enable"]):
                high = stages[2]["offset"][fine_bits:place_bits]
                m.d.sync += coarse.eq(_rotate_right(registered, high.shift_left(3 + fine_bits)))
            with m.If(stages[3]["enable"]):
                low = stages[3]["offset"][:fine_bits]
                keep = _byte_mask(stages[3]["mask"], lanes)
                fine = _rotate_right(coarse, low.shift_left(3))[: 8 * lanes]
                m.d.sync += data.eq((fine & keep) | (stages[3]["fill"].replicate(lanes) & ~keep))


def _rotate_right(value: Any, amount: Any) -> Any:
    """`value`, rotated by `amount`, which is less than its width."""
    return Cat(value, value).bit_select(amount, len(value))


def _from(place: Any, line: int) -> Value:
    """For each lane of a line, whether it is `place` or behind it."""
    return Cat(*(place <= lane for lane in range(line - 1)), 1)


def _spread(values: Any, width: int, place: Any) -> Value:
    """Bytes from a place of a line on, around its end; the rest of the line does not matter."""
    lanes = len(values) // 8
    if lanes & (lanes - 1):
        return _rotate_left(values, width, place.shift_left(3))
    # As often as they fit: then only their order depends on the place.
    few = _rotate_left(values, len(values), place[: lanes.bit_length() - 1].shift_left(3)) if lanes > 1 else values
    return few.replicate(width // len(values))


def _rotate_left(value: Any, width: int, amount: Any) -> Any:
    """`value`, extended to `width` bits and rotated by `amount`, which is less than `width`."""
    shifted = value << amount
    return shifted[:width] | shifted[width:]
