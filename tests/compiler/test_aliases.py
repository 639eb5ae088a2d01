"""Operators that only change the shape: no command, no copy, one stream."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from eightfold.compiler import AliasStep, HostStep, MachineStep, Program, compile
from eightfold.compiler.aliases import is_alias, roots_of, source_of
from eightfold.golden.graph import Operator, Quantization, Tensor
from eightfold.hw.config import Config
from eightfold.sim import simulation

from .networks import Builder

CONFIG = Config.named("8x8")


def reshape(builder: Builder, shape: tuple[int, ...], kind: str = "RESHAPE") -> Builder:
    """Adds an operator that gives the last output another shape."""
    source = builder.tensors[builder.last]
    output = Tensor(len(builder.tensors), f"tensor_{len(builder.tensors)}", shape, source.dtype, source.quantization)
    options = {"new_shape": list(shape)} if kind == "RESHAPE" else {"squeeze_dims": []}
    builder.tensors.append(output)
    builder.operators.append(Operator(len(builder.operators), kind, (builder.last,), (output.index,), options))
    builder.last = output.index
    return builder


def network() -> Builder:
    builder = Builder((1, 1, 6, 8)).convolution(16, (1, 3))
    return reshape(reshape(builder, (6, 16), "SQUEEZE"), (1, 96)).dense(10)


def test_they_part_no_stream_and_move_no_byte() -> None:
    program = compile(network().graph(), CONFIG)
    machine, *aliases = program.steps
    assert isinstance(machine, MachineStep)
    assert machine.operators == (0, 3)
    convolved = program.graph.operators[0].outputs[0]
    assert aliases == [AliasStep(1, convolved), AliasStep(2, convolved)]
    assert {r.tensor for r in machine.residents} >= {convolved}
    assert [program.where(i) for i in range(4)] == ["array", "none", "none", "array"]


@pytest.mark.parametrize("backend", ["commands", "model"])
def test_a_run_sees_every_alias_and_none_costs_cycles(backend: str) -> None:
    builder = network()
    program = compile(builder.graph(), CONFIG)
    result = simulation.run(program, builder.image(), backend)
    assert set(result.tensors) == {tensor.index for tensor in program.graph.tensors}
    assert all(not layer.cycles and layer.reason is None for layer in result.layers if layer.where == "none")
    assert [layer.mismatches for layer in result.layers if layer.where == "none"] == [0, 0]
    assert result.bit_exact is (None if backend == "model" else True)


def test_an_alias_can_be_the_networks_output_or_of_its_input() -> None:
    builder = reshape(reshape(Builder((1, 4, 6, 8)), (1, 6, 4, 8)).convolution(8, (3, 3)), (192,))
    program = compile(builder.graph(), CONFIG)
    assert [type(step) for step in program.steps] == [AliasStep, MachineStep, AliasStep]
    machine = program.steps[1]
    assert isinstance(machine, MachineStep)
    assert machine.inputs == (builder.input,)
    result = simulation.run(program, builder.image(), "commands")
    assert result.bit_exact
    assert result.outputs[0].shape == (192,)
    assert program.region(builder.last) == program.region(program.roots[builder.last])


def test_the_host_reads_an_alias_too(tmp_path: Path) -> None:
    builder = reshape(Builder((1, 4, 4, 8)).convolution(8, (3, 3)), (1, 128))
    source = builder.tensors[builder.last]
    output = Tensor(len(builder.tensors), "clamped", source.shape, source.dtype, source.quantization)
    builder.tensors.append(output)
    builder.operators.append(Operator(2, "HARD_SWISH", (builder.last,), (output.index,), {}))
    builder.last = output.index
    program = compile(reshape(builder, (128,)).graph(), CONFIG)
    assert [type(step) for step in program.steps] == [MachineStep, AliasStep, HostStep, AliasStep]
    assert "none: operator 1 RESHAPE" in program.listing()
    program.save(tmp_path / "program.efp")
    loaded = Program.load(tmp_path / "program.efp")
    assert loaded.steps[1:] == program.steps[1:]
    result = simulation.run(loaded, builder.image(), "commands")
    assert result.bit_exact
    assert np.array_equal(result.outputs[0], result.tensors[output.index].reshape(-1))


def test_a_constant_or_a_shape_computed_at_run_time_makes_no_alias() -> None:
    builder = reshape(Builder((1, 4, 4, 8)).convolution(8, (3, 3)), (1, 128))
    graph = builder.graph()
    convolution, plain = graph.operators
    weights = convolution.inputs[1]
    assert source_of(plain, graph) == convolution.outputs[0]
    assert source_of(convolution, graph) is None
    assert source_of(Operator(2, "RESHAPE", (weights,), plain.outputs, {}), graph) is None
    assert source_of(Operator(2, "RESHAPE", (builder.input, builder.input), plain.outputs, {}), graph) is None
    roots = roots_of(graph)
    assert roots == {plain.outputs[0]: convolution.outputs[0]}
    assert is_alias(plain, roots)
    assert not is_alias(convolution, roots)


def test_an_operator_that_changes_what_bytes_stand_for_but_none_of_them_is_an_alias() -> None:
    builder = Builder((1, 4, 4, 8), seed=6)
    x = builder.tensors[builder.input].quantization
    assert x is not None
    two = builder.constant(np.array(100, np.int8), Quantization(np.array([0.02], np.float32), np.zeros(1, np.int64)))
    doubled = builder.apply("MUL", (two, builder.input), (1, 4, 4, 8), {"fused_activation_function": "NONE"}).last
    scale = Quantization(2 * x.scale, x.zero_point)
    builder.tensors[doubled] = dataclasses.replace(builder.tensors[doubled], quantization=scale)
    builder.convolution(8, (1, 1))
    graph = builder.graph()
    assert source_of(graph.operators[0], graph) == builder.input
    program = compile(graph, Config.named("8x8"))
    assert program.where(0) == "none"
    result = simulation.run(program, builder.image(), "commands")
    assert result.bit_exact
    # A third is no byte's own.
    builder.tensors[doubled] = dataclasses.replace(
        builder.tensors[doubled], quantization=Quantization(3 * x.scale, x.zero_point)
    )
    graph = builder.graph()
    assert source_of(graph.operators[0], graph) is None
    assert compile(graph, Config.named("8x8")).where(0) == "array"
