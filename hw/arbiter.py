"""The read channels' arbiter: one bus for the fetch of commands and for loads."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import axi

LATENCY = 1
"""Cycles from a master to the bus, and from the bus to a master."""


class ReadArbiter(wiring.Component):
    """Passes bursts of two masters to one bus, and their beats back; the bus answers in order.

    The fetch goes first. A burst reaches the bus one cycle after it was taken, a beat its master one cycle after the
    bus gave it; one burst and one beat per cycle.

    Parameters
    ----------
    bus_bytes
        Width of the data channel.
    bursts
        Most bursts that both masters together have under way.

    Members
    -------
    fetch, load : In(ReadChannels)
        Masters, always ready for their beats.
    bus : Out(ReadChannels)
    """

    def __init__(self, *, bus_bytes: int, bursts: int) -> None:
        self._bursts = bursts
        channels = axi.ReadChannels(bus_bytes)
        super().__init__({"fetch": In(channels), "load": In(channels), "bus": Out(channels)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        ar, r = self.bus.ar, self.bus.r
        free = ~ar.valid | ar.ready
        m.d.comb += [
            self.fetch.ar.ready.eq(free),
            self.load.ar.ready.eq(free & ~self.fetch.ar.valid),
            r.ready.eq(1),
        ]
        taken = Signal()
        m.d.comb += taken.eq(free & (self.fetch.ar.valid | self.load.ar.valid))
        with m.If(free):
            m.d.sync += ar.valid.eq(taken)
        with m.If(taken):
            m.d.sync += ar.payload.eq(Mux(self.fetch.ar.valid, self.fetch.ar.payload, self.load.ar.payload))

        # Whose beats are next: one bit per burst under way, the oldest in bit 0.
        loads = Signal(self._bursts)
        under_way = Signal(range(self._bursts + 1))
        beat = Signal()
        payload = Signal.like(r.payload, reset_less=True)
        answered = beat & payload.last
        m.d.sync += beat.eq(r.valid)
        with m.If(r.valid):
            m.d.sync += payload.eq(r.payload)
        # No beat of a burst is back at the masters in the cycle after the burst was taken.
        joins, load = Signal(), Signal(reset_less=True)
        m.d.sync += [joins.eq(taken), load.eq(~self.fetch.ar.valid)]
        with m.If(joins | answered):
            rest = loads >> answered
            m.d.sync += [
                loads.eq(rest | ((joins & load) << (under_way - answered)[: len(under_way)])),
                under_way.eq(under_way + joins - answered),
            ]
        m.d.comb += [
            self.fetch.r.valid.eq(beat & ~loads[0]),
            self.load.r.valid.eq(beat & loads[0]),
            self.fetch.r.payload.eq(payload),
            self.load.r.payload.eq(payload),
        ]
        return m
