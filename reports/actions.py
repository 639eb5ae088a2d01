"""What a network makes a machine do: operations, accesses of memories, bytes on the bus, by layer.

The machine's counters tell it of a whole run; each is a sum over commands, and what a command adds to it does not
depend on when it runs. So a layer's share follows from its own commands, and the layers' shares sum to the counters.
One thing does depend on time: in a cycle in which the execute engine gives way to a store, a write of its own is seen
by the banks twice. What the counter has beyond the commands' sum are these repetitions; they belong to no layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from ..compiler.elements import WideConfig
from ..compiler.program import MachineStep
from ..hw.commands import WORD_BITS, Command, Execute, Finish, Load, Memory, Store
from ..hw.config import Config
from ..sim.cycles.execute import Passes
from ..sim.cycles.transfer import Extent

if TYPE_CHECKING:
    from ..sim.model import CycleProfile
    from ..sim.result import RunResult

SUM_BYTES = 4
"""Of a partial sum: 32 bits, whatever the elements."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Bytes between the machine and DRAM, of whole bus beats.

    Parameters
    ----------
    weights
        Loads to the weight buffer: weights and requantization parameters.
    activations_read, activations_written
        Loads to the scratchpad, and stores from it.
    commands
        The machine's program.
    """

    weights: int = 0
    activations_read: int = 0
    activations_written: int = 0
    commands: int = 0

    @property
    def activations(self) -> int:
        """In both directions."""
        return self.activations_read + self.activations_written

    @property
    def read(self) -> int:
        """All that is read."""
        return self.weights + self.activations_read + self.commands

    @property
    def total(self) -> int:
        """All that is moved."""
        return self.read + self.activations_written

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Actions:
    """What is done, as often as it is done.

    Parameters
    ----------
    multiplications
        Of the array's elements, each with an addition: every element multiplies in every step, and no gate spares those
        whose weight or operand only pads a tile.
    additions
        Of partial sums to those of earlier passes.
    requantizations
        Outputs of the lanes, to the scratchpad or back to the accumulators, those of lanes that pad a block included.
    scratchpad_bytes, weight_buffer_bytes, accumulator_bytes
        Read and written: the memories' whole width in each access, as the hardware enables it.
    traffic
        Between the machine and DRAM.
    """

    multiplications: int = 0
    additions: int = 0
    requantizations: int = 0
    scratchpad_bytes: int = 0
    weight_buffer_bytes: int = 0
    accumulator_bytes: int = 0
    traffic: Traffic = Traffic()

    def __add__(self, other: Actions) -> Actions:
        return Actions(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


def layer_actions(steps: Iterable[object], config: Config) -> dict[int, Actions]:
    """What the command streams among `steps` do, by the index of the operator for which they do it.

    A `WideConfig` makes bytes of elements of several.
    """
    actions: dict[int, Actions] = {}
    for step in steps:
        if not isinstance(step, MachineStep):
            continue
        words = dict.fromkeys(step.operators, 0)
        for command, operator in zip(step.commands, step.command_layers, strict=True):
            actions[operator] = actions.get(operator, Actions()) + _actions(command, config)
            words[operator] += command.words()
        before = 0
        for operator in step.operators:
            after = before + words[operator] * WORD_BITS
            # A beat in which the commands of two layers meet is the later one's, as it is for a layer's cost.
            beats = -(-after // config.bus_bits) + -before // config.bus_bits
            fetched = Traffic(commands=beats * config.bus_bits // 8)
            actions[operator] = actions.get(operator, Actions()) + Actions(traffic=fetched)
            before = after
    return actions


def actions_of(cost: CycleProfile | RunResult) -> tuple[dict[int, Actions], Actions]:
    """What a run did, by layer, and what belongs to no layer.

    Parameters
    ----------
    cost
        A profile, or the result of a run in which time was simulated; the actions of both are equal.

    Raises
    ------
    ValueError
        The result has no counters.
    """
    steps, config = steps_of(cost)
    layers = layer_actions(steps, config)
    counters: Mapping[str, int] = cost.counters
    accesses = counters.get("scratchpad_reads", 0) + counters.get("scratchpad_writes", 0)
    named = sum(layer.scratchpad_bytes for layer in layers.values())
    return layers, Actions(scratchpad_bytes=accesses * config.scratchpad_row_bytes - named)


def steps_of(cost: CycleProfile | RunResult) -> tuple[list[MachineStep], Config]:
    """The command streams that ran, and the machine on which they did."""
    from ..sim.model import CycleProfile

    if isinstance(cost, CycleProfile):
        return [step.step for step in cost.steps], cost.program.config
    if cost.cycles is None and any(layer.where == "array" for layer in cost.layers):
        raise ValueError(f"the run on {cost.backend} has no counters")
    return [run.step for run in cost.runs], cost.config


def _actions(command: Command, config: Config) -> Actions:
    """What a command does."""
    size = config.element_bytes if isinstance(config, WideConfig) else 1
    match command:
        case Execute():
            passes = Passes.of(command, config)
            counts = passes.accesses(command, config)
            returned = passes.outputs if command.finish == Finish.RETURN else 0
            moved = counts["accumulator_reads"] + counts["accumulator_writes"]
            if config.turns > 1:
                moved += 2 * (counts["outputs"] + returned)  # sums that wait for a lane
            return Actions(
                multiplications=counts["array_steps"] * config.multipliers,
                additions=counts["accumulator_reads"] * config.columns,
                requantizations=(counts["outputs"] + returned) * config.columns,
                scratchpad_bytes=(counts["array_steps"] + counts["outputs"] * config.turns)
                * config.scratchpad_row_bytes
                * size,
                weight_buffer_bytes=counts["weight_reads"] * config.weight_line_bytes * size,
                accumulator_bytes=moved * config.columns * SUM_BYTES,
            )
        case Load():
            moved = Extent.of(command, config, 0).beats * config.bus_bytes * size
            if command.memory == Memory.WEIGHTS:
                return Actions(weight_buffer_bytes=moved, traffic=Traffic(weights=moved))
            return Actions(scratchpad_bytes=_rows(command, config) * size, traffic=Traffic(activations_read=moved))
        case Store():
            moved = Extent.of(command, config, 0).beats * config.bus_bytes * size
            return Actions(scratchpad_bytes=_rows(command, config) * size, traffic=Traffic(activations_written=moved))
    raise TypeError(f"{command!r} is no command of a known engine")


def _rows(command: Load | Store, config: Config) -> int:
    """Elements in the rows of the scratchpad that a transfer touches."""
    row = config.scratchpad_row_bytes
    first, last = command.address // row, (command.address + command.length - 1) // row
    return (last - first + 1) * row
