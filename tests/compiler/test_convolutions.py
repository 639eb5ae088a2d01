"""Random convolutions and dense layers, on machines so small that everything has to be cut, give what golden gives."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from eightfold.compiler import CompileError, MachineStep, compile
from eightfold.golden.graph import Graph
from eightfold.hw.config import Config

from .networks import Array, Builder, check

SHAPES = ((4, 4), (8, 8), (5, 3), (16, 16))


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Machines of all shapes and bus widths, most of them with far too little memory."""
    rows, columns = draw(st.sampled_from(SHAPES))
    bus = draw(st.sampled_from([4, 8, 16, 32]))
    base = Config(rows=rows, columns=columns, bus_bytes=bus, accumulator_bytes=64 * columns)
    scratchpad = draw(st.sampled_from([1, 2, 4, 16, 64])) * 16 * base.line_bytes
    # A tile of weights is `rows` rows; the least is four tiles.
    weights = draw(st.sampled_from([4, 6, 9, 20, 200])) * rows * base.weight_row_bytes
    return Config(
        rows=rows,
        columns=columns,
        bus_bytes=bus,
        scratchpad_bytes=scratchpad,
        weight_bytes=-(-weights // base.weight_line_bytes) * base.weight_line_bytes,
        accumulator_bytes=draw(st.sampled_from([16, 24, 64, 1024])) * 4 * columns,
    )


@st.composite
def networks(draw: st.DrawFn) -> tuple[Graph, Array]:
    """One to four layers, in a chain or with branches."""
    small = st.integers(1, 12)
    batch = draw(st.sampled_from([1, 1, 1, 2]))
    shape = (batch, draw(small), draw(small), draw(st.integers(1, 40)))
    builder = Builder(shape, dtype=draw(st.sampled_from(["int8", "int8", "uint8"])), seed=draw(st.integers(0, 2**32)))
    outputs = []
    for _ in range(draw(st.sampled_from([1, 1, 2, 4]))):
        height, width = builder.tensors[builder.last].shape[1:3]
        kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
        dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2), (3, 2)]))
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        padding = draw(st.sampled_from(["SAME", "VALID"])) if reach[0] <= height and reach[1] <= width else "SAME"
        branch = draw(st.sampled_from([False, False, True])) and bool(outputs)
        fits = reach[0] <= shape[1] and reach[1] <= shape[2]
        builder.convolution(
            draw(st.integers(1, 40)),
            kernel,
            stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
            dilation=dilation,
            padding=padding if not branch or fits else "SAME",
            source=builder.input if branch else None,
            depthwise=draw(st.booleans()),
        )
        outputs.append(builder.last)
    if draw(st.booleans()):
        builder.dense(draw(st.integers(1, 40)))
        outputs.append(builder.last)
    leaving = [tensor for tensor in outputs[:-1] if draw(st.booleans())]
    return builder.graph(*leaving, builder.last), builder.image()


@given(networks(), configs(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_random_networks_are_exact_in_every_order_that_the_waits_allow(
    network: tuple[Graph, Array], config: Config, seed: int
) -> None:
    graph, image = network
    try:
        program = compile(graph, config)
    except CompileError:
        # Too many of these fail hypothesis' health check.
        reject()
    assert all(isinstance(step, MachineStep) for step in program.steps)
    for compared in check(program, image, None, Random(seed), Random(seed + 1)):
        assert set(graph.main.outputs) <= set(compared)
