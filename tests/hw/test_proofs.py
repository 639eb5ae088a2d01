"""What is proved of the gateware, and that each proof would fail if the gateware were wrong."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from eightfold.golden.numerics import Rounding
from eightfold.hw import accumulators, axi, backlog
from eightfold.hw.accumulators import REVISIT, Accumulators
from eightfold.hw.arbiter import ReadArbiter
from eightfold.hw.backlog import Backlog
from eightfold.hw.commands import COUNT_BITS
from eightfold.hw.config import FIXED_POINT, Config
from eightfold.hw.control import ENGINES, PENDING_BITS, ControlUnit, RegisterFile
from eightfold.hw.delay import DelayLine
from eightfold.hw.load import LoadEngine
from eightfold.hw.queue import Queue
from eightfold.hw.registers import COUNTERS, REGISTERS, Access, ErrorCode
from eightfold.hw.requantization import TOLD, RequantizationLanes, with_sign
from eightfold.hw.scratchpad import READ_LATENCY, Scratchpad
from eightfold.hw.store import StoreEngine
from eightfold.hw.transfer import BurstSplitter

from .proving import Proof

TINY = Config(
    rows=4,
    columns=2,
    scratchpad_bytes=32,
    weight_bytes=64,
    accumulator_bytes=128,
    burst_beats=2,
    outstanding_bursts=2,
)


# Queues and delays.


def queue_is_a_list(dut: Any, *, depth: int) -> Proof:
    """A list of one-bit elements beside the queue: what the queue does with one bit it does with all."""
    p = Proof()
    p.m.submodules.dut = dut
    p.free(dut.i.valid, dut.i.payload, dut.o.ready)
    elements = Signal(depth + 1)
    count = Signal(range(depth + 2))
    push, pop = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
    left = (count - pop)[: len(count)]
    p.m.d.sync += [
        count.eq(left + push),
        elements.eq(((elements >> pop) & ~(Const(1, 1) << left)) | ((push & dut.i.payload) << left)),
    ]
    p.check(count == dut.level + dut.o.valid)
    p.check(~dut.o.valid | (dut.o.payload == elements[0]))
    p.check(p.offered(dut.o))
    p.check(dut.i.ready == (dut.level != depth))
    # What is there leaves: no more than a cycle passes before the first element is offered.
    p.check(~p.past(dut.level != 0) | dut.o.valid)
    return p


@pytest.mark.parametrize("depth", [2, 3])
def test_a_queue_neither_loses_nor_invents(depth: int, tmp_path: Path) -> None:
    # Its pointers, level and output have come round after twice the depth and the latency.
    assert queue_is_a_list(Queue(shape=1, depth=depth), depth=depth).holds(tmp_path, steps=2 * depth + 4)


def test_a_queue_whose_pointer_turns_too_late_is_refuted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Queue, "_after", lambda self, pointer: pointer + 1)
    assert not queue_is_a_list(Queue(shape=1, depth=3), depth=3).holds(tmp_path, steps=10)


def delay_line_is_registers(dut: DelayLine, *, cycles: int) -> Proof:
    p = Proof()
    p.m.submodules.dut = dut
    p.free(dut.i_valid, dut.i_data)
    p.check(dut.o_valid == p.past(dut.i_valid, cycles))
    p.check(~dut.o_valid | (dut.o_data == p.past(dut.i_data, cycles)))
    return p


@pytest.mark.parametrize(("cycles", "block"), [(2, False), (3, False), (3, True)])
def test_a_delay_line_is_a_row_of_registers(cycles: int, block: bool, tmp_path: Path) -> None:
    dut = DelayLine(width=1, cycles=cycles, block=block)
    assert delay_line_is_registers(dut, cycles=cycles).holds(tmp_path, steps=4 * cycles)


def test_a_delay_line_of_another_length_is_refuted(tmp_path: Path) -> None:
    assert not delay_line_is_registers(DelayLine(width=1, cycles=3), cycles=2).holds(tmp_path, steps=8)


# The bus.


def within_a_page(burst: Any, *, bus_bytes: int) -> Value:
    return burst.address[:12] + (burst.length + 1) * bus_bytes <= axi.PAGE_BYTES


def splitter_divides(dut: BurstSplitter, config: Config) -> Proof:
    """Bursts are whole, follow each other in memory, and do not cross a page."""
    p = Proof()
    p.m.submodules.dut = dut
    p.free(dut.i.valid, dut.i.payload, dut.o.ready)
    left, place, under_way = Signal(len(dut.i.payload.more) + 1), Signal.like(dut.i.payload.place), Signal()
    burst = dut.o.payload
    beats = burst.burst.length + 1
    with p.m.If(dut.i.valid & dut.i.ready):
        p.m.d.sync += [left.eq(dut.i.payload.more + 1), place.eq(dut.i.payload.place), under_way.eq(1)]
    with p.m.If(dut.o.valid & dut.o.ready):
        p.m.d.sync += [left.eq(left - beats), place.eq(place + beats), under_way.eq(left != beats)]
    bus_bits = (config.bus_bytes - 1).bit_length()
    p.check(dut.o.valid == under_way)
    p.check(p.offered(dut.o))
    fine = (
        within_a_page(burst.burst, bus_bytes=config.bus_bytes)
        & (burst.burst.address == Cat(Const(0, bus_bits), place))
        & (beats <= left)
        & (burst.last == (beats == left))
    )
    p.check(~dut.o.valid | fine)
    return p


@pytest.mark.parametrize("burst_beats", [2, 64])
def test_bursts_make_up_a_transfer_and_cross_no_page(burst_beats: int, tmp_path: Path) -> None:
    config = Config(burst_beats=burst_beats)
    assert splitter_divides(BurstSplitter(config), config).holds(tmp_path, steps=6)


def test_bursts_of_more_than_a_page_are_refuted(tmp_path: Path) -> None:
    config = Config(burst_beats=256, bus_bytes=16)
    dut = BurstSplitter(config)
    dut._burst_beats = 512
    assert not splitter_divides(dut, config).holds(tmp_path, steps=3)


def arbiter_serves(dut: ReadArbiter, *, bursts: int) -> Proof:
    """Two masters with one-bit addresses: each gets the beats of its own bursts, all of them."""
    p = Proof()
    p.m.submodules.dut = dut
    masters = (dut.fetch, dut.load)
    owners, count = Signal(bursts), Signal(range(bursts + 1))
    taken = Signal(2)
    for n, master in enumerate(masters):
        p.free(master.ar.valid, master.ar.payload)
        p.assume(master.ar.payload.length <= 1)
        p.assume(p.offered(master.ar))
        p.m.d.comb += taken[n].eq(master.ar.valid & master.ar.ready)
        p.check(master.r.valid == p.past(dut.bus.r.valid & (owners[0] == n)))
        p.check(~master.r.valid | (Value.cast(master.r.payload) == p.past(dut.bus.r.payload)))
    p.free(dut.bus.ar.ready, dut.bus.r.valid, dut.bus.r.payload)
    p.read_slave(dut.bus, bursts=bursts)
    # The order in which the masters' bursts were taken, and that in which they are answered.
    answered = dut.bus.r.valid & dut.bus.r.payload.last
    left = (count - answered)[: len(count)]
    p.m.d.sync += [
        count.eq(left + taken.any()),
        owners.eq(((owners >> answered) & ~(Const(1, 1) << left)) | (taken[1] << left)),
    ]
    # What is under way behind the register counts until its last beat has come through it.
    p.assume(~taken.any() | (count + p.past(answered) < bursts))
    p.check(taken != 3)
    return p


def test_the_arbiter_brings_each_master_its_own_beats(tmp_path: Path) -> None:
    assert arbiter_serves(ReadArbiter(bus_bytes=4, bursts=3), bursts=3).holds(tmp_path, steps=10)


def test_an_arbiter_that_loses_count_is_refuted(tmp_path: Path) -> None:
    assert not arbiter_serves(ReadArbiter(bus_bytes=4, bursts=2), bursts=3).holds(tmp_path, steps=10)


def load_keeps_the_protocol(dut: LoadEngine, config: Config, *, limit: int) -> Proof:
    """Any command words, at any time, with halts: bursts are announced and counted, and the engine is quiet after."""
    p = Proof()
    p.m.submodules.dut = dut
    p.m.submodules.arbiter = arbiter = ReadArbiter(bus_bytes=config.bus_bytes, bursts=limit)
    for channel in ("ar", "r"):
        inner, outer = getattr(dut.read, channel), getattr(arbiter.load, channel)
        source, sink = (inner, outer) if channel == "ar" else (outer, inner)
        p.m.d.comb += [sink.valid.eq(source.valid), sink.payload.eq(source.payload), source.ready.eq(sink.ready)]
    bus = arbiter.bus
    p.free(dut.commands.valid, dut.commands.payload, dut.halt, dut.base_address)
    p.free(dut.execute_completed, dut.store_completed, bus.ar.ready, bus.r.valid, bus.r.payload)
    count = p.read_slave(bus, bursts=limit).count
    p.check(~bus.ar.valid | within_a_page(bus.ar.payload, bus_bytes=config.bus_bytes))
    p.check(~dut.quiet | ((count == 0) & ~bus.ar.valid))
    return p


def test_loads_keep_the_protocol(tmp_path: Path) -> None:
    proof = load_keeps_the_protocol(LoadEngine(TINY), TINY, limit=TINY.outstanding_bursts)
    assert proof.holds(tmp_path, steps=10)


def test_loads_beyond_the_limit_are_refuted(tmp_path: Path) -> None:
    proof = load_keeps_the_protocol(LoadEngine(TINY), TINY, limit=TINY.outstanding_bursts - 1)
    assert not proof.holds(tmp_path, steps=10)


def store_keeps_the_protocol(dut: StoreEngine, config: Config, *, limit: int) -> Proof:
    """Each burst's beats come as announced, the last one marked, not before it; every burst waits for its answer."""
    p = Proof()
    p.m.submodules.dut = dut
    aw, w, b = dut.write.aw, dut.write.w, dut.write.b
    p.free(dut.commands.valid, dut.commands.payload, dut.halt, dut.base_address, dut.scratchpad.data)
    p.free(dut.load_completed, dut.execute_completed, aw.ready, w.ready, b.valid, b.payload)
    # Lengths of the bursts that were announced and not sent, the oldest lowest; how many are sent, asked, unanswered.
    lengths, waiting, beat = Signal(8 * limit), Signal(range(limit + 2)), Signal(8)
    unasked, unanswered = Signal(signed(4)), Signal(signed(4))
    announced = aw.valid & ~p.past(aw.valid & ~aw.ready)
    asked, sent, answered = aw.valid & aw.ready, w.valid & w.ready, b.valid & b.ready
    ended = sent & w.payload.last
    here = Signal.like(lengths)
    p.m.d.comb += here.eq(lengths | Mux(announced, aw.payload.length << (waiting << 3), 0))
    p.m.d.sync += [
        lengths.eq(Mux(ended, here >> 8, here)),
        waiting.eq(waiting + announced - ended),
        beat.eq(Mux(ended, 0, beat + sent)),
        unasked.eq(unasked + asked - answered),
        unanswered.eq(unanswered + ended - answered),
    ]
    # A burst is answered once it was asked for and its last beat was sent.
    p.assume(~b.valid | ((unasked > 0) & (unanswered > 0)))
    p.check(p.offered(aw) & p.offered(w) & b.ready)
    p.check(~aw.valid | within_a_page(aw.payload, bus_bytes=config.bus_bytes))
    p.check(~w.valid | ((waiting + announced != 0) & (w.payload.last == (beat == here[:8]))))
    p.check(~announced | (waiting + unanswered < limit))
    p.check(~dut.quiet | (~aw.valid & ~w.valid & (unanswered == 0)))
    return p


