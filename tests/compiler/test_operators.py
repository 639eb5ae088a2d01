"""Operators that are no sums of products, one by one and between convolutions: what golden gives, on any machine."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

from eightfold.compiler import CompileError, HostStep, MachineStep, Program, compile
from eightfold.golden.graph import Quantization
from eightfold.hw.config import Config

from .checker import violations
from .networks import Builder, mismatches
from .test_convolutions import configs

NONE = {"fused_activation_function": "NONE"}


def add(draw: st.DrawFn, builder: Builder) -> None:
    shape = builder.tensors[builder.last].shape
    kind = draw(st.sampled_from(["ADD", "SUB", "MUL"]))
    other = builder.last if draw(st.booleans()) else builder.input
    activation = draw(st.sampled_from(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]))
    inputs = draw(st.permutations([builder.last, other]))
    if builder.tensors[other].shape == shape:
        builder.apply(kind, inputs, shape, {"fused_activation_function": activation})


def number(draw: st.DrawFn, builder: Builder) -> None:
    kind = draw(st.sampled_from(["ADD", "SUB", "MUL"]))
    inputs = draw(st.permutations([builder.last, builder.number()]))
    builder.apply(kind, inputs, builder.tensors[builder.last].shape, NONE)


def extreme(draw: st.DrawFn, builder: Builder) -> None:
    shape = builder.tensors[builder.last].shape
    relu = builder.apply("RELU", (builder.last,), shape, like=builder.last).last
    builder.apply("MAXIMUM", (relu, builder.operators[-1].inputs[0]), shape, like=relu)


def channelwise(draw: st.DrawFn, builder: Builder) -> None:
    shape = builder.tensors[builder.last].shape
    low, high = np.iinfo(builder.dtype).min, np.iinfo(builder.dtype).max
    values = builder.random.integers(low, high + 1, shape[-1:]).astype(builder.dtype)
    zero_point = draw(st.integers(low, high))
    factors = builder.constant(values, Quantization(np.array([0.02], np.float32), np.array([zero_point])))
    builder.apply("MUL", (builder.last, factors), shape, NONE)


def function(draw: st.DrawFn, builder: Builder) -> None:
    kind = draw(st.sampled_from(["QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1"]))
    builder.apply(kind, (builder.last,), builder.tensors[builder.last].shape)


def leaky(draw: st.DrawFn, builder: Builder) -> None:
    alpha = draw(st.sampled_from([0.1, 0.3, -0.2]))
    builder.apply("LEAKY_RELU", (builder.last,), builder.tensors[builder.last].shape, {"alpha": alpha})


def pool(draw: st.DrawFn, builder: Builder) -> None:
    _, height, width, _ = builder.tensors[builder.last].shape
    window = draw(st.tuples(st.integers(1, height), st.integers(1, width)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    kind = draw(st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D"]))
    builder.pool(kind, window, stride=stride, padding=draw(st.sampled_from(["SAME", "VALID"])))


def mean(draw: st.DrawFn, builder: Builder) -> None:
    shape = builder.tensors[builder.last].shape
    axes = draw(st.sampled_from([(1, 2), (2, 1), (1,), (2,), (3,), (2, 3), (1, 2, 3)]))
    kept = [1 if i in axes else d for i, d in enumerate(shape)]
    builder.apply("MEAN", (builder.last, builder.constant(np.array(axes, np.int32))), kept, {"keep_dims": True})


def pad(draw: st.DrawFn, builder: Builder) -> None:
    shape = builder.tensors[builder.last].shape
    widths = np.zeros((4, 2), np.int32)
    first = draw(st.integers(0, 3))
    for axis in range(first, min(first + draw(st.integers(1, 2)), 4)):
        widths[axis] = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    padded = [before + d + after for d, (before, after) in zip(shape, widths, strict=True)]
    builder.apply("PAD", (builder.last, builder.constant(widths)), padded, like=builder.last)


def concatenation(draw: st.DrawFn, builder: Builder) -> None:
    shape = list(builder.tensors[builder.last].shape)
    axis = draw(st.integers(0, 3))
    source = builder.last
    relu = builder.apply("RELU", (source,), shape, like=source).last
    inputs = draw(st.sampled_from([(source, relu), (relu, source, relu), (source, source)]))
    shape[axis] *= len(inputs)
    builder.apply("CONCATENATION", inputs, shape, {"axis": axis, **NONE}, like=source)


def resize(draw: st.DrawFn, builder: Builder) -> None:
    batch, height, width, channels = builder.tensors[builder.last].shape
    size = [draw(st.sampled_from([d, 2 * d, 3 * d, max(1, d // 2), d + 1])) for d in (height, width)]
    modes = draw(st.sampled_from([(False, False), (True, False), (False, True)]))
    options = dict(zip(("align_corners", "half_pixel_centers"), modes, strict=True))
    inputs = (builder.last, builder.constant(np.array(size, np.int32)))
    builder.apply("RESIZE_NEAREST_NEIGHBOR", inputs, (batch, *size, channels), options, like=builder.last)


def grouped(draw: st.DrawFn, builder: Builder) -> None:
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    channels = builder.tensors[builder.last].shape[3]
    if draw(st.booleans()):
        builder.convolution(0, kernel, stride=stride, depthwise=True, multiplier=draw(st.integers(2, 5)))
        return
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    builder.convolution(groups * draw(st.integers(1, 5)), kernel, stride=stride, groups=groups)


FAMILIES = (grouped, add, number, extreme, channelwise, function, leaky, pool, mean, pad, concatenation, resize)


def check(program: Program, image: np.ndarray, seed: int) -> None:
    for step in program.steps:
        if isinstance(step, MachineStep):
            assert violations(step.commands, program.config, program.memory.dram_bytes) == []
    for order in (None, Random(seed)):
        wrong = mismatches(program, [image], order)
        assert not any(wrong.values()), wrong


def host_kinds(program: Program) -> dict[str, str]:
    return {program.graph.operators[s.operator].kind: s.reason for s in program.steps if isinstance(s, HostStep)}


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data(), config=configs())
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_an_operator_gives_what_golden_gives(
    family: Callable[[st.DrawFn, Builder], None], data: st.DataObject, config: Config
) -> None:
    draw = data.draw
    shape = (draw(st.sampled_from([1, 1, 2])), *(draw(st.integers(1, 9)) for _ in range(2)), draw(st.integers(1, 40)))
    builder = Builder(shape, dtype=draw(st.sampled_from(["int8", "uint8"])), seed=draw(st.integers(0, 2**32)))
    if draw(st.booleans()):
        builder.convolution(shape[3], (1, 1))
    family(draw, builder)
    if draw(st.booleans()):
        builder.convolution(7, (1, 1))
    if not builder.operators:
        reject()
    try:
        program = compile(builder.graph(), config)
    except CompileError:
        reject()
    check(program, builder.image(), draw(st.integers(0, 2**32)))
