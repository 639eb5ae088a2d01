"""Operators that are no sums of products, one by one and between convolutions: what golden gives, on any machine."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

from eightfold.compiler import CompileError, HostStep, MachineStep, Program, compile
from eightfold.compiler.lowering import pooling
from eightfold.golden.graph import Quantization
from eightfold.golden.numerics import Profile, Rounding, multiply_by_quantized_multiplier
from eightfold.hw.commands import Execute
from eightfold.hw.config import Config

from .networks import Builder, check
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
    inputs = draw(st.permutations([relu, builder.operators[-1].inputs[0]]))
    builder.apply(draw(st.sampled_from(["MAXIMUM", "MINIMUM"])), inputs, shape, like=relu)


def broadcast(draw: st.DrawFn, builder: Builder) -> None:
    """One of two has some of the other's rows, columns or channels."""
    source = builder.last
    batch, *size = builder.tensors[source].shape
    small = [1 if draw(st.booleans()) else d for d in size]
    windows = tuple(d - s + 1 for d, s in zip(size[:2], small[:2], strict=True))
    builder.pool("MAX_POOL_2D", (windows[0], windows[1]), padding="VALID")
    if small[2] != size[2]:
        builder.convolution(small[2], (1, 1))
    quantization = builder.tensors[source].quantization
    builder.tensors[builder.last] = dataclasses.replace(builder.tensors[builder.last], quantization=quantization)
    kind = draw(st.sampled_from(["ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"]))
    inputs = draw(st.permutations([source, builder.last]))
    builder.apply(kind, inputs, (batch, *size), NONE if kind in ("ADD", "SUB", "MUL") else {}, like=source)


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
    padded = [int(before + d + after) for d, (before, after) in zip(shape, widths, strict=True)]
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


FAMILIES = (
    *(grouped, add, number, extreme, broadcast, channelwise, function, leaky),
    *(pool, mean, pad, concatenation, resize),
)


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
    check(program, builder.image(), None, Random(draw(st.integers(0, 2**32))))


@pytest.mark.parametrize(
    ("profile", "rounding"),
    [
        (Profile.SINGLE, Rounding.SINGLE),
        (Profile.LITERT_OPT, Rounding.DOUBLE_UP),
        (Profile.LITERT_REF, Rounding.DOUBLE),
    ],
)
@given(data=st.data())
@settings(
    max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
def test_every_profile_is_followed_or_refused(profile: Profile, rounding: Rounding, data: st.DataObject) -> None:
    draw = data.draw
    builder = Builder((1, 5, 4, 9), dtype=draw(st.sampled_from(["int8", "uint8"])), seed=draw(st.integers(0, 2**32)))
    draw(st.sampled_from(FAMILIES))(draw, builder)
    if not builder.operators:
        reject()
    program = compile(builder.graph(), dataclasses.replace(Config.named("8x8"), rounding=rounding), profile)
    assert all(reason for reason in host_kinds(program).values())
    check(program, builder.image(), None, Random(1))


@pytest.mark.parametrize("channels", [8, 9])
def test_a_depthwise_convolution_of_two_roundings_stays_with_the_host(channels: int) -> None:
    """LiteRT's optimized kernel leaves channels beyond a multiple of eight to the reference kernel."""
    builder = Builder((1, 5, 4, channels), seed=1).convolution(0, (3, 3), depthwise=True)
    config = dataclasses.replace(Config.named("8x8"), rounding=Rounding.DOUBLE_UP)
    program = compile(builder.graph(), config, Profile.LITERT_OPT)
    reasons = {} if channels == 8 else {"DEPTHWISE_CONV_2D": "the last 1 of 9 channels are rounded in another way"}
    assert host_kinds(program) == reasons


def apply_to_windows(builder: Builder, kind: str, *windows: tuple[int, int]) -> Builder:
    """Adds an operator on the greatest values of windows of the input: without any, of single pixels."""
    shape = builder.tensors[builder.input].shape
    inputs = []
    for window in windows:
        builder.last = builder.input
        inputs.append(builder.pool("MAX_POOL_2D", window, padding="VALID").last)
    options = NONE if kind in ("ADD", "MUL") else {}
    return builder.apply(kind, inputs or (builder.input,), shape, options, like=builder.input)


@pytest.mark.parametrize(
    ("kind", "windows", "reason"),
    [
        ("ADD", [(4, 1), (1, 4)], r"the shapes \[1, 1, 4, 8\] and \[1, 4, 1, 8\] are both broadcast"),
        ("TANH", [], "the machine does not compute this operator"),
    ],
)
def test_what_stays_with_the_host_has_a_reason(kind: str, windows: list[tuple[int, int]], reason: str) -> None:
    builder = apply_to_windows(Builder((1, 4, 4, 8)), kind, *windows)
    (found,) = host_kinds(compile(builder.graph(), Config.named("8x8"))).values()
    assert re.fullmatch(reason, found)


@pytest.mark.parametrize("kind", ["ADD", "SUB"])
@pytest.mark.parametrize("number_first", [False, True])
def test_a_sum_with_a_number_is_computed_on_the_machine_where_no_multiple_gives_it(
    kind: str, number_first: bool
) -> None:
    passes = set()
    for seed in range(24):
        builder = Builder((1, 2, 3, 50), seed=seed)
        inputs = [builder.last, builder.number()]
        builder.apply(kind, inputs[::-1] if number_first else inputs, (1, 2, 3, 50), NONE)
        program = compile(builder.graph(), Config.named("8x8"))
        assert host_kinds(program) == {}
        (step,) = program.steps
        assert isinstance(step, MachineStep)
        passes.add(sum(c.pixels for c in step.commands if isinstance(c, Execute)) // 37)
        check(program, builder.image(), None)
    assert passes == {1, 2}


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 1, 4, 1), r"the shapes \[1, 4, 4, 8\] and \[1, 1, 4, 1\] differ in dimensions that are not neighbours"),
        ((1, 80, 80, 1), r"the shapes \[1, 80, 80, 8\] and \[1, 80, 80, 1\] make 6400 images, more than 64"),
    ],
)
def test_a_broadcast_that_takes_too_many_copies_stays_with_the_host(shape: tuple[int, ...], reason: str) -> None:
    builder = Builder((1, shape[2], shape[2], 8))
    builder.pool("MAX_POOL_2D", (shape[2] - shape[1] + 1, 1), padding="VALID").convolution(1, (1, 1))
    builder.apply("MUL", (builder.input, builder.last), builder.tensors[builder.input].shape, NONE)
    (found,) = host_kinds(compile(builder.graph(), Config.named("8x8"))).values()
    assert re.fullmatch(reason, found)


