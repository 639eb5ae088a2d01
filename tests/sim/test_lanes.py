"""Machines whose columns share lanes, on the RTL: the interpreter's or golden's bits, in the cycles of the model.

Lanes work on while the next blocks stream. What they do at the seams is met here at every distance, and in networks
whose passes have so many pixels that lanes fall behind by more cycles than the control has patience.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

from eightfold.compiler import MachineStep, Program, compile
from eightfold.golden.graph import Graph
from eightfold.golden.reader import read
from eightfold.hw.commands import Command, Execute, Finish, Load, Mode, Store, encode
from eightfold.hw.config import Config
from eightfold.hw.control import PATIENCE
from eightfold.hw.engine import CHECK_LATENCY
from eightfold.hw.sequencer import return_tail
from eightfold.sim.cycles.execute import Passes
from eightfold.sim.icarus import Icarus
from eightfold.sim.model import profile
from eightfold.sim.rtl import RtlMachine
from eightfold.sim.simulation import Simulation
from eightfold.sim.verilator import Verilator

from ..compiler.networks import Array, Builder
from ..conftest import shared_models
from ..golden.models import random_inputs
from ..hw.test_execute import PATIENT, one_pass_each
from .test_model import PROGRAM, check, needs_icarus, needs_verilator, step

IMAGE, WEIGHTS, NOTHING, RESULT = 0x2_8000, 0x1_0000, 0x1_4000, 0x2_0000
"""Places in DRAM, besides the program's."""

MEMORY = 0x3_0000
"""Bytes of DRAM."""

OUTPUTS = 2048
"""Where outputs begin in the scratchpad."""

KINDS = [{"finish": Finish.STORE}, {"finish": Finish.KEEP}, {"finish": Finish.RETURN, "mode": Mode.DEPTHWISE}]


def nothing(config: Config, beats: int, **waits: int) -> Load:
    """A load of so many beats whose bytes nobody reads."""
    place = config.weight_bytes - config.bus_bytes * beats
    return Load(dram_address=NOTHING, length=config.bus_bytes * beats, address=place, memory=1, **waits)


@pytest.mark.parametrize(
    ("config", "backend"),
    [
        pytest.param(Config.named("8x8-small"), Verilator, marks=needs_verilator, id="8x8-small"),
        pytest.param(Config.named("8x8-mini"), Verilator, marks=needs_verilator, id="8x8-mini"),
        pytest.param(PATIENT[2], Icarus, marks=needs_icarus, id=PATIENT[2].name),
    ],
)
def test_blocks_that_meet_at_any_distance_are_exact_and_cost_what_the_model_says(
    config: Config, backend: type[RtlMachine]
) -> None:
    """A block of each kind, and one of each kind that comes as many cycles later as there are beats in a load."""
    count = 16 // config.turns + 2
    passes, end = [{"count": count, "finish": Finish.KEEP}], OUTPUTS
    for kind in (kind for pair in product(KINDS, KINDS) for kind in pair):
        passes.append({"count": count, "accumulate": 1, "destination": end} | kind)
        end += count * config.columns * (kind["finish"] == Finish.STORE)
    image, executes, rows, expected = one_pass_each(config, passes)
    weights, size = np.concatenate(rows), end - OUTPUTS
    with backend(config, memory_bytes=MEMORY, latency=1) as machine:
        machine.write(IMAGE, image.tobytes())
        machine.write(WEIGHTS, weights.tobytes())
        # A command's words are not there any sooner; the longest wait is for results that come back.
        for beats in range(Execute.words() + CHECK_LATENCY, count * config.turns + return_tail(config) + 4):
            commands: list[Command] = [
                Load(dram_address=IMAGE, length=end),  # over the outputs of the distance before, too
                Load(dram_address=WEIGHTS, length=weights.size, memory=1),
                dataclasses.replace(executes[0], wait_load=2),
            ]
            for number, execute in enumerate(executes[1:], start=1):
                # The first of a pair begins when nothing is left of what was before.
                commands.append(nothing(config, beats, wait_execute=number if number % 2 else 0))
                commands.append(dataclasses.replace(execute, wait_load=2 + number))
            commands.append(Store(address=OUTPUTS, dram_address=RESULT, length=size, wait_execute=len(executes)))
            machine.write(PROGRAM, np.array(encode(commands), "<u8").tobytes())
            check(machine, step(commands))
            stored = np.frombuffer(machine.read(RESULT, size), np.uint8)
            np.testing.assert_array_equal(stored, expected[OUTPUTS:end])


SHARED = [pytest.param(Config.named(name), id=name) for name in ("8x8-small", "8x8-mini")]


