"""The machine in time: a command stream in, every counter of the hardware and every command's timing out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ...hw.commands import Command, Execute, Load, Opcode, Store
from ...hw.config import Config
from ...hw.control import END_LATENCY
from ...hw.registers import COUNTERS
from .agenda import Agenda
from .bus import ReadBus
from .engine import Engine
from .execute import EXECUTE_COUNTERS, ExecuteEngine
from .fetch import Dispatch, Fetch
from .load import LoadEngine
from .scratchpad import Scratchpad
from .store import StoreEngine


class StandstillError(RuntimeError):
    """Commands wait for commands that can never complete.

    Parameters
    ----------
    index
        The place in the stream of the first that never starts.
    """

    def __init__(self, index: int) -> None:
        super().__init__(f"command {index} waits for commands that can never complete")
        self.index = index


@dataclass(frozen=True, slots=True)
class Timing:
    """When a command ran, in cycles of its run.

    Parameters
    ----------
    index
        Its place in the stream.
    engine
        Whose command it is.
    arrived
        The engine has all its words, and has checked them.
    start
        It starts.
    end
        The first cycle in which it counts as completed, and others may use what it wrote.
    waited
        Cycles in which the engine had nothing to do, for this command awaited others.
    cause
        The engine that it awaited last; None if it did not wait.
    """

    index: int
    engine: Opcode
    arrived: int
    start: int
    end: int
    waited: int
    cause: Opcode | None


@dataclass(frozen=True)
class Timeline:
    """A run of a command stream.

    Parameters
    ----------
    counters
        The hardware's counters at its end, by their names in lower case.
    commands
        The timing of every command, in the order of the stream.
    """

    counters: Mapping[str, int]
    commands: tuple[Timing, ...]


def simulate(
    commands: Sequence[Command], config: Config, *, latency: int, program_address: int = 0, base_address: int = 0
) -> Timeline:
    """The timeline of a command stream that runs without an error.

    Parameters
    ----------
    commands
        The stream.
    config
        The machine.
    latency
        Of the memory: cycles from the acceptance of a read burst to its first beat, and from that of a write burst's
        last beat to its answer; at least 1. Read beats follow each other, and write beats are accepted, every cycle.
    program_address, base_address
        What the registers of that name hold; multiples of the bus width.

    Raises
    ------
    StandstillError
        Commands wait for commands that can never complete.
    """
    agenda, scratchpad, bus = Agenda(), Scratchpad(), ReadBus(latency)
    load = LoadEngine(
        agenda,
        [command for command in commands if isinstance(command, Load)],
        config=config,
        bus=bus,
        scratchpad=scratchpad,
        base_address=base_address,
    )
    execute = ExecuteEngine(
        agenda,
        [command for command in commands if isinstance(command, Execute)],
        config=config,
        scratchpad=scratchpad,
    )
    store = StoreEngine(
        agenda,
        [command for command in commands if isinstance(command, Store)],
        config=config,
        latency=latency,
        scratchpad=scratchpad,
        base_address=base_address,
    )
    engines: dict[Opcode, Engine[Any]] = {engine.opcode: engine for engine in (load, execute, store)}
    words = sum(command.words() for command in commands)
    fetch = Fetch(agenda, config, bus, address=program_address, words=words)
    dispatch = Dispatch(fetch, engines, commands)
    fetch.dispatch = dispatch
    for engine in engines.values():
        engine.connect(engines, dispatch.proceed)
    fetch.plan()
    agenda.run()

    timings = _timings(commands, engines)
    cycles = max([dispatch.finished, *(timing.end for timing in timings)]) + END_LATENCY
    counters = {
        "cycles": cycles,
        **{f"{engine.opcode.name.lower()}_busy": engine.busy_cycles() for engine in engines.values()},
        **{f"{engine.opcode.name.lower()}_wait": engine.wait_cycles for engine in engines.values()},
        **{f"{engine.opcode.name.lower()}_commands": len(engine.completed) for engine in engines.values()},
        "read_beats": load.beats,
        "fetch_beats": fetch.beats,
        "write_beats": store.beats,
        **_execute_counters(execute, config),
        "execute_frozen": scratchpad.frozen,
    }
    counters["scratchpad_reads"] += store.rows
    counters["scratchpad_writes"] = counters["outputs"] * config.turns + load.rows + scratchpad.repeated_writes
    return Timeline(MappingProxyType({name.lower(): counters[name.lower()] for name in COUNTERS}), timings)


def _execute_counters(engine: ExecuteEngine, config: Config) -> Mapping[str, int]:
    """What the execute engine's commands need, whenever they run."""
    counters: Counter[str] = Counter(dict.fromkeys(EXECUTE_COUNTERS, 0))
    for command, passes in zip(engine.commands, engine.passes, strict=True):
        counters.update(passes.accesses(command, config))
    return counters


def _timings(commands: Sequence[Command], engines: Mapping[Opcode, Engine[Any]]) -> tuple[Timing, ...]:
    numbers = dict.fromkeys(engines, 0)
    timings = []
    for index, command in enumerate(commands):
        engine = engines[command.opcode]
        number = numbers[command.opcode]
        numbers[command.opcode] += 1
        if number >= len(engine.completed):
            raise StandstillError(index)
        waited, cause = engine.waits[number]
        timings.append(
            Timing(
                index=index,
                engine=command.opcode,
                arrived=engine.arrived[number],
                start=engine.started[number],
                end=engine.completed[number],
                waited=waited,
                cause=cause,
            )
        )
    return tuple(timings)
