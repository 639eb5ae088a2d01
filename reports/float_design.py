"""The float32 design: the same network in float32 on the same machine, to say what quantization saved.

"The same" means: as many elements in the array, each multiplying and adding in float32 once per cycle, the same on-chip
memories and the same bus in bytes, the same compiler, and the same operators on the machine.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from ..compiler.elements import plan_wide
from ..compiler.program import CompileError, MachineStep, Program
from ..golden.graph import Graph
from ..golden.numerics import Profile
from ..hw.config import Config
from ..sim.errors import MachineError
from ..sim.job import Outcome
from ..sim.model import model_step
from ..sim.pools import beside
from .actions import Actions, Traffic, layer_actions

ELEMENT_BYTES = 4


@dataclass(frozen=True)
class FloatLayer:
    """What one operator costs in float32.

    Parameters
    ----------
    index, op
        The operator's place and kind.
    cycles
        With the meaning that a profile's cycles have.
    actions
        What the machine does for it; writes that the scratchpad repeats are left out.
    """

    index: int
    op: str
    cycles: int
    actions: Actions


@dataclass(frozen=True)
class FloatDesign:
    """What a network costs in float32 on a machine.

    Parameters
    ----------
    config
        The machine in int8, whose memories and bus it has.
    layers
        By operator: those on the machine, in order; at least one.
    counters
        Of all command streams together, in elements.
    """

    config: Config
    layers: Mapping[int, FloatLayer]
    counters: Mapping[str, int]

    @property
    def cycles(self) -> int:
        """Of the machine, in all command streams."""
        return self.counters["cycles"]

    @property
    def traffic(self) -> Traffic:
        """Of the whole inference."""
        return sum((layer.actions.traffic for layer in self.layers.values()), Traffic())


@dataclass(frozen=True, eq=False)
class FloatTask:
    """Lays a network out in float32, and asks for its cycles, in any process; its result is pickled.

    Parameters
    ----------
    graph, config, profile
        As for `compile`.
    latency
        Of the memory, in cycles.
    """

    graph: Graph
    config: Config
    profile: Profile
    latency: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.graph.name} in float32"

    def perform(self) -> Outcome:
        """The design, or why there is none."""
        try:
            return Outcome(pickle.dumps(self.design()))
        except (CompileError, MachineError, ValueError) as error:
            return Outcome(error=str(error))

    def design(self) -> FloatDesign:
        """The design.

        Raises
        ------
        CompileError, MachineError
            In float32 it does not fit the machine, or nothing of it runs there.
        ValueError
            The bus is narrower than a float32.
        """
        graph = self.graph
        plan = plan_wide(graph, self.config, self.profile, element_bytes=ELEMENT_BYTES)
        streams = [step for step in plan.steps if isinstance(step, MachineStep)]
        if not streams:
            raise CompileError("no operator runs on the machine")
        modelled = [model_step(step, plan.config, self.latency) for step in streams]
        cycles = {operator: cost.cycles for step in modelled for operator, cost in step.costs.items()}
        layers = {
            operator: FloatLayer(graph.first + operator, graph.operators[operator].kind, cycles[operator], actions)
            for operator, actions in layer_actions(plan.steps, plan.config).items()
        }
        counters = [step.timeline.counters for step in modelled]
        return FloatDesign(self.config, layers, {name: sum(c[name] for c in counters) for name in counters[0]})


def float_design(program: Program, latency: int) -> FloatDesign:
    """Lays a compiled network out again in float32, and tells its cycles at a memory latency.

    Raises
    ------
    CompileError, MachineError, ValueError
        As `FloatTask.design`.
    """
    return FloatTask(program.graph, program.config, program.profile, latency).design()


@contextmanager
def float_design_beside(task: FloatTask) -> Iterator[Callable[[], FloatDesign]]:
    """Makes a design in a process of its own, which ends with the context; what it gives waits for the design.

    That raises CompileError if there is none, SimulatorError if the process broke off.
    """
    with beside(task) as outcome:
        yield lambda: _design_of(outcome.result())


def _design_of(outcome: Outcome) -> FloatDesign:
    if outcome.error:
        raise CompileError(outcome.error)
    design: FloatDesign = pickle.loads(outcome.result)
    return design