def test_what_is_written_out_but_does_not_fit_stays_with_the_host() -> None:
    builder = apply_to_windows(Builder((1, 60, 60, 40)), "MUL", (1, 1), (60, 60))
    config = Config.named("8x8")
    reason = host_kinds(compile(builder.graph(), config))["MUL"]
    assert f"beside 144000 that it passes on to itself; the scratchpad has {config.scratchpad_bytes}" in reason


def test_a_vector_of_channels_meets_every_pixel_without_copies_where_it_is_added() -> None:
    """Three vectors for every 8 outputs, as for two images; MUL takes five, and one to write the vector out."""
    cycles = {}
    for kind in ("ADD", "MUL"):
        for window in ((16, 16), (1, 1)):
            builder = apply_to_windows(Builder((1, 16, 16, 8)), kind, (1, 1), window)
            program = compile(builder.graph(), Config.named("8x8"))
            (step,) = program.steps
            assert isinstance(step, MachineStep)
            last = [c for c, o in zip(step.commands, step.command_layers, strict=True) if o == step.operators[-1]]
            cycles[kind, window] = sum(c.pixels for c in last if isinstance(c, Execute))
    assert cycles == {
        ("ADD", (16, 16)): 3 * 256,
        ("ADD", (1, 1)): 3 * 256,
        ("MUL", (16, 16)): 6 * 256,
        ("MUL", (1, 1)): 5 * 256,
    }


@pytest.mark.parametrize("count", [*range(1, 66), 125, 255, 256, 400, 900])
@pytest.mark.parametrize("offset", [0, 128])
@pytest.mark.parametrize("rounding", [Rounding.DOUBLE, Rounding.DOUBLE_UP, Rounding.SINGLE])
def test_an_average_divides_every_sum_exactly(count: int, offset: int, rounding: Rounding) -> None:
    config = dataclasses.replace(Config.named("8x8"), rounding=rounding)
    found = pooling.division(count, offset, config)
    least = 0 if offset else -128 * count
    sums = np.arange(least, least + 255 * count + 1)
    raw = sums - (128 * count if offset else 0)
    values = [int(part[0]) for part in (found.bias, found.multiplier, found.shift)]
    means = multiply_by_quantized_multiplier(raw + values[0], values[1], values[2], rounding=rounding)
    # Half of the count is added to the magnitude, and the quotient cut.
    assert np.array_equal(means, np.trunc((np.sign(sums) * (np.abs(sums) + count // 2)) / count).astype(np.int64))


def test_a_window_of_too_many_pixels_for_an_exact_division_stays_with_the_host() -> None:
    builder = Builder((1, 90, 100, 1)).pool("AVERAGE_POOL_2D", (90, 100), padding="VALID")
    program = compile(builder.graph(), Config.named("8x8"))
    assert host_kinds(program) == {"AVERAGE_POOL_2D": "no multiplier divides all sums of 9000 pixels exactly"}


def test_an_image_that_is_summed_but_does_not_fit_stays_with_the_host() -> None:
    builder = Builder((1, 50, 50, 40)).pool("AVERAGE_POOL_2D", (50, 50), padding="VALID")
    config = dataclasses.replace(Config.named("8x8"), scratchpad_bytes=64 * 1024)
    (reason,) = host_kinds(compile(builder.graph(), config)).values()
    assert reason == (
        "an output row has 40 bytes, the rows that it is computed from 100000; aligned to the bus they need 100054 "
        "bytes; the scratchpad has 65536"
    )
