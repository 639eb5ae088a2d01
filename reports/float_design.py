"""The float32 design: the same network in float32 on the same machine, to say what quantization saved.

"The same" means: as many elements in the array, each multiplying and adding in float32 once per cycle, the same on-chip
memories and the same bus in bytes, the same compiler, and the same operators on the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..compiler.elements import WidePlan, plan_wide
from ..compiler.program import MachineStep, Program
from ..sim.model import ModelledStep, model_step
from .actions import Actions, Traffic, layer_actions

ELEMENT_BYTES = 4


@dataclass(frozen=True, eq=False)
class FloatDesign:
    """A network in float32 on a machine.

    Parameters
    ----------
    program
        The network in int8.
    plan
        Its layout with elements of four bytes.
    steps
        What its command streams do when.
    """

    program: Program
    plan: WidePlan
    steps: tuple[ModelledStep, ...]

    @property
    def cycles(self) -> int:
        """Of the machine, in all command streams."""
        return sum(step.timeline.counters["cycles"] for step in self.steps)

    @cached_property
    def layer_cycles(self) -> Mapping[int, int]:
        """By operator, with the meaning that a profile's cycles have."""
        return {operator: cost.cycles for step in self.steps for operator, cost in step.costs.items()}

    @cached_property
    def actions(self) -> Mapping[int, Actions]:
        """By operator; writes that the scratchpad repeats are left out."""
        return layer_actions(self.plan.steps, self.plan.config)

    @property
    def traffic(self) -> Traffic:
        """Of the whole inference."""
        return sum((done.traffic for done in self.actions.values()), Traffic())


def float_design(program: Program, latency: int) -> FloatDesign:
    """Lays a compiled network out again in float32, and tells its cycles at a memory latency.

    Raises
    ------
    CompileError
        In float32 it does not fit the machine's memories.
    ValueError
        The bus is narrower than a float32.
    """
    plan = plan_wide(program.graph, program.config, program.profile, element_bytes=ELEMENT_BYTES)
    streams = (step for step in plan.steps if isinstance(step, MachineStep))
    return FloatDesign(program, plan, tuple(model_step(step, plan.config, latency) for step in streams))
