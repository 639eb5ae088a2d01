"""What is proved of a program's way: from DRAM to the engines, which start and complete their commands by counts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from amaranth.hdl import Cat, Const, Mux, Signal, Value
from amaranth.lib import wiring

from eightfold.hw.arbiter import ReadArbiter
from eightfold.hw.commands import COMMANDS, INDEX_BITS, WORD_BITS, Command, Execute, Load, Store
from eightfold.hw.config import Config
from eightfold.hw.engine import Intake
from eightfold.hw.fetch import BURST_BYTES, Dispatch, Fetch
from eightfold.hw.load import LoadEngine
from eightfold.hw.registers import ErrorCode
from eightfold.hw.sequencer import Sequencer
from eightfold.hw.store import StoreEngine

from .proving import Proof
from .test_proofs import TINY, within_a_page

INDEX_OFFSET = WORD_BITS - INDEX_BITS
BURSTS = 2
"""Of the fetch under way, where it is to be proved; more take the solver longer."""


def begun(p: Proof, start: Any) -> Signal:
    """Whether there was the one start that there may be."""
    before = Signal(name="begun")
    p.assume(~(start & before))
    p.m.d.sync += before.eq(before | start)
    return before


def reads_through_an_arbiter(p: Proof, read: Any, name: str, *, bus_bytes: int, bursts: int) -> Any:
    """A master's bus, behind the arbiter that keeps its addresses."""
    p.m.submodules.arbiter = arbiter = ReadArbiter(bus_bytes=bus_bytes, bursts=bursts)
    wiring.connect(p.m, wiring.flipped(wiring.flipped(read)), getattr(arbiter, name))
    p.free(arbiter.bus.ar.ready, arbiter.bus.r.valid, arbiter.bus.r.payload)
    return arbiter.bus


# From DRAM.


