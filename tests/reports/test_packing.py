"""Registers that move into multipliers: which do, and which must stay."""

from __future__ import annotations

from typing import Any

import pytest

from eightfold.reports.packing import pack_multipliers

CLOCK, ENABLE, OTHER = 1, 2, 3


def netlist(width: int = 2, **changes: dict[str, Any]) -> dict[str, Any]:
    """Two-bit inputs a and b through registers to a multiplier, and its output through registers to a port.

    `changes` are pins and parameters of registers, by their names.
    """
    cells: dict[str, Any] = {}
    pins: dict[str, Any] = {f"{port}{place}": ["0"] for port in "AB" for place in range(18)}
    pins |= {f"P{place}": [] for place in range(36)}
    nets = iter(range(10, 1000))
    ports: dict[str, Any] = {"p": {"direction": "output", "bits": []}}

    def register(name: str, taken: int, held: int, enable: int | str) -> None:
        change = changes.get(name, {})
        cells[name] = {
            "type": "TRELLIS_FF",
            "parameters": {"CEMUX": "CE", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"}
            | change.get("parameters", {}),
            "port_directions": {"CLK": "input", "CE": "input", "LSR": "input", "DI": "input", "Q": "output"},
            "connections": {"CLK": [CLOCK], "CE": [enable], "LSR": ["0"], "DI": [taken], "Q": [held]}
            | change.get("pins", {}),
        }

    for port in "AB":
        for place in range(width):
            taken, held = next(nets), next(nets)
            register(f"{port.lower()}{place}", taken, held, ENABLE)
            pins[f"{port}{place}"] = [held]
    for place in range(2 * width):
        taken, held = next(nets), next(nets)
        register(f"p{place}", taken, held, ENABLE)
        pins[f"P{place}"] = [taken]
        ports["p"]["bits"].append(held)
    cells["multiplier"] = {
        "type": "MULT18X18D",
        "parameters": {},
        "port_directions": {pin: "output" if pin.startswith("P") else "input" for pin in pins},
        "connections": pins,
    }
    return {"ports": ports, "cells": cells}


def test_all_registers_around_a_multiplier_move_into_it() -> None:
    module = netlist()
    taken = [module["cells"][name]["connections"]["DI"] for name in ("a0", "a1", "b0", "b1")]
    assert pack_multipliers(module) == 8
    assert list(module["cells"]) == ["multiplier"]
    cell = module["cells"]["multiplier"]
    assert [cell["connections"][pin] for pin in ("A0", "A1", "B0", "B1")] == taken
    assert [cell["connections"][f"P{place}"][0] for place in range(4)] == module["ports"]["p"]["bits"]
    assert cell["connections"]["CLK0"] == [CLOCK]
    assert [cell["connections"][f"CE{place}"] for place in range(3)] == [[ENABLE]] * 3
    assert cell["parameters"]["REG_INPUTA_CLK"] == "CLK0"
    assert cell["parameters"]["REG_INPUTB_CE"] == "CE1"
    assert cell["parameters"]["REG_OUTPUT_CE"] == "CE2"


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"CLKMUX": "INV"}},
        {"parameters": {"REGSET": "SET"}},
        {"pins": {"LSR": [OTHER]}},
        {"pins": {"CE": [OTHER]}},
    ],
    ids=["edge", "preset", "reset", "enable"],
)
def test_registers_that_differ_stay(change: dict[str, Any]) -> None:
    module = netlist(a1=change)
    assert pack_multipliers(module) == 4
    assert {"a0", "a1", "b0", "b1"} < set(module["cells"])
    assert "REG_INPUTA_CLK" not in module["cells"]["multiplier"]["parameters"]
    assert pack_multipliers(netlist(p0=change)) == 4


def test_a_register_that_something_else_reads_stays() -> None:
    module = netlist()
    module["ports"]["seen"] = {"direction": "output", "bits": module["cells"]["b1"]["connections"]["Q"]}
    assert pack_multipliers(module) == 4
    module = netlist()
    module["ports"]["seen"] = {"direction": "output", "bits": module["cells"]["p1"]["connections"]["DI"]}
    assert pack_multipliers(module) == 4
    assert {"p0", "p1", "p2", "p3"} < set(module["cells"])


def test_an_input_that_is_no_register_keeps_both_as_they_are() -> None:
    module = netlist()
    module["cells"]["multiplier"]["connections"]["A0"] = [OTHER]
    assert pack_multipliers(module) == 4


def test_registers_that_are_always_enabled_make_the_multiplier_so() -> None:
    always = {"parameters": {"CEMUX": "1 "}}
    module = netlist(p0=always, p1=always, p2=always, p3=always)
    assert pack_multipliers(module) == 8
    connections = module["cells"]["multiplier"]["connections"]
    assert [connections[f"CE{place}"] for place in range(3)] == [[ENABLE], [ENABLE], ["1"]]
