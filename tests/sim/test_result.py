"""The result of a run, and its JSON form, which others rely on."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eightfold.golden.numerics import Profile
from eightfold.hw.config import Config
from eightfold.sim.result import LayerResult, RunResult
from eightfold.sim.simulation import BACKENDS

RUN_TYPES: dict[str, tuple[type, ...]] = {
    "format": (str,),
    "model": (str,),
    "config": (str,),
    "parameters": (dict,),
    "backend": (str,),
    "profile": (str,),
    "latency": (int, type(None)),
    "stalls": (float, type(None)),
    "seed": (int, type(None)),
    "jobs": (int, type(None)),
    "resident": (bool,),
    "cycles": (int, type(None)),
    "macs": (int,),
    "array_macs": (int,),
    "utilization": (float, type(None)),
    "dram_read_bytes": (int, type(None)),
    "dram_write_bytes": (int, type(None)),
    "bit_exact": (bool, type(None)),
    "divergence": (dict, type(None)),
    "counters": (dict,),
    "layers": (list,),
}
DIVERGENCE_TYPES: dict[str, tuple[type, ...]] = {
    "index": (int,),
    "op": (str,),
    "tensor": (int,),
    "position": (list,),
    "expected": (int,),
    "actual": (int,),
    "expected_accumulator": (int, type(None)),
    "replayed_accumulator": (int, type(None)),
    "replayed": (int, type(None)),
    "command": (int, type(None)),
    "listing": (str, type(None)),
}
LAYER_TYPES: dict[str, tuple[type, ...]] = {
    "index": (int,),
    "op": (str,),
    "name": (str,),
    "where": (str,),
    "reason": (str, type(None)),
    "macs": (int,),
    "cycles": (int, type(None)),
    "utilization": (float, type(None)),
    "dram_read_bytes": (int, type(None)),
    "dram_write_bytes": (int, type(None)),
    "elements": (int,),
    "mismatches": (int, type(None)),
}


def result(*, mismatches: int | None = 0, timed: bool = True) -> RunResult:
    counters = {"cycles": 100, "read_beats": 30, "fetch_beats": 3, "write_beats": 5}
    layers = (
        LayerResult(0, "CONV_2D", "c", "array", None, 12800, 100, 0.5, 264, 40, 64, mismatches),
        LayerResult(1, "DEPTHWISE_CONV_2D", "d", "host", "of this", 1000, 0, None, 0, 0, 64, 0),
    )
    if not timed:
        layers = tuple(  # type: ignore[assignment]
            dataclasses.replace(x, cycles=None, utilization=None, dram_read_bytes=None, dram_write_bytes=None)
            for x in layers
        )
    x = np.arange(4, dtype=np.int8)
    return RunResult(
        model="net",
        config=Config.named("16x16"),
        profile=Profile.TFLM,
        backend="icarus" if timed else "golden",
        latency=20 if timed else None,
        stalls=0.0 if timed else None,
        seed=1 if timed else None,
        layers=layers,
        counters=counters if timed else {},
        tensors={3: x, 1: x + 1},
        outputs=(x,),
    )


def check_types(value: dict[str, Any], types: dict[str, tuple[type, ...]]) -> None:
    assert list(value) == list(types)
    for name, allowed in types.items():
        assert type(value[name]) in allowed, name


@pytest.mark.parametrize("timed", [True, False])
def test_the_json_form_has_these_fields_of_these_types(timed: bool) -> None:
    value = json.loads(json.dumps(result(timed=timed).to_json()))
    assert value["format"] == "eightfold-run/1"
    check_types(value, RUN_TYPES)
    for layer in value["layers"]:
        check_types(layer, LAYER_TYPES)
        assert layer["where"] in ("array", "host")


def test_the_documentation_names_every_field_backend_and_profile() -> None:
    text = (Path(__file__).parents[2] / "docs" / "run-json.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert documented == [*RUN_TYPES, *LAYER_TYPES, *DIVERGENCE_TYPES]
    assert all(f"`{backend}`" in text for backend in BACKENDS)
    assert all(f"`{profile.value}`" in text for profile in Profile)


def test_totals_come_from_the_hardware() -> None:
    run = result()
    assert run.cycles == 100
    assert run.macs == 13800
    assert run.array_macs == 12800
    assert run.utilization == 0.5
    assert run.dram_read_bytes == 33 * 8
    assert run.dram_write_bytes == 5 * 8


def test_without_time_there_are_no_figures_of_time() -> None:
    run = result(timed=False)
    assert (run.cycles, run.utilization, run.dram_read_bytes, run.dram_write_bytes) == (None,) * 4


@pytest.mark.parametrize(("mismatches", "exact"), [(0, True), (1, False), (None, False)])
def test_exact_means_that_every_element_was_seen_and_is_equal(mismatches: int | None, exact: bool) -> None:
    assert result(mismatches=mismatches).bit_exact is exact


def test_the_dump_names_tensors_by_their_index() -> None:
    dump = result().dump()
    assert list(dump) == ["tensor1", "tensor3", "output0"]
    assert np.array_equal(dump["tensor1"], [1, 2, 3, 4])


def test_a_result_says_what_it_is() -> None:
    assert repr(result()) == (
        "<RunResult net on 16x16 (icarus): 2 layers, 13,800 MACs, 100 cycles, 50.0% of the array, bit exact>"
    )
    assert repr(result(mismatches=3, timed=False)) == (
        "<RunResult net on 16x16 (golden): 2 layers, 13,800 MACs, 3 mismatches>"
    )
