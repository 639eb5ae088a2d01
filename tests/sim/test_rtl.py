"""Programs on the exported RTL, in Icarus: every bit as in golden, every cycle accounted for, every error in words."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from eightfold.compiler import MachineStep, Program, compile
from eightfold.golden.graph import Graph
from eightfold.golden.macs import macs
from eightfold.golden.reader import read
from eightfold.hw.commands import Command, Execute, Load, Memory, Store
from eightfold.hw.config import Config
from eightfold.hw.registers import COUNTERS, ErrorCode
from eightfold.sim.errors import MachineError
from eightfold.sim.icarus import Icarus
from eightfold.sim.model import profile
from eightfold.sim.result import RunResult
from eightfold.sim.simulation import Simulation, run

from ..compiler.networks import Array, Builder

pytestmark = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")

MODELS = Path(__file__).parents[2] / "models"
MEMORY = 1 << 20

# Odd shapes, every bus width, memories that force tiling; the named machines run elsewhere in this file.
ODD = {
    "5x3": Config(
        name="5x3", rows=5, columns=3, bus_bytes=4, scratchpad_bytes=2048, weight_bytes=640, accumulator_bytes=384
    ),
    "4x8": Config(
        name="4x8",
        rows=4,
        columns=8,
        bus_bytes=32,
        burst_beats=4,
        outstanding_bursts=2,
        scratchpad_bytes=4096,
        weight_bytes=2048,
        accumulator_bytes=1024,
    ),
    "6x5": Config(
        name="6x5",
        rows=6,
        columns=5,
        bus_bytes=16,
        multiplier_stages=2,
        scratchpad_bytes=4096,
        weight_bytes=1024,
        accumulator_bytes=640,
    ),
}


@pytest.fixture(scope="module")
def digits() -> Graph:
    return read(MODELS / "digits.tflite")


def image(graph: Graph, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(-128, 128, graph.inputs[0].shape).astype(np.int8)


def check_accounts(result: RunResult) -> None:
    """Nothing is lost between the hardware's counters and the layers."""
    assert list(result.counters) == [name.lower() for name in COUNTERS]
    assert result.cycles == sum(layer.cycles or 0 for layer in result.layers)
    assert result.dram_read_bytes == sum(layer.dram_read_bytes or 0 for layer in result.layers)
    assert result.dram_write_bytes == sum(layer.dram_write_bytes or 0 for layer in result.layers)
    for layer in result.layers:
        assert (layer.where == "array") == bool(layer.cycles)
        assert layer.utilization is None or 0 < layer.utilization <= 1


@pytest.mark.parametrize("name", ["4x4", "16x16"])
def test_the_digits_network_is_exact_in_every_layer(digits: Graph, name: str) -> None:
    result = run(compile(digits, Config.named(name)), image(digits))
    assert result.bit_exact
    assert [layer.op for layer in result.layers if layer.where == "array"] == ["CONV_2D"] * 4 + ["FULLY_CONNECTED"]
    check_accounts(result)


def small_network() -> tuple[Graph, Array]:
    builder = (
        Builder((1, 7, 6, 5), seed=4).convolution(6, (3, 3)).convolution(9, (2, 3), stride=(2, 1), padding="VALID")
    )
    return builder.convolution(7, (1, 1)).dense(5).graph(), builder.image()


def test_latency_and_pauses_change_the_cycles_and_no_bit() -> None:
    graph, x = small_network()
    program = compile(graph, Config.named("4x4"))
    cycles = []
    for latency, stalls in ((1, 0.0), (10, 0.0), (100, 0.0), (1, 0.3), (30, 0.7)):
        result = run(program, x, latency=latency, stalls=stalls)
        assert result.bit_exact, (latency, stalls)
        check_accounts(result)
        cycles.append(result.cycles)
    assert cycles[:3] == sorted(set(cycles[:3]))  # type: ignore[type-var]
    assert len(set(cycles)) == len(cycles)


def test_a_run_takes_the_same_cycles_every_time() -> None:
    graph, x = small_network()
    program = compile(graph, Config.named("4x4"))
    with Simulation(program) as simulation:
        first, second = simulation.run(x), simulation.run(x[:, ::-1].copy())
    again = run(program, x)
    assert first.counters == second.counters == again.counters


def random_network(seed: int, most_macs: int) -> tuple[Graph, Array]:
    """One to three convolutions of all kinds, with at most so many products."""
    random = np.random.default_rng(seed)

    def pick(low: int, high: int) -> int:
        return int(random.integers(low, high + 1))

    while True:
        builder = Builder(
            (pick(1, 2), pick(1, 9), pick(1, 9), pick(1, 40)),
            dtype=str(random.choice(["int8", "int8", "uint8"])),
            seed=pick(0, 1 << 30),
        )
        for _ in range(pick(1, 3)):
            height, width = builder.tensors[builder.last].shape[1:3]
            kernel, dilation = (pick(1, 7), pick(1, 7)), (pick(1, 2), pick(1, 3))
            reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
            fits = reach[0] <= height and reach[1] <= width
            builder.convolution(
                pick(1, 40),
                kernel,
                stride=(pick(1, 3), pick(1, 3)),
                dilation=dilation,
                padding=str(random.choice(["SAME", "VALID"])) if fits else "SAME",
                depthwise=bool(random.random() < 0.4),
            )
        if random.random() < 0.3:
            builder.dense(pick(1, 20))
        graph = builder.graph()
        if sum(macs(operator, graph) for operator in graph.operators) <= most_macs:
            return graph, builder.image()


