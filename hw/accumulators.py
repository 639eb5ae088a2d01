"""The accumulators: 32-bit partial sums of a tile's pixels, one memory word of all columns per pixel."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

from .commands import Combine
from .config import Config

LEAD = 2
"""Cycles by which a step's control must be ahead of its sums."""

LATENCY = 1
"""Cycles from a step's sums to its totals."""


REVISIT = LEAD + LATENCY + 1
"""The fewest cycles from a step that changes a total to one that reads it."""


class Accumulators(wiring.Component):
    """Combines the array's sums with what earlier passes left.

    In a step, a value of each column meets the total that the memory holds. Sums may also leave without a step, in the
    very cycles in which the results that have been made of others come back.

    Members
    -------
    valid : In(1)
        A step: in `LEAD` cycles the values of a pixel are there.
    back : In(1)
        They will be `results`; otherwise `sums`.
    first : In(1)
        They begin a new total; what the memory holds is ignored.
    last : In(1)
        The total leaves; otherwise it is kept.
    combine : In(2)
        How a value meets a total.
    address : In
        The pixel's place.
    through : In(1)
        In `LEAD` cycles `sums` leave as they are.
    sums : In(sum_bits * columns)
        Signed sums of all columns.
    results : In(32 * columns)
        Signed results of all columns.
    totals : Out(32 * columns)
        Signed 32-bit totals of a step, or the sums that leave, `LATENCY` cycles after they were there; they hold until
        the next.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__(
            {
                "valid": In(1),
                "back": In(1),
                "first": In(1),
                "last": In(1),
                "combine": In(2),
                "address": In((config.accumulator_depth - 1).bit_length()),
                "through": In(1),
                "sums": In(config.sum_bits * config.columns),
                "results": In(32 * config.columns),
                "totals": Out(32 * config.columns),
            }
        )
        self._data = MemoryData(shape=32 * config.columns, depth=config.accumulator_depth, init=[])

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self._config
        m.submodules.memory = memory = Memory(self._data)
        read, write = memory.read_port(), memory.write_port()

        def stages(value: Value, count: int, *, reset: bool = False) -> list[Signal]:
            """What `value` was one cycle ago, two, and so on."""
            registers = [Signal.like(value, name=f"{value.name}_{n}", reset_less=not reset) for n in range(count)]
            m.d.sync += [register.eq(before) for register, before in zip(registers, [value, *registers], strict=False)]
            return registers

        subtract, maximum = Signal(), Signal()
        m.d.comb += [
            subtract.eq(~self.first & (self.combine == Combine.SUBTRACT)),
            maximum.eq(~self.first & (self.combine == Combine.MAXIMUM)),
        ]
        valid = stages(self.valid, 3, reset=True)
        through = stages(self.through, 3, reset=True)
        back, first, last = stages(self.back, 2), stages(self.first, 1), stages(self.last, 3)
        subtract, maximum = stages(subtract, 2), stages(maximum, 2)
        address = stages(self.address, 3)
        kept = Signal(32 * config.columns, reset_less=True)
        totals = Signal(32 * config.columns, reset_less=True)
        passed = Signal(len(self.sums), reset_less=True)
        m.d.comb += [
            read.addr.eq(self.address),
            read.en.eq(self.valid & ~self.first),
            write.addr.eq(address[2]),
            write.data.eq(totals),
            write.en.eq(valid[2] & ~last[2]),
        ]
        # With its complement in place of the total, one adder serves all: total - value = ~(~total + value).
        complement = subtract[0] | maximum[0]
        with m.If(valid[0]):
            m.d.sync += kept.eq(Mux(first[0], 0, read.data ^ complement.replicate(len(kept))))
        with m.If(valid[1]):
            m.d.sync += totals.eq(
                Cat(
                    self._total(
                        m,
                        c,
                        kept=kept.word_select(c, 32).as_signed(),
                        value=Mux(back[1], self.results.word_select(c, 32).as_signed(), self._sum(self.sums, c)),
                        subtract=subtract[1],
                        maximum=maximum[1],
                    )
                    for c in range(config.columns)
                )
            )
        with m.If(through[1]):
            m.d.sync += passed.eq(self.sums)
        leaving = Signal(data.ArrayLayout(signed(32), config.columns))
        m.d.comb += leaving.as_value().eq(totals)
        with m.If(through[2]):
            m.d.comb += [leaving[c].eq(self._sum(passed, c)) for c in range(config.columns)]
        m.d.comb += self.totals.eq(leaving)
        return m

    def _sum(self, sums: Value, c: int) -> Value:
        return sums[self._config.sum_bits * c : self._config.sum_bits * (c + 1)].as_signed()

    def _total(self, m: Module, c: int, *, kept: Value, value: Value, subtract: Value, maximum: Value) -> Signal:
        """A column's new total."""
        meeting = Signal(signed(32), name=f"value_{c}")
        added = Signal(signed(33), name=f"added_{c}")
        total = Signal(32, name=f"total_{c}")
        m.d.comb += [meeting.eq(value), added.eq(kept + meeting), total.eq(added)]
        with m.If(maximum):
            # The value exceeds the total where total - value is negative, and its complement therefore is not.
            m.d.comb += total.eq(Mux(added[-1], ~kept, meeting))
        with m.Elif(subtract):
            m.d.comb += total.eq(~added)
        return total
