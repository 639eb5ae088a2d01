"""Runs Programs: the array's layers on a machine, the host's in the golden runtime, everything compared with golden.

with Simulation(program, backend="icarus") as simulation:
    for image in images:
        result = simulation.run([image])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..compiler.compilation import compile
from ..compiler.program import AliasStep, HostStep, MachineStep, Program, Resident, from_machine, to_machine
from ..golden.graph import ModelError
from ..golden.macs import macs
from ..golden.runtime import Session, check_input
from ..hw.commands import Opcode
from .attribution import Cost, attribute
from .divergence import first_divergence
from .errors import SettingError
from .icarus import Icarus
from .interpreted import InterpretedMachine
from .layers import Layers, inputs_of, layers_of
from .machine import Activity, Completion, Machine, Tick, Watch
from .model import profile
from .result import LayerResult, RunResult
from .rtl import DEFAULT_LATENCY, RtlMachine
from .timing import rough_cycles
from .trace import Run
from .verilator import Verilator

Array = npt.NDArray[Any]

RTL: Mapping[str, type[RtlMachine]] = MappingProxyType({"icarus": Icarus, "verilator": Verilator})
"""The simulators of the RTL."""

BACKENDS = (*RTL, "model", "commands", "golden")
"""What computes the array's layers: the RTL in Icarus Verilog, or as a program that Verilator made; the golden runtime,
with the cycle model's time; an interpreter of the commands, without time; or the golden runtime, without commands."""

ALIASES: Mapping[str, str] = MappingProxyType({"fast": "verilator"})
"""Other names of backends."""