@pytest.fixture(scope="module", params=["4x4", "8x8", *ODD])
def machine(request: pytest.FixtureRequest) -> Iterator[Icarus]:
    config = ODD.get(request.param) or Config.named(request.param)
    with Icarus(config, memory_bytes=MEMORY, latency=5, stalls=0.1) as machine:
        yield machine


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_are_exact_in_every_layer(machine: Icarus, seed: int) -> None:
    graph, x = random_network(seed, 400 * machine.config.multipliers)
    program = compile(graph, machine.config)
    assert program.memory.dram_bytes <= MEMORY
    with Simulation(program, machine) as simulation:
        result = simulation.run(x)
    assert [layer.mismatches for layer in result.layers] == [0] * len(result.layers)
    assert {layer.where for layer in result.layers} == {"array"}
    check_accounts(result)


# Errors.


@pytest.fixture(scope="module")
def tiny() -> Iterator[Icarus]:
    with Icarus(Config.named("4x4"), memory_bytes=MEMORY, latency=5) as machine:
        yield machine


def tampered(program: Program, index: int, command: Command) -> Program:
    """The program with another command in one place of its first stream."""
    step = program.steps[0]
    assert isinstance(step, MachineStep)
    assert step.commands[index].words() == command.words()
    commands = (*step.commands[:index], command, *step.commands[index + 1 :])
    return dataclasses.replace(program, steps=(dataclasses.replace(step, commands=commands), *program.steps[1:]))


def place(program: Program, kind: type[Command]) -> tuple[int, Command]:
    """The last command of a kind in the program's first stream."""
    step = program.steps[0]
    assert isinstance(step, MachineStep)
    return next((i, c) for i, c in reversed(list(enumerate(step.commands))) if isinstance(c, kind))


@pytest.mark.parametrize(
    ("kind", "change", "code"),
    [
        (Load, {"length": 0}, ErrorCode.ILLEGAL_COMMAND),
        (Load, {"address": 3, "dram_address": 8}, ErrorCode.ALIGNMENT),
        (Load, {"address": 1 << 20, "dram_address": 0, "memory": Memory.SCRATCHPAD}, ErrorCode.SCRATCHPAD_RANGE),
        (Load, {"address": 1 << 20, "dram_address": 0, "memory": Memory.WEIGHTS}, ErrorCode.WEIGHT_RANGE),
        (Load, {"dram_address": 1 << 30, "address": 0}, ErrorCode.READ_BUS),
        (Store, {"dram_address": 1 << 30, "address": 0}, ErrorCode.WRITE_BUS),
        (Store, {"address": 1 << 20, "dram_address": 0}, ErrorCode.SCRATCHPAD_RANGE),
        (Execute, {"blocks": 0}, ErrorCode.ILLEGAL_COMMAND),
        (Execute, {"pixels": 60_000, "blocks": 1, "accumulate": 1}, ErrorCode.ACCUMULATOR_RANGE),
        (Execute, {"weight_address": (1 << 20) - 1}, ErrorCode.WEIGHT_RANGE),
        (Store, {"wait_execute": 1000}, ErrorCode.DEADLOCK),
    ],
)
def test_a_bad_command_ends_the_run_with_its_code_and_index(
    tiny: Icarus, kind: type[Command], change: dict[str, int], code: ErrorCode
) -> None:
    graph, x = small_network()
    program = compile(graph, tiny.config)
    index, command = place(program, kind)
    bad = tampered(program, index, dataclasses.replace(command, **change))
    with Simulation(bad, tiny) as simulation, pytest.raises(MachineError) as error:
        simulation.run(x)
    assert (error.value.code, error.value.index) == (code, index)
    assert error.value.command is not None
    assert f"{code.name} at command {index} ({kind.__name__.lower()} " in str(error.value)
    if code not in (ErrorCode.ILLEGAL_COMMAND, ErrorCode.ALIGNMENT, ErrorCode.DEADLOCK):
        assert " are needed; there are " in str(error.value)
    # So does the cycle model.
    with pytest.raises(MachineError) as modelled:
        profile(bad)
    assert (modelled.value.code, modelled.value.index) == (code, index)
    # The machine recovers.
    with Simulation(program, tiny) as simulation:
        assert simulation.run(x).bit_exact


def test_an_unknown_opcode_ends_the_run(tiny: Icarus) -> None:
    graph, x = small_network()
    program = compile(graph, tiny.config)
    step = program.steps[0]
    assert isinstance(step, MachineStep)
    with Simulation(program, tiny) as simulation:
        tiny.write(step.stream.offset + 8 * step.commands[0].words(), b"\x0f")
        with pytest.raises(MachineError) as error:
            simulation.run(x)
    assert (error.value.code, error.value.index) == (ErrorCode.ILLEGAL_COMMAND, 1)


def test_bus_errors_end_the_run() -> None:
    graph, x = small_network()
    program = compile(graph, Config.named("4x4"))
    step = program.steps[0]
    assert isinstance(step, MachineStep)
    output = program.region(step.outputs[0])
    for region, code in (
        (program.memory.weights, ErrorCode.READ_BUS),
        (step.stream, ErrorCode.FETCH_BUS),
        (output, ErrorCode.WRITE_BUS),
    ):
        errors = (region.offset, region.offset + region.size)
        with Icarus(program.config, memory_bytes=MEMORY, errors=errors) as machine:
            with Simulation(program, machine) as simulation, pytest.raises(MachineError) as error:
                simulation.run(x)
            assert error.value.code == code