def fetch_brings_the_program(dut: Fetch, config: Config, *, more: int = 0) -> Proof:
    """A memory that holds addresses: each word tells whence it came. `more` words are asked for than announced."""
    p = Proof()
    p.m.submodules.dut = dut
    bus_bytes = config.bus_bytes
    bus = reads_through_an_arbiter(p, dut.read, "fetch", bus_bytes=bus_bytes, bursts=BURSTS)
    p.free(dut.start, dut.halt, dut.o.ready)
    started = begun(p, dut.start)
    shift = (bus_bytes - 1).bit_length()
    # From about a page's end on.
    words, bad = p.constant(5, "words"), p.constant(32 - shift, "bad")
    address = Cat(Const(0, shift), p.constant(4, "beat"), Const(-1, 8 - shift), p.constant(1, "page"), Const(0, 19))
    p.m.d.comb += [dut.address.eq(address), dut.words.eq(words + more)]
    slave = p.read_slave(bus, bursts=BURSTS, bus_bytes=bus_bytes)
    p.assume(~bus.r.valid | (bus.r.payload.response[1] == (slave.place == bad)))

    # What is asked for: the program's beats, one after the other, in short bursts, and no more.
    beats = Signal(34)
    asked, length = Signal(34), bus.ar.payload.length + 1
    parts = max(1, bus_bytes // 8)
    p.m.d.comb += beats.eq(words << 1 if bus_bytes < 8 else (words + parts - 1) >> (parts - 1).bit_length())
    with p.m.If(bus.ar.valid & bus.ar.ready):
        p.m.d.sync += asked.eq(asked + length)
    fine = (
        within_a_page(bus.ar.payload, bus_bytes=bus_bytes)
        & (length * bus_bytes <= min(BURST_BYTES, config.burst_beats * bus_bytes))
        & (bus.ar.payload.address == (address + (asked << shift))[:32])
        & (asked + length <= beats)
    )
    p.check(~bus.ar.valid | (started & fine))
    p.check(~dut.quiet | ((slave.count == 0) & ~bus.ar.valid))

    # What comes of it: every word, in order, and whether the bus brought bad news with it.
    given = Signal(34)
    with p.m.If(dut.o.valid & dut.o.ready):
        p.m.d.sync += given.eq(given + 1)
    number = ((address >> 2) + (given << 1))[:30]
    following = (number + 1)[:30]
    failed = (number >> (shift - 2) == bad) | (following >> (shift - 2) == bad)
    here = Cat(number, Const(0, 2), following, Const(0, 2))
    right = (dut.o.payload.word == here) & (dut.o.payload.error == failed)
    every = words if bus_bytes < 8 else beats * parts
    p.check(~dut.o.valid | (right & (given < every)))
    p.check(p.offered(dut.o))

    # And nothing is kept: where nothing moves for some cycles, all is there.
    halted, still = Signal(), Signal(3)
    active = dut.start | bus.ar.valid | bus.r.valid | dut.o.valid
    p.m.d.sync += [halted.eq(halted | dut.halt), still.eq(Mux(active, 0, still + (still != 7)))]
    p.check(~(started & ~halted & (slave.count == 0) & (still >= 5)) | (given == every))
    return p


@pytest.fixture
def short_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eightfold.hw.fetch.MAX_BURSTS", BURSTS)


@pytest.mark.usefixtures("short_buffer")
@pytest.mark.parametrize(("bus_bytes", "burst_beats"), [(4, 1), (8, 2), (16, 1)])
def test_the_program_is_fetched_whole_and_in_order(bus_bytes: int, burst_beats: int, tmp_path: Path) -> None:
    config = Config(bus_bytes=bus_bytes, burst_beats=burst_beats)
    assert fetch_brings_the_program(Fetch(config), config).holds(tmp_path, steps=10)


@pytest.mark.usefixtures("short_buffer")
def test_a_fetch_that_asks_for_more_than_was_announced_is_refuted(tmp_path: Path) -> None:
    config = Config(burst_beats=1)
    assert not fetch_brings_the_program(Fetch(config), config, more=1).holds(tmp_path, steps=6)


@pytest.mark.usefixtures("short_buffer")
def test_a_fetch_that_turns_beats_round_is_refuted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = Fetch._split

    def turned(self: Fetch, m: Any, beats: Any, free: Any) -> None:
        data = beats.payload.data
        payload = SimpleNamespace(data=Cat(data[WORD_BITS:], data[:WORD_BITS]), error=beats.payload.error)
        split(self, m, SimpleNamespace(valid=beats.valid, ready=beats.ready, payload=payload), free)

    monkeypatch.setattr(Fetch, "_split", turned)
    config = Config(bus_bytes=16, burst_beats=1)
    assert not fetch_brings_the_program(Fetch(config), config).holds(tmp_path, steps=9)


# To the engines.


def dispatch_hands_out(dut: Dispatch) -> Proof:
    """Any word of any engine: the proof looks at the one that it chose, hence at all."""
    p = Proof()
    p.m.submodules.dut = dut
    p.free(dut.start, dut.halt, dut.i.valid)
    # What happens to one bit of a word happens to those beside it.
    bits = p.any(7, "word")
    p.m.d.comb += [
        dut.i.payload.word.eq(Cat(bits[:4], bits[4].replicate(40), bits[5].replicate(INDEX_BITS))),
        dut.i.payload.error.eq(bits[6]),
    ]
    started = begun(p, dut.start)
    p.assume(~(p.past(dut.start) & dut.i.valid))
    words = p.constant(6, "words")
    p.m.d.comb += dut.words.eq(words)
    left, rest, index = Signal(32), Signal(5), Signal(INDEX_BITS)
    receiver = Signal(len(COMMANDS))
    word, taken = dut.i.payload.word, dut.i.valid & dut.i.ready
    header = rest == 0
    kinds = {opcode.name.lower(): (opcode, kind.words()) for opcode, kind in COMMANDS.items()}
    meant = Cat(word[:4] == opcode for opcode, _ in kinds.values())
    fits = Cat(left >= size for _, size in kinds.values())
    chosen = Mux(header, meant, receiver)
    with p.m.If(taken):
        p.m.d.sync += [left.eq(left - 1), receiver.eq(chosen), rest.eq(rest - 1)]
        for place, (_, size) in enumerate(kinds.values()):
            with p.m.If(header & meant[place]):
                p.m.d.sync += rest.eq(size - 1)
        with p.m.If(rest == 1):
            p.m.d.sync += index.eq(index + 1)
    with p.m.If(dut.start):
        p.m.d.sync += left.eq(words)
    stopped = dut.error.code != ErrorCode.NONE
    p.check(~taken | (~dut.halt & ~stopped & ~dut.i.payload.error & (left != 0)))
    p.check(~(taken & header) | (meant & fits).any())
    p.check(dut.finished == ((left == 0) & ~p.past(dut.start)))
    # What cannot be passed stops the machine, at the command that it would have been.
    looks = started & dut.i.valid & (left != 0) & ~stopped
    illegal = looks & header & ~dut.i.payload.error & ~(meant & fits).any()
    expected = Mux(illegal, ErrorCode.ILLEGAL_COMMAND.value, ErrorCode.FETCH_BUS.value)
    p.check(~p.past(illegal | (looks & dut.i.payload.error)) | (dut.error.code == p.past(expected)))
    p.check(~stopped | (dut.error.index == index))

    watched = p.constant(4, "watched")
    for place, name in enumerate(kinds):
        port = getattr(dut, name)
        p.free(port.ready)
        came, went, commands = (Signal(6, name=f"{name}_{what}") for what in ("came", "went", "commands"))
        held = Signal(WORD_BITS, name=f"{name}_held")
        mine = taken & chosen[place]
        with p.m.If(mine & (came == watched)):
            p.m.d.sync += held.eq(Mux(header, Cat(word[:INDEX_OFFSET], index), word))
        gone = port.valid & port.ready
        p.m.d.sync += [came.eq(came + mine), went.eq(went + gone), commands.eq(commands + (mine & header))]
        p.check(~port.valid | ((went < came) & ((went != watched) | (port.payload == held))))
        p.check(port.valid | (went == p.past(came, 2)))
        p.check(getattr(dut, f"{name}_dispatched") == commands)
    return p


@pytest.fixture
def short_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eightfold.hw.fetch.QUEUE_COMMANDS", 1)


@pytest.mark.usefixtures("short_queues")
def test_commands_reach_their_engines_whole_with_their_places(tmp_path: Path) -> None:
    assert dispatch_hands_out(Dispatch()).holds(tmp_path, steps=9)


@pytest.mark.usefixtures("short_queues")
def test_a_dispatcher_that_takes_loads_for_stores_is_refuted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (load, a, kind), execute, (store, b, _) = Dispatch._ENGINES
    monkeypatch.setattr(Dispatch, "_ENGINES", ((load, b, kind), execute, (store, a, kind)))
    assert not dispatch_hands_out(Dispatch()).holds(tmp_path, steps=4)


# Into the engines: by counts.


def command_waits(p: Proof, dut: Any, words: Any, kind: type[Command], *, forgets: str = "") -> tuple[Signal, Value]:
    """How many words of a command are there, and whether the counts that it awaits were in the cycle before.

    `forgets` names an engine whose count the design sees as if everything had completed.
    """
    taken = words.valid & words.ready
    size = kind.words()
    latest, count = Signal(WORD_BITS * size), Signal(range(size + 1))
    with p.m.If(taken):
        p.m.d.sync += latest.eq(Cat(latest[WORD_BITS:], words.payload))
    reached = []
    for field in kind.layout():
        if not field.name.startswith("wait_"):
            continue
        engine = field.name.removeprefix("wait_")
        own = kind.opcode.name.lower() == engine
        port = getattr(dut, "completed" if own else f"{engine}_completed")
        seen = p.any(field.bits, f"{engine}_completed_so_far")
        p.m.d.comb += port.eq(-1 if engine == forgets else seen)
        at = WORD_BITS * field.word + field.offset
        reached.append(p.past(seen) >= latest[at : at + field.bits])
    return count, Cat(reached).all()


def intake_waits(dut: Intake, kind: type[Command], *, forgets: str = "") -> Proof:
    """A command has its own words, in order, and waits for its counts; both are looked at for a cycle."""
    p = Proof()
    p.m.submodules.dut = dut
    words, command = dut.words, dut.command
    p.free(words.valid, words.payload, command.ready)
    count, reached = command_waits(p, dut, words, kind, forgets=forgets)
    given = command.valid & command.ready
    p.m.d.sync += count.eq(Mux(given, 0, count + (words.valid & words.ready)))
    there = count == kind.words()
    received = Signal(WORD_BITS * kind.words())
    with p.m.If(words.valid & words.ready):
        p.m.d.sync += received.eq(Cat(received[WORD_BITS:], words.payload))
    checked = there & p.past(there)
    p.check(words.ready == ~there)
    p.check(command.valid == (checked & reached))
    p.check(dut.waiting == (checked & ~reached))
    p.check(~there | (Value.cast(command.payload) == received))
    return p


@pytest.mark.parametrize("kind", [Load, Store])
def test_no_transfer_starts_before_its_counts(kind: type[Command], tmp_path: Path) -> None:
    # One command; nothing of it stays for the next but registers that the next overwrites.
    assert intake_waits(Intake(kind), kind).holds(tmp_path, steps=kind.words() + 4)


@pytest.mark.parametrize(("kind", "forgets"), [(Load, "store"), (Load, "execute"), (Store, "load")])
def test_an_intake_that_forgets_a_count_is_refuted(kind: type[Command], forgets: str, tmp_path: Path) -> None:
    assert not intake_waits(Intake(kind), kind, forgets=forgets).holds(tmp_path, steps=kind.words() + 2)


def execution_waits(dut: Sequencer, *, forgets: str = "") -> Proof:
    """The sequencer takes a command once its counts are there; it does nothing before the first, nor halted."""
    p = Proof()
    p.m.submodules.dut = dut
    words = dut.commands
    p.free(words.valid, words.payload, dut.halt)
    count, reached = command_waits(p, dut, words, Execute, forgets=forgets)
    # All words were there in the cycle before, and a place for another is in this one: the command has started.
    full = count == Execute.words()
    there = full & ~words.ready
    started = p.past(there) & words.ready
    p.m.d.sync += count.eq(Mux(started, 0, count) + (words.valid & words.ready))
    p.check(~started | p.past(reached & ~dut.halt & (dut.error.code == ErrorCode.NONE)))
    p.check(full | words.ready)
    p.check(~full | ~words.ready | started)
    ever = Signal()
    p.m.d.sync += ever.eq(ever | started)
    acts = dut.weights.enable | dut.read.enable | dut.accumulate_valid | dut.output_valid
    p.check(~acts | ever | started)
    p.check(~dut.waiting | (there & ~reached))
    return p


def test_no_execution_starts_before_its_counts(tmp_path: Path) -> None:
    assert execution_waits(Sequencer(TINY)).holds(tmp_path, steps=Execute.words() + 4)


@pytest.mark.parametrize("forgets", ["load", "execute"])
def test_a_sequencer_that_forgets_a_count_is_refuted(forgets: str, tmp_path: Path) -> None:
    assert not execution_waits(Sequencer(TINY), forgets=forgets).holds(tmp_path, steps=Execute.words() + 3)


# And out of them: what counts as completed is.


def lengths_of_transfers(p: Proof, words: Any) -> tuple[Signal, Signal, Signal]:
    """Bytes that the first command moves, the first two, and all so far; the words are those of loads or stores."""
    place, number = Signal(range(3)), Signal(2)
    first, two, every = (Signal(26, name=name) for name in ("bytes_of_one", "bytes_of_two", "bytes_of_all"))
    (field,) = (field for field in Load.layout() if field.name == "length")
    assert field in Store.layout()
    length = words.payload[field.offset : field.offset + field.bits]
    with p.m.If(words.valid & words.ready):
        p.m.d.sync += place.eq(Mux(place == 2, 0, place + 1))
        with p.m.If(place == field.word):
            p.m.d.sync += [number.eq(number + (number != 3)), every.eq(every + length)]
            with p.m.If(number == 0):
                p.m.d.sync += first.eq(length)
            with p.m.If(number <= 1):
                p.m.d.sync += two.eq(two + length)
    return first, two, every


def ones(mask: Any) -> Value:
    return sum((mask[bit] for bit in range(len(mask))), start=Const(0, 1))


def loads_complete(dut: LoadEngine, config: Config, *, early: int = 0) -> Proof:
    """A load counts once its last byte is in the memory; not a byte more is written. `early` loads count before."""
    p = Proof()
    p.m.submodules.dut = dut
    limit = config.outstanding_bursts
    bus = reads_through_an_arbiter(p, dut.read, "load", bus_bytes=config.bus_bytes, bursts=limit)
    p.free(dut.commands.valid, dut.commands.payload, dut.halt, dut.base_address)
    p.free(dut.execute_completed, dut.store_completed)
    slave = p.read_slave(bus, bursts=limit)
    one, two, every = lengths_of_transfers(p, dut.commands)
    written = Signal(26)
    for port in (dut.scratchpad, dut.weights):
        p.check(~port.enable | (written < every))
    p.check(~(dut.scratchpad.enable & dut.weights.enable))
    writes = Mux(dut.scratchpad.enable, ones(dut.scratchpad.mask), Mux(dut.weights.enable, ones(dut.weights.mask), 0))
    p.m.d.sync += written.eq(written + writes)
    completed = dut.completed + early
    p.check((completed < 1) | (written >= one))
    p.check((completed < 2) | (written >= two))
    p.check(written <= every)
    p.check(dut.busy | (dut.error.code != ErrorCode.NONE) | ((slave.count == 0) & ~bus.ar.valid))
    return p


def test_a_load_has_completed_when_its_bytes_are_there(tmp_path: Path) -> None:
    assert loads_complete(LoadEngine(TINY), TINY).holds(tmp_path, steps=12)


def test_a_load_that_completes_before_its_last_beat_is_refuted(tmp_path: Path) -> None:
    assert not loads_complete(LoadEngine(TINY), TINY, early=1).holds(tmp_path, steps=6)


def stores_complete(dut: StoreEngine, config: Config, *, answers_matter: bool = True) -> Proof:
    """A store counts once its last byte is on the bus, and the burst that holds it answered."""
    p = Proof()
    p.m.submodules.dut = dut
    aw, w, b = dut.write.aw, dut.write.w, dut.write.b
    p.free(dut.commands.valid, dut.commands.payload, dut.halt, dut.base_address, dut.scratchpad.data)
    p.free(dut.load_completed, dut.execute_completed, aw.ready, w.ready, b.valid, b.payload)
    one, two, every = lengths_of_transfers(p, dut.commands)
    asked, sent, answered = Signal(5), Signal(5), Signal(5)
    written = Signal(26)
    moved = w.valid & w.ready
    now = Signal(26)
    p.m.d.comb += now.eq(written + Mux(moved, ones(w.payload.strobe), 0))
    p.m.d.sync += [
        written.eq(now),
        asked.eq(asked + (aw.valid & aw.ready)),
        sent.eq(sent + (moved & w.payload.last)),
        answered.eq(answered + (b.valid & b.ready)),
    ]
    if answers_matter:
        p.assume(~b.valid | ((answered < asked) & (answered < sent)))
    for count, bytes_ in ((1, one), (2, two)):
        last = Signal(5, name=f"burst_{count}")  # how many bursts there were with the last byte of these commands
        with p.m.If((written < bytes_) & (now >= bytes_)):
            p.m.d.sync += last.eq(sent + 1)
        p.check((dut.completed < count) | ((written >= bytes_) & (p.past(answered) >= last)))
    p.check(written <= every)
    p.check(dut.busy | (dut.error.code != ErrorCode.NONE) | ((asked == answered) & (sent == answered) & ~aw.valid))
    return p


def test_a_store_has_completed_when_it_is_answered(tmp_path: Path) -> None:
    assert stores_complete(StoreEngine(TINY), TINY).holds(tmp_path, steps=12)


def test_a_store_that_anything_answers_is_refuted(tmp_path: Path) -> None:
    assert not stores_complete(StoreEngine(TINY), TINY, answers_matter=False).holds(tmp_path, steps=12)
