"""The machine's two AXI ports against cocotbext-axi, a bus model that nobody here wrote."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from eightfold.compiler import compile
from eightfold.compiler.program import MachineStep, to_machine
from eightfold.golden.runtime import run
from eightfold.hw.config import Config
from eightfold.hw.export import TOP
from eightfold.hw.registers import ErrorCode
from eightfold.sim.image import exported

from ..compiler.networks import Builder

BASE = 0x1_0000 - 0x500  # as in axi_master.py

pytest.importorskip("cocotbext.axi")
pytestmark = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")

CONFIGS = {
    "64 bits": Config(rows=4, columns=4, scratchpad_bytes=2048, weight_bytes=1024, accumulator_bytes=1024),
    "32 bits, single beats": Config(
        rows=4, columns=2, scratchpad_bytes=2048, weight_bytes=512, accumulator_bytes=512, bus_bytes=4, burst_beats=1
    ),
    "128 bits, bursts of 4 KiB": Config(
        rows=4,
        columns=4,
        scratchpad_bytes=16384,
        weight_bytes=2048,
        accumulator_bytes=1024,
        bus_bytes=16,
        burst_beats=256,
    ),
}


class Case:
    """A network on a machine, compiled to Verilog and to files."""

    def __init__(self, folder: Path, config: Config) -> None:
        from cocotb_tools.runner import get_runner

        self.folder = folder
        builder = Builder((1, 6, 11, 7), seed=3).convolution(5, (3, 3)).convolution(6, (1, 1))
        self.program = compile(builder.graph(), config)
        (self.step,) = (step for step in self.program.steps if isinstance(step, MachineStep))
        tensors = run(self.program.graph, [builder.image()]).tensors
        image = self.program.image()
        for index in self.step.inputs:
            region = self.program.region(index)
            image[region.offset :][: region.size] = to_machine(tensors[index])
        self.program.save(folder / "program.efp")
        (folder / "before").write_bytes(image.tobytes())
        (folder / "after").write_bytes(to_machine(tensors[self.step.outputs[0]]).tobytes())
        (folder / "machine.v").write_text(exported(config))
        self.runner = get_runner("icarus")
        self.runner.build(
            sources=[folder / "machine.v"], hdl_toplevel=TOP, build_dir=folder, always=True, timescale=("1ns", "1ps")
        )

    def run(self, stall: float, seed: int, bad: Sequence[tuple[int, int, int]] = ()) -> None:
        from cocotb_tools.check_results import get_results

        case: dict[str, Any] = {
            "program": str(self.folder / "program.efp"),
            "before": str(self.folder / "before"),
            "after": str(self.folder / "after"),
            "stall": stall,
            "seed": seed,
            "bad": bad,
        }
        results = self.runner.test(
            test_module="axi_master",
            hdl_toplevel=TOP,
            hdl_toplevel_lang="verilog",
            build_dir=self.folder,
            test_dir=self.folder,
            results_xml=str(self.folder / "results.xml"),
            extra_env={"EIGHTFOLD_CASE": json.dumps(case), "COCOTB_LOG_LEVEL": "WARNING"},
        )
        assert get_results(results) == (1, 0)


@pytest.fixture(scope="module", params=CONFIGS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("axi"), CONFIGS[request.param])


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.mark.parametrize(("stall", "seed"), [(0.0, 1), (0.5, 2)])
def test_a_network_is_computed_whatever_pauses(case: Case, stall: float, seed: int) -> None:
    case.run(stall, seed)


@pytest.mark.parametrize("case", ["64 bits"], indirect=True)
def test_bus_errors_are_told_and_the_next_run_is_well(case: Case) -> None:
    program, width = case.program, case.program.config.bus_bytes
    bad = []
    for region, code in (
        (program.memory.weights, ErrorCode.READ_BUS),
        (case.step.stream, ErrorCode.FETCH_BUS),
        (program.region(case.step.outputs[0]), ErrorCode.WRITE_BUS),
    ):
        middle = BASE + (region.offset + region.size // 2) // width * width
        bad.append((middle, middle + width, int(code)))
    case.run(0.3, 5, bad)
