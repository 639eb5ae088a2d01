"""The command line: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eightfold import __version__, cli
from eightfold.cli import app, main
from eightfold.examples import EXAMPLES
from eightfold.golden.reader import read
from eightfold.golden.runtime import run
from eightfold.sim import pools
from eightfold.sim.job import Outcome, Task

from ..sim.test_result import LAYER_TYPES, RUN_TYPES, check_types

MODELS = Path(__file__).parents[2] / "models"
DIGITS = str(MODELS / "digits.tflite")

needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def succeed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def refuse(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is wrong with a command line; checks the form of the refusal."""
    before = sorted(os.listdir())
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("eightfold: error: ")
    assert sorted(os.listdir()) == before
    return line.removeprefix("eightfold: error: ")


def golden_image() -> np.ndarray[Any, Any]:
    with np.load(MODELS / "digits.npz") as file:
        return np.asarray(file["images"][:1])


def test_without_arguments_it_says_what_it_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    text = succeed(capsys)
    for command in ("run", "profile", "inspect", "compile", "export", "demo"):
        assert command in text
    assert succeed(capsys, "--version") == f"eightfold {__version__}\n"


@pytest.mark.parametrize("backend", ["golden", "commands"])
def test_run_shows_every_layer(capsys: pytest.CaptureFixture[str], backend: str) -> None:
    text = succeed(capsys, "run", DIGITS, "--backend", backend)
    assert text.count("CONV_2D") >= 4
    assert "exact" in text
    assert f"backend {backend}, profile tflm" in text


def test_run_writes_nothing_but_json_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    value = json.loads(succeed(capsys, "run", DIGITS, "--backend", "commands", "--json", "-"))
    check_types(value, RUN_TYPES)
    check_types(value["layers"][0], LAYER_TYPES)
    assert value["model"] == "digits"
    assert value["bit_exact"] is True


