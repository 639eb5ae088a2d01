"""Traces: slices that do not overlap, that account for every command, and that name what was waited for."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from eightfold.compiler import Program, compile
from eightfold.golden.reader import read
from eightfold.hw.commands import Load, Opcode, Store
from eightfold.hw.config import Config
from eightfold.hw.engine import CHECK_LATENCY
from eightfold.sim.model import CycleProfile, profile
from eightfold.sim.trace import write_trace

DIGITS = Path(__file__).parents[2] / "models" / "digits.tflite"


@pytest.fixture(scope="module")
def cycles() -> CycleProfile:
    return profile(compile(read(DIGITS), Config.named("8x8")), latency=40)


@pytest.fixture
def events(cycles: CycleProfile, tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "trace.json"
    write_trace(path, cycles.program, cycles.runs())
    events: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return events


def commands(program: Program) -> int:
    return sum(len(step.commands) for step in program.steps if hasattr(step, "commands"))


def test_every_engine_has_a_named_track(events: list[dict[str, Any]]) -> None:
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert names == {1: "load", 2: "execute", 3: "store"}


def test_every_command_has_a_slice_with_its_exact_span(cycles: CycleProfile, events: list[dict[str, Any]]) -> None:
    slices = [event for event in events if event["ph"] == "X" and event["cat"] != "wait"]
    assert len(slices) == commands(cycles.program)
    begin, spans = 0, set()
    for part in cycles.steps:
        spans |= {(timing.engine, begin + timing.start, begin + timing.end) for timing in part.timeline.commands}
        begin += part.timeline.counters["cycles"]
    assert {(event["tid"], event["args"]["start"], event["args"]["end"]) for event in slices} == spans
    assert max(event["ts"] + event["dur"] for event in slices) <= cycles.cycles


def test_slices_of_a_track_follow_each_other(events: list[dict[str, Any]]) -> None:
    for engine in Opcode:
        end = 0
        for event in (event for event in events if event["ph"] == "X" and event["tid"] == engine):
            assert event["ts"] >= end
            assert event["dur"] > 0
            end = event["ts"] + event["dur"]


def test_waits_end_when_it_is_known_that_the_awaited_engine_has_completed(events: list[dict[str, Any]]) -> None:
    slices = [event for event in events if event["ph"] == "X"]
    ends = {(event["cat"], event["ts"] + event["dur"]) for event in slices}
    waits = [event for event in slices if event["cat"] == "wait"]
    assert waits
    for wait in waits:
        assert (wait["name"].removeprefix("waits for "), wait["ts"] + wait["dur"] - CHECK_LATENCY) in ends


def test_bytes_per_cycle_add_up_to_the_bytes_that_commands_move(
    cycles: CycleProfile, events: list[dict[str, Any]]
) -> None:
    for name, kind in (("read bytes per cycle", Load), ("written bytes per cycle", Store)):
        moved = sum(
            command.length
            for part in cycles.steps
            for command in part.step.commands
            if isinstance(command, Load | Store) and isinstance(command, kind)
        )
        points = [(event["ts"], event["args"]["value"]) for event in events if event["name"] == name]
        assert [time for time, _ in points] == sorted(time for time, _ in points)
        area = sum(value * (until - time) for (time, value), (until, _) in pairwise(points))
        assert area == pytest.approx(moved, rel=0.001)
