"""Weights that stay on the chip: brought once, before any number of inferences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eightfold.compiler.compilation import compile
from eightfold.compiler.program import CompileError, MachineStep
from eightfold.compiler.storage import ProgramError, to_bytes
from eightfold.golden.reader import read
from eightfold.hw.commands import Load, Memory
from eightfold.hw.config import KIB, Config
from eightfold.sim.model import profile
from eightfold.sim.simulation import Simulation

DIGITS = read(Path(__file__).parents[2] / "models/digits.tflite")
ROOMY = replace(Config.named("8x8"), weight_bytes=32 * KIB)
LATENCY = 7


def images(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-128, 128, (count, *DIGITS.inputs[0].shape)).astype(np.int8)


@pytest.mark.parametrize("backend", ["commands", "icarus"])
def test_inferences_load_no_weights_and_give_the_same(backend: str) -> None:
    program = compile(DIGITS, ROOMY, resident=True)
    expected = profile(program, LATENCY)
    with Simulation(program, backend, latency=LATENCY) as simulation:
        for image in images(2):
            result = simulation.run(image)
            assert result.bit_exact
            assert result.resident
            if backend == "icarus":
                assert dict(result.counters) == dict(expected.counters)


def test_only_what_comes_before_loads_weights() -> None:
    program = compile(DIGITS, ROOMY, resident=True)
    streams = [step for step in program.steps if isinstance(step, MachineStep)]
    assert not any(isinstance(c, Load) and c.memory == Memory.WEIGHTS for step in streams for c in step.commands)
    assert program.preload is not None
    assert "before the first inference" in program.listing()
    resident, streaming = profile(program, LATENCY), profile(compile(DIGITS, program.config), LATENCY)
    assert resident.cycles < streaming.cycles
    assert resident.preload_cycles is not None
    assert resident.preload_cycles > program.weights.size // program.config.bus_bytes
    assert resident.to_json()["preload_cycles"] == resident.preload_cycles
    assert streaming.to_json()["preload_cycles"] is None


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(CompileError, match=r"all weights need \d+ bytes of weight buffer to stay"):
        compile(DIGITS, Config.named("4x4"), resident=True)


def test_a_file_cannot_say_it() -> None:
    program = compile(DIGITS, ROOMY, resident=True)
    with pytest.raises(ProgramError, match="weights stay on the chip"):
        to_bytes(program)
