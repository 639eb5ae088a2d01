"""A PAD before convolutions is theirs to add; before anything else it is computed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eightfold.compiler import compile
from eightfold.hw.config import Config
from eightfold.sim import simulation

from .networks import Builder, mismatches

CONFIG = Config.named("8x8")


def padded(builder: Builder, widths: tuple[tuple[int, int], ...]) -> int:
    """Adds a PAD on the last output; returns its output."""
    shape = [before + d + after for d, (before, after) in zip(builder.tensors[builder.last].shape, widths, strict=True)]
    inputs = (builder.last, builder.constant(np.array(widths, np.int32)))
    return builder.apply("PAD", inputs, shape, like=builder.last).last


BORDER = ((0, 0), (1, 2), (3, 1), (0, 0))


@given(
    widths=st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.sampled_from(["SAME", "VALID"]),
    depthwise=st.booleans(),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_convolution_of_a_padded_image_is_exact(
    widths: tuple[int, int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: str,
    depthwise: bool,
    seed: int,
) -> None:
    top, bottom, left, right = widths
    builder = Builder((2, 5, 4, 9), seed=seed)
    padded(builder, ((0, 0), (top, bottom), (left, right), (0, 0)))
    builder.convolution(9, kernel, stride=stride, padding=padding, depthwise=depthwise)
    program = compile(builder.graph(), CONFIG)
    assert program.where(0) == "none" or kernel == (1, 1)
    assert not any(mismatches(program, [builder.image()]).values())


def test_the_border_costs_nothing_and_the_run_still_shows_it() -> None:
    builder = Builder((1, 5, 4, 9), seed=1)
    border = padded(builder, BORDER)
    builder.convolution(9, (3, 3), padding="VALID").convolution(5, (3, 3), source=border, padding="VALID")
    program = compile(builder.graph(builder.last, builder.operators[1].outputs[0]), CONFIG)
    assert [program.where(i) for i in range(3)] == ["none", "array", "array"]
    result = simulation.run(program, builder.image(), "commands")
    assert result.bit_exact
    assert result.layers[0].mismatches == 0


@pytest.mark.parametrize("how", ["leaves", "read by a pool", "another dimension", "pointwise"])
def test_a_border_that_others_see_is_computed(how: str) -> None:
    builder = Builder((1, 5, 4, 9), seed=1)
    border = padded(builder, ((0, 0), (0, 0), (0, 0), (1, 1)) if how == "another dimension" else BORDER)
    builder.convolution(9, (1, 1) if how == "pointwise" else (3, 3), padding="VALID")
    outputs = [builder.last]
    if how == "leaves":
        outputs.append(border)
    if how == "read by a pool":
        builder.last = border
        outputs.append(builder.pool("MAX_POOL_2D", (2, 2)).last)
    program = compile(builder.graph(*outputs), CONFIG)
    assert program.where(0) == "array"
    assert not any(mismatches(program, [builder.image()]).values())
