"""Energies: published figures, interpolation, users' tables, and what they make of counted actions."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from eightfold.hw.config import KIB
from eightfold.reports.energy import COMPONENTS, TABLES, Energy, EnergyError, EnergyTable, energy, float_energy
from eightfold.reports.float_design import float_design

from .test_actions import CASES

PLAIN = """
name = "unit"
int8_multiply = 1
int32_add = 2
int32_multiply = 3
float32_add = 4
float32_multiply = 5
dram = [6, 7.5]
[[sram]]
bytes = 1024
energy = 1
[[sram]]
bytes = 4096
energy = [2, 4]
"""


def table(folder: Path, text: str) -> EnergyTable:
    path = folder / "energies.toml"
    path.write_text(text, encoding="utf-8")
    return EnergyTable.from_toml(path)


@pytest.mark.parametrize("name", TABLES)
def test_memories_of_the_source_s_capacities_cost_what_it_says(name: str) -> None:
    for capacity, cost in TABLES[name].sram:
        found = TABLES[name].access(capacity)
        assert (found.low, found.high) == pytest.approx((cost.low, cost.high))


def test_between_capacities_energy_is_a_power_of_the_capacity() -> None:
    # A quarter of the capacity costs half: a square root, which goes on beyond the table on that side.
    horowitz = EnergyTable.named("45nm")
    assert horowitz.access(16 * KIB).low == pytest.approx(10 * math.sqrt(2))
    assert horowitz.access(2 * KIB).low == pytest.approx(5)
    assert horowitz.access(128 * KIB).low == pytest.approx(20 * 5 ** (2 / 5))
    assert horowitz.access(2048 * KIB).low == pytest.approx(100 * 5 ** (1 / 5))


def test_a_user_s_table(tmp_path: Path) -> None:
    found = table(tmp_path, PLAIN)
    assert (found.name, found.int32_multiply, found.dram) == ("unit", Energy.of(3), Energy(6, 7.5))
    assert found.source == str(tmp_path / "energies.toml")
    middle = found.access(2048)
    assert (middle.low, middle.high) == pytest.approx((math.sqrt(2), 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("int32_add = 2", ""), "int32_add is missing"),
        (("int32_add = 2", "int32_add = 0"), "int32_add is 0; picojoules above 0"),
        (("int32_add = 2", "int32_add = nan"), "int32_add is nan"),
        (("int32_add = 2", "int32_add = true"), "int32_add is True"),
        (("[6, 7.5]", "[7, 6]"), r"dram is \[7, 6\]"),
        (("[6, 7.5]", "[7]"), r"dram is \[7\]"),
        (("dram =", "ddr = 1\ndram ="), "unknown entry 'ddr'"),
        (('"unit"', "7"), "name is 7; a line of text was expected"),
        (("bytes = 4096", "bytes = 512"), "rising capacities were expected"),
        (("bytes = 4096", "bytes = 4.5"), "bytes is 4.5"),
        (("bytes = 4096", "size = 4096"), "sram has energy, size; bytes and energy were expected"),
        (("dram =", "dram ="), ""),
        (("dram =", "dram"), "not a TOML file"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    text = PLAIN.replace(*change)
    if not message:
        table(tmp_path, text)
        return
    with pytest.raises(EnergyError, match=message) as error:
        table(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "energies.toml"))


def test_a_table_without_memories_or_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnergyError, match="sram is missing"):
        table(tmp_path, PLAIN[: PLAIN.index("[[")])
    with pytest.raises(EnergyError, match="No such file"):
        EnergyTable.from_toml(tmp_path / "none.toml")
    with pytest.raises(EnergyError, match="no table of energies is named '28nm'; there are 45nm, 7nm"):
        EnergyTable.named("28nm")


@pytest.mark.parametrize("name", CASES)
def test_layers_and_components_sum_to_the_total(name: str) -> None:
    report = energy(CASES[name])
    components = sum(report.components.values(), Energy.of(0))
    assert components.low == pytest.approx(report.total.low)
    assert components.high == pytest.approx(report.total.high)
    assert tuple(report.components) == COMPONENTS


def test_energies_are_counters_times_figures(tmp_path: Path) -> None:
    cost = CASES["digits on 16x16"]
    counters = cost.counters
    one = dataclasses.replace(table(tmp_path, PLAIN), sram=((1, Energy.of(1)),))
    found = energy(cost, one).components
    assert found["array"].low == counters["array_steps"] * 256 * (1 + 2)
    assert found["requantization"].low == counters["outputs"] * 16 * (3 + 3 * 2)
    sums = counters["accumulator_reads"] + counters["accumulator_writes"]
    assert found["accumulators"].low == sums * 64 / 8 + counters["accumulator_reads"] * 16 * 2
    banks = counters["scratchpad_reads"] + counters["scratchpad_writes"]
    assert found["scratchpad"].low == banks * 32 / 8
    beats = counters["read_beats"] + counters["fetch_beats"] + counters["write_beats"]
    assert (found["DRAM"].low, found["DRAM"].high) == (beats * 6, beats * 7.5)


def test_power_is_energy_over_time() -> None:
    report = energy(CASES["digits on 16x16"])
    seconds = report.cycles / 500e6
    assert report.power(500e6).high == pytest.approx(report.total.high / seconds)


def test_float32_costs_more_in_every_component_but_the_lanes() -> None:
    cost = CASES["digits on 16x16"]
    narrow = energy(cost).components
    wide = float_energy(float_design(cost.program, cost.latency)).components
    assert wide["array"].low == pytest.approx(narrow["array"].low * (3.7 + 0.9) / (0.2 + 0.1))
    for name in ("array", "accumulators", "scratchpad", "weight buffer", "DRAM"):
        assert wide[name].low > narrow[name].low
    assert wide["requantization"].low < narrow["requantization"].low


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Energy.of(0), "0 pJ"),
        (Energy.of(0.25), "0.25 pJ"),
        (Energy(1300, 2600), "1.3 to 2.6 nJ"),
        (Energy(999, 1001), "0.999 to 1 nJ"),
        (Energy.of(4.2e12), "4.2 J"),
    ],
)
def test_energies_read_well(value: Energy, text: str) -> None:
    assert str(value) == text
    assert value.text("W") == text[:-1] + "W"


def test_the_json_is_plain() -> None:
    report = energy(CASES["digits on 16x16"])
    value = json.loads(json.dumps(report.to_json()))
    assert value["table"] == "45nm"
    assert value["total"] == [report.total.low, report.total.high]
    assert [layer["index"] for layer in value["layers"]] == [0, 1, 2, 3, 5]
