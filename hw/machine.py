"""The machine: everything that a system integrator instantiates."""

from typing import Any

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect

from . import axi
from .arbiter import ReadArbiter
from .config import Config
from .control import ENGINES, ControlUnit
from .execute import ExecuteEngine
from .fetch import MAX_BURSTS, Dispatch, Fetch
from .load import LoadEngine
from .registers import ADDRESS_BITS
from .scratchpad import Scratchpad
from .store import StoreEngine
from .weights import WeightBuffer


def pins(config: Config) -> dict[str, Any]:
    """The machine's members."""
    return {
        **axi.master_pins("m_axi", config.bus_bytes),
        **axi.lite_slave_pins("s_axi", ADDRESS_BITS),
        "irq": Out(1),
    }


class Machine(wiring.Component):
    """The accelerator: registers on an AXI4-Lite slave port, DRAM on an AXI4 master port, and an interrupt.

    Parameters
    ----------
    config
        Its parameters.

    Members
    -------
    m_axi_*
        AXI4 master; 32-bit addresses, `8 * bus_bytes` bits of data, incrementing bursts of ID 0.
    s_axi_*
        AXI4-Lite slave for the registers: see `registers`.
    irq : Out(1)
        High as long as an enabled bit of INTERRUPT_STATUS is set.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.control = ControlUnit(config)
        self.fetch = Fetch(config)
        self.dispatch = Dispatch()
        self.arbiter = ReadArbiter(bus_bytes=config.bus_bytes, bursts=MAX_BURSTS + config.outstanding_bursts)
        self.load = LoadEngine(config)
        self.execute = ExecuteEngine(config)
        self.store = StoreEngine(config)
        self.scratchpad = Scratchpad(config)
        self.weights = WeightBuffer(config)
        super().__init__(pins(config))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.control = self.control
        for name in ("fetch", "dispatch", "arbiter", *ENGINES, "scratchpad", "weights"):
            m.submodules[name] = ResetInserter(self.control.idle)(getattr(self, name))
        self._connect_bus(m)
        self._connect_memories(m)
        self._connect_commands(m)
        self._connect_events(m)
        return m

    def _connect_bus(self, m: Module) -> None:
        connect(m, self.fetch.read, self.arbiter.fetch)
        connect(m, self.load.read, self.arbiter.load)
        write = self.store.write
        axi.connect_master(m, self, "m_axi", bus_bytes=self.config.bus_bytes, read=self.arbiter.bus, write=write)
        axi.connect_lite_slave(m, self, "s_axi", slave=self.control.host)
        m.d.comb += [
            self.irq.eq(self.control.interrupt),
            self.control.quiet.eq(self.fetch.quiet & self.load.quiet & self.store.quiet),
        ]

    def _connect_memories(self, m: Module) -> None:
        connect(m, self.load.scratchpad, self.scratchpad.load)
        connect(m, self.load.weights, self.weights.write)
        connect(m, self.store.scratchpad, self.scratchpad.store)
        connect(m, self.execute.read, self.scratchpad.read)
        connect(m, self.execute.write, self.scratchpad.write)
        connect(m, self.execute.weights, self.weights.read)
        m.d.comb += [
            self.execute.frozen.eq(self.scratchpad.frozen),
            self.weights.frozen.eq(self.scratchpad.frozen),
        ]

    def _connect_commands(self, m: Module) -> None:
        """The program's way to the engines, and the counts by which they wait for each other."""
        control, dispatch = self.control, self.dispatch
        connect(m, self.fetch.o, dispatch.i)
        m.d.comb += [
            self.fetch.address.eq(control.program_address),
            self.load.base_address.eq(control.base_address),
            self.store.base_address.eq(control.base_address),
            control.finished.eq(dispatch.finished),
            control.stalled.eq(dispatch.stalled),
            control.dispatch_error.eq(dispatch.error),
        ]
        for part in (self.fetch, dispatch):
            m.d.comb += [part.start.eq(control.start), part.words.eq(control.program_words), part.halt.eq(control.halt)]
        for name in ENGINES:
            engine, account = getattr(self, name), getattr(control, name)
            connect(m, getattr(dispatch, name), engine.commands)
            m.d.comb += [
                engine.halt.eq(control.halt),
                account.dispatched.eq(getattr(dispatch, f"{name}_dispatched")),
                *(
                    getattr(account, member).eq(getattr(engine, member))
                    for member in ("completed", "error", "busy", "waiting", "next_index")
                ),
                *(
                    getattr(engine, f"{other}_completed").eq(getattr(self, other).completed)
                    for other in ENGINES
                    if f"{other}_completed" in engine.signature.members
                ),
            ]

    def _connect_events(self, m: Module) -> None:
        """What the counters count."""
        events = self.control.events
        for name in ENGINES:
            engine = getattr(self, name)
            # An engine that waits may call that busy.
            m.d.comb += [
                getattr(events, f"{name}_busy").eq(engine.busy & ~engine.waiting),
                getattr(events, f"{name}_wait").eq(engine.waiting),
            ]
        happens = self.execute.events
        write = self.store.write.w
        m.d.comb += [
            events.execute_frozen.eq(self.scratchpad.frozen),
            events.read_beats.eq(self.load.read.r.valid),
            events.fetch_beats.eq(self.fetch.read.r.valid),
            events.write_beats.eq(write.valid & write.ready),
            events.scratchpad_reads.eq(self.scratchpad.events.read),
            events.scratchpad_writes.eq(self.scratchpad.events.write),
            events.accumulator_reads.eq(happens.accumulator_read),
            events.accumulator_writes.eq(happens.accumulator_write),
            events.weight_reads.eq(happens.weight_read),
            events.array_steps.eq(happens.array_step),
            events.outputs.eq(happens.output),
        ]
