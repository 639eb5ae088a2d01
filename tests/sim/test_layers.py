"""Layers run alone, on what golden computes before them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from eightfold.compiler import Program, compile
from eightfold.golden.reader import read
from eightfold.golden.runtime import run as run_golden
from eightfold.hw.config import Config
from eightfold.sim.errors import SettingError
from eightfold.sim.layers import Layers, layers_of, parse_layers
from eightfold.sim.simulation import run
from eightfold.sim.trace import trace_events

from ..compiler.test_chains import SMALL, inverted_residual
from ..conftest import shared_models
from .test_resident import ROOMY

DIGITS = Path(__file__).parents[2] / "models" / "digits.tflite"


@pytest.fixture(scope="module")
def program() -> Program:
    return compile(read(DIGITS), Config.named("4x4"))


def image(program: Program) -> np.ndarray:
    shape = program.graph.inputs[0].shape
    return np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)


@pytest.mark.parametrize(
    ("layers", "seen"),
    [(slice(1, 3), [1, 2]), (slice(3, None), [3, 4, 5, 6]), (slice(-2, None), [5, 6]), (2, [2]), (-1, [6])],
)
@pytest.mark.parametrize("backend", ["commands", "golden", "model"])
def test_layers_give_the_whole_network_s_tensors(
    program: Program, layers: Layers, seen: list[int], backend: str
) -> None:
    expected = run_golden(program.graph, [image(program)]).tensors
    result = run(program, image(program), backend, layers=layers)
    assert [layer.index for layer in result.layers] == seen
    assert [layer.op for layer in result.layers] == [program.graph.operators[i].kind for i in seen]
    for index in seen:
        for tensor in program.graph.operators[index].outputs:
            assert np.array_equal(result.tensors[tensor], expected[tensor])
    assert result.bit_exact is (None if backend == "model" else True)
    for event in trace_events(compile(layers_of(program.graph, layers), program.config), result.runs):
        if "layer" in event.get("args", {}):
            assert int(event["args"]["layer"].split()[0]) in seen


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_layers_alone_on_the_rtl_take_the_model_s_cycles(program: Program) -> None:
    rtl, model = (run(program, image(program), backend, layers=slice(2, 5)) for backend in ("icarus", "model"))
    assert rtl.bit_exact
    assert rtl.counters == model.counters
    assert [layer.cycles for layer in rtl.layers] == [layer.cycles for layer in model.layers]


def test_a_layer_of_a_large_network_is_run_alone() -> None:
    graph = read(shared_models() / "mobilenet_v1_1.0_224_uint8.tflite")
    part = layers_of(graph, 26)
    program = compile(part, Config.named("16x16"))
    assert program.memory.dram_bytes < 2 << 20  # of 4 MiB of weights
    assert program.machine_operators == {0}


@pytest.mark.parametrize(
    ("text", "layers"),
    [("12:15", slice(12, 15)), ("3", 3), (":4", slice(None, 4)), ("-2:", slice(-2, None)), (":", slice(None))],
)
def test_layers_are_written_as_slices(text: str, layers: Layers) -> None:
    assert parse_layers(text) == layers


@pytest.mark.parametrize("text", ["", "a", "1:2:3", "1-3", "1 2", "--3", "²", "9" * 5000])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"A:B \(A to B - 1\) or A was expected"):
        parse_layers(text)


@pytest.mark.parametrize(
    ("layers", "said"), [(7, "7"), (-8, "-8"), (slice(5, 5), "5:5"), (slice(2, 9), "2:9"), (slice(-9, 2), "-9:2")]
)
def test_layers_that_are_not_there_are_refused(program: Program, layers: Layers, said: str) -> None:
    with pytest.raises(SettingError, match=rf"^layers is {said}; digits has the layers 0:7 \(0 to 6\)$"):
        layers_of(program.graph, layers)


def test_layers_are_neighbours(program: Program) -> None:
    with pytest.raises(SettingError, match="neighbouring layers were expected"):
        layers_of(program.graph, slice(0, 6, 2))


@pytest.mark.parametrize("fuse", [True, False])
def test_layers_alone_are_compiled_as_their_program_was(fuse: bool, tmp_path: Path) -> None:
    graph = inverted_residual().graph()
    program = compile(graph, SMALL, fuse=fuse)
    program.save(tmp_path / "program.efp")
    whole = run(program, np.zeros(graph.inputs[0].shape, np.int8), "model")
    for saved in (program, Program.load(tmp_path / "program.efp")):
        part = run(saved, np.zeros(graph.inputs[0].shape, np.int8), "model", layers=slice(0, 3))
        assert part.cycles == whole.cycles


def test_layers_alone_of_a_resident_program_are_resident(program: Program) -> None:
    resident = compile(program.graph, ROOMY, resident=True)
    assert run(resident, image(program), "model", layers=slice(1, 3)).resident
