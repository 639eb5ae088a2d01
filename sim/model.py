"""The cycle model: what a Program costs, from the Program alone, in every counter as the RTL counts it.

No values are computed and no cycle is stepped through: the model works through bursts, words of commands and rows of
the scratchpad, and knows of passes by their arithmetic. See `cycles` for the machine's parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from ..compiler.program import MachineStep, Program
from ..golden.macs import macs
from ..hw.commands import Opcode
from ..hw.config import Config
from ..hw.registers import ErrorCode
from .attribution import Cost, attribute
from .cycles.machine import StandstillError, Timeline, Timing, simulate
from .errors import MachineError, SettingError
from .machine import Activity, Completion
from .refusal import refusal
from .rtl import DEFAULT_LATENCY
from .trace import Run, Span

FORMAT = "eightfold-profile/1"
"""Names the JSON form of a profile; the number changes when a reader of the old form would be misled."""


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """What one operator costs.

    Parameters
    ----------
    index, op
        The operator's place and kind.
    where
        `array`, `host`, or `none` for an operator that costs nothing.
    macs
        Products.
    cycles
        Of the machine: for each of its execute commands, from the completion of the one before to its own; the
        layers' cycles sum to the run's. 0 on the host.
    utilization
        `macs / (cycles * multipliers)`; None where there are no cycles.
    dram_read_bytes, dram_write_bytes
        Of the bus beats that its commands and their fetch take.
    """

    index: int
    op: str
    where: str
    macs: int
    cycles: int
    utilization: float | None
    dram_read_bytes: int
    dram_write_bytes: int


@dataclass(frozen=True, eq=False)
class ModelledStep:
    """A command stream of a Program, and what it does when.

    Parameters
    ----------
    step
        The commands.
    timeline
        The counters and every command's timing; each stream's cycles begin with 0.
    costs
        Of each of its operators.
    """

    step: MachineStep
    timeline: Timeline
    costs: Mapping[int, Cost]


@dataclass(frozen=True, eq=False)
class CycleProfile:
    """What a Program costs.

    Parameters
    ----------
    program
        The Program.
    latency
        Of the memory, in cycles.
    steps
        Its command streams, in order.
    """

    program: Program
    latency: int
    steps: tuple[ModelledStep, ...]

    @cached_property
    def counters(self) -> Mapping[str, int]:
        """The hardware's counters by name in lower case, summed over the command streams; empty if there are none."""
        counters: dict[str, int] = {}
        for step in self.steps:
            for name, count in step.timeline.counters.items():
                counters[name] = counters.get(name, 0) + count
        return MappingProxyType(counters)

    @property
    def cycles(self) -> int:
        """Of the machine, in all command streams."""
        return self.counters.get("cycles", 0)

    @cached_property
    def preload_cycles(self) -> int | None:
        """What bringing all weights on the chip takes, once and before; None where every inference loads its own."""
        step = self.program.preload
        if step is None:
            return None
        address, config = step.stream.offset, self.program.config
        timeline = simulate(step.commands, config, latency=self.latency, program_address=address)
        return timeline.counters["cycles"]

    @property
    def costs(self) -> Mapping[int, Cost]:
        """What each operator that runs on the machine takes of it."""
        return {operator: cost for step in self.steps for operator, cost in step.costs.items()}

    @cached_property
    def layers(self) -> tuple[LayerCost, ...]:
        """Every operator, in order."""
        graph, multipliers = self.program.graph, self.program.config.multipliers
        layers = []
        costs = self.costs
        for operator in graph.operators:
            cost = costs.get(operator.index, Cost(0, 0, 0))
            products = macs(operator, graph)
            layers.append(
                LayerCost(
                    index=graph.first + operator.index,
                    op=operator.kind,
                    where=self.program.where(operator.index),
                    macs=products,
                    cycles=cost.cycles,
                    utilization=products / (cost.cycles * multipliers) if cost.cycles else None,
                    dram_read_bytes=cost.read_bytes,
                    dram_write_bytes=cost.write_bytes,
                )
            )
        return tuple(layers)

    @property
    def utilization(self) -> float | None:
        """The array's products over those it could compute in the run's cycles."""
        products = sum(layer.macs for layer in self.layers if layer.where == "array")
        return products / (self.cycles * self.program.config.multipliers) if self.cycles else None

    def runs(self) -> Iterator[Run]:
        """What a trace shows."""
        for step in self.steps:
            spans = tuple(Span(timing.start, timing.end) for timing in step.timeline.commands)
            yield Run(step.step, spans, step.timeline.counters["cycles"])

    def to_json(self) -> dict[str, Any]:
        """The profile as plain values; docs/profile-json.md describes it."""
        config = self.program.config
        return {
            "format": FORMAT,
            "model": self.program.graph.name,
            "config": config.name,
            "parameters": {key: value for key, value in config.as_dict().items() if key != "name"},
            "latency": self.latency,
            "cycles": self.cycles,
            "preload_cycles": self.preload_cycles,
            "utilization": self.utilization,
            "counters": dict(self.counters),
            "scratchpad": {
                "peak_bytes": self.program.allocation.peak_bytes,
                "extent_bytes": self.program.allocation.extent_bytes,
                "fragmentation": self.program.allocation.fragmentation,
            },
            "fusions": [[self.program.graph.first + o for o in f.operators] for f in self.program.fusions],
            "fusion_saved_bytes": self.program.saved_bytes,
            "staged": [
                {"index": self.program.graph.first + operator, "bytes": size}
                for operator, size in self.program.staged.items()
            ],
            "layers": [asdict(layer) for layer in self.layers],
        }

    def __repr__(self) -> str:
        facts = [f"{self.cycles:,} cycles", f"memory latency {self.latency}"]
        if self.utilization is not None:
            facts.append(f"{self.utilization:.1%} of the array")
        return f"<CycleProfile {self.program.graph.name} on {self.program.config.name}: {', '.join(facts)}>"


