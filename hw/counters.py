"""Counters of events, kept in one memory: what a machine counts costs it little, however much it is."""

from collections.abc import Iterator
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out


class Counters(wiring.Component):
    """Counts events, each at most once per cycle.

    Beside each event a few bits count what is new, as a shift register with feedback: it has no adder, and one table
    tells how far any has come. In every cycle one of them is emptied into the memory, which holds the counts: each in
    turn, and out of turn the one that is being asked for, so that its answer is up to date.

    Parameters
    ----------
    count
        Counters.
    width
        Bits of each; they wrap.

    Members
    -------
    clear : In(1)
        From the next cycle on, every counter counts from 0; events of this cycle do not count.
    events : In(count)
        A bit per counter: its event happens.
    request, index : In(1), In
        What is the count of `index`? Both stay until it is `answered`; then `request` is low for a cycle or longer.
    answered, value : Out(1), Out(width)
        The count, for one cycle: two cycles after the request at the earliest, one more where the counter has just had
        its turn, and a turn of all of them after a `clear`.
    """

    def __init__(self, *, count: int, width: int) -> None:
        if count < 2:
            raise ValueError(f"count is {count}; at least 2 was expected")
        self._count = count
        self._width = width
        super().__init__(
            {
                "clear": In(1),
                "events": In(count),
                "request": In(1),
                "index": In((count - 1).bit_length()),
                "answered": Out(1),
                "value": Out(width),
            }
        )
        self._data = MemoryData(shape=width, depth=count, init=[])

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        # No collisions: a counter is never visited twice in a row.
        m.submodules.memory = memory = Memory(self._data, attrs={"no_rw_check": 1, "ram_style": "block"})
        read, write = memory.read_port(domain="comb"), memory.write_port()
        turn, slot, visited = (Signal(range(self._count), name=name) for name in ("turn", "slot", "visited"))
        clearing, serving, visiting = Signal(), Signal(), Signal()
        written, served = Signal(), Signal()
        m.d.comb += [
            serving.eq(self.request & ~clearing & ~served & ~self.answered),
            slot.eq(Mux(serving, self.index, turn)),
            visiting.eq(~written | (slot != visited)),
            read.addr.eq(slot),
        ]
        # The memory's own register, which an FPGA's can clear.
        before = Signal(self._width, reset_less=True)
        with m.If(clearing):
            m.d.sync += before.eq(0)
        with m.Elif(visiting):
            m.d.sync += before.eq(read.data)
        m.d.sync += [
            written.eq(visiting),
            served.eq(visiting & serving),
            visited.eq(slot),
        ]
        with m.If(self.clear):
            m.d.sync += [turn.eq(0), clearing.eq(1)]
        with m.Elif(visiting & ~serving):
            m.d.sync += turn.eq(Mux(turn == self._count - 1, 0, turn + 1))
            with m.If(turn == self._count - 1):
                m.d.sync += clearing.eq(0)

        bits = self._recent_bits()
        recent = Signal(bits)
        event = Signal()
        emptied = Signal.like(recent)
        counts = [Signal.like(recent, name=f"recent_{number}") for number in range(self._count)]
        with m.Switch(slot):
            for number, count in enumerate(counts):
                with m.Case(number):
                    m.d.comb += [recent.eq(count), event.eq(self.events[number])]
        for number, count in enumerate(counts):
            with m.If(self.clear | (visiting & (slot == number))):
                m.d.sync += count.eq(0)
            with m.Elif(self.events[number]):
                m.d.sync += count.eq(_following(count))
        m.d.sync += emptied.eq(Mux(event, _following(recent), recent))

        total = Signal(self._width)
        distances = [0] * (1 << bits)
        for distance, state in enumerate(_states(bits)):
            distances[state] = distance
        m.d.comb += [
            total.eq(before + Array(Const(distance, bits) for distance in distances)[emptied]),
            write.addr.eq(visited),
            write.data.eq(total),
            write.en.eq(written),
        ]
        m.d.sync += self.answered.eq(served)
        with m.If(served):
            m.d.sync += self.value.eq(total)
        return m

    def _recent_bits(self) -> int:
        """Width of what is new: of five cycles, a host that asks as fast as it can takes two from the others' turn."""
        return next(bits for bits in _TAPS if (1 << bits) > 2 * (self._count + 1))


_TAPS = {3: 1, 4: 2, 5: 2, 6: 4, 7: 5, 9: 4}
"""For shift registers of so many bits, the one that with the highest takes them through all states but one."""


def _following(state: Signal) -> Value:
    """A shift register's next state. The one that it never leaves, nor enters, has all bits set."""
    return Cat(~(state[-1] ^ state[_TAPS[len(state)]]), state[:-1])


def _states(bits: int) -> Iterator[int]:
    """The states of a shift register in their order, from 0 on."""
    state = 0
    for _ in range((1 << bits) - 1):
        yield state
        feedback = ~(state >> (bits - 1) ^ state >> _TAPS[bits]) & 1
        state = (state << 1 | feedback) & ((1 << bits) - 1)
