"""A run as a trace: what each engine did when, in the Chrome trace event format, which ui.perfetto.dev opens.

A track per engine has a slice per command, and a slice for each wait; a cycle is shown as a microsecond. Where commands
of an engine overlap, each is shown from the end of the one before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..compiler.program import MachineStep, Program
from ..hw.commands import Command, Execute, Load, Memory, Opcode, Store
from ..hw.engine import CHECK_LATENCY
from .attribution import completion_cycles, start_cycles
from .machine import Activity

Event = dict[str, Any]

_COUNTERS = {
    Opcode.LOAD: "read bytes per cycle",
    Opcode.EXECUTE: "array utilization",
    Opcode.STORE: "written bytes per cycle",
}


@dataclass(frozen=True, slots=True)
class Span:
    """When a command ran: from the cycle in which it started to the first in which it counted as completed."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Run:
    """A command stream, the span of every command, and the cycles of the whole."""

    step: MachineStep
    spans: Sequence[Span]
    cycles: int

    @classmethod
    def of(cls, step: MachineStep, activity: Activity) -> Run:
        """What a machine did that noted when commands started."""
        starts, ends = start_cycles(step, activity), completion_cycles(step, activity)
        spans = tuple(Span(start, end) for start, end in zip(starts, ends, strict=True))
        return cls(step, spans, activity.counters["cycles"])


def write_trace(path: Path, program: Program, runs: Iterable[Run]) -> None:
    """Writes a trace file.

    Parameters
    ----------
    path
        The JSON file.
    program
        What ran.
    runs
        Its command streams, in order.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit": "ns", "traceEvents": [\n')
        separator = ""
        for event in trace_events(program, runs):
            file.write(separator + json.dumps(event))
            separator = ",\n"
        file.write("\n]}\n")


def trace_events(program: Program, runs: Iterable[Run]) -> Iterator[Event]:
    """The events of a trace; parameters are those of `write_trace`."""
    name = f"{program.graph.name} on {program.config.name}"
    yield {"ph": "M", "name": "process_name", "pid": 0, "args": {"name": name}}
    for engine in Opcode:
        track = {"ph": "M", "pid": 0, "tid": int(engine)}
        yield {**track, "name": "thread_name", "args": {"name": engine.name.lower()}}
        yield {**track, "name": "thread_sort_index", "args": {"sort_index": int(engine)}}
    begin = 0
    for run in runs:
        for engine in Opcode:
            yield from _engine_events(program, run, engine, begin)
        begin += run.cycles


def _engine_events(program: Program, run: Run, engine: Opcode, begin: int) -> Iterator[Event]:
    """One engine's slices and its counter; the stream's cycle 0 is `begin`."""
    step, spans = run.step, run.spans
    counter = _COUNTERS[engine]
    place = {"pid": 0, "tid": int(engine)}
    ends = _ends(step, spans)
    last = 0
    for index, (command, span) in enumerate(zip(step.commands, spans, strict=True)):
        if command.opcode != engine:
            continue
        cause = _cause(command, span.start, ends)
        if cause is not None and span.start > last:
            name = f"waits for {cause.name.lower()}"
            yield {"ph": "X", "name": name, "cat": "wait", "ts": begin + last, "dur": span.start - last, **place}
        first = max(span.start, last)
        layer = step.command_layers[index]
        yield {
            "ph": "X",
            "name": step.notes[index] or engine.name.lower(),
            "cat": engine.name.lower(),
            "ts": begin + first,
            "dur": span.end - first,
            "args": {
                "command": index,
                "layer": f"{program.graph.first + layer} {program.graph.operators[layer].kind}",
                "start": begin + span.start,
                "end": begin + span.end,
                "awaited": cause.name.lower() if cause is not None else None,
                **_amount(command),
            },
            **place,
        }
        if first > last:
            yield {"ph": "C", "name": counter, "ts": begin + last, "pid": 0, "args": {"value": 0}}
        rate = round(_work(command, program) / max(1, span.end - first), 4)
        yield {"ph": "C", "name": counter, "ts": begin + first, "pid": 0, "args": {"value": rate}}
        last = span.end
    yield {"ph": "C", "name": counter, "ts": begin + last, "pid": 0, "args": {"value": 0}}


def _ends(step: MachineStep, spans: Sequence[Span]) -> Mapping[Opcode, list[int]]:
    """When each engine's commands completed."""
    ends: dict[Opcode, list[int]] = {engine: [] for engine in Opcode}
    for command, span in zip(step.commands, spans, strict=True):
        ends[command.opcode].append(span.end)
    return ends


def _cause(command: Command, start: int, ends: Mapping[Opcode, list[int]]) -> Opcode | None:
    """The engine whose completion let a command start, if it started at once."""
    met = start - CHECK_LATENCY
    return next((engine for engine, count in command.awaits.items() if ends[engine][count - 1] == met), None)


def _amount(command: Command) -> dict[str, Any]:
    """What a command has to do, for people."""
    match command:
        case Load():
            return {"bytes": command.length, "to": Memory(command.memory).name.lower()}
        case Store():
            return {"bytes": command.length}
        case Execute():
            passes = command.blocks * command.kernel_rows * command.kernel_columns * command.runs
            return {"vectors": command.pixels, "passes": passes}
    return {}


def _work(command: Command, program: Program) -> float:
    """Bytes of a transfer; the cycles for which a command's vectors keep the array."""
    if isinstance(command, Execute):
        return command.pixels * command.blocks * command.kernel_rows * command.kernel_columns * command.runs
    return command.length if isinstance(command, (Load, Store)) else 0
