"""The weight buffer: packed rows of weights and requantization parameters, in the order of their use."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out, Signature

from .config import Config

READ_LATENCY = 3
"""Cycles from a read to its row."""


def read_signature(config: Config) -> Signature:
    """How the execute engine reads."""
    rows = config.weight_bytes // config.weight_row_bytes
    return Signature({"enable": Out(1), "address": Out((rows - 1).bit_length()), "data": In(8 * config.columns)})


def write_signature(config: Config) -> Signature:
    """How the load engine writes."""
    line = config.weight_line_bytes
    address_bits = (config.weight_bytes // line - 1).bit_length()
    return Signature({"enable": Out(1), "address": Out(address_bits), "mask": Out(line), "data": Out(8 * line)})


class WeightBuffer(wiring.Component):
    """On-chip memory for weights.

    Members
    -------
    write
        `enable`, `address` of a line of `weight_line_bytes`, `data`, `mask`: taken at once.
    read
        `enable`, `address` of a row of `weight_row_bytes`; `data`, `READ_LATENCY` unfrozen cycles later: the row's
        first `columns` bytes.
    frozen : In(1)
        The execute engine holds still in this cycle, and so does the read.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__({"frozen": In(1), "write": In(write_signature(config)), "read": In(read_signature(config))})
        depth = config.weight_bytes // config.weight_line_bytes
        self._data = MemoryData(shape=8 * config.weight_line_bytes, depth=depth, init=[])

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self._config
        # A program reads no row while it is being loaded. Where a line holds several, it may read their neighbour.
        alone = config.weight_row_bytes >= config.bus_bytes
        m.submodules.memory = memory = Memory(self._data, attrs={"no_rw_check": 1} if alone else {})
        write = memory.write_port(granularity=8)
        read = memory.read_port()
        select_bits = (config.weight_line_bytes // config.weight_row_bytes - 1).bit_length()
        moving = ~self.frozen
        m.d.comb += [
            write.addr.eq(self.write.address),
            write.data.eq(self.write.data),
            write.en.eq(self.write.mask & self.write.enable.replicate(config.weight_line_bytes)),
            read.addr.eq(self.read.address[select_bits:]),
            read.en.eq(self.read.enable & moving),
        ]
        # The memory's own register, one behind it, and then the choice of a row: the memory is slow.
        arriving, arrived = Signal(), Signal()
        select, chosen = Signal(select_bits, reset_less=True), Signal(select_bits, name="chosen", reset_less=True)
        line = Signal.like(read.data, name="line", reset_less=True)
        row = Signal(8 * config.columns, reset_less=True)
        m.d.comb += self.read.data.eq(row)
        with m.If(moving):
            m.d.sync += [arriving.eq(self.read.enable), arrived.eq(arriving)]
            with m.If(self.read.enable):
                m.d.sync += select.eq(self.read.address[:select_bits])
            with m.If(arriving):
                m.d.sync += [line.eq(read.data), chosen.eq(select)]
            with m.If(arrived):
                m.d.sync += row.eq(line.word_select(chosen, 8 * config.weight_row_bytes))
        return m