_STALE = 0xA5


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Parameters
    ----------
    fraction
        0 to 1, by the commands' rough cost.
    cycles
        Of the machine, so far.
    operator
        The operator that is computed.
    """

    fraction: float
    cycles: int
    operator: int


Report = Callable[[Progress], None]


def run(
    program: Program,
    inputs: npt.ArrayLike | Sequence[npt.ArrayLike],
    backend: str = "icarus",
    *,
    latency: int = DEFAULT_LATENCY,
    stalls: float = 0.0,
    seed: int = 1,
    waves: str | Path | None = None,
    layers: Layers | None = None,
    progress: Report | None = None,
) -> RunResult:
    """One inference, or some layers of one.

    Parameters
    ----------
    program
        The compiled network.
    inputs
        One array per input of the network; a network with one input also takes the array itself.
    backend
        What computes the array's layers.
    latency, stalls, seed, waves
        As for `Simulation`.
    layers
        The operators to run alone, as an index or a slice of the network's; what they read is computed by the golden
        runtime. They are compiled for themselves, as the program was, so their cycles are not those that they take in
        the whole network.
    progress
        Called now and then, from the calling thread.

    Raises
    ------
    ModelError
        The inputs do not fit the network.
    MachineError
        The machine stopped with an error.
    SimulatorError
        There is no simulator, or it broke off.
    SettingError
        A parameter is out of range, or there are no such layers.
    """
    if layers is not None:
        part = layers_of(program.graph, layers)
        inputs = inputs_of(part, program.graph, check_inputs(program, inputs), program.profile)
        resident = program.preload is not None
        program = compile(part, program.config, program.profile, fuse=program.fuse, resident=resident)
    with Simulation(program, backend, latency=latency, stalls=stalls, seed=seed, waves=waves) as simulation:
        return simulation.run(inputs, progress=progress)


class Simulation:
    """A machine with a Program, ready to run it many times; a context manager.

    A network that keeps state between calls continues where the last run left off.

    Parameters
    ----------
    program
        The compiled network.
    backend
        What computes the array's layers: one of `BACKENDS` or `ALIASES`, or a machine of the program's configuration
        that is there already, with memory enough. It is not closed at the end.
    latency
        Cycles from a read burst's acceptance to its first beat, and from a write burst's last beat to its response.
    stalls
        The chance, 0 to 0.99, that a channel of the bus pauses in a cycle.
    seed
        Of those pauses.
    waves
        A .vcd or .fst file for the machine's waveforms.

    Raises
    ------
    SimulatorError
        There is no simulator, or it cannot be built.
    SettingError
        A parameter is out of range.
    """

    def __init__(
        self,
        program: Program,
        backend: str | Machine = "icarus",
        *,
        latency: int = DEFAULT_LATENCY,
        stalls: float = 0.0,
        seed: int = 1,
        waves: str | Path | None = None,
    ) -> None:
        if isinstance(backend, str):
            backend = ALIASES.get(backend, backend)
        if isinstance(backend, str) and backend not in BACKENDS:
            raise SettingError(f"backend is {backend!r}; one of {', '.join(BACKENDS)} was expected")
        if stalls and backend == "model":
            raise SettingError(f"stalls is {stalls}; the cycle model knows no bus that pauses")
        if waves is not None and not program.machine_operators:
            raise SettingError(f"there are no waves to write: nothing of {program.graph.name} runs on the machine")
        if waves is not None and backend not in RTL:
            raise SettingError(f"there are no waves to write: the backend {backend} has no waveforms")
        self.program = program
        self.backend = backend if isinstance(backend, str) else backend.name
        self._latency, self._stalls, self._seed = latency, stalls, seed
        self._golden = Session(program.graph, program.profile)
        self._host = Session(program.graph, program.profile)
        self._machine: Machine | None = None
        self._owned = isinstance(backend, str)
        if not isinstance(backend, str):
            self._machine = backend
        elif backend in RTL and program.machine_operators:
            self._machine = RTL[backend](
                program.config,
                memory_bytes=program.memory.dram_bytes,
                latency=latency,
                stalls=stalls,
                seed=seed,
                waves=None if waves is None else Path(waves),
            )
        elif backend == "commands":
            self._machine = InterpretedMachine(program.config, program.memory.dram_bytes)
        if self._machine is not None:
            self._machine.write(0, program.image().tobytes())
            if program.preload is not None:
                self._machine.run(program.preload)

    def close(self) -> None:
        """Ends the simulation."""
        if self._machine is not None and self._owned:
            self._machine.close()
        self._machine = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def run(self, inputs: npt.ArrayLike | Sequence[npt.ArrayLike], *, progress: Report | None = None) -> RunResult:
        """One inference; parameters and errors are those of the function `run`."""
        graph = self.program.graph
        values = check_inputs(self.program, inputs)
        reference = self._golden.run(values).tensors
        if self.backend == "golden":
            return self._result(reference, reference, {}, {})
        if self.backend == "model":
            cycles = profile(self.program, self._latency)
            return self._result(reference, reference, cycles.costs, cycles.counters, tuple(cycles.runs()))
        tensors: dict[int, Array] = {t.index: t.data for t in graph.tensors if t.data is not None}
        tensors.update(zip(graph.main.inputs, values, strict=True))
        costs: dict[int, Cost] = {}
        counters: dict[str, int] = {}
        runs: list[Run] = []
        meter = _Meter(self.program, progress)
        for step in self.program.steps:
            if isinstance(step, AliasStep) and step.tensor not in tensors:
                continue  # never whole in memory
            if isinstance(step, HostStep | AliasStep):
                operator = graph.operators[step.operator]
                outputs = self._host.run_operator(operator, tensors)
                tensors.update(zip(operator.outputs, outputs, strict=True))
                continue
            activity = self._run_machine(step, tensors, meter.tick(step))
            for name, count in activity.counters.items():
                counters[name] = counters.get(name, 0) + count
            if activity.counters:
                costs.update(attribute(step, activity, self.program.config))
            if activity.starts:
                runs.append(Run.of(step, activity))
            meter.finish(step, activity)
        return self._diverged(self._result(tensors, reference, costs, counters, tuple(runs)), reference)

    def _diverged(self, result: RunResult, reference: Mapping[int, Array]) -> RunResult:
        """The result, with where it went wrong first."""
        if self._machine is None or not any(layer.mismatches for layer in result.layers):
            return result
        memory = self._machine.read(0, self.program.memory.dram_bytes)
        return replace(result, divergence=first_divergence(self.program, result.tensors, reference, memory))

    def _run_machine(self, step: MachineStep, tensors: dict[int, Array], tick: Tick | None) -> Activity:
        """Runs a step and adds what it computed to the tensors."""
        if self._machine is None:
            raise RuntimeError("the simulation is closed")
        graph = self.program.graph
        for index in step.inputs:
            self._machine.write(self.program.region(index).offset, to_machine(tensors[index]).tobytes())
        for index in step.outputs:  # so that nothing of an earlier run passes for this one's
            region = self.program.region(index)
            self._machine.write(region.offset, bytes([_STALE]) * region.size)
        residents = [resident for resident in step.residents if resident.complete_after]
        watches = [Watch(resident.complete_after, resident.address, resident.size) for resident in residents]
        activity = self._machine.run(step, watches=watches, tick=tick)
        seen = _assembled(residents, activity.observed)
        for index in step.outputs:
            region = self.program.region(index)
            seen[index] = bytearray(self._machine.read(region.offset, region.size))
        for index, data in seen.items():
            tensors[index] = from_machine(np.frombuffer(data, np.uint8), graph.tensors[index])
        return activity

    def _result(
        self,
        tensors: Mapping[int, Array],
        reference: Mapping[int, Array],
        costs: Mapping[int, Cost],
        counters: Mapping[str, int],
        runs: tuple[Run, ...] = (),
    ) -> RunResult:
        settings = {"latency": self._latency, "stalls": self._stalls, "seed": self._seed}
        return run_result(self.program, self.backend, settings, tensors, reference, costs, counters, runs)


def run_result(
    program: Program,
    backend: str,
    settings: Mapping[str, Any],
    tensors: Mapping[int, Array],
    reference: Mapping[int, Array],
    costs: Mapping[int, Cost],
    counters: Mapping[str, int],
    runs: tuple[Run, ...] = (),
) -> RunResult:
    """What is said of a run.

    Parameters
    ----------
    program, backend
        What ran, and where.
    settings
        `latency`, `stalls` and `seed` of the memory.
    tensors, reference
        By tensor index: the run's, golden's.
    costs
        Of the operators that the array computed.
    counters
        The hardware's; empty where time was not simulated.
    runs
        What a trace shows.
    """
    timed = bool(counters)
    return RunResult(
        model=program.graph.name,
        config=program.config,
        profile=program.profile,
        backend=backend,
        latency=settings["latency"] if timed else None,
        stalls=settings["stalls"] if timed else None,
        seed=settings["seed"] if timed else None,
        layers=tuple(_layers(program, backend, tensors, reference, costs, timed)),
        counters=MappingProxyType(dict(counters)),
        tensors=MappingProxyType(dict(tensors)),
        outputs=tuple(tensors[index] for index in program.graph.main.outputs),
        runs=runs,
        resident=program.preload is not None,
    )


def _layers(
    program: Program,
    backend: str,
    tensors: Mapping[int, Array],
    reference: Mapping[int, Array],
    costs: Mapping[int, Cost],
    timed: bool,
) -> list[LayerResult]:
    graph = program.graph
    reasons = {step.operator: step.reason for step in program.steps if isinstance(step, HostStep)}
    layers = []
    for operator in graph.operators:
        products = macs(operator, graph)
        where = program.where(operator.index) if backend != "golden" else "host"
        on_array = where == "array"
        cost = costs.get(operator.index, Cost(0, 0, 0))
        modelled = on_array and backend == "model"
        seen = {} if modelled else tensors
        wrong = [_mismatches(seen.get(index), reference[index]) for index in operator.outputs]
        multipliers = program.config.multipliers
        layers.append(
            LayerResult(
                index=graph.first + operator.index,
                op=operator.kind,
                name=graph.tensors[operator.outputs[0]].name if operator.outputs else "",
                where=where,
                reason=None if where != "host" else reasons.get(operator.index, "the backend is golden"),
                macs=products,
                cycles=cost.cycles if timed else None,
                utilization=products / (cost.cycles * multipliers) if on_array and cost.cycles else None,
                dram_read_bytes=cost.read_bytes if timed else None,
                dram_write_bytes=cost.write_bytes if timed else None,
                elements=sum(reference[index].size for index in operator.outputs),
                mismatches=None if None in wrong else sum(count for count in wrong if count is not None),
            )
        )
    return layers


def check_inputs(program: Program, inputs: npt.ArrayLike | Sequence[npt.ArrayLike]) -> list[Array]:
    """The network's inputs, checked."""
    graph = program.graph
    if isinstance(inputs, np.ndarray) or not isinstance(inputs, Sequence):
        inputs = [inputs]
    if len(inputs) != len(graph.inputs):
        raise ModelError(f"{graph.name}: {len(inputs)} inputs given; the network has {len(graph.inputs)}")
    return [check_input(graph, position, array) for position, array in enumerate(inputs)]


