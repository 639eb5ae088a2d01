"""The lanes, compiled by Verilator, against C++ written from the definitions; the benchmark runs more of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from eightfold.hw.config import FIXED_POINT

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "requantization_cases.py"


@pytest.fixture(scope="module", params=[False, True], ids=["multiplexers", "multipliers"])
def cases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    spec = importlib.util.spec_from_file_location("requantization_cases", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        return module.Cases(tmp_path_factory.mktemp("cases"), multiplied=request.param)
    except module.MissingTool as missing:
        pytest.skip(str(missing))


# One test, as the program takes ten times as long to compile as to run.
def test_the_lanes_equal_the_definitions_and_only_those_of_their_rounding(cases: Any) -> None:
    width, places, shifts = 4, 3, 62
    squares = places * shifts * 4 << width  # by each of four lanes
    every = (places**2 * shifts << 2 * width) + squares
    for rounding in FIXED_POINT:
        assert cases.random(rounding, cases=1_000_000, seed=1).startswith("1,000,")
        assert cases.exhaustive(rounding, width=width).startswith(f"{every:,} cases")
        for as_if in set(FIXED_POINT) - {rounding}:
            assert cases.random(rounding, cases=100_000, seed=2, as_if=as_if).startswith("DIFFERENT: ")
            assert cases.exhaustive(rounding, width=width, as_if=as_if).startswith("DIFFERENT: ")
