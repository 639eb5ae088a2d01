"""Programs run on every backend that needs no simulator, and are compared with golden."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from eightfold.compiler import MachineStep, Program, compile
from eightfold.golden.graph import Graph, ModelError
from eightfold.golden.reader import read
from eightfold.golden.runtime import run as run_golden
from eightfold.hw.config import Config
from eightfold.sim.errors import SettingError
from eightfold.sim.interpreted import InterpretedMachine
from eightfold.sim.machine import Activity, Tick, Watch
from eightfold.sim.simulation import BACKENDS, Progress, Simulation, run

from ..compiler.networks import Builder
from ..conftest import shared_models

MODELS = Path(__file__).parents[2] / "models"
NONE = {"fused_activation_function": "NONE"}


@pytest.fixture(scope="module")
def digits() -> Program:
    return compile(read(MODELS / "digits.tflite"), Config.named("8x8"))


def random_image(graph: Graph, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, graph.inputs[0].shape).astype(np.int8)


@pytest.mark.parametrize("backend", ["golden", "commands"])
def test_every_tensor_equals_golden_s(digits: Program, backend: str) -> None:
    image = random_image(digits.graph)
    result = run(digits, image, backend)
    expected = run_golden(digits.graph, [image])
    assert result.bit_exact
    assert set(result.tensors) == set(expected.tensors)
    for index, value in expected.tensors.items():
        assert np.array_equal(result.tensors[index], value), index
        assert result.tensors[index].dtype == value.dtype
    assert np.array_equal(result.outputs[0], expected.outputs[0])
    assert (result.backend, result.cycles, result.counters) == (backend, None, {})


def test_layers_say_where_they_ran_and_why(digits: Program) -> None:
    layers = run(digits, random_image(digits.graph), "commands").layers
    assert [layer.op for layer in layers if layer.where == "array"] == ["CONV_2D"] * 4 + ["FULLY_CONNECTED"]
    assert {layer.op: layer.reason for layer in layers if layer.where == "host"} == {
        "SOFTMAX": "the machine does not compute this operator"
    }
    assert [layer.op for layer in layers if layer.where == "none"] == ["RESHAPE"]
    assert all(layer.reason is None for layer in layers if layer.where != "host")
    assert {layer.where for layer in run(digits, random_image(digits.graph), "golden").layers} == {"host"}


def test_a_simulation_runs_many_times(digits: Program) -> None:
    with Simulation(digits, "commands") as simulation:
        outputs = [simulation.run(random_image(digits.graph, seed)).outputs[0] for seed in (1, 2, 1)]
    assert np.array_equal(outputs[0], outputs[2])
    assert not np.array_equal(outputs[0], outputs[1])


def test_a_network_with_state_continues() -> None:
    graph = read(shared_models() / "vad_streaming.tflite")
    program = compile(graph, Config.named("16x16"))
    with Simulation(program, "commands") as simulation:
        outputs = []
        for _ in range(3):
            result = simulation.run(random_image(graph))
            assert result.bit_exact
            outputs.append(int(result.outputs[0].item()))
    assert len(set(outputs)) > 1


class FaultyMachine(InterpretedMachine):
    """Flips a bit of every tensor that it shows."""

    def read(self, address: int, length: int) -> bytes:
        data = bytearray(super().read(address, length))
        data[length // 2] ^= 1
        return bytes(data)

    def run(self, step: MachineStep, *, watches: Sequence[Watch] = (), tick: Tick | None = None) -> Activity:
        activity = super().run(step, watches=watches, tick=tick)
        observed = tuple(data[:-1] + bytes([data[-1] ^ 1]) for data in activity.observed)
        return Activity(MappingProxyType({}), (), observed)


def test_wrong_bits_are_counted_in_their_layer(digits: Program) -> None:
    machine = FaultyMachine(digits.config, digits.memory.dram_bytes)
    with Simulation(digits, machine) as simulation:
        result = simulation.run(random_image(digits.graph))
    assert not result.bit_exact
    assert [layer.mismatches for layer in result.layers if layer.op == "CONV_2D"] == [1, 1, 1, 1]


def test_what_a_run_does_not_write_is_not_taken_from_an_earlier_run(digits: Program) -> None:
    class Lazy(InterpretedMachine):
        lazy = False

        def run(self, step: MachineStep, *, watches: Sequence[Watch] = (), tick: Tick | None = None) -> Activity:
            if self.lazy:
                return Activity(MappingProxyType({}), (), tuple(bytes(watch.size) for watch in watches))
            return super().run(step, watches=watches, tick=tick)

    machine = Lazy(digits.config, digits.memory.dram_bytes)
    with Simulation(digits, machine) as simulation:
        assert simulation.run(random_image(digits.graph)).bit_exact
        machine.lazy = True
        result = simulation.run(random_image(digits.graph))
    assert all(layer.mismatches for layer in result.layers if layer.where == "array")


def test_progress_rises_to_the_end(digits: Program) -> None:
    states: list[Progress] = []
    run(digits, random_image(digits.graph), "commands", progress=states.append)
    fractions = [state.fraction for state in states]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert len(set(fractions)) > 10
    assert {state.operator for state in states} == digits.machine_operators


def test_legacy_networks_run_too() -> None:
    builder = Builder((1, 6, 6, 5), dtype="uint8", seed=1).convolution(9, (3, 3)).convolution(4, (1, 1))
    graph, image = builder.graph(), builder.image()
    result = run(compile(graph, Config.named("4x4")), image, "commands")
    assert result.bit_exact
    assert result.outputs[0].dtype == np.uint8
    assert len(np.unique(result.outputs[0])) > 3


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "0 inputs given; the network has 1"),
        (np.zeros((1, 8, 8, 2), np.int8), r"is int8\[1, 8, 8, 2\]; expected int8\[1, 8, 8, 1\]"),
        (np.zeros((1, 8, 8, 1), np.float32), r"is float32\[1, 8, 8, 1\]; expected int8"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(digits: Program, inputs: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        run(digits, inputs, "commands")  # type: ignore[arg-type]


def test_unknown_backends_and_impossible_waveforms_are_refused(digits: Program) -> None:
    with pytest.raises(SettingError, match=f"backend is 'verilator2'; one of {', '.join(BACKENDS)} was expected"):
        Simulation(digits, "verilator2")
    with pytest.raises(SettingError, match="the backend golden has no waveforms"):
        Simulation(digits, "golden", waves="x.vcd")


def test_what_nobody_reads_is_there_when_it_is_compared() -> None:
    """A load for a later layer would take the place of its first rows while the last are computed."""
    builder = Builder((1, 16, 16, 32)).convolution(16, (1, 1)).convolution(0, (3, 3), depthwise=True)
    seen = builder.last
    product = builder.convolution(32, (1, 1)).apply("MUL", (builder.input, builder.last), (1, 16, 16, 32), NONE).last
    builder.apply("RELU", (product,), (1, 16, 16, 32), like=product)
    builder.apply("CONCATENATION", (product, product), (1, 16, 16, 64), {"axis": 3, **NONE}, like=product)
    config = Config(
        rows=12, columns=16, bus_bytes=32, scratchpad_bytes=16384, weight_bytes=32768, accumulator_bytes=4096
    )
    result = run(compile(builder.graph(seen, builder.last), config), builder.image(), "commands")
    assert [layer.mismatches for layer in result.layers] == [0] * 6
