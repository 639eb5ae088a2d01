"""A queue of words in a memory."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

WRITE_LATENCY = 1
"""Cycles from an element's entry to the first in which it can leave the memory."""

READ_LATENCY = 1
"""Cycles from there to the output."""


def is_full(count: Signal, most: int) -> Value:
    """Whether a count that is `most` at most, and no wider than that takes, is that: a bit, for a power of two."""
    return count == most if most & (most - 1) else count[-1]


class Queue(wiring.Component):
    """First in, first out; one element per cycle.

    An element that enters an empty queue in cycle t is at the output from cycle t + 2 on. Elements move from the memory
    to a register at the output as soon as that is free; the one there does not count towards `level`.

    Parameters
    ----------
    shape
        Of an element.
    depth
        Elements that the memory holds, at least 2.
    block
        Whether the memory is a block RAM, be it ever so small: wide words cost less there than in look-up tables.

    Members
    -------
    i : In(stream)
        Ready while the memory has room.
    o : Out(stream)
    level : Out(range(depth + 1))
        Elements in the memory.
    """

    def __init__(self, *, shape: Any, depth: int, block: bool = False) -> None:
        if depth < 2:
            raise ValueError(f"depth is {depth}; at least 2 was expected")
        self._depth = depth
        # No collisions: an element is read no sooner than the cycle after it was written.
        self._attrs = {"no_rw_check": 1, **({"ram_style": "block"} if block else {})}
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "level": Out(range(depth + 1)),
            }
        )
        self._data = MemoryData(shape=shape, depth=depth, init=[])

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(self._data, attrs=self._attrs)
        write, read = memory.write_port(), memory.read_port()
        head = Signal(range(self._depth))
        tail = Signal(range(self._depth))
        push = self.i.valid & self.i.ready
        pop = Signal()
        m.d.comb += [
            self.i.ready.eq(~is_full(self.level, self._depth)),
            write.en.eq(push),
            write.addr.eq(tail),
            write.data.eq(self.i.payload),
            pop.eq((self.level != 0) & (~self.o.valid | self.o.ready)),
            read.en.eq(pop),
            read.addr.eq(head),
            self.o.payload.eq(read.data),
        ]
        m.d.sync += self.o.valid.eq(pop | (self.o.valid & ~self.o.ready))
        with m.If(push):
            m.d.sync += tail.eq(self._after(tail))
        with m.If(pop):
            m.d.sync += head.eq(self._after(head))
        with m.If(push ^ pop):
            m.d.sync += self.level.eq(Mux(push, self.level + 1, self.level - 1))
        return m

    def _after(self, pointer: Any) -> Any:
        return Mux(pointer == self._depth - 1, 0, pointer + 1)
