"""Weights ahead of time: the same bytes, sooner."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

from eightfold.compiler import CompileError, MachineStep, Program, compile, streams
from eightfold.golden.graph import Graph, Quantization
from eightfold.hw.commands import Execute, Load, Memory
from eightfold.hw.config import KIB, Config
from eightfold.sim import simulation
from eightfold.sim.model import profile

from .networks import Array, Builder, check, mismatches

SMALL = Config(
    rows=8, columns=8, scratchpad_bytes=32 * KIB, weight_bytes=8 * KIB, accumulator_bytes=8 * KIB, bus_bytes=4
)


def classifier(classes: int = 160) -> Builder:
    """Convolutions that leave the bus idle, and many weights behind them."""
    builder = Builder((1, 12, 12, 16))
    for _ in range(4):
        builder.convolution(16, (3, 3))
    return builder.convolution(16, (3, 3), stride=(3, 3)).dense(classes)


def commands(program: Program) -> list[Execute | Load]:
    (step,) = program.steps
    assert isinstance(step, MachineStep)
    return [command for command in step.commands if isinstance(command, Execute | Load)]


def without_staging(graph: Graph, config: Config) -> Program:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "ATTEMPTS", ())
        return compile(graph, config)


def test_the_bus_works_while_it_would_be_idle() -> None:
    builder = classifier()
    staged, plain = compile(builder.graph(), SMALL), without_staging(builder.graph(), SMALL)
    assert any(c.staged for c in commands(staged) if isinstance(c, Execute))
    assert not any(c.staged for c in commands(plain) if isinstance(c, Execute))
    # The larger part of what the last layer waits for is gone.
    assert profile(staged).cycles < profile(plain).cycles - 16 * KIB // SMALL.bus_bytes
    assert not any(mismatches(staged, [builder.image()], Random(1)).values())


def test_the_machine_computes_it() -> None:
    builder = classifier()
    program = compile(builder.graph(), SMALL)
    result = simulation.run(program, builder.image(), "fast")
    assert result.bit_exact
    assert result.cycles == profile(program).cycles


def test_every_weight_is_loaded_once() -> None:
    program = compile(classifier().graph(), SMALL)
    loads = [c for c in commands(program) if isinstance(c, Load)]
    weights = program.memory.weights
    parts = sorted((c.dram_address, c.length) for c in loads if c.dram_address < weights.offset + weights.size)
    assert any(c.memory == Memory.SCRATCHPAD for c in loads if (c.dram_address, c.length) in parts)
    for (start, length), (following, _) in pairwise(parts):
        assert start + length <= following


def test_what_lies_on_the_chip_already_is_not_staged() -> None:
    builder = classifier(24)
    program = compile(builder.graph(), Config(rows=8, columns=8), resident=True)
    assert not any(c.staged for c in commands(program) if isinstance(c, Execute))


@st.composite
def networks(draw: st.DrawFn) -> tuple[Graph, Array]:
    """A few convolutions, then layers with more weights than pixels."""
    shape = (1, draw(st.integers(4, 10)), draw(st.integers(4, 10)), draw(st.sampled_from([3, 8, 12])))
    builder = Builder(shape, dtype=draw(st.sampled_from(["int8", "uint8"])), seed=draw(st.integers(0, 2**32)))
    for _ in range(draw(st.integers(1, 4))):
        stride = draw(st.sampled_from([(1, 1), (1, 1), (2, 2)]))
        builder.convolution(draw(st.integers(4, 24)), (3, 3), stride=stride, depthwise=draw(st.booleans()))
    for _ in range(draw(st.integers(1, 2))):
        builder.dense(draw(st.integers(20, 120)))
    return builder.graph(), builder.image()


@given(
    networks(), st.sampled_from([(4, 4), (8, 8), (5, 3), (16, 8)]), st.sampled_from([4, 8, 32]), st.integers(0, 2**32)
)
@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_random_networks_are_exact_in_every_order_that_the_waits_allow(
    network: tuple[Graph, Array], shape: tuple[int, int], bus: int, seed: int
) -> None:
    graph, image = network
    rows, columns = shape
    config = Config(
        rows=rows,
        columns=columns,
        bus_bytes=bus,
        scratchpad_bytes=16 * KIB,
        weight_bytes=4 * KIB,
        accumulator_bytes=64 * 4 * columns,
    )
    # Whatever the estimate says: all that can be staged is.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "is_better", lambda trial, best: True)
        patch.setattr(streams, "LONG_WAIT", -1)
        try:
            program = compile(graph, config)
        except CompileError:
            reject()
    assert all(isinstance(step, MachineStep) for step in program.steps)
    check(program, image, None, Random(seed))


def test_parameters_of_many_blocks_fit_the_weight_buffer() -> None:
    """A factor for each channel: most of a block's bytes are its parameters."""
    builder = Builder((1, 12, 16, 16)).convolution(4, (1, 16)).convolution(8, (12, 16), padding="VALID")
    builder.convolution(1001, (1, 1))
    scale = Quantization(np.array([0.02], np.float32), np.array([3]))
    factors = builder.constant(builder.random.integers(-128, 128, 1001).astype(np.int8), scale)
    builder.apply("MUL", (builder.last, factors), (1, 1, 1, 1001), {"fused_activation_function": "NONE"})
    program = compile(builder.graph(), Config.named("4x4"))
    assert not any(mismatches(program, [builder.image()]).values())
