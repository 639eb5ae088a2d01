"""Layers that are computed together, strip by strip: the same bytes, and less traffic."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

from eightfold.compiler import CompileError, MachineStep, Program, choice, compile, streams
from eightfold.compiler.chains import Chain, ChainSite, ChainTiling, candidates
from eightfold.compiler.units import weight_units
from eightfold.golden.graph import Graph
from eightfold.hw.commands import Load, Memory, Store
from eightfold.hw.config import KIB, Config
from eightfold.sim import simulation

from .checker import violations
from .networks import Array, Builder, check, mismatches

# Slow memory, so that fusion pays.
SMALL = Config(
    bus_bytes=4,
    rows=8,
    columns=8,
    scratchpad_bytes=16 * KIB,
    weight_bytes=8 * KIB,
    accumulator_bytes=8 * KIB,
    name="small",
)

OPTIONS = {
    "ADD": {"fused_activation_function": "NONE"},
    "MUL": {"fused_activation_function": "NONE"},
    "LEAKY_RELU": {"alpha": 0.1},
}


def inverted_residual(seed: int = 0, stride: int = 1) -> Builder:
    builder = Builder((1, 32, 32, 8), seed=seed).convolution(48, (1, 1))
    return builder.convolution(0, (3, 3), stride=(stride, stride), depthwise=True).convolution(8, (1, 1))


def step_of(program: Program) -> MachineStep:
    (step,) = program.steps
    assert isinstance(step, MachineStep)
    return step


def traffic(program: Program) -> int:
    return sum(c.length for c in step_of(program).commands if isinstance(c, Load | Store))


@pytest.mark.parametrize("stride", [1, 2])
def test_what_does_not_fit_never_leaves_the_chip(stride: int) -> None:
    graph = inverted_residual(stride=stride).graph()
    fused, alone = compile(graph, SMALL), compile(graph, SMALL, fuse=False)
    (fusion,) = fused.fusions
    assert fusion.operators == (0, 1, 2)
    assert fusion.tensors == tuple(graph.operators[i].outputs[0] for i in (0, 1))
    assert not alone.fusions
    assert fused.saved_bytes == traffic(alone) - traffic(fused) > 0
    for tensor in fusion.tensors:
        with pytest.raises(KeyError):
            fused.region(tensor)
    loads = [c for c in step_of(fused).commands if isinstance(c, Load) and c.memory == Memory.SCRATCHPAD]
    assert sum(c.length for c in loads) < 32 * 32 * 48
    assert f"fusion saves {fused.saved_bytes} bytes" in fused.listing()


def test_shared_rows_make_a_detour_instead_of_being_computed_twice() -> None:
    """A row takes the array longer than the bus, which has nothing else to do."""
    builder = Builder((1, 32, 32, 32)).convolution(48, (1, 1)).convolution(0, (3, 3), depthwise=True)
    builder = builder.convolution(8, (1, 1))
    program = compile(builder.graph(), replace(SMALL, bus_bytes=8))
    step = step_of(program)
    stores = [c for c, note in zip(step.commands, step.notes, strict=True) if "on their way" in note]
    assert stores
    for tensor in (tensor for fusion in program.fusions for tensor in fusion.tensors):
        parts = sorted((r.start, r.start + r.size) for r in step.residents if r.tensor == tensor)
        assert all(before[1] <= after[0] for before, after in pairwise(parts))
    assert not violations(step.commands, program.config, program.memory.dram_bytes)
    assert not any(mismatches(program, [builder.image()]).values())


def test_no_two_tilings_that_are_tried_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of the weight buffer that hold the same units are tried once."""
    found: list[list[Hashable]] = []

    def noting(chain: Chain, config: Config, site: ChainSite) -> list[ChainTiling]:
        tilings = list(candidates(chain, config, site))
        units = [[weight_units(layer, config, t.unit_bytes) for layer in chain.layers] for t in tilings]
        found.append([(t.rows, str(u)) for t, u in zip(tilings, units, strict=True)])
        return tilings

    monkeypatch.setattr(choice, "candidates", noting)
    # All weights take more than half of the buffer, and no layer as much as that: the half cuts them as the whole does.
    compile(inverted_residual().graph(), replace(SMALL, weight_bytes=4 * KIB))
    assert any(len(tilings) > 1 for tilings in found)
    assert all(len(tilings) == len(set(tilings)) for tilings in found)


def test_what_fits_is_not_fused() -> None:
    assert not compile(inverted_residual().graph(), Config.named("16x16")).fusions


def test_what_something_else_needs_is_not_kept_inside() -> None:
    builder = inverted_residual()
    outputs = [operator.outputs[0] for operator in builder.operators]
    program = compile(builder.graph(outputs[0], outputs[2]), SMALL)
    assert outputs[0] not in {tensor for fusion in program.fusions for tensor in fusion.tensors}