@needs_verilator
@pytest.mark.parametrize("config", SHARED)
def test_random_blocks_are_exact_and_cost_what_the_model_says(config: Config) -> None:
    """Short ones and long ones, close to each other or not, some of which await loads or others' outputs."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        image, executes, rows, expected = one_pass_each(config, random_passes(rng, config))
        weights = np.concatenate(rows)
        commands: list[Command] = [
            Load(dram_address=IMAGE, length=image.size),
            Load(dram_address=WEIGHTS, length=weights.size, memory=1),
        ]
        loads = 2
        for number, execute in enumerate(executes):
            if rng.random() < 0.5:
                commands.append(nothing(config, int(rng.integers(1, 60))))
                loads += 1
            wait_execute = int(rng.choice([0, 0, number, max(0, number - 1)]))
            commands.append(dataclasses.replace(execute, wait_load=loads, wait_execute=wait_execute))
        commands.append(Store(dram_address=RESULT, length=image.size, wait_execute=len(executes)))
        with Verilator(config, memory_bytes=MEMORY, latency=int(rng.integers(1, 50))) as machine:
            machine.write(IMAGE, image.tobytes())
            machine.write(WEIGHTS, weights.tobytes())
            machine.write(PROGRAM, np.array(encode(commands), "<u8").tobytes())
            check(machine, step(commands))
            stored = np.frombuffer(machine.read(RESULT, image.size), np.uint8)
            np.testing.assert_array_equal(stored, expected, err_msg=f"seed {seed}")


def random_passes(rng: np.random.Generator, config: Config) -> list[dict[str, int]]:
    """What the blocks of a stream are; before them, one fills the accumulators."""
    most = config.accumulator_depth
    passes = [{"count": most, "finish": Finish.KEEP}]
    for _ in range(30):
        count = int(rng.integers(1, rng.choice([4, 2 * config.rows, 60, most]), endpoint=True))
        end = config.scratchpad_bytes - count * config.columns
        place = {"destination": int(rng.integers(OUTPUTS, end)), "accumulate": int(rng.integers(2))}
        passes.append({"count": count} | place | KINDS[rng.integers(len(KINDS))])
    return passes


def random_chain(seed: int) -> tuple[Graph, Array]:
    """Convolutions of all kinds over some hundred pixels, sums with what was before them, and average pools."""
    random = np.random.default_rng(seed)

    def pick(low: int, high: int) -> int:
        return int(random.integers(low, high + 1))

    shape = (1, pick(11, 18), pick(12, 19), pick(3, 20))
    builder = Builder(shape, dtype=str(random.choice(["int8", "uint8"])), seed=seed)
    builder.convolution(pick(8, 20), (1, 1))
    for _ in range(pick(2, 3)):
        before, shape = builder.last, builder.tensors[builder.last].shape
        builder.convolution(0, (pick(1, 3), 3), depthwise=True)
        if random.random() < 0.7:
            builder.apply("ADD", (before, builder.last), shape, {"fused_activation_function": "NONE"})
        if random.random() < 0.3:
            builder.pool("AVERAGE_POOL_2D", (pick(1, 2), 2))
        builder.convolution(pick(5, 20), (1, pick(1, 2)))
    builder.pool("AVERAGE_POOL_2D", (pick(2, 11), pick(2, 12)), stride=(pick(1, 4), pick(1, 4)))
    return builder.graph(), builder.image()


def executes(program: Program) -> list[Execute]:
    steps = [step for step in program.steps if isinstance(step, MachineStep)]
    return [command for step in steps for command in step.commands if isinstance(command, Execute)]


def check_network(graph: Graph, inputs: Sequence[Array], config: Config, latencies: Sequence[int]) -> None:
    """A network is exact in every layer, and costs what the model says; its passes let the lanes fall behind."""
    program = compile(graph, config)
    behind = [Passes.of(command, config).worked - command.pixels for command in executes(program)]
    assert max(behind) > PATIENCE
    for latency in latencies:
        with Verilator(config, memory_bytes=program.memory.dram_bytes, latency=latency) as machine:
            result = Simulation(program, machine).run(inputs)
            assert result.bit_exact, (latency, result.divergence)
            assert result.counters == profile(program, latency).counters, latency


@needs_verilator
@pytest.mark.parametrize("config", SHARED)
def test_networks_that_let_lanes_fall_behind_are_exact_and_cost_what_the_model_says(config: Config) -> None:
    finishes = set()
    for seed in range(8):
        graph, x = random_chain(seed)
        check_network(graph, [x], config, (1, 20, 150))
        finishes |= {command.finish for command in executes(compile(graph, config))}
    assert finishes == set(Finish)


@needs_verilator
@pytest.mark.parametrize("config", SHARED)
@pytest.mark.parametrize("network", ["kws_ref_model", "pretrainedResnet_quant"])
def test_published_networks_are_exact_and_cost_what_the_model_says(network: str, config: Config) -> None:
    graph = read(shared_models() / f"{network}.tflite")
    check_network(graph, random_inputs(graph, np.random.default_rng(3)), config, (20,))
