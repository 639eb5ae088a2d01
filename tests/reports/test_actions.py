"""What a network makes a machine do, against the machine's own counters."""

from __future__ import annotations

import dataclasses

import pytest

from eightfold.compiler import compile
from eightfold.compiler.program import CompileError
from eightfold.golden.reader import read
from eightfold.hw.config import KIB, Config
from eightfold.reports.actions import Actions, Traffic, actions_of
from eightfold.reports.float_design import FloatTask, float_design, float_design_beside
from eightfold.sim.model import CycleProfile, profile
from eightfold.sim.simulation import run

from ..compiler.networks import Builder
from ..sim.test_result import result
from .test_reports import MODELS

DEFAULT = Config.named("16x16")
TIGHT = dataclasses.replace(DEFAULT, scratchpad_bytes=24 * KIB, weight_bytes=8 * KIB)
NETWORK = (
    Builder((1, 20, 20, 24)).convolution(40, (3, 3)).convolution(40, (5, 5), depthwise=True).convolution(9, (1, 1))
)


def of_network(config: Config) -> CycleProfile:
    return profile(compile(NETWORK.graph(), config, fuse=False))


def of_digits(config: Config) -> CycleProfile:
    return profile(compile(read(MODELS / "digits.tflite"), config))


CASES = {
    "digits on 16x16": of_digits(DEFAULT),
    "digits on 4x4": of_digits(Config.named("4x4")),
    "strips and a 16-byte bus": of_network(dataclasses.replace(TIGHT, bus_bytes=16)),
    "a 4-byte bus": of_network(dataclasses.replace(TIGHT, bus_bytes=4)),
    "fused layers": profile(compile(NETWORK.graph(), TIGHT)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_layers_sum_to_the_machine_s_counters(name: str) -> None:
    cost = CASES[name]
    config, counters = cost.program.config, cost.counters
    layers, rest = actions_of(cost)
    total = sum(layers.values(), rest)
    accumulators = counters["accumulator_reads"] + counters["accumulator_writes"]
    banks = counters["scratchpad_reads"] + counters["scratchpad_writes"]
    assert total.multiplications == counters["array_steps"] * config.multipliers
    assert total.additions == counters["accumulator_reads"] * config.columns
    assert total.requantizations == counters["outputs"] * config.columns
    assert total.accumulator_bytes == accumulators * 4 * config.columns
    assert total.scratchpad_bytes == banks * config.scratchpad_row_bytes
    assert total.traffic.read == (counters["read_beats"] + counters["fetch_beats"]) * config.bus_bytes
    assert total.traffic.commands == counters["fetch_beats"] * config.bus_bytes
    assert total.traffic.activations_written == counters["write_beats"] * config.bus_bytes
    reads = counters["weight_reads"] * config.weight_line_bytes
    assert total.weight_buffer_bytes == reads + total.traffic.weights


@pytest.mark.parametrize("name", CASES)
def test_each_layer_has_the_bytes_that_its_cost_has(name: str) -> None:
    cost = CASES[name]
    layers, _ = actions_of(cost)
    for layer in cost.layers:
        traffic = layers.get(layer.index, Actions()).traffic
        assert (traffic.read, traffic.activations_written) == (layer.dram_read_bytes, layer.dram_write_bytes)


def test_only_repeated_writes_belong_to_no_layer() -> None:
    _, rest = actions_of(CASES["a 4-byte bus"])
    assert rest.scratchpad_bytes > 0
    assert dataclasses.replace(rest, scratchpad_bytes=0) == Actions()


def test_a_run_and_its_profile_do_the_same() -> None:
    program = compile(read(MODELS / "digits.tflite"), DEFAULT)
    image = Builder((1, 8, 8, 1)).image()
    assert actions_of(run(program, image, backend="model")) == actions_of(profile(program))


def test_a_run_without_counters_is_refused() -> None:
    with pytest.raises(ValueError, match="the run on golden has no counters"):
        actions_of(result(timed=False))


def test_traffic_adds_up() -> None:
    traffic = Traffic(weights=1, activations_read=2, activations_written=4, commands=8)
    assert (traffic.read, traffic.activations, traffic.total) == (11, 6, 15)
    assert traffic + traffic == Traffic(weights=2, activations_read=4, activations_written=8, commands=16)


def test_float32_moves_four_times_the_activations_and_takes_longer() -> None:
    cost = CASES["digits on 16x16"]
    design = float_design(cost.program, cost.latency)
    layers, _ = actions_of(cost)
    narrow = sum((layer.traffic for layer in layers.values()), Traffic())
    # Ten bytes of output take two beats in int8, forty take five.
    assert design.traffic.activations == 4 * (narrow.activations - 6)
    assert 3 * narrow.weights < design.traffic.weights < 4 * narrow.weights
    assert sum(layer.cycles for layer in design.layers.values()) == design.cycles > cost.cycles
    # The same products, tile by tile.
    multiplications = sum(layer.multiplications for layer in layers.values())
    assert sum(layer.actions.multiplications for layer in design.layers.values()) == multiplications


def test_float32_s_beats_are_those_of_its_cycle_model() -> None:
    design = float_design(CASES["strips and a 16-byte bus"].program, 20)
    for beats, moved in (
        ("fetch_beats", design.traffic.commands),
        ("read_beats", design.traffic.weights + design.traffic.activations_read),
        ("write_beats", design.traffic.activations_written),
    ):
        assert design.counters[beats] * 16 == moved


def test_float32_in_a_process_of_its_own_is_the_same() -> None:
    program = CASES["strips and a 16-byte bus"].program
    with float_design_beside(FloatTask(program.graph, program.config, program.profile, 20)) as wide:
        assert wide() == float_design(program, 20)


def test_why_there_is_no_float32_comes_from_there_too() -> None:
    program = CASES["strips and a 16-byte bus"].program
    small = dataclasses.replace(program.config, scratchpad_bytes=4 * KIB)
    with (
        float_design_beside(FloatTask(program.graph, small, program.profile, 20)) as wide,
        pytest.raises(CompileError, match="they need 2246 bytes of scratchpad; there are 1024"),
    ):
        wide()
