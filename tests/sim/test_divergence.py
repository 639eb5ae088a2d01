"""Faults planted in the machine's memory or arithmetic are found and named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eightfold.compiler import Program, compile
from eightfold.compiler.program import MachineStep
from eightfold.golden.compare import accumulator_at
from eightfold.golden.reader import read
from eightfold.hw.commands import Opcode
from eightfold.hw.config import Config
from eightfold.sim.divergence import Divergence
from eightfold.sim.interpreted import InterpretedMachine
from eightfold.sim.simulation import Simulation

from ..compiler.networks import Builder
from .test_result import DIVERGENCE_TYPES, check_types

MODEL = Path(__file__).parents[2] / "models" / "digits.tflite"


@pytest.fixture(scope="module")
def program() -> Program:
    return compile(read(MODEL), Config.named("4x4"))


def image(program: Program) -> np.ndarray:
    return np.random.default_rng(3).integers(-128, 128, program.graph.inputs[0].shape).astype(np.int8)


def test_a_right_run_has_none(program: Program) -> None:
    with Simulation(program, "commands") as simulation:
        assert simulation.run(image(program)).divergence is None


@pytest.mark.parametrize("seed", range(5))
def test_a_fault_in_the_weights_is_found(program: Program, seed: int) -> None:
    machine = InterpretedMachine(program.config, program.memory.dram_bytes)
    simulation = Simulation(program, machine)
    weights = program.memory.weights
    at = weights.offset + int(np.random.default_rng(seed).integers(weights.size))
    machine.write(at, bytes([machine.read(at, 1)[0] ^ 0x40]))
    result = simulation.run(image(program))
    if result.bit_exact:
        pytest.skip("the fault is in a byte without effect on this image")
    found = result.divergence
    assert found is not None
    check(program, found, result.tensors)
    value = json.loads(json.dumps(result.to_json()))["divergence"]
    check_types(value, DIVERGENCE_TYPES)
    assert Divergence(**{**value, "position": tuple(value["position"])}) == found
    assert found.replayed == found.actual
    assert "holds other bytes" in str(found)


class Faulty(InterpretedMachine):
    """Inverts a bit of every tensor that it stores."""

    def read(self, address: int, length: int) -> bytes:
        data = bytearray(super().read(address, length))
        data[0] ^= 0x01 if length < len(self._dram) else 0
        return bytes(data)


def test_a_fault_of_the_machine_is_told_from_one_of_the_bytes(program: Program) -> None:
    simulation = Simulation(program, Faulty(program.config, program.memory.dram_bytes))
    result = simulation.run(image(program))
    found = result.divergence
    assert found is not None
    check(program, found, result.tensors)
    assert found.replayed == found.expected
    assert found.replayed_accumulator == found.expected_accumulator
    assert "computes wrong" in str(found)


def test_a_wrong_sum_of_tensors_is_named_without_an_accumulator_of_products() -> None:
    builder = Builder((1, 4, 4, 4), seed=2)
    graph = builder.apply("ADD", (0, 0), (1, 4, 4, 4), {"fused_activation_function": "NONE"}).graph()
    program = compile(graph, Config.named("4x4"))
    simulation = Simulation(program, Faulty(program.config, program.memory.dram_bytes))
    found = simulation.run(builder.image()).divergence
    assert found is not None
    assert (found.op, found.expected_accumulator) == ("ADD", None)
    assert found.replayed == found.expected
    assert str(found).startswith(f"layer 0 (ADD), element [0, 0, 0, 0]: expected {found.expected}, got {found.actual};")


def test_layers_alone_are_named_by_their_place_in_the_network(program: Program) -> None:
    part = compile(program.graph.part(2, 4), program.config)
    values = [_golden(program)[tensor.index] for tensor in part.graph.inputs]
    with Simulation(part, Faulty(part.config, part.memory.dram_bytes)) as simulation:
        found = simulation.run(values).divergence
    assert found is not None
    assert (found.index, found.op) == (3, "CONV_2D")


def check(program: Program, found: Divergence, tensors: object) -> None:
    """What is said of the element is so."""
    assert found.expected != found.actual
    assert tensors[found.tensor][found.position] == found.actual  # type: ignore[index]
    steps = [s for s in program.steps if isinstance(s, MachineStep) and found.index in s.operators]
    assert found.command is not None
    assert steps[0].commands[found.command].opcode == Opcode.EXECUTE
    assert steps[0].command_layers[found.command] == found.index
    operator = program.graph.operators[found.index]
    assert found.expected_accumulator == accumulator_at(
        program.graph, operator, _golden(program)[operator.inputs[0]], found.position
    )


def _golden(program: Program) -> dict[int, np.ndarray]:
    with Simulation(program, "golden") as simulation:
        return dict(simulation.run(image(program)).tensors)
