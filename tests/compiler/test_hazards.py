"""Dependency counts: each kind of hazard by itself, and random programs against what order alone would give."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.compiler.hazards import ENGINES, Access, Channels, Hazards, Space
from eightfold.hw.commands import Opcode

LOAD, EXECUTE, STORE = ENGINES
PAD = Space.SCRATCHPAD


def read(start: int, stop: int, space: Space = PAD) -> Access:
    return Access(space, start, stop, False)


def write(start: int, stop: int, space: Space = PAD) -> Access:
    return Access(space, start, stop, True)


def channels(first: int, last: int, *, write: bool, pixel: int = 24, origin: int = 0) -> Access:
    return Access(PAD, 0, 240, write, Channels(pixel, origin, first, last))


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        pytest.param((LOAD, write(0, 8)), (EXECUTE, read(7, 9)), True, id="read after write"),
        pytest.param((EXECUTE, read(0, 8)), (LOAD, write(7, 9)), True, id="write after read"),
        pytest.param((EXECUTE, write(0, 8)), (LOAD, write(7, 9)), True, id="write after write"),
        pytest.param((EXECUTE, read(0, 8)), (STORE, read(0, 8)), False, id="read after read"),
        pytest.param((LOAD, write(0, 8)), (EXECUTE, read(8, 9)), False, id="neighbours"),
        pytest.param((LOAD, write(0, 8)), (EXECUTE, read(0, 8, Space.WEIGHTS)), False, id="other memory"),
        pytest.param((STORE, write(0, 8, Space.DRAM)), (LOAD, read(0, 1, Space.DRAM)), True, id="through DRAM"),
        pytest.param((EXECUTE, write(0, 8)), (EXECUTE, read(0, 8)), True, id="execute reads after execute writes"),
        pytest.param((EXECUTE, write(0, 8)), (EXECUTE, write(0, 8)), False, id="execute writes in order"),
        pytest.param((EXECUTE, read(0, 8)), (EXECUTE, write(0, 8)), False, id="execute reads before it writes"),
        pytest.param((LOAD, write(0, 8)), (LOAD, write(0, 8)), False, id="loads in order"),
        pytest.param((LOAD, write(0, 8)), (EXECUTE, read(5, 5)), False, id="nothing to read"),
    ],
)
def test_pairs(first: tuple[Opcode, Access], second: tuple[Opcode, Access], waits: bool) -> None:
    hazards = Hazards()
    hazards.issue(first[0], [first[1]])
    assert hazards.issue(second[0], [second[1]]).get(first[0], 0) == int(waits)


@pytest.mark.parametrize(
    ("second", "awaited"),
    [
        pytest.param((EXECUTE, channels(0, 16, write=False)), 1, id="channels that were there before"),
        pytest.param((EXECUTE, channels(8, 17, write=False)), 2, id="one that has just been written"),
        pytest.param((EXECUTE, channels(24, 40, write=False, pixel=48)), 2, id="other pixels"),
        pytest.param((EXECUTE, channels(0, 16, write=False, origin=24)), 1, id="the same pixels, seen from the next"),
        pytest.param((EXECUTE, channels(0, 16, write=False, origin=8)), 2, id="pixels that begin elsewhere"),
        pytest.param((EXECUTE, read(0, 8)), 2, id="any channels"),
        pytest.param((STORE, read(0, 8)), 2, id="another engine"),
        pytest.param((LOAD, write(0, 8)), 2, id="overwritten"),
    ],
)
def test_channels_await_those_who_wrote_them(second: tuple[Opcode, Access], awaited: int) -> None:
    hazards = Hazards()
    hazards.issue(EXECUTE, [channels(0, 16, write=True)])
    hazards.issue(EXECUTE, [channels(16, 24, write=True)])
    assert hazards.issue(second[0], [second[1]])[EXECUTE] == awaited


def test_some_channels_hide_no_reader() -> None:
    hazards = Hazards()
    hazards.issue(STORE, [read(0, 240)])
    assert hazards.issue(EXECUTE, [channels(0, 16, write=True)])[STORE] == 1
    assert hazards.issue(EXECUTE, [channels(16, 24, write=True)])[STORE] == 1
    hazards.issue(EXECUTE, [write(0, 240)])
    assert hazards.issue(LOAD, [write(0, 240)]) == {EXECUTE: 3, STORE: 0}


def test_a_write_hides_what_it_awaited() -> None:
    hazards = Hazards()
    hazards.issue(EXECUTE, [write(0, 100)])
    hazards.issue(STORE, [read(10, 20)])
    assert hazards.issue(LOAD, [write(0, 100)]) == {EXECUTE: 1, STORE: 1}
    assert hazards.issue(EXECUTE, [read(0, 100)]) == {LOAD: 1, EXECUTE: 0, STORE: 0}


def test_the_last_of_several_counts() -> None:
    hazards = Hazards()
    for start in (0, 10, 20, 30):
        hazards.issue(LOAD, [write(start, start + 10)])
    assert hazards.issue(EXECUTE, [read(5, 25)])[LOAD] == 3
    assert hazards.issue(EXECUTE, [read(0, 40)])[LOAD] == 4


def test_what_is_held_stays_until_the_last_command_so_far_has_completed() -> None:
    hazards = Hazards()
    hazards.issue(EXECUTE, [write(0, 10)])
    hazards.issue(EXECUTE, [write(10, 20)])
    assert hazards.issue(LOAD, [write(0, 5)])[EXECUTE] == 1
    hazards.hold(EXECUTE, PAD, 0, 20)
    assert hazards.issue(LOAD, [write(5, 10)])[EXECUTE] == 2
    assert hazards.issue(LOAD, [write(20, 30)])[EXECUTE] == 0


@st.composite
def programs(draw: st.DrawFn) -> list[tuple[Opcode, list[Access]]]:
    kinds = {
        LOAD: [(Space.DRAM, False), (PAD, True)],
        EXECUTE: [(PAD, False), (PAD, True)],
        STORE: [(PAD, False), (Space.DRAM, True)],
    }
    commands = []
    for _ in range(draw(st.integers(1, 25))):
        engine = draw(st.sampled_from(ENGINES))
        accesses = []
        for space, writes in kinds[engine]:
            start = draw(st.integers(0, 12))
            accesses.append(Access(space, start, start + draw(st.integers(0, 5)), writes))
        commands.append((engine, accesses))
    return commands


@given(programs(), st.integers())
def test_every_allowed_overlap_moves_the_same_data(commands: list[tuple[Opcode, list[Access]]], seed: int) -> None:
    """Commands read when they start, write when they complete, and any number of engines is busy at a time."""
    hazards = Hazards()
    queues: dict[Opcode, list[tuple[int, list[Access], dict[Opcode, int]]]] = {engine: [] for engine in ENGINES}
    for number, (engine, accesses) in enumerate(commands):
        queues[engine].append((number, accesses, dict(hazards.issue(engine, accesses))))

    def reads(memory: dict[tuple[Space, int], int], accesses: list[Access]) -> list[int]:
        return [memory.get((a.space, i), -1) for a in accesses if not a.write for i in range(a.start, a.stop)]

    def writes(memory: dict[tuple[Space, int], int], accesses: list[Access], number: int) -> None:
        memory.update({(a.space, i): number for a in accesses if a.write for i in range(a.start, a.stop)})

    # Each command writes its number; what a command reads says whom it saw.
    memory: dict[tuple[Space, int], int] = {}
    expected = []
    for number, (_, accesses) in enumerate(commands):
        expected.append(reads(memory, accesses))
        writes(memory, accesses, number)
    final = dict(memory)

    random = Random(seed)
    memory = {}
    started, completed = dict.fromkeys(ENGINES, 0), dict.fromkeys(ENGINES, 0)
    while any(completed[engine] < len(queues[engine]) for engine in ENGINES):
        events = []
        for engine in ENGINES:
            if completed[engine] < started[engine]:
                events.append((engine, "complete"))
            # Only execute commands overlap each other.
            free = engine is EXECUTE or completed[engine] == started[engine]
            if free and started[engine] < len(queues[engine]):
                awaited = queues[engine][started[engine]][2]
                if all(completed[other] >= count for other, count in awaited.items()):
                    events.append((engine, "start"))
        assert events, "nothing can go on"
        engine, event = random.choice(events)
        if event == "start":
            number, accesses, _ = queues[engine][started[engine]]
            assert reads(memory, accesses) == expected[number]
            started[engine] += 1
        else:
            number, accesses, _ = queues[engine][completed[engine]]
            writes(memory, accesses, number)
            completed[engine] += 1
    assert memory == final
