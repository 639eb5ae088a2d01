"""Operators that are no sums of products, on the RTL: golden's bits, in the cycles that the model says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from eightfold.compiler import compile
from eightfold.hw.config import Config
from eightfold.sim.icarus import Icarus
from eightfold.sim.model import profile
from eightfold.sim.simulation import Simulation

from ..compiler.networks import Builder
from ..compiler.test_operators import FAMILIES

pytestmark = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")

MEMORY = 1 << 20
SMALL = {"scratchpad_bytes": 8192, "weight_bytes": 8192, "accumulator_bytes": 3072}

MACHINES = {
    "4x4": (Config.named("4x4"), 1, 0.0),
    "5x3, 4-byte bus": (Config(rows=5, columns=3, bus_bytes=4, **SMALL), 7, 0.0),
    "8x8": (Config.named("8x8"), 200, 0.0),
    "8x8, with pauses": (Config.named("8x8"), 20, 0.3),
    "16x8, 16-byte bus": (Config(rows=16, columns=8, bus_bytes=16, **SMALL), 33, 0.0),
}


@pytest.fixture(scope="module", params=MACHINES)
def machine(request: pytest.FixtureRequest) -> Iterator[Icarus]:
    config, latency, stalls = MACHINES[request.param]
    with Icarus(config, memory_bytes=MEMORY, latency=latency, stalls=stalls) as machine:
        yield machine


@settings(
    max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
@given(data=st.data())
def test_random_networks_are_exact_and_cost_what_the_model_says(machine: Icarus, data: st.DataObject) -> None:
    draw = data.draw
    shape = (1, draw(st.integers(1, 7)), draw(st.integers(1, 7)), draw(st.integers(1, 20)))
    builder = Builder(shape, dtype=draw(st.sampled_from(["int8", "uint8"])), seed=draw(st.integers(0, 2**32)))
    builder.convolution(shape[3], (3, 3))
    for family in draw(st.lists(st.sampled_from(FAMILIES), min_size=1, max_size=3)):
        family(draw, builder)
    program = compile(builder.graph(), machine.config)
    assert program.memory.dram_bytes <= MEMORY
    with Simulation(program, machine, latency=machine.latency) as simulation:
        result = simulation.run([builder.image()])
    assert result.bit_exact, result.divergence
    if not machine.stalls:
        assert result.cycles == profile(program, machine.latency).cycles