def test_stores_keep_the_protocol(tmp_path: Path) -> None:
    proof = store_keeps_the_protocol(StoreEngine(TINY), TINY, limit=TINY.outstanding_bursts)
    assert proof.holds(tmp_path, steps=10)


def test_stores_beyond_the_limit_are_refuted(tmp_path: Path) -> None:
    proof = store_keeps_the_protocol(StoreEngine(TINY), TINY, limit=TINY.outstanding_bursts - 1)
    assert not proof.holds(tmp_path, steps=10)


# The host's port, and the course of a run.


def registers_answer(dut: RegisterFile) -> Proof:
    """One answer per request, unchanged until it is taken; what was asked for is what is told."""
    p = Proof()
    p.m.submodules.dut = dut
    host = dut.host
    p.free(host.aw.valid, host.aw.payload, host.w.valid, host.w.payload, host.b.ready, dut.locked)
    p.free(host.ar.valid, host.ar.payload, host.r.ready)
    held = [register for register in REGISTERS.values() if register.name not in COUNTERS]
    for register in held:
        if register.access in (Access.READ, Access.CLEAR):
            p.free(getattr(dut, register.name.lower()))
    answered = p.any(1, "answered")
    p.free(dut.counter_value)
    p.m.d.comb += dut.counter_answered.eq(answered & dut.counter_request)
    asked, told = Signal(), Signal()
    written, owed = Signal(), Signal()
    p.m.d.comb += [
        asked.eq(host.ar.valid & host.ar.ready),
        told.eq(host.r.valid & host.r.ready),
        written.eq(host.aw.valid & host.aw.ready),
    ]
    reading = Signal()
    p.m.d.sync += [reading.eq(asked | (reading & ~told)), owed.eq(written | (owed & ~host.b.ready))]
    p.check(written == (host.w.valid & host.w.ready))
    p.check(host.b.valid == owed)
    p.check((host.r.valid | dut.counter_request) == reading)
    p.check(~(host.r.valid & dut.counter_request))
    p.check(~(asked & reading) & ~(written & owed))
    p.check(p.offered(host.r))
    value = Signal(32)
    with p.m.Switch(host.ar.payload[2:]):
        for register in held:
            if register.access is not Access.COMMAND:
                with p.m.Case(register.offset // 4):
                    p.m.d.comb += value.eq(getattr(dut, register.name.lower()))
    told_at_once = p.past(asked) & host.r.valid
    p.check(~told_at_once | (host.r.payload.data == p.past(value)))
    for number, name in enumerate(COUNTERS):
        chosen = asked & (host.ar.payload[2:] == REGISTERS[name].offset // 4)
        p.check(~p.past(chosen) | (dut.counter_request & (dut.counter_index == number)))
    counted = p.past(dut.counter_request & answered)
    p.check(~counted | (host.r.valid & (host.r.payload.data == p.past(dut.counter_value))))
    p.check((host.r.payload.response == axi.OKAY) & (host.b.payload == axi.OKAY))
    settings = [getattr(dut, r.name.lower()) for r in REGISTERS.values() if r.access is Access.SETTING]
    p.check(~p.past(dut.locked) | Cat(s == p.past(s) for s in settings).all())
    return p


def test_the_registers_answer_every_request_once(tmp_path: Path) -> None:
    assert registers_answer(RegisterFile()).holds(tmp_path, steps=4, induction=3)


def test_registers_that_change_while_locked_are_refuted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = SimpleNamespace(READ=Access.READ, CLEAR=Access.CLEAR, COMMAND=Access.COMMAND, SETTING=None)
    monkeypatch.setattr("eightfold.hw.control.Access", kinds)
    assert not registers_answer(RegisterFile()).holds(tmp_path, steps=4)


def runs_end_well(dut: ControlUnit, quiet: Any) -> Proof:
    """A run ends where everything has been done, or the bus is quiet after a halt; nothing is reset before."""
    p = Proof()
    p.m.submodules.dut = dut
    host = dut.host
    p.free(host.aw.valid, host.aw.payload, host.w.valid, host.w.payload, host.b.ready)
    p.free(host.ar.valid, host.ar.payload, host.r.ready, dut.finished, dut.stalled, dut.dispatch_error, quiet)
    complete = dut.finished
    codes = [dut.dispatch_error.code]
    for name in ENGINES:
        engine = getattr(dut, name)
        p.free(engine.dispatched, engine.completed, engine.error, engine.busy, engine.waiting)
        complete &= engine.dispatched == engine.completed
        p.assume((engine.dispatched - engine.completed)[:COUNT_BITS] < 1 << PENDING_BITS)
        codes.append(engine.error.code)
    running = ~dut.idle & ~dut.start & ~dut.halt
    p.check(~dut.start | (p.past(dut.idle) & ~dut.idle & ~dut.halt))
    p.check(~(p.past(~dut.idle) & dut.idle) | p.past(dut.halt & quiet) | (p.past(running) & p.past(complete, 2)))
    p.check(~p.past(dut.halt & ~quiet) | dut.halt)
    p.check(~p.past(running & Cat(code != ErrorCode.NONE for code in codes).any()) | dut.halt)
    return p


def test_a_run_ends_when_all_is_done_or_the_bus_is_quiet(tmp_path: Path) -> None:
    dut = ControlUnit(TINY)
    assert runs_end_well(dut, dut.quiet).holds(tmp_path, steps=6, induction=3)


def test_a_run_that_ends_while_the_bus_is_busy_is_refuted(tmp_path: Path) -> None:
    dut = ControlUnit(TINY)
    quiet, dut.quiet = dut.quiet, Signal(init=1)
    assert not runs_end_well(dut, quiet).holds(tmp_path, steps=8)


# The memories.


class Collider(wiring.Component):
    """A memory of which was said that nothing is read while it is written."""

    def __init__(self) -> None:
        super().__init__({"enable": In(1), "address": In(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=1, depth=2, init=[], attrs={"no_rw_check": 1})
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [write.en.eq(self.enable), read.en.eq(1), read.addr.eq(self.address)]
        return m


def test_a_memory_that_is_read_while_it_is_written_is_refuted(tmp_path: Path) -> None:
    p = Proof()
    p.m.submodules.dut = dut = Collider()
    p.free(dut.enable, dut.address)
    assert not p.holds(tmp_path, steps=2)


def totals_meet_no_writes(dut: Accumulators, *, revisit: int) -> Proof:
    """Any steps of which none reads what one of the last `revisit` - 1 changes; the memory asserts the rest."""
    p = Proof()
    p.m.submodules.dut = dut
    p.free(dut.valid, dut.back, dut.first, dut.last, dut.combine, dut.address, dut.through)
    keeps = dut.valid & ~dut.last
    for ago in range(1, revisit):
        p.assume(~(dut.valid & ~dut.first & p.past(keeps, ago) & (p.past(dut.address, ago) == dut.address)))
    return p


def test_no_total_is_read_while_it_is_written(tmp_path: Path) -> None:
    assert totals_meet_no_writes(Accumulators(TINY), revisit=REVISIT).holds(tmp_path, steps=6, induction=6)


def test_totals_that_are_read_a_cycle_too_soon_are_refuted(tmp_path: Path) -> None:
    assert not totals_meet_no_writes(Accumulators(TINY), revisit=REVISIT - 1).holds(tmp_path, steps=6)


LEAD = accumulators.LEAD + accumulators.LATENCY
"""Cycles from a step's control to its totals."""


def totals_take_their_turns(config: Any, *, room: int) -> Proof:
    """Any pixel: its columns come to the lanes in order, right after the pixel before, and its note beside."""
    p = Proof()
    p.m.submodules.dut = dut = Backlog(config, width=1, ahead=LEAD)
    p.free(dut.enters, dut.note)
    bits = p.any(config.turns, "bits")  # of all parts of the totals, one each
    p.m.d.comb += [
        dut.totals.eq(Cat(Cat(bit, Const(0, 31)) for bit in bits)),
        dut.note_valid.eq(dut.enters),
    ]
    chosen = p.constant(3, "chosen")
    entering = p.past(dut.enters, LEAD)
    noted, entered, left, shown = (Signal(5, name=name) for name in ("noted", "entered", "left", "shown"))
    totals, note = Signal(config.turns), Signal()
    p.m.d.sync += [
        noted.eq(noted + dut.enters),
        entered.eq(entered + entering),
        left.eq(left + dut.valid),
        shown.eq(shown + dut.comes),
    ]
    with p.m.If(entering & (entered == chosen)):
        p.m.d.sync += totals.eq(bits)
    with p.m.If(dut.enters & (noted == chosen)):
        p.m.d.sync += note.eq(dut.note)
    p.assume(noted - (left >> 1) + dut.enters <= room)
    # What has entered that long ago has left, or is leaving.
    p.check(dut.valid | (p.past(entered + entering, backlog.latency(config)) << 1 <= left))
    p.check(~dut.valid | (p.past(dut.turn, TOLD) == left[0]))
    p.check(~dut.valid | ((left >> 1) != chosen) | (dut.accumulators == totals.bit_select(left[0], 1)))
    p.check(dut.comes == p.past(dut.valid, backlog.result_latency(config)))
    p.check(~dut.comes | ((dut.first == ~shown[0]) & (dut.final == shown[0])))
    p.check(~dut.comes | ((shown >> 1) != chosen) | (p.past(dut.o_note) == note))
    return p


def shared(depth: int) -> Any:
    """What the backlog knows of a machine in which two columns share a lane, and a pass has few pixels."""
    return SimpleNamespace(columns=2, lane_count=1, turns=2, accumulator_depth=depth, sum_bits=TINY.sum_bits)


def test_totals_take_their_turns_in_the_lanes(tmp_path: Path) -> None:
    assert totals_take_their_turns(shared(2), room=2).holds(tmp_path, steps=21)


def test_more_totals_than_there_is_room_for_are_refuted(tmp_path: Path) -> None:
    assert not totals_take_their_turns(shared(2), room=3).holds(tmp_path, steps=21)


def scratchpad_is_bytes(dut: Scratchpad, config: Config, *, address: int) -> Proof:
    """One byte beside the memory: all three engines see the same one, whether or not they repeat what was frozen."""
    p = Proof()
    p.m.submodules.dut = dut
    read, write, load, store = dut.read, dut.write, dut.load, dut.store
    p.free(read.upcoming, read.address, read.mask, write.enable, write.address, write.mask)
    p.free(load.upcoming, load.address, load.mask, store.enable, store.address)
    # What happens to one bit of all bytes happens to the others.
    for port, lanes, name in ((write.data, config.columns, "written"), (load.data, 2 * config.line_bytes, "loaded")):
        bits = p.any(lanes, name)
        p.m.d.comb += port.eq(Cat(Cat(bits[lane], Const(0, 7)) for lane in range(lanes)))
    p.m.d.comb += read.fill.eq(p.any(1, "fill"))
    moving = ~dut.frozen
    with p.m.If(moving):
        p.m.d.sync += read.enable.eq(read.upcoming)
    p.m.d.sync += load.enable.eq(load.upcoming)
    size = config.scratchpad_bytes
    p.assume((read.address >= 0) & (read.address + config.vector_bytes <= size))
    p.assume(write.address + config.columns <= size)
    row_bits = (config.scratchpad_row_bytes - 1).bit_length()
    row, place = address >> row_bits, address & (config.scratchpad_row_bytes - 1)
    byte = Signal(8)
    # A write of the execute engine reaches the banks in the next cycle without a load, and again until it is unfrozen.
    pending, pending_byte = Signal(), Signal(8)
    lane = (address - write.address)[: len(write.address)]  # of a signed difference, so that what lies behind is large
    hit = write.enable & (lane < config.columns) & write.mask.bit_select(lane[:1], 1)
    with p.m.If(moving):
        p.m.d.sync += [pending.eq(hit), pending_byte.eq(write.data.word_select(lane[:1], 8))]
    with p.m.If(load.enable & (load.address == row) & load.mask[place]):
        p.m.d.sync += byte.eq(load.data.word_select(place, 8))
    with p.m.Elif(pending & ~load.enable):
        p.m.d.sync += byte.eq(pending_byte)
    stored = p.past(store.enable & (store.address == row))
    p.check(~p.past(stored) | (store.data.word_select(place, 8) == p.past(byte)))
    # What a read has to show travels beside it, in unfrozen cycles.
    lane = (address - read.address)[: len(read.address)]
    expected = Mux(read.mask.bit_select(lane[:2], 1), byte, read.fill)
    shown = [read.enable & (lane < config.vector_bytes), lane[:2], expected]
    for _ in range(READ_LATENCY):
        stage = [Signal(len(value)) for value in shown]
        with p.m.If(moving):
            p.m.d.sync += [register.eq(value) for register, value in zip(stage, shown, strict=True)]
        shown = list(stage)
    valid, lane, value = shown
    p.check(~valid | (read.data.word_select(lane, 8) == value))
    return p


READS = READ_LATENCY + 4
"""Steps in which a byte is loaded and read, and the read is frozen once on its way."""


@pytest.mark.parametrize("address", [5, 26])
def test_the_scratchpad_is_one_memory_to_all_engines(address: int, tmp_path: Path) -> None:
    assert scratchpad_is_bytes(Scratchpad(TINY), TINY, address=address).holds(tmp_path, steps=READS)


def test_reads_that_are_not_rotated_are_refuted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eightfold.hw.scratchpad._rotate_right", lambda value, amount: value)
    assert not scratchpad_is_bytes(Scratchpad(TINY), TINY, address=5).holds(tmp_path, steps=READS)


def test_writes_that_do_not_wrap_are_refuted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shift(value: Any, width: int, amount: Any) -> Any:
        return (value << amount)[:width]

    monkeypatch.setattr("eightfold.hw.scratchpad._rotate_left", shift)
    assert not scratchpad_is_bytes(Scratchpad(TINY), TINY, address=8).holds(tmp_path, steps=5)


# Requantization, in two halves: what leads to the product, and what follows from any.


class Cut(RequantizationLanes):
    """Lanes whose product is whatever the proof says, and whose factors can be seen."""

    product: Any = None
    factors: Any = None

    def _product(self, c: int, a: Any, b: Any, negative: Any, register: Any, valid: Any) -> Any:
        self.factors = (a, b)
        if self.product is None:
            self.product = super()._product(c, a, b, negative, register, valid)
        return self.product


def lane(p: Proof, dut: RequantizationLanes, **inputs: Any) -> tuple[Value, Value]:
    """One lane, with an accumulator in every cycle."""
    p.free(dut.zero_point, dut.lower, dut.upper)
    always = [Const(1)] * 9
    names = {"square": 1, "accumulator": signed(32), "bias": signed(32), "multiplier": 31, "shift": signed(8)}
    fields = {name: inputs[name] if name in inputs else p.constant(shape, name) for name, shape in names.items()}
    fields["shift"] = with_sign(fields["shift"])
    pre_shift = inputs.get("pre_shift", Const(0, 5))
    return dut._lane(p.m, 0, always, always, pre_shift=pre_shift, clamp=dut._clamp(p.m), **fields)


def product_is_of_its_factors(rounding: Rounding, *, multiplied: bool, mistake: int = 0) -> Proof:
    """Before the product: its factors. Within: the four parts of it, as a sum, with what rounds it.

    Yosys finds the four products on both sides to be the same; see `test_four_products_make_one` for what they are.
    """
    p = Proof()
    shapes = {"accumulator": signed(32), "bias": signed(32), "shift": signed(8), "pre_shift": 5, "square": 1}
    inputs = {name: p.constant(shape, name) for name, shape in shapes.items()}
    inputs["multiplier"] = p.constant(31, "multiplier")
    p.assume((inputs["shift"] >= -31) & (inputs["shift"] <= 30))
    dut = Cut(columns=1, lanes=1, rounding=rounding, multiplied=multiplied)
    lane(p, dut, **inputs)
    a, b = dut.factors
    positive = 0 if rounding is Rounding.SINGLE else inputs["shift"][:5]
    left = Mux(inputs["shift"] > 0, positive, inputs["pre_shift"])
    number = ((inputs["accumulator"] + inputs["bias"])[:32] << left)[:32].as_signed()
    age = Signal(3)
    p.m.d.sync += age.eq(age + (age != 7))
    p.check(
        (age != 5 + multiplied) | ((a == number + mistake) & (b == Mux(inputs["square"], number, inputs["multiplier"])))
    )

    def low(x: Any) -> Any:
        return x[:16]

    def high(x: Any) -> Any:
        return x[16:].as_signed()

    outer, middle = dut.product
    cross = p.past(low(a) * high(b), 2) + p.past(high(a) * low(b), 2)
    whole = (p.past(high(a) * high(b), 2) << 32) + (cross << 16) + p.past(low(a) * low(b), 2)
    half = 0 if rounding is Rounding.SINGLE else 1 << 30
    down = (a[-1] ^ b[-1]) & (inputs["shift"] < 0) if rounding is Rounding.DOUBLE else 0
    p.check((age < 5 + multiplied) | (outer.as_signed() + (middle << 16) == whole + half - (down << 31)))
    return p


@pytest.mark.parametrize("multiplied", [False, True])
@pytest.mark.parametrize("rounding", FIXED_POINT)
def test_a_product_is_that_of_its_factors(rounding: Rounding, multiplied: bool, tmp_path: Path) -> None:
    assert product_is_of_its_factors(rounding, multiplied=multiplied).holds(tmp_path, steps=6 + multiplied)


def test_four_products_make_one() -> None:
    """The one thing about the product that bits do not tell: a law of algebra, over all integers."""
    z3 = pytest.importorskip("z3")
    a, b, c, d = z3.Ints("a b c d")
    k = 1 << 16
    parts = (a * c) * k * k + (a * d + b * c) * k + b * d
    assert z3.simplify((a * k + b) * (c * k + d) - parts, som=True).eq(z3.IntVal(0))
    assert not z3.simplify((a * k + b) * (c * k + d) - parts - b, som=True).eq(z3.IntVal(0))


def test_factors_that_are_one_too_large_are_refuted(tmp_path: Path) -> None:
    assert not product_is_of_its_factors(Rounding.DOUBLE, multiplied=False, mistake=1).holds(tmp_path, steps=6)


def rounded(product: Any, shift: Any, rounding: Rounding) -> Value:
    """What gemmlowp's `SaturatingRoundingDoublingHighMul` and `RoundingDivideByPOT` make of it, or ruy's one rounding.

    Written with a division that truncates towards zero, as there.
    """
    if rounding is Rounding.SINGLE:
        right = (31 - shift)[:7]
        return (product + (Const(1, 1) << (right - 1)[:6])) >> right[:6]
    nudged = product + Mux(product >= 0, 1 << 30, 1 - (1 << 30))
    high = Mux(nudged >= 0, nudged >> 31, -((-nudged) >> 31))
    exponent = Mux(shift < 0, -shift, 0)[:5]
    mask = (Const(1, 32) << exponent)[:32] - 1
    remainder = high & mask
    negative = (high < 0) if rounding is Rounding.DOUBLE else 0
    threshold = (mask >> 1) + negative
    return (high >> exponent) + (remainder > threshold)


def product_is_rounded(rounding: Rounding, *, multiplied: bool, as_if: Rounding) -> Proof:
    """Behind the product: any product of two 32-bit numbers, any shift."""
    p = Proof()
    product = p.constant(signed(64), "product")
    # -2^31 times itself wraps, as the lanes say; the next in size is -2^31 times 2^31 - 1.
    p.assume((product <= (1 << 62) - (1 << 31)) & (product >= (1 << 31) - (1 << 62)))
    shift = p.constant(signed(8), "shift")
    p.assume((shift >= -31) & (shift <= (30 if rounding is Rounding.SINGLE else 0)))
    dut = Cut(columns=1, lanes=1, rounding=rounding, multiplied=multiplied)
    outer, middle = Signal(64), Signal(signed(34))
    # Any parts of which the product is the sum, with what rounds it; the sign is that of the factors.
    negative = p.constant(1, "negative")
    p.assume((product == 0) | (negative == (product < 0)))
    half = 0 if rounding is Rounding.SINGLE else 1 << 30
    down = negative & (shift < 0) if rounding is Rounding.DOUBLE else 0
    p.m.d.comb += [
        middle.eq(p.constant(signed(34), "spread")),
        outer.eq(product + half - (down << 31) - (middle << 16)),
    ]
    dut.product = (outer, middle)
    result, _ = lane(p, dut, shift=shift)
    age = Signal(3)
    p.m.d.sync += age.eq(age + (age != 7))
    p.check((age != 5 + multiplied) | (result[:32] == rounded(product, shift, as_if)[:32]))
    return p


@pytest.mark.parametrize("multiplied", [False, True])
@pytest.mark.parametrize("rounding", FIXED_POINT)
def test_products_are_rounded_as_gemmlowp_does(rounding: Rounding, multiplied: bool, tmp_path: Path) -> None:
    proof = product_is_rounded(rounding, multiplied=multiplied, as_if=rounding)
    assert proof.holds(tmp_path, steps=6 + multiplied)


def test_ties_that_go_the_other_way_are_refuted(tmp_path: Path) -> None:
    proof = product_is_rounded(Rounding.DOUBLE_UP, multiplied=False, as_if=Rounding.DOUBLE)
    assert not proof.holds(tmp_path, steps=6)
