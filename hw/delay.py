"""A delay line in memory: what a step needs later travels beside its data, at the price of a counter."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out


class DelayLine(wiring.Component):
    """Delays a word, if there is one, by a fixed number of cycles.

    Parameters
    ----------
    width
        Bits of the payload.
    cycles
        The delay.
    block
        Whether the memory is a block RAM with a register behind it, where the delay is 3 cycles or more.

    Members
    -------
    i_valid, i_data : In
        What enters.
    o_valid, o_data : Out
        What entered `cycles` ago. `o_data` means nothing while `o_valid` is low.
    """

    def __init__(self, *, width: int, cycles: int, block: bool = False) -> None:
        if cycles < 0:
            raise ValueError(f"cycles is {cycles}; a delay cannot be negative")
        self._cycles = cycles
        self._block = block and cycles > 2
        super().__init__({"i_valid": In(1), "i_data": In(width), "o_valid": Out(1), "o_data": Out(width)})
        self._data = MemoryData(shape=width, depth=cycles - self._block, init=[]) if cycles > 1 else None

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if self._data is None:
            domain = m.d.sync if self._cycles else m.d.comb
            domain += [self.o_valid.eq(self.i_valid), self.o_data.eq(self.i_data)]
            return m
        attrs: dict[str, Any] = {"no_rw_check": 1, **({"ram_style": "block"} if self._block else {})}
        m.submodules.memory = memory = Memory(self._data, attrs=attrs)
        write, read = memory.write_port(), memory.read_port()
        depth = self._data.depth
        valid = Signal(self._cycles)
        place = Signal(range(depth))
        following = Signal(range(depth))
        m.d.comb += following.eq(Mux(place == depth - 1, 0, place + 1))
        m.d.sync += [valid.eq((valid << 1) | self.i_valid), place.eq(following)]
        m.d.comb += [
            write.addr.eq(place),
            write.data.eq(self.i_data),
            write.en.eq(self.i_valid),
            # The oldest word is read one cycle before it leaves, and never where one is being written.
            read.addr.eq(following),
            read.en.eq(valid[depth - 2]),
            self.o_valid.eq(valid[-1]),
        ]
        if self._block:
            # A register of its own: `o_data` would have a reset, which that of an FPGA's memory is not to have.
            register = Signal.like(self.o_data, name="register", reset_less=True)
            m.d.sync += register.eq(read.data)
            m.d.comb += self.o_data.eq(register)
        else:
            m.d.comb += self.o_data.eq(read.data)
        return m