def test_layers_that_skip_rows_are_not_fused_with_those_before() -> None:
    builder = Builder((1, 33, 33, 8)).convolution(48, (1, 1)).convolution(0, (1, 1), stride=(2, 2), depthwise=True)
    assert not compile(builder.graph(), SMALL).fusions


@pytest.mark.parametrize(("kind", "inputs"), [("LEAKY_RELU", 1), ("ADD", 2), ("MUL", 2)])
def test_rows_that_the_next_layer_needs_in_part_have_room_whole(kind: str, inputs: int) -> None:
    """Vectors of 4 bytes begin and end within pixels of 17, which are computed whole."""
    builder = Builder((2, 8, 5, 17)).convolution(17, (1, 1))
    builder.apply(kind, [builder.last] * inputs, (2, 8, 5, 17), OPTIONS[kind])
    config = Config(
        rows=4, columns=4, scratchpad_bytes=256, weight_bytes=3200, accumulator_bytes=256, bus_bytes=4, name="tiny"
    )
    program = compile(builder.graph(), config)
    assert [fusion.operators for fusion in program.fusions] == [(0, 1)]
    assert not violations(step_of(program).commands, config, program.memory.dram_bytes)
    for order in (None, Random(1)):
        assert not any(mismatches(program, [builder.image()], order).values())


@pytest.mark.parametrize("stride", [1, 2])
def test_a_run_sees_every_strip_of_every_layer(stride: int, tmp_path: Path) -> None:
    builder = inverted_residual(stride=stride)
    program = compile(builder.graph(), SMALL)
    program.save(tmp_path / "program.efp")
    program = Program.load(tmp_path / "program.efp")
    assert program.fusions
    result = simulation.run(program, builder.image(), "commands")
    assert [layer.mismatches for layer in result.layers] == [0, 0, 0]
    assert result.bit_exact


def test_layers_that_take_turns_share_the_cycles_of_the_run() -> None:
    builder = inverted_residual()
    program = compile(builder.graph(), SMALL)
    result = simulation.run(program, builder.image(), "model")
    cycles = [layer.cycles or 0 for layer in result.layers]
    assert sum(cycles) == result.cycles
    assert min(cycles) > 0.1 * sum(cycles)


@st.composite
def networks(draw: st.DrawFn) -> tuple[Graph, Array]:
    """Chains of two to five layers, of which each is larger than a scratchpad, with branches."""
    channels = draw(st.sampled_from([3, 8, 12, 16]))
    shape = (1, draw(st.integers(6, 20)), draw(st.integers(6, 20)), channels)
    builder = Builder(shape, dtype=draw(st.sampled_from(["int8", "uint8"])), seed=draw(st.integers(0, 2**32)))
    outputs = []
    for _ in range(draw(st.integers(2, 5))):
        height, width = builder.tensors[builder.last].shape[1:3]
        size = draw(st.sampled_from([(1, 1), (1, 1), (3, 3), (2, 5)]))
        fits = size[0] <= height and size[1] <= width
        builder.convolution(
            draw(st.integers(4, 24)),
            size,
            stride=draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (3, 1)])),
            padding=draw(st.sampled_from(["SAME", "VALID"])) if fits else "SAME",
            source=draw(st.sampled_from([None, None, None, *outputs])),
            depthwise=draw(st.booleans()),
        )
        outputs.append(builder.last)
        if kind := draw(st.sampled_from([None, None, "ADD", "MUL"])):
            # In vectors of bytes, which need not end where a pixel does.
            inputs = [builder.last] * 2
            builder.apply(kind, inputs, builder.tensors[builder.last].shape, OPTIONS[kind], like=builder.last)
            outputs.append(builder.last)
    consumed = {operator.inputs[0] for operator in builder.operators}
    leaving = (t for t in outputs[:-1] if t not in consumed or draw(st.sampled_from([False] * 4 + [True])))
    return builder.graph(*leaving, builder.last), builder.image()


@given(networks(), st.sampled_from([(4, 4), (8, 8), (5, 3)]), st.sampled_from([4, 8, 32]), st.integers(0, 2**32))
@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_random_chains_are_exact_in_every_order_that_the_waits_allow(
    network: tuple[Graph, Array], shape: tuple[int, int], bus: int, seed: int
) -> None:
    graph, image = network
    rows, columns = shape
    config = Config(
        rows=rows,
        columns=columns,
        bus_bytes=bus,
        scratchpad_bytes=2 * KIB,
        weight_bytes=2 * KIB,
        accumulator_bytes=64 * 4 * columns,
    )
    # Whatever the estimate says: all that can be fused is.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "is_better", lambda trial, best: True)
        try:
            program = compile(graph, config)
        except CompileError:
            reject()
    assert all(isinstance(step, MachineStep) for step in program.steps)
    for compared in check(program, image, None, Random(seed)):
        assert set(graph.main.outputs) <= set(compared)
    assert simulation.run(program, image, "commands").bit_exact
