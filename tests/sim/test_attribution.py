"""A command stream's cycles and bytes go to its layers, without remainder."""

from __future__ import annotations

from eightfold.compiler import MachineStep, Region
from eightfold.hw.commands import Command, Execute, Load, Store
from eightfold.hw.config import Config
from eightfold.sim.attribution import Cost, attribute, completion_cycles
from eightfold.sim.machine import Activity, Completion

CONFIG = Config(bus_bytes=8)

# Two layers; the second's weights are loaded before the first has computed, the first's output is stored at the end.
COMMANDS: tuple[tuple[Command, int], ...] = (
    (Load(dram_address=4, length=8), 7),
    (Load(dram_address=16, length=3), 8),
    (Execute(), 7),
    (Execute(), 8),
    (Store(dram_address=24, length=8), 7),
    (Store(dram_address=39, length=2), 8),
)
COMPLETIONS = (
    Completion(20, 1, 0, 0),
    Completion(30, 2, 0, 0),
    Completion(50, 2, 1, 0),
    Completion(90, 2, 2, 1),
    Completion(95, 2, 2, 2),
)


def step() -> MachineStep:
    return MachineStep(
        operators=(7, 8),
        commands=tuple(command for command, _ in COMMANDS),
        command_layers=tuple(layer for _, layer in COMMANDS),
        notes=("",) * len(COMMANDS),
        inputs=(),
        outputs=(),
        residents=(),
        stream=Region(0, 8 * sum(command.words() for command, _ in COMMANDS)),
    )


ACTIVITY = Activity({"cycles": 100}, COMPLETIONS, ())


def test_every_command_has_the_cycle_of_its_completion() -> None:
    assert completion_cycles(step(), ACTIVITY) == [20, 30, 50, 90, 90, 95]


def test_layers_end_with_their_last_execute_command_and_the_last_one_with_the_run() -> None:
    costs = attribute(step(), ACTIVITY, CONFIG)
    assert [costs[layer].cycles for layer in (7, 8)] == [50, 50]


def test_bytes_are_those_of_whole_beats() -> None:
    stream = 8 * sum(command.words() for command, _ in COMMANDS)
    costs = attribute(step(), ACTIVITY, CONFIG)
    assert costs[7].read_bytes == 2 * 8 + stream // 2
    assert costs[8].read_bytes == 1 * 8 + stream // 2
    assert costs[7].write_bytes == 8
    assert costs[8].write_bytes == 2 * 8


def test_shares_of_the_command_stream_sum_to_its_beats() -> None:
    wide = Config(bus_bytes=32)
    costs = attribute(step(), ACTIVITY, wide)
    fetched = -(-step().stream.size // 32)
    assert sum(cost.read_bytes for cost in costs.values()) == 32 * (fetched + 1 + 1)


def test_a_layer_whose_commands_are_all_done_before_costs_no_cycles() -> None:
    early = Activity({"cycles": 100}, (Completion(90, 2, 2, 1), Completion(95, 2, 2, 2)), ())
    costs = attribute(step(), early, CONFIG)
    assert (costs[7].cycles, costs[8].cycles) == (90, 10)
    assert isinstance(costs[7], Cost)