def _assembled(residents: Sequence[Resident], observed: Sequence[bytes]) -> dict[int, bytearray]:
    """The tensors that were seen, whole or strip by strip."""
    tensors: dict[int, bytearray] = {}
    for resident, data in zip(residents, observed, strict=True):
        tensors.setdefault(resident.tensor, bytearray())[resident.start : resident.start + resident.size] = data
    return tensors


def _mismatches(value: Array | None, reference: Array) -> int | None:
    """How many elements differ; NaNs are equal to each other."""
    if value is None:
        return None
    if value.shape != reference.shape or value.dtype != reference.dtype:
        return max(value.size, reference.size)
    return int(np.count_nonzero((value != reference) & ~((value != value) & (reference != reference))))


class _Meter:
    """Turns completed commands into a fraction of the run."""

    def __init__(self, program: Program, report: Report | None) -> None:
        self._report = report
        self._config = program.config
        steps = [step for step in program.steps if isinstance(step, MachineStep)]
        self._total = sum(self._cost(step) for step in steps) or 1
        self._done = 0
        self._cycles = 0

    def _cost(self, step: MachineStep) -> int:
        return sum(rough_cycles(command, self._config) for command in step.commands)

    def tick(self, step: MachineStep) -> Tick | None:
        """What a machine calls while it runs a step."""
        if self._report is None:
            return None
        report = self._report
        engines = {
            opcode: [i for i, command in enumerate(step.commands) if command.opcode == opcode] for opcode in Opcode
        }
        done = {
            opcode: [0, *accumulate(rough_cycles(step.commands[i], self._config) for i in indices)]
            for opcode, indices in engines.items()
        }

        def tick(at: Completion) -> None:
            counts = {Opcode.LOAD: at.loads, Opcode.EXECUTE: at.executes, Opcode.STORE: at.stores}
            cost = sum(done[opcode][count] for opcode, count in counts.items())
            executing = engines[Opcode.EXECUTE][: at.executes + 1]
            operator = step.command_layers[executing[-1]] if executing else step.operators[0]
            report(Progress((self._done + cost) / self._total, self._cycles + at.cycle, operator))

        return tick

    def finish(self, step: MachineStep, activity: Activity) -> None:
        """Counts a finished step."""
        self._done += self._cost(step)
        self._cycles += activity.counters.get("cycles", 0)
        if self._report is not None:
            self._report(Progress(self._done / self._total, self._cycles, step.operators[-1]))
