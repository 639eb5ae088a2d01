"""The accumulators: 32-bit partial sums of a tile's pixels, one memory word of all columns per pixel."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

from .commands import Combine
from .config import Config

LEAD = 2
"""Cycles by which a step's control must be ahead of its sums."""

LATENCY = 1
"""Cycles from a step's sums to its totals."""

EARLIER = 1
"""Cycles by which results must be there sooner than sums."""

REVISIT = LEAD + LATENCY + 1
"""The fewest cycles from a step that changes a total to one that reads it."""


def widened(sums: Value, bits: int) -> Value:
    """Signed sums of so many bits as 32-bit numbers."""
    numbers = (sums[place : place + bits] for place in range(0, len(sums), bits))
    return Cat(Cat(number, number[-1].replicate(32 - bits)) for number in numbers)


class Accumulators(wiring.Component):
    """Combines the array's sums with what earlier passes left.

    In a step, a value of each column meets the total that the memory holds. Sums may also leave without a step, in the
    very cycles in which the results that have been made of others come back.

    Members
    -------
    valid : In(1)
        A step: in `LEAD` cycles the values of a pixel are there.
    back : In(1)
        They will be `results`, and are there `EARLIER` cycles sooner; otherwise `sums`.
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
    results : In(32 * lanes)
        Signed results of all columns or, where these share lanes, of `part` of them.
    part : In(range(turns))
        Which columns come back in this step: `lanes` of them. There is no such member where all do.
    totals : Out(32 * columns)
        Signed 32-bit totals of a step, or the sums that leave, `LATENCY` cycles after they were there.
    passed : Out(sum_bits * columns)
        Where columns share lanes, the sums that leave do so here instead.
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
                "results": In(32 * config.lane_count),
                **({"part": In(range(config.turns))} if config.turns > 1 else {}),
                "totals": Out(32 * config.columns),
                **({"passed": Out(config.sum_bits * config.columns)} if config.turns > 1 else {}),
            }
        )
        self._data = MemoryData(shape=32 * config.columns, depth=config.accumulator_depth, init=[])

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self._config
        # No collisions: a total is read no sooner than the cycle after it was written, see `REVISIT`.
        m.submodules.memory = memory = Memory(self._data, attrs={"no_rw_check": 1})
        read, write = memory.read_port(), memory.write_port(granularity=32 * config.lane_count)

        def stages(value: Value, count: int, *, reset: bool = False) -> list[Signal]:
            """What `value` was one cycle ago, two, and so on."""
            registers = [Signal.like(value, name=f"{value.name}_{n}", reset_less=not reset) for n in range(count)]
            m.d.sync += [register.eq(before) for register, before in zip(registers, [value, *registers], strict=False)]
            return registers

        special, maximum = Signal(name="special"), Signal(name="maximum")
        m.d.comb += [
            special.eq(~self.first & (self.combine != Combine.ADD)),
            maximum.eq(special & (self.combine == Combine.MAXIMUM)),
        ]
        valid = stages(self.valid, 3, reset=True)
        through = stages(self.through, 3, reset=True)
        back, first, last = stages(self.back, 2), stages(self.first, 2), stages(self.last, 3)
        special, maximum = stages(special, 2), stages(maximum, 2)
        address = stages(self.address, 3)
        kept = Signal(32 * config.columns, reset_less=True)
        totals = Signal(32 * config.columns)
        passed = Signal(len(self.sums), reset_less=True)
        wide_sums = widened(self.sums, config.sum_bits)
        m.d.comb += [
            read.addr.eq(self.address),
            read.en.eq(self.valid & ~self.first),
            write.addr.eq(address[2]),
            write.data.eq(totals),
        ]
        written = valid[2] & ~last[2]
        if config.turns > 1:
            part, came = stages(self.part, 3), stages(back[1], 1)[0]
            m.d.comb += write.en.eq(Cat(written & (~came | (part[2] == turn)) for turn in range(config.turns)))
        else:
            m.d.comb += write.en.eq(written)
        with m.If(through[1]):
            m.d.sync += passed.eq(self.sums)
        if config.turns > 1:
            m.d.comb += [self.totals.eq(totals), self.passed.eq(passed)]
        else:
            m.d.comb += self.totals.eq(Mux(through[2], widened(passed, config.sum_bits), totals))

        # One adder serves all: with a value's complement, and one more, it subtracts. Its sum, the older value and the
        # new one have a register each. Those that do not count are cleared, which an FPGA's registers do by themselves;
        # the new one is kept as its complement. Which of the two is greater, a register tells, too.
        values = Signal(32 * config.columns)
        difference = special[1]
        results = stages(self.results, EARLIER)[-1].replicate(config.turns)
        m.d.comb += values.eq(Mux(back[1], results, wide_sums) ^ difference.replicate(len(values)))
        with m.If(valid[0]):
            m.d.sync += kept.eq(read.data)
        for column in range(config.columns):
            before, value = (signal.word_select(column, 32).as_signed() for signal in (kept, values))
            added = Signal(signed(33), name=f"added_{column}")
            m.d.comb += added.eq(Mux(first[1], 0, before) + value + difference)
            sums, olds = (Signal(32, name=f"{name}_{column}", reset_less=True) for name in ("sum", "old"))
            news = Signal(32, name=f"new_{column}", reset_less=True, init=0xFFFF_FFFF)
            greater = Signal(name=f"greater_{column}", reset_less=True)
            m.d.sync += [
                sums.eq(Mux(maximum[1], 0, added[:32])),
                olds.eq(Mux(maximum[1], before, 0)),
                news.eq(Mux(maximum[1], value, -1)),
                greater.eq(added < 0),
            ]
            m.d.comb += totals.word_select(column, 32).eq(sums | Mux(greater, ~news, olds))
        return m