def profile(program: Program, latency: int = DEFAULT_LATENCY) -> CycleProfile:
    """What a Program costs: every counter and every command's start and end, equal to those of a run on the RTL.

    Parameters
    ----------
    program
        The compiled network.
    latency
        Of the memory: cycles from the acceptance of a read burst to its first beat, and from that of a write burst's
        last beat to its response; the memory never pauses.

    Raises
    ------
    SettingError
        The latency is less than 1.
    MachineError
        The machine would refuse a command, or the commands wait for each other for ever. Where in the scratchpad
        an execute command reads and writes is not looked at.
    """
    if latency < 1:
        raise SettingError(f"latency is {latency}; at least 1 cycle was expected")
    steps = (step for step in program.steps if isinstance(step, MachineStep))
    config, memory = program.config, program.memory.dram_bytes
    return CycleProfile(program, latency, tuple(model_step(step, config, latency, memory) for step in steps))


def model_step(step: MachineStep, config: Config, latency: int, dram_bytes: int | None = None) -> ModelledStep:
    """What one command stream costs, as for `profile`; without `dram_bytes`, the memory is taken to be large enough."""
    for index, command in enumerate(step.commands):
        refused = refusal(command, config, dram_bytes)
        if refused is not None:
            raise MachineError(refused.code, index, command, refused.reason)
    try:
        timeline = simulate(step.commands, config, latency=latency, program_address=step.stream.offset)
    except StandstillError as error:
        raise MachineError(ErrorCode.DEADLOCK, error.index, step.commands[error.index]) from None
    activity = Activity(timeline.counters, tuple(_completions(timeline.commands)), ())
    return ModelledStep(step, timeline, attribute(step, activity, config))


def _completions(timings: Sequence[Timing]) -> Iterator[Completion]:
    """Every change of the number of completed commands."""
    done = dict.fromkeys(Opcode, 0)
    ordered = sorted((timing.end, timing.engine) for timing in timings)
    for place, (cycle, engine) in enumerate(ordered):
        done[engine] += 1
        if place + 1 == len(ordered) or ordered[place + 1][0] != cycle:
            yield Completion(cycle, done[Opcode.LOAD], done[Opcode.EXECUTE], done[Opcode.STORE])
