"""The accumulators: 32-bit partial sums of a tile's pixels, one memory word of all columns per pixel."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

from .config import Config

LEAD = 2
"""Cycles by which a step's control must be ahead of its sums."""

LATENCY = 1
"""Cycles from a step's sums to its totals."""


class Accumulators(wiring.Component):
    """Adds the array's sums to what earlier passes left.

    A pixel's total may be read again no sooner than `LEAD + LATENCY + 1` = 4 cycles after the step that wrote it.

    Members
    -------
    valid : In(1)
        In `LEAD` cycles `sums` are those of a pixel.
    first : In(1)
        They begin a new total; what the memory holds is ignored.
    last : In(1)
        The total leaves; otherwise it is kept.
    address : In
        The pixel's place.
    sums : In(sum_bits * columns)
        Signed sums of all columns.
    totals : Out(32 * columns)
        Signed 32-bit totals, `LATENCY` cycles after the sums of their step; they hold until the next step's.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "address": In((config.accumulator_depth - 1).bit_length()),
                "sums": In(config.sum_bits * config.columns),
                "totals": Out(32 * config.columns),
            }
        )
        self._data = MemoryData(shape=32 * config.columns, depth=config.accumulator_depth, init=[])

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self._config
        m.submodules.memory = memory = Memory(self._data)
        read, write = memory.read_port(), memory.write_port()
        address = [Signal.like(self.address, name=f"address_{stage}", reset_less=True) for stage in range(3)]
        valid, first, last = (
            [Signal(name=f"{name}_{stage}", reset_less=name != "valid") for stage in range(3)]
            for name in ("valid", "first", "last")
        )
        kept = Signal(32 * config.columns, reset_less=True)
        totals = Signal(32 * config.columns, reset_less=True)
        m.d.comb += [
            read.addr.eq(self.address),
            read.en.eq(self.valid & ~self.first),
            self.totals.eq(totals),
            write.addr.eq(address[2]),
            write.data.eq(totals),
            write.en.eq(valid[2] & ~last[2]),
        ]
        for stages, entering in ((valid, self.valid), (first, self.first), (last, self.last), (address, self.address)):
            for stage in stages:
                m.d.sync += stage.eq(entering)
                entering = stage
        with m.If(valid[0]):
            m.d.sync += kept.eq(Mux(first[0], 0, read.data))
        with m.If(valid[1]):
            m.d.sync += totals.eq(
                Cat(
                    (
                        self.sums[config.sum_bits * c : config.sum_bits * (c + 1)].as_signed()
                        + kept[32 * c : 32 * (c + 1)].as_signed()
                    )[:32]
                    for c in range(config.columns)
                )
            )
        return m
