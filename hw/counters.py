"""Counters of events, kept in one memory: what a machine counts costs it little, however much it is."""

from collections.abc import Iterator
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

_VISIT = 4
"""Steps in which a counter is emptied into the memory."""


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
        The count, for one cycle: six cycles after the request at the earliest, up to three more where the counter has
        just had its turn, and a turn of all of them after a `clear`.
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
        # No collisions: a counter is visited again no sooner than the cycle after its new count was written.
        m.submodules.memory = memory = Memory(self._data, attrs={"no_rw_check": 1, "ram_style": "block"})
        read, write = memory.read_port(domain="comb"), memory.write_port()
        turn, chosen = Signal(range(self._count)), Signal(range(self._count))
        asked, serving, free, clearing = (Signal(name=name) for name in ("asked", "serving", "free", "clearing"))
        # Visits, the latest first: of which counter, whether there is one, whether it was asked for.
        slots = [Signal.like(turn, name=f"slot_{age}", reset_less=True) for age in range(_VISIT)]
        visits, served = Signal(_VISIT), Signal(_VISIT)
        cleared = Signal(_VISIT - 1)
        m.d.comb += [
            serving.eq(asked & ~clearing),
            chosen.eq(Mux(serving, self.index, turn)),
            free.eq(~Cat(visits[age] & (slots[age] == chosen) for age in range(_VISIT - 1)).any()),
        ]
        # What a visit would empty in the cycle after a clear is new.
        begins = free & ~self.clear
        request = self.request & (served == 0) & ~self.answered & ~asked
        m.d.sync += asked.eq(~self.clear & (request | (asked & ~(serving & free))))
        m.d.sync += [
            visits.eq(Cat(begins, visits)),
            served.eq(Cat(begins & serving, served)),
            cleared.eq(Cat(clearing, cleared)),
        ]
        m.d.sync += [later.eq(slot) for later, slot in zip(slots, [chosen, *slots], strict=False)]
        with m.If(self.clear):
            m.d.sync += [turn.eq(0), clearing.eq(1)]
        with m.Elif(free & ~serving):
            m.d.sync += turn.eq(Mux(turn == self._count - 1, 0, turn + 1))
            with m.If(turn == self._count - 1):
                m.d.sync += clearing.eq(0)

        # First step: what is new, and the count before. The memory has both of the registers behind it.
        bits = self._recent_bits()
        recent, event = Signal(bits), Signal()
        counts = [Signal.like(recent, name=f"recent_{number}") for number in range(self._count)]
        with m.Switch(slots[0]):
            for number, count in enumerate(counts):
                with m.Case(number):
                    m.d.comb += [recent.eq(count), event.eq(self.events[number])]
        for number, count in enumerate(counts):
            with m.If(self.clear | (visits[0] & (slots[0] == number))):
                m.d.sync += count.eq(0)
            with m.Elif(self.events[number]):
                m.d.sync += count.eq(_following(count))
        before = [Signal(self._width, name=f"before_{step}", reset_less=True) for step in (1, 2)]
        emptied = Signal(bits, reset_less=True)
        m.d.comb += read.addr.eq(slots[0])
        m.d.sync += [before[0].eq(read.data), emptied.eq(Mux(event, _following(recent), recent))]

        # Then how many that is, and then the sum; the last step writes it.
        distances = [0] * (1 << bits)
        for distance, state in enumerate(_states(bits)):
            distances[state] = distance
        fresh = Signal(bits, reset_less=True)
        total = Signal(self._width, reset_less=True)
        m.d.sync += [
            before[1].eq(before[0]),
            fresh.eq(Array(Const(distance, bits) for distance in distances)[emptied]),
            total.eq(Mux(cleared[2], 0, before[1]) + fresh),
        ]
        m.d.comb += [
            write.addr.eq(slots[-1]),
            write.data.eq(total),
            write.en.eq(visits[-1]),
        ]
        m.d.sync += self.answered.eq(served[-1])
        with m.If(served[-1]):
            m.d.sync += self.value.eq(total)
        return m

    def _recent_bits(self) -> int:
        """Width of what is new. Of eight cycles, a host that asks as fast as it can takes four from the turn."""
        return next(bits for bits in _TAPS if (1 << bits) - 2 >= 2 * (self._count + _VISIT))


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