def test_run_writes_json_and_every_tensor_to_files(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("x.npy", golden_image())
    options = ["--backend", "commands", "--input", "x.npy", "--json", "r.json", "--dump", "t.npz", "--config", "8x8"]
    succeed(capsys, "run", DIGITS, *options)
    assert sorted(os.listdir()) == ["r.json", "t.npz", "x.npy"]
    assert json.loads(Path("r.json").read_text())["config"] == "8x8"
    graph = read(DIGITS)
    expected = run(graph, [golden_image()])
    with np.load("t.npz") as dump:
        assert set(dump) == {f"tensor{t.index}" for t in graph.tensors} | {"output0"}
        for index, value in expected.tensors.items():
            assert np.array_equal(dump[f"tensor{index}"], value)
        assert np.array_equal(dump["output0"], expected.outputs[0])


def test_random_inputs_depend_on_the_seed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for seed in ("random:1", "random:2", "random:1"):
        succeed(capsys, "run", DIGITS, "--backend", "golden", "--input", seed, "--dump", "t.npz")
        with np.load("t.npz") as dump:
            outputs.append(dump["tensor0"])
    assert np.array_equal(outputs[0], outputs[2])
    assert not np.array_equal(outputs[0], outputs[1])
    assert int(outputs[0].max()) - int(outputs[0].min()) > 200


def test_a_compiled_program_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert "5 of 7 operators" in succeed(capsys, "compile", DIGITS, "--out", "d.efp", "--config", "4x4")
    value = json.loads(succeed(capsys, "run", "d.efp", "--backend", "commands", "--json", "-"))
    assert (value["config"], value["bit_exact"]) == ("4x4", True)
    assert json.loads(succeed(capsys, "profile", "d.efp", "--config", "4x4", "--json", "-"))["config"] == "4x4"


@pytest.mark.parametrize(
    ("option", "value", "kept"),
    [("--config", "8x8", "4x4"), ("--config", "16x16", "4x4"), ("--profile", "litert-ref", "tflm")],
)
def test_a_compiled_program_keeps_its_machine(
    capsys: pytest.CaptureFixture[str], option: str, value: str, kept: str
) -> None:
    succeed(capsys, "compile", DIGITS, "--out", "d.efp", "--config", "4x4")
    for command in (
        ("run", "d.efp", "--backend", "commands"),
        ("run", "d.efp", "--backend", "commands", "--layers", "0"),
        ("profile", "d.efp"),
        ("report", "d.efp", "--out", "out"),
        ("compile", "d.efp"),
        ("export", "d.efp", "--out", "out"),
    ):
        problem = refuse(capsys, *command, option, value)
        assert problem == f"{option} is '{value}'; d.efp was compiled for {kept}"


def test_a_compiled_program_stays_as_it_was_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    succeed(capsys, "compile", DIGITS, "--out", "d.efp")
    for option in ("--no-fuse", "--resident"):
        assert refuse(capsys, "profile", "d.efp", option) == f"{option} is for networks; d.efp is compiled already"


@pytest.mark.parametrize("name", ["broken.tflite", "broken.efp"])
def test_what_is_asked_of_a_file_is_checked_before_it_is_read(capsys: pytest.CaptureFixture[str], name: str) -> None:
    Path(name).write_text("neither a network nor a program")
    for command in (["profile", name], ["run", name, "--layers", "0"], ["report", name, "--out", "out"]):
        assert "3x3" in refuse(capsys, *command, "--config", "3x3")
        assert "--profile is 'none'" in refuse(capsys, *command, "--profile", "none")
        assert name in refuse(capsys, *command)
    if name.endswith(".efp"):
        assert "--no-fuse is for networks" in refuse(capsys, "profile", name, "--no-fuse")


def test_a_report_whose_process_for_float32_dies_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    perform = pools._Worker.perform
    tried: list[str] = []

    def fatal(self: pools._Worker, job: Task) -> Outcome | str:
        tried.append(job.name)
        self._process.kill()
        return perform(self, job)

    monkeypatch.setattr(pools._Worker, "perform", fatal)
    command = ("report", DIGITS, "--config", "4x4", "--out", "out", "--json", "report.json")
    assert refuse(capsys, *command) == "digits in float32: tried 3 times: its worker ended with -9"
    assert tried == ["digits in float32"] * pools.ATTEMPTS


def test_layers_run_alone(capsys: pytest.CaptureFixture[str]) -> None:
    succeed(capsys, "compile", DIGITS, "--out", "d.efp")
    options = ["--backend", "commands", "--layers", "2:4", "--json", "-", "--dump", "t.npz"]
    for model in (DIGITS, "d.efp"):
        value = json.loads(succeed(capsys, "run", model, *options))
        assert value["model"] == "digits[2:4]"
        assert [layer["index"] for layer in value["layers"]] == [2, 3]
        assert value["bit_exact"] is True
    # The dump's tensors are those of the whole network.
    succeed(capsys, "run", DIGITS, "--backend", "golden", "--dump", "whole.npz")
    with np.load("t.npz") as part, np.load("whole.npz") as whole:
        for name in part.files:
            assert name == "output0" or np.array_equal(part[name], whole[name])


def test_a_sharded_run_keeps_each_layer_s_result(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--backend", "commands", "--sharded", "--layers", "2:5", "--jobs", "2"]
    text = succeed(capsys, "run", DIGITS, *options)
    assert text.count("exact") == 4
    assert len(os.listdir("out/sharded")) == 2
    value = json.loads(succeed(capsys, "run", DIGITS, *options, "--json", "-", "--out", "out/sharded"))
    check_types(value, RUN_TYPES)
    assert (value["jobs"], value["bit_exact"]) == (2, True)


def test_profile_shows_and_writes_what_a_network_costs(capsys: pytest.CaptureFixture[str]) -> None:
    text = succeed(capsys, "profile", DIGITS, "--config", "8x8", "--trace", "trace.json")
    assert text.count("CONV_2D") >= 4
    assert "cycles by the cycle model" in text
    assert json.loads(Path("trace.json").read_text())["traceEvents"]
    value = json.loads(succeed(capsys, "profile", DIGITS, "--config", "8x8", "--json", "-"))
    assert value["format"] == "eightfold-profile/1"
    assert value["cycles"] == sum(layer["cycles"] for layer in value["layers"])
    assert f"{value['cycles']:,}" in text
    run_value = json.loads(succeed(capsys, "run", DIGITS, "--config", "8x8", "--backend", "model", "--json", "-"))
    assert run_value["counters"] == value["counters"]


def test_layers_are_fused_unless_that_is_not_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    Path("tight.toml").write_text('base = "8x8"\nscratchpad_bytes = 2048\nbus_bytes = 4\n')

    def saved(*options: str) -> int:
        arguments = ("profile", DIGITS, "--config", "tight.toml", "--json", "-", *options)
        value = json.loads(succeed(capsys, *arguments))
        assert bool(value["fusions"]) == bool(value["fusion_saved_bytes"])
        return int(value["fusion_saved_bytes"])

    assert saved() > 0
    assert saved("--no-fuse") == 0
    assert "fused in strips" in succeed(capsys, "profile", DIGITS, "--config", "tight.toml")
    assert "fused  operators" in succeed(capsys, "compile", DIGITS, "--config", "tight.toml", "--listing", "-")
    assert "fused" not in succeed(capsys, "compile", DIGITS, "--config", "tight.toml", "--listing", "-", "--no-fuse")
    result = succeed(capsys, "run", DIGITS, "--config", "tight.toml", "--backend", "commands", "--no-fuse")
    assert "exact" in result


def test_compile_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    text = succeed(capsys, "compile", DIGITS, "--listing", "-")
    assert "execute" in text
    assert "load" in text
    succeed(capsys, "compile", DIGITS, "--listing", "d.txt")
    assert Path("d.txt").read_text() == text


def test_inspect_shows_and_writes_what_is_in_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert "333,376 MACs" in succeed(capsys, "inspect", DIGITS)
    value = json.loads(succeed(capsys, "inspect", DIGITS, "--json", "-"))
    assert value["format"] == "eightfold-inspect/1"
    assert (value["macs"], len(value["operators"]), len(value["tensors"])) == (333_376, 7, 19)
    succeed(capsys, "inspect", DIGITS, "--json", "d.json")
    assert json.loads(Path("d.json").read_text()) == value


def test_export_writes_verilog_and_the_configuration_that_makes_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    from eightfold.hw.config import Config

    Path("mine.toml").write_text('base = "4x4"\ncolumns = 6\naccumulator_bytes = 768\n')
    succeed(capsys, "export", "--config", "mine.toml", "--out", "a")
    succeed(capsys, "export", "--config", "a/eightfold.toml", "--out", "b")
    text = Path("a/eightfold.v").read_text()
    assert "module eightfold" in text
    assert Path("b/eightfold.v").read_text() == text
    assert Config.from_toml("a/eightfold.toml") == Config.from_toml("mine.toml")
    assert "testbench.v" in os.listdir("a")
    assert Path("a/network/network.vh").read_text().startswith("// digits on mine\n")


def test_export_takes_a_network_for_its_bench(capsys: pytest.CaptureFixture[str]) -> None:
    text = succeed(capsys, "export", DIGITS, "--config", "4x4", "--out", "a", "--input", "random:3")
    assert "24 files" in text
    Path("a/eightfold.v").write_text("mine")
    for arguments, problem in (
        (["--out", "b", "--input", "random:3"], "--input is given without a network"),
        (["--out", "a", "--config", "4x4"], "a/eightfold.v has been changed since it was written"),
        (["none.tflite", "--out", "b"], "none.tflite"),
        ([], "Missing option '--out'"),
    ):
        assert problem in refuse(capsys, "export", *arguments)
    assert Path("a/eightfold.v").read_text() == "mine"


@needs_icarus
def test_run_on_the_rtl_writes_waveforms_and_a_figure(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--config", "4x4", "--waves", "w.fst", "--figure", "f.svg", "--latency", "1", "--json", "-"]
    value = json.loads(succeed(capsys, "run", DIGITS, *options))
    assert value["bit_exact"] is True
    assert value["cycles"] == sum(layer["cycles"] for layer in value["layers"])
    assert value["latency"] == 1
    assert sorted(os.listdir()) == ["f.svg", "w.fst", "w.gtkw", "w.sucl"]
    assert "variable_add bench.machine.execute.completed" in Path("w.sucl").read_text()
    assert Path("w.fst").stat().st_size > 10_000


@needs_icarus
def test_demo_recognises_digits(capsys: pytest.CaptureFixture[str]) -> None:
    text = succeed(capsys, "demo", "--config", "4x4", "--images", "2", "--out", "o/p")
    assert "2 of 2 digits recognised; 2 of 2 runs exact" in text
    value = json.loads(Path("o/p/demo.json").read_text())
    assert value["format"] == "eightfold-demo/1"
    assert [digit["label"] == digit["recognised"] for digit in value["digits"]] == [True, True]
    for one in value["runs"]:
        check_types(one, RUN_TYPES)
    assert sorted(os.listdir("o/p")) == ["demo.json", "layers.png"]


# Refusals.


@pytest.fixture
def files() -> None:
    data = Path(DIGITS).read_bytes()
    Path("cut.tflite").write_bytes(data[:5000])
    Path("text.tflite").write_text("not a network")
    Path("empty.tflite").write_bytes(b"")
    Path("damaged.tflite").write_bytes(data[:8] + b"\xff" * 64 + data[72:])
    Path("folder.tflite").mkdir()
    Path("text.efp").write_text("not a program")
    Path("text.npy").write_text("not an array")
    np.save("shape.npy", np.zeros((1, 8, 8), np.int8))
    np.save("type.npy", np.zeros((1, 8, 8, 1), np.float32))
    np.save("objects.npy", np.array([{}], object), allow_pickle=True)
    Path("bad.toml").write_text("rows = ")
    Path("unknown.toml").write_text("rowz = 4")
    Path("small.toml").write_text('base = "4x4"\nrows = 2')


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "missing.tflite"], "missing.tflite: cannot be read: No such file"),
        (["run", "folder.tflite"], "folder.tflite: cannot be read"),
        (["run", "text.tflite"], "text.tflite: not a .tflite file"),
        (["run", "empty.tflite"], "empty.tflite: not a .tflite file"),
        (["run", "cut.tflite"], "cut.tflite"),
        (["run", "damaged.tflite"], "damaged.tflite"),
        (["inspect", "cut.tflite"], "cut.tflite"),
        (["compile", "cut.tflite"], "cut.tflite"),
        (["run", "text.efp"], "text.efp"),
        (["run", "missing.efp"], "missing.efp"),
        (["run", DIGITS, "--input", "missing.npy"], "missing.npy: cannot be read"),
        (["run", DIGITS, "--input", "text.npy"], "text.npy: not an .npy file"),
        (["run", DIGITS, "--input", "objects.npy"], "objects.npy: not an .npy file"),
        (["run", DIGITS, "--input", "shape.npy"], "is int8[1, 8, 8]; expected int8[1, 8, 8, 1]"),
        (["run", DIGITS, "--input", "type.npy"], "is float32[1, 8, 8, 1]; expected int8[1, 8, 8, 1]"),
        (["run", DIGITS, "--input", "random:x"], "'random:x'; random: and a number was expected"),
        (["run", DIGITS, "--input", "random:1", "--input", "random:2"], "given 2 times; digits has 1 inputs"),
        (["run", DIGITS, "--config", "7x7"], "no configuration is named '7x7'; there are 4x4, 8x8"),
        (["run", DIGITS, "--config", "missing.toml"], "missing.toml: No such file"),
        (["run", DIGITS, "--config", "bad.toml"], "bad.toml: not a TOML file"),
        (["run", DIGITS, "--config", "unknown.toml"], "unknown.toml: unknown parameter 'rowz'"),
        (["run", DIGITS, "--config", "small.toml"], "small.toml: rows is 2; 4 to 64 was expected"),
        (["export", "--config", "7x7", "--out", "o"], "no configuration is named '7x7'"),
        (["run", DIGITS, "--profile", "tflite"], "--profile is 'tflite'; one of tflm"),
        (["run", DIGITS, "--backend", "verilog"], "backend is 'verilog'; one of icarus"),
        (["run", DIGITS, "--latency", "0"], "latency is 0"),
        (["run", DIGITS, "--layers", "5:9"], "layers is 5:9; digits has the layers 0:7 (0 to 6)"),
        (["run", DIGITS, "--jobs", "2"], "--jobs is '2'; it goes only with --sharded"),
        (["run", DIGITS, "--scheduler", "tcp://x:1"], "--scheduler is 'tcp://x:1'; it goes only with --sharded"),
        (["run", DIGITS, "--out", "o"], "--out is 'o'; it goes only with --sharded"),
        (["run", DIGITS, "--sharded", "--waves", "w.vcd"], "--waves is 'w.vcd'; it goes not with --sharded"),
        (["run", DIGITS, "--sharded", "--trace", "t.json"], "--trace is 't.json'; it goes not with --sharded"),
        (["run", DIGITS, "--sharded", "--jobs", "0"], "--jobs"),
        (["run", DIGITS, "--layers", "last"], "layers is 'last'; A:B (A to B - 1) or A was expected"),
        (["run", DIGITS, "--stalls", "2"], "stalls is 2.0"),
        (["run", DIGITS, "--waves", "w.txt"], ".vcd or .fst was expected"),
        (["run", DIGITS, "--backend", "golden", "--waves", "w.vcd"], "the backend golden has no waveforms"),
        (["run", DIGITS, "--backend", "golden", "--json", "no/x.json"], "no/x.json cannot be written"),
        (["run", DIGITS, "--backend", "golden", "--dump", "no/x.npz"], "no/x.npz cannot be written"),
        (["run", DIGITS, "--backend", "golden", "--figure", "x.png"], "a backend with cycles"),
        (["run", DIGITS, "--backend", "golden", "--trace", "t.json"], "the backend golden has no cycles"),
        (["run", DIGITS, "--backend", "golden", "--figure", "x.doc"], "a file that ends in .png, .svg, .pdf"),
        (["compile", DIGITS, "--out", "no/x.efp"], "no/x.efp cannot be written"),
        (["demo", "--images", "0"], "0 images were asked for"),
        (["run"], "Missing argument"),
        (["run", DIGITS, "--what"], "No such option: --what"),
        (["run", DIGITS, "--latency", "soon"], "--latency"),
        (["walk"], "No such command 'walk'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in refuse(capsys, *arguments)


def test_a_missing_simulator_is_said_with_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "apt-get install iverilog" in refuse(capsys, "run", DIGITS, "--json", "r.json", "--waves", "w.vcd")


def test_a_layer_that_cannot_be_tiled_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("tiny.toml").write_text('base = "4x4"\nscratchpad_bytes = 64\n')
    line = refuse(capsys, "run", DIGITS, "--config", "tiny.toml")
    assert line == (
        "digits on tiny: operator 0: an output row has 128 bytes, the rows that it is computed from 24; "
        "aligned to the bus they need 166 bytes of scratchpad; there are 64"
    )


def test_errors_of_the_program_itself_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("eightfold.golden.reader.read", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["inspect", DIGITS])


def test_the_installed_command_refuses_without_a_traceback() -> None:
    command = Path(sys.executable).with_name("eightfold")
    if not command.exists():
        pytest.skip("the package is not installed beside this interpreter")
    done = subprocess.run([command, "run", "missing.tflite"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "eightfold: error: missing.tflite: cannot be read: No such file or directory\n"


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_an_interrupt_leaves_no_files(name: str, status: int) -> None:
    script = (
        "import os, signal, sys, threading, eightfold.cli\n"
        "from eightfold.sim.simulation import Simulation\n"
        f"Simulation.run = lambda *a, **k: os.kill(os.getpid(), signal.{name}) or threading.Event().wait(5)\n"
        f"sys.exit(eightfold.cli.main(['run', {DIGITS!r}, '--backend', 'golden', '--json', 'r.json']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert ("eightfold: interrupted" in done.stderr) == (status == 130)
    assert os.listdir() == []


def test_brackets_in_names_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(DIGITS, "digits [bold] [v1].tflite")
    for command in (["run", "--backend", "golden"], ["inspect"]):
        assert "digits [bold] [v1]" in succeed(capsys, *command, "digits [bold] [v1].tflite")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_under_standard_output_is_said(tmp_path: Path) -> None:
    program = "import sys; from eightfold.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "inspect", str(DIGITS), "--json", "-"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "eightfold: error: standard output cannot be written: No space left on device\n"


def test_report_writes_a_page_and_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    text = succeed(capsys, "report", DIGITS, "--out", "out/digits", "--backend", "commands", "--energy", "7nm")
    assert "out/digits/report.html" in text
    assert "exact on commands" in text
    assert {p.name for p in Path("out/digits").iterdir()} == {
        "report.html",
        "report.md",
        "report.json",
        "report.sha256",
        "figures",
        "tables",
    }
    value = json.loads(Path("out/digits/report.json").read_text())
    assert (value["energy"]["table"], value["clock"], value["bit_exact"]) == ("7nm", 500e6, True)


def test_report_gives_its_figures_to_stdout_and_takes_a_table_of_one_s_own(capsys: pytest.CaptureFixture[str]) -> None:
    operations = ("int8_multiply", "int32_add", "int32_multiply", "float32_add", "float32_multiply", "dram")
    entries = "".join(f"{name} = 1\n" for name in operations)
    Path("mine.toml").write_text(f"{entries}[[sram]]\nbytes = 1024\nenergy = 1\n")
    arguments = ("--out", "out", "--energy", "mine.toml", "--clock", "100", "--latency", "64", "--config", "8x8")
    value = json.loads(succeed(capsys, "report", DIGITS, *arguments, "--json", "-"))
    assert (value["energy"]["table"], value["clock"], value["latency"], value["config"]) == ("mine", 1e8, 64, "8x8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--energy", "28nm"), "no table of energies is named '28nm'; there are 45nm, 7nm"),
        (("--energy", "none.toml"), "none.toml: No such file or directory"),
        (("--clock", "0"), "--clock is 0; megahertz above 0 were expected"),
        (("--backend", "gpu"), "backend is 'gpu'; one of"),
        (("--latency", "0"), "latency is 0; at least 1 cycle was expected"),
        (("--config", "1x1"), "no configuration is named '1x1'"),
        (("--input", "none.npy"), "none.npy: cannot be read"),
    ],
)
def test_report_refuses_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert message in refuse(capsys, "report", DIGITS, "--out", "out/digits", *arguments)


def test_report_refuses_a_folder_that_is_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").write_text("")
    assert refuse(capsys, "report", DIGITS, "--out", "out") == "out cannot be made: out is a file"


def test_report_replaces_its_own_files_and_no_one_else_s(capsys: pytest.CaptureFixture[str]) -> None:
    succeed(capsys, "report", DIGITS, "--out", "out")
    before = Path("out/report.json").read_bytes()
    Path("out/notes.txt").write_text("mine")
    succeed(capsys, "report", DIGITS, "--out", "out", "--latency", "30")
    assert Path("out/report.json").read_bytes() != before
    Path("out/report.md").write_text("mine")
    assert "report.md has been changed" in refuse(capsys, "report", DIGITS, "--out", "out")
    assert Path("out/notes.txt").read_text() == "mine"


def run_out_of_disk(folder: Path, *arguments: str, room: int = 500) -> str:
    """Runs a command that cannot write files of more bytes than `room`; returns what it says, which is one line."""
    program = "import sys; from eightfold.cli import main; sys.exit(main())"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, cwd=folder)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("option", ["--json", "--dump", "--figure", "--trace"])
def test_a_full_disk_under_an_output_is_said(tmp_path: Path, option: str) -> None:
    name = {"--figure": "o.svg", "--dump": "o.npz"}.get(option, "o.json")
    said = run_out_of_disk(tmp_path, "run", DIGITS, "--backend", "model", option, name)
    what = "the trace" if option == "--trace" else name
    assert said == f"eightfold: error: {what} cannot be written: File too large"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("dequantize", DIGITS, "-o", "o.tflite"),
        ("compile", DIGITS, "-o", "o.efp"),
        ("report", DIGITS, "--out", "o"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_full_disk_under_a_result_is_said(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    said = run_out_of_disk(tmp_path, *arguments)
    assert said == f"eightfold: error: {arguments[-1]} cannot be written: File too large"
    assert os.listdir(tmp_path) == []


def test_a_full_disk_under_finished_points_is_said(tmp_path: Path) -> None:
    said = run_out_of_disk(tmp_path, "explore", DIGITS, "--rows", "4", "--columns", "4", "--out", "o", room=50)
    assert said == "eightfold: error: o/points.jsonl cannot be written: File too large"


def test_every_command_knows_quiet_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for name in EXAMPLES:
        text = " ".join(succeed(capsys, name, "--help").split())
        assert "--quiet" in text
        assert "Examples:" in text
        assert all(" ".join(example.split()) in text for example in EXAMPLES[name])
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(EXAMPLES) == commands


SLOW = (
    "synth",
    "schemes",
    "--test",
    "icarus",
    "explore",
    "fast",
    "waves",
    "demo",
    "litert",
    "export model.tflite",
    "report model.tflite",
)


@pytest.mark.parametrize("example", [e for examples in EXAMPLES.values() for e in examples])
def test_the_examples_are_understood(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, example: str
) -> None:
    program, *arguments = shlex.split(example)
    assert program == "eightfold"
    shutil.copy(DIGITS, "model.tflite")
    shutil.copy(DIGITS, "int8.tflite")
    shutil.copy(MODELS / "digits_float.tflite", "float.tflite")
    shutil.copy(MODELS / "digits_calibration.npz", "samples.npz")
    np.save("image.npy", golden_image())
    if example == "eightfold run model.tflite" or any(word in example for word in SLOW):
        # What is misspelt is found before what is missing.
        assert main([*arguments, "--no-such-option"]) == 2
        assert "no-such-option" in capsys.readouterr().err
        return
    succeed(capsys, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", DIGITS, "--backend", "golden"),
        ("inspect", DIGITS),
        ("profile", DIGITS),
        ("compare", DIGITS, "--profiles", "tflm,single"),
        ("compile", DIGITS, "--out", "x.efp"),
        ("report", DIGITS, "--out", "out"),
        ("doctor",),
    ],
)
def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    assert succeed(capsys, *arguments, "--quiet") == ""
    assert succeed(capsys, "compile", DIGITS) != ""  # it is no state that stays


def test_quiet_leaves_what_was_asked_for_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(succeed(capsys, "profile", DIGITS, "-q", "--json", "-"))["model"] == "digits"
    assert succeed(capsys, "compile", DIGITS, "-q", "--listing", "-").startswith("program")
    assert "missing.tflite" in refuse(capsys, "inspect", "missing.tflite", "-q")


def test_a_report_does_not_compare_the_golden_runtime_with_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert "fast, icarus or model" in refuse(capsys, "report", DIGITS, "--out", "out", "--backend", "golden")


def test_tables_in_a_pipe_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    text = succeed(capsys, "inspect", DIGITS)
    assert "…" not in text
    assert max(map(len, text.splitlines())) < 250


def test_dequantize_gives_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    value = json.loads(succeed(capsys, "dequantize", DIGITS, "-o", "float.tflite", "--json", "-"))
    assert (value["format"], value["file"]) == ("eightfold-dequantize/1", "float.tflite")
    assert value["file_bytes"] == Path("float.tflite").stat().st_size


def test_compile_and_export_give_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    value = json.loads(succeed(capsys, "compile", DIGITS, "--json", "-"))
    assert (value["format"], value["model"], value["operators"]) == ("eightfold-program/1", "digits", 7)
    assert value["dram_bytes"] >= value["packed_weight_bytes"] + value["stream_bytes"]
    assert set(map(int, value["on_host"])).isdisjoint(value["on_machine"])
    assert "both -" in refuse(capsys, "compile", DIGITS, "--json", "-", "--listing", "-")
    value = json.loads(succeed(capsys, "export", "--config", "4x4", "--out", "build", "--json", "-"))
    assert value["config"]["rows"] == 4
    assert all(Path("build", name).is_file() for name in value["files"])


def test_completion_knows_names() -> None:
    assert cli._config_names("1") == ["16x16"]
    assert cli._profile_names("litert-") == ["litert-ref", "litert-opt"]
    assert cli._backend_names("f") == ["fast"]
    assert cli._energy_names("") == ["45nm", "7nm"]


def test_colours_are_for_terminals_only(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["run", DIGITS, "--backend", "golden"], ["doctor"], ["--help"], ["report", "--help"]):
        assert "\x1b" not in succeed(capsys, *arguments)


def test_exploring_writes_a_folder_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    command = ("explore", DIGITS, "--rows", "4, 8,3", "--columns", "4", "--fuse", "on", "--jobs", "1", "--out", "out")
    text = succeed(capsys, *command)
    assert "2 machines" in text
    assert "1 point skipped:" in text
    assert "rows is 3; 4 to 64 was expected" in text
    names = {
        "explore.json",
        "explore.csv",
        "explore.png",
        "explore.svg",
        "skipped.csv",
        "points.jsonl",
        "explore.sha256",
    }
    assert set(os.listdir("out")) == names
    before = {name: (Path("out") / name).read_bytes() for name in names}
    assert succeed(capsys, *command) == text
    assert {name: (Path("out") / name).read_bytes() for name in names} == before
    value = json.loads(succeed(capsys, *command, "--json", "-"))
    assert value["format"] == "eightfold-exploration/1"
    assert len(value["figures"]) == 2


def test_report_explore_and_export_share_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    explore = ("explore", DIGITS, "--rows", "4", "--columns", "4", "--jobs", "1", "--out", "out")
    report = ("report", DIGITS, "--config", "4x4", "--out", "out")
    export = ("export", "--config", "4x4", "--out", "out")
    kept: dict[Path, bytes] = {}
    for command in (report, explore, export):
        succeed(capsys, *command)
        now = {file: file.read_bytes() for file in Path("out").rglob("*") if file.is_file()}
        assert kept.items() < now.items()
        kept = now
    succeed(capsys, *report)
    assert {file for file in Path("out").rglob("*") if file.is_file()} == set(kept)
    Path("out/report.html").write_text("mine")
    assert "out/report.html has been changed since it was written" in refuse(capsys, *report)


@needs_icarus
def test_a_point_is_confirmed_on_the_rtl(capsys: pytest.CaptureFixture[str]) -> None:
    command = ("explore", DIGITS, "--config", "4x4", "--columns", "4", "--lanes", "2", "--jobs", "1", "--out", "out")
    text = succeed(capsys, *command, "--confirm", "fastest", "--confirm", "smallest", "--backend", "icarus")
    assert text.count("cycles on the RTL, as the model says; every tensor exact") == 1


def test_an_exploration_of_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    command = ("explore", DIGITS, "--rows", "3", "--columns", "4", "--fuse", "on", "--jobs", "1", "--out", "out")
    assert main([str(argument) for argument in command]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (problem,) = captured.err.splitlines()
    assert "error: every point was skipped (1); " in problem
    assert problem.endswith(": rows is 3; 4 to 64 was expected; out/skipped.csv lists them")
    assert set(os.listdir("out")) >= {"explore.json", "skipped.csv"}


def test_explorations_that_cannot_be_followed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "rows has 'x'" in refuse(capsys, "explore", DIGITS, "--rows", "4,x")
    assert "lanes has 'few'" in refuse(capsys, "explore", DIGITS, "--lanes", "few")
    assert "--fuse has 'maybe'" in refuse(capsys, "explore", DIGITS, "--fuse", "maybe")
    assert "--rounding has 'up'" in refuse(capsys, "explore", DIGITS, "--rounding", "up")
    assert "missing.toml" in refuse(capsys, "explore", DIGITS, "--sweep", "missing.toml")
    assert "missing.tflite" in refuse(capsys, "explore", "missing.tflite")
    assert "called 'digits' too" in refuse(capsys, "explore", DIGITS, DIGITS)
    assert "--backend is 'model'" in refuse(capsys, "explore", DIGITS, "--backend", "model")
    Path("file").touch()
    assert "file" in refuse(capsys, "explore", DIGITS, "--out", "file/below")


def test_an_interrupted_exploration_keeps_what_is_finished(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from eightfold.reports.exploration import sweep

    command = ["explore", DIGITS, "--rows", "4,8", "--columns", "4", "--bus", "4,8", "--jobs", "1", "--out", "out"]
    keep = sweep._keep

    def interrupted(*arguments: Any) -> None:
        keep(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "_keep", interrupted)
        assert main(command) == 130
    assert "finished points are kept in out; the same command goes on from there" in capsys.readouterr().err
    assert os.listdir("out") == ["points.jsonl"]
    kept = Path("out/points.jsonl").read_text()
    assert kept.count("\n") == 1
    assert "4 machines" in succeed(capsys, *command)
    assert Path("out/points.jsonl").read_text().startswith(kept)
