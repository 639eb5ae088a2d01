"""Control: the host's registers, and the course of a run."""

import enum
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, Signature

from . import axi
from .commands import COUNT_BITS, INDEX_BITS
from .config import Config
from .counters import Counters
from .engine import ERROR
from .registers import (
    ADDRESS_BITS,
    COUNTERS,
    IDENTITY,
    REGISTERS,
    VERSION,
    Access,
    Control,
    ErrorCode,
    Interrupt,
    Status,
    configuration_hash,
)

ENGINES = ("load", "execute", "store")

PATIENCE = 256
"""Cycles without any progress after which the machine gives up: more than the longest pipeline has stages."""

PENDING_BITS = 8
"""Commands that an engine, its intake and its queue hold between them are fewer than numbers of so many bits."""

END_LATENCY = 2
"""Cycles from the first in which everything has completed to the first after the run."""

_COMPLETED = {f"{name}_commands".upper(): name for name in ENGINES}

EVENTS = tuple(name.lower() for name in COUNTERS if name != "CYCLES" and name not in _COMPLETED)
"""What the machine tells the counters: each one cycle high for each thing counted."""

_HELD = tuple(register for register in REGISTERS.values() if register.name not in COUNTERS)
"""The registers that are not counters."""


class RegisterFile(wiring.Component):
    """The register map on an AXI4-Lite port.

    A write takes effect in the cycle after its address and data are both there; a read is answered in the cycle after
    its address is, one of a counter when that is known. There is no error response: what is not mapped reads as 0, and
    writes to it have no effect.

    Members
    -------
    host : In(LiteChannels)
    locked : In(1)
        Settings cannot be written.
    identity, ... : In(32) or Out(32)
        One member per register but the counters, by its name. What the host reads is an input, but for the registers
        that hold what the host wrote, which are outputs. Commands are outputs, whose bits are high for one cycle.
    counter_request, counter_index, counter_answered, counter_value
        As `Counters` has them, in the order of `COUNTERS`.
    interrupt_status_clear, ... : Out(32)
        One member per register that the host clears: the bits to clear, for one cycle.
    """

    def __init__(self) -> None:
        members: dict[str, Any] = {"host": In(axi.LiteChannels(ADDRESS_BITS)), "locked": In(1)}
        for register in _HELD:
            name = register.name.lower()
            members[name] = In(32) if register.access in (Access.READ, Access.CLEAR) else Out(32)
            if register.access is Access.CLEAR:
                members[f"{name}_clear"] = Out(32)
        members |= {
            "counter_request": Out(1),
            "counter_index": Out((len(COUNTERS) - 1).bit_length()),
            "counter_answered": In(1),
            "counter_value": In(32),
        }
        super().__init__(members)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        self._elaborate_writes(m)
        self._elaborate_reads(m)
        return m

    def _elaborate_writes(self, m: Module) -> None:
        aw, w, b = self.host.aw, self.host.w, self.host.b
        accept = Signal()
        m.d.comb += [
            accept.eq(aw.valid & w.valid & ~b.valid),
            aw.ready.eq(accept),
            w.ready.eq(accept),
            b.payload.eq(axi.OKAY),
        ]
        m.d.sync += b.valid.eq(accept | (b.valid & ~b.ready))
        mask = Cat(strobe.replicate(8) for strobe in w.payload.strobe)
        written = w.payload.data & mask
        word = aw.payload[2:]
        for register in _HELD:
            name = register.name.lower()
            hit = accept & (word == register.offset // 4)
            held = getattr(self, name)
            if register.bits:
                held = held[: max(part.offset + part.width for part in register.bits)]
            if register.access is Access.COMMAND:
                m.d.sync += held.eq(Mux(hit, written, 0))
            elif register.access is Access.CLEAR:
                m.d.sync += getattr(self, f"{name}_clear").eq(Mux(hit, written, 0))
            elif register.access is not Access.READ:
                allowed = hit & ~self.locked if register.access is Access.SETTING else hit
                for lane, strobe in enumerate(w.payload.strobe):
                    with m.If(allowed & strobe):
                        m.d.sync += held[8 * lane : 8 * lane + 8].eq(w.payload.data.word_select(lane, 8))

    def _elaborate_reads(self, m: Module) -> None:
        ar, r = self.host.ar, self.host.r
        word = ar.payload[2:]
        first = min(REGISTERS[name].offset for name in COUNTERS) // 4
        counting = Signal()  # a counter has been asked for
        m.d.comb += [
            ar.ready.eq(~r.valid & ~counting),
            r.payload.response.eq(axi.OKAY),
            self.counter_request.eq(counting),
        ]
        with m.If(r.valid):
            m.d.sync += r.valid.eq(~r.ready)
        with m.Elif(counting):
            m.d.sync += [
                counting.eq(~self.counter_answered),
                r.valid.eq(self.counter_answered),
                r.payload.data.eq(self.counter_value),
            ]
        with m.Elif(ar.valid):
            counter = (word >= first) & (word < first + len(COUNTERS))
            m.d.sync += [counting.eq(counter), r.valid.eq(~counter), self.counter_index.eq(word - first)]
            with m.Switch(word):
                for register in _HELD:
                    if register.access is not Access.COMMAND:
                        with m.Case(register.offset // 4):
                            m.d.sync += r.payload.data.eq(getattr(self, register.name.lower()))
                with m.Default():
                    m.d.sync += r.payload.data.eq(0)


class _State(enum.Enum):
    """Where a run is. A bit of its own tells whether it drains: all engines look at that."""

    IDLE = 0
    LAUNCH = 1
    RUN = 2
    DRAIN = 4


class ControlUnit(wiring.Component):
    """Starts the machine, sees how it ends, and counts.

    All else is held in reset while the machine is idle. A run begins with one cycle of `start`. It is done when the
    program has passed and each engine has completed what it was handed; `STATUS` says so two cycles after the last
    count has changed. On an error, or a reset by the host, the machine is halted until no bus transaction is under way.

    Of errors in one cycle, that of the load engine is reported before those of the execute engine, the store engine
    and the dispatcher. If no engine does anything for `PATIENCE` cycles, and some wait, the error is a deadlock.

    Members
    -------
    host : In(LiteChannels)
    interrupt : Out(1)
    program_address, program_words, base_address : Out(32)
        What the host set; constant during a run.
    start : Out(1)
    halt : Out(1)
        Begin nothing new, end what the bus was promised.
    idle : Out(1)
        Reset everything.
    finished, stalled : In(1)
        The dispatcher's.
    quiet : In(1)
        No bus transaction is under way.
    load, execute, store
        Of each engine: how many commands it was given (`dispatched`) and has `completed`, its `error`, whether it is
        `busy` or `waiting`, and the `next_index` of the command with which it waits.
    dispatch_error : In(ERROR)
    events : In
        A bit per counter.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        engine = Signature(
            {
                "dispatched": Out(COUNT_BITS),
                "completed": Out(COUNT_BITS),
                "error": Out(ERROR),
                "busy": Out(1),
                "waiting": Out(1),
                "next_index": Out(INDEX_BITS),
            }
        )
        super().__init__(
            {
                "host": In(axi.LiteChannels(ADDRESS_BITS)),
                "interrupt": Out(1),
                "program_address": Out(32),
                "program_words": Out(32),
                "base_address": Out(32),
                "start": Out(1),
                "halt": Out(1),
                "idle": Out(1),
                "finished": In(1),
                "stalled": In(1),
                "quiet": In(1),
                **{name: In(engine) for name in ENGINES},
                "dispatch_error": In(ERROR),
                "events": In(Signature({name: Out(1) for name in EVENTS})),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.registers = registers = RegisterFile()
        wiring.connect(m, wiring.flipped(self.host), registers.host)
        state = Signal(_State)
        error = Signal(ERROR)
        command = registers.control
        begin = Signal()
        m.d.comb += [
            begin.eq(((command & Control.START) != 0) & ((command & Control.RESET) == 0) & self.idle),
            self.idle.eq(state == _State.IDLE),
            self.start.eq(state == _State.LAUNCH),
            self.halt.eq(state[-1]),
            registers.locked.eq(~self.idle),
            registers.identity.eq(IDENTITY),
            registers.version.eq(VERSION),
            registers.configuration.eq(configuration_hash(self._config)),
            registers.error.eq(error.code),
            registers.error_command.eq(error.index),
        ]
        for name in ("program_address", "program_words", "base_address"):
            m.d.comb += getattr(self, name).eq(getattr(registers, name))
        self._elaborate_run(m, registers, state, error, begin)
        self._elaborate_counters(m, registers, begin)
        return m

    def _elaborate_run(self, m: Module, registers: RegisterFile, state: Any, error: Any, begin: Any) -> None:
        """The course of a run, from one idle state to the next."""
        reset = (registers.control & Control.RESET) != 0
        resetting = Signal()
        done = Signal()
        interrupts = Signal(len(Interrupt))
        found, first = self._first_error(m)
        finding = Signal()
        complete = self._complete(m, state)
        over = self.halt & self.quiet
        failed = Signal()

        m.d.sync += finding.eq(0)
        with m.If(finding):
            m.d.sync += error.eq(first)
        with m.If(self.idle):
            m.d.sync += resetting.eq(0)
            with m.If(begin):
                m.d.sync += [state.eq(_State.LAUNCH), done.eq(0), failed.eq(0), error.eq(0)]
            with m.Elif(reset):
                m.d.sync += [done.eq(0), failed.eq(0), error.eq(0), interrupts.eq(0)]
        with m.Elif(self.start):
            m.d.sync += state.eq(_State.RUN)
        with m.Elif(self.halt), m.If(self.quiet):
            m.d.sync += state.eq(_State.IDLE)
            with m.If(resetting | reset):
                m.d.sync += [error.eq(0), interrupts.eq(0)]
            with m.Else():
                m.d.sync += [failed.eq(1), interrupts.eq(interrupts | Interrupt.ERROR)]
        with m.Elif(found):
            m.d.sync += [finding.eq(1), state.eq(_State.DRAIN)]
        with m.Elif(complete):
            m.d.sync += [done.eq(1), interrupts.eq(interrupts | Interrupt.DONE), state.eq(_State.IDLE)]
        with m.If(reset & ~self.idle & ~over):
            m.d.sync += [resetting.eq(1), done.eq(0), state.eq(_State.DRAIN)]
        clear = registers.interrupt_status_clear[: len(interrupts)]
        with m.If(clear != 0):
            m.d.sync += interrupts.eq(interrupts & ~clear)

        m.d.sync += self.interrupt.eq((interrupts & registers.interrupt_enable).any())
        place = {flag: flag.bit_length() - 1 for flag in Status}
        m.d.comb += [
            registers.interrupt_status.eq(interrupts),
            registers.status[place[Status.BUSY]].eq(~self.idle),
            registers.status[place[Status.DONE]].eq(done),
            registers.status[place[Status.ERROR]].eq(failed),
        ]

    def _complete(self, m: Module, state: Any) -> Any:
        """Whether everything has been handed out and done."""
        finished = Signal()
        equal = Signal(len(ENGINES))
        m.d.sync += finished.eq(self.finished & (state == _State.RUN))
        for place, name in enumerate(ENGINES):
            engine = getattr(self, name)
            few = slice(PENDING_BITS)
            m.d.sync += equal[place].eq(engine.dispatched[few] == engine.completed[few])
        return finished & equal.all()

    def _first_error(self, m: Module) -> tuple[Value, Value]:
        """Whether there is an error and, a cycle later, the one to report."""
        engines = [getattr(self, name) for name in ENGINES]
        # An engine that waits may call that busy.
        still = Signal()
        patience = Signal(range(PATIENCE))
        m.d.sync += still.eq(
            self.stalled
            & Cat(engine.waiting for engine in engines).any()
            & Cat(engine.waiting | ~engine.busy for engine in engines).all()
        )
        with m.If(still):
            m.d.sync += patience.eq(patience + 1)
        with m.Elif(patience != 0):
            m.d.sync += patience.eq(0)

        # Nothing changes meanwhile. So whether a count is reached takes a cycle of its own, and so does each comparison
        # of two engines' commands: the older of the first two, then the older of that and the third's.
        deadlock = Signal()
        waiting = Signal(len(ENGINES), reset_less=True)
        m.d.sync += [
            deadlock.eq(still & (patience == PATIENCE - 2)),  # which is a cycle behind
            waiting.eq(Cat(engine.waiting for engine in engines)),
        ]
        waits, oldest = waiting[0], engines[0].next_index
        for name, other_waits, engine in zip(ENGINES[1:], waiting[1:], engines[1:], strict=True):
            older = Signal(INDEX_BITS, name=f"older_than_{name}", reset_less=True)
            older_waits = Signal(name=f"waits_before_{name}", reset_less=True)
            first_one = waits & (~other_waits | (oldest < engine.next_index))
            m.d.sync += [older.eq(Mux(first_one, oldest, engine.next_index)), older_waits.eq(waits | other_waits)]
            waits, oldest = older_waits, older

        # An engine without an error says zero; so do the halves that do not count: an OR chooses.
        sources = [*(engine.error for engine in engines), self.dispatch_error]
        erring = Cat(source.code != ErrorCode.NONE for source in sources)
        early, late, stuck = (Signal(ERROR, name=name, reset_less=True) for name in ("early", "late", "stuck"))
        m.d.sync += [
            early.eq(Mux(erring[0], sources[0], sources[1])),
            late.eq(Mux(erring[:2].any(), 0, Mux(erring[2], sources[2], sources[3]))),
            stuck.code.eq(ErrorCode.DEADLOCK),
            stuck.index.eq(oldest),
        ]
        with m.If(~deadlock | erring.any()):
            m.d.sync += stuck.eq(0)
        return erring.any() | deadlock, early.as_value() | late.as_value() | stuck.as_value()

    def _elaborate_counters(self, m: Module, registers: RegisterFile, begin: Any) -> None:
        m.submodules.counters = counters = Counters(count=len(COUNTERS), width=32)
        running = ~self.idle
        for place, name in enumerate(COUNTERS):
            if name in _COMPLETED:
                # Engines complete at most one command per cycle.
                even = getattr(self, _COMPLETED[name]).completed[0]
                before = Signal(name=f"{name.lower()}_before")
                m.d.sync += before.eq(running & even)
                event = even ^ before
            else:
                event = running if name == "CYCLES" else getattr(self.events, name.lower())
            # Where events come from is far away.
            m.d.sync += counters.events[place].eq(event & running)
        m.d.comb += [
            counters.clear.eq(begin),
            counters.request.eq(registers.counter_request),
            counters.index.eq(registers.counter_index),
            registers.counter_answered.eq(counters.answered),
            registers.counter_value.eq(counters.value),
        ]
