"""Where a layer's cycles go: what the array computes, what it computes for nothing, and what it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

from ..hw.commands import Execute, Opcode
from ..hw.config import Config
from ..sim.cycles.execute import Passes
from ..sim.model import CycleProfile, ModelledStep


@dataclass(frozen=True, kw_only=True)
class Causes:
    """A layer's cycles by cause; they sum to the layer's cycles.

    Parameters
    ----------
    products
        What its products would take if every element of the array worked on one in each cycle.
    padding
        Further cycles in which vectors stream: elements of the array, or vectors, that only pad a tile.
    weights
        Cycles of passes in which nothing streams, for the weights of the next pass move in.
    loads, stores
        The array waits for a load, or for a store.
    rest
        The pipeline fills and drains, commands arrive, the engine gives the scratchpad to loads and stores, and passes
        wait for requantization, if it has fewer lanes than the array has columns. In the last layer of a command stream
        also the stores behind its last output.
    """

    products: float = 0.0
    padding: float = 0.0
    weights: int = 0
    loads: int = 0
    stores: int = 0
    rest: int = 0

    @property
    def total(self) -> float:
        """All of the layer's cycles."""
        return sum(self.shares.values())

    @property
    def shares(self) -> dict[str, float]:
        """Cycles by the name of the cause."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def bound(self) -> str:
        """The cause that costs most."""
        return max(self.shares, key=self.shares.__getitem__)


LABELS: Mapping[str, str] = {
    "products": "products",
    "padding": "padding of tiles",
    "weights": "weights move in",
    "loads": "waits for loads",
    "stores": "waits for stores",
    "rest": "fill, drain, give way",
}
"""What figures and tables call the causes."""


def causes(profile: CycleProfile) -> dict[int, Causes]:
    """Of each operator on the machine.

    A layer's cycles are those from the last output of the layers before it to its own last output. Between an output's
    vector and the output lies the pipeline, which is as long for every layer: so all that a layer's own commands stream
    and wait for is within its cycles, but what comes behind the vector of its last output, which is within the next
    layer's.
    """
    config = profile.program.config
    products = [layer.macs / config.multipliers for layer in profile.layers]
    found: dict[int, Causes] = {}
    for step in profile.steps:
        behind = _Behind(0, 0)
        for operator in step.step.operators:
            found[operator], behind = _of_layer(step, operator, products[operator], config, behind)
    return found


class _Behind(NamedTuple):
    """What a command's last pass streams, and then moves in, behind the vector of its last output."""

    vectors: int
    weights: int


def _of_layer(
    step: ModelledStep, operator: int, products: float, config: Config, before: _Behind
) -> tuple[Causes, _Behind]:
    steps, weights = before
    waits = dict.fromkeys(Opcode, 0)
    behind = _Behind(0, 0)
    commands = zip(step.step.commands, step.step.command_layers, step.timeline.commands, strict=True)
    for command, layer, timing in commands:
        if layer != operator or not isinstance(command, Execute):
            continue
        passes = Passes.of(command, config)
        steps += passes.steps
        weights += passes.blocks * passes.block - passes.steps
        if timing.cause is not None:
            waits[timing.cause] += timing.waited
        to_last = passes.vectors
        if passes.stored is not None and 1 in passes.stored:
            to_last = passes.stored.rindex(1) + 1
        behind = _Behind(passes.vectors - to_last, passes.last_slots - passes.vectors)
    if operator == step.step.operators[-1]:
        behind = _Behind(0, 0)  # its cycles last until the run ends
    steps -= behind.vectors
    weights -= behind.weights
    named = steps + weights + waits[Opcode.LOAD] + waits[Opcode.STORE]
    found = Causes(
        products=products,
        padding=steps - products,
        weights=weights,
        loads=waits[Opcode.LOAD],
        stores=waits[Opcode.STORE],
        rest=step.costs[operator].cycles - named,
    )
    return found, behind
