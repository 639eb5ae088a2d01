"""The README's code runs, its files exist, its commands are understood."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import eightfold as ef
from eightfold.cli import main
from eightfold.hw.config import Config
from eightfold.reports.table import run_report

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_the_python_example_runs_and_prints_what_it_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    result, digit, *layers = capsys.readouterr().out.splitlines()
    assert digit == "7 7"
    assert re.fullmatch(
        r"<RunResult digits on 16x16 \(icarus\): 7 layers, 333,376 MACs, [\d,]+ cycles, "
        r"[\d.]+% of the array, bit exact>",
        result,
    )
    assert len(layers) == 7


def test_its_figures_are_those_of_the_machine() -> None:
    program = ef.compile(ef.load(ROOT / "models" / "digits.tflite"), Config.named("16x16"))
    with np.load(ROOT / "models" / "digits.npz") as file:
        # The cycle model's figures are the RTL's; that the RTL is exact is tested elsewhere.
        result = ef.run(program, file["images"][:1], backend="model")
    layers = tuple(replace(layer, mismatches=0) for layer in result.layers)
    result = replace(result, backend="icarus", layers=layers)
    console = Console(width=120, no_color=True, highlight=False)
    with console.capture() as capture:
        console.print(run_report(result))
    report = [line.rstrip() for line in capture.get().splitlines()]
    for line in filter(None, report):
        assert line in README.splitlines()
    assert f"{8 * (result.cycles or 0):,} cycles simulated" in README
    assert repr(result) in README


def test_the_configuration_example_is_one(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    (tmp_path / "wide.toml").write_text(text)
    config = Config.from_toml(tmp_path / "wide.toml")
    assert (config.rows, config.columns, config.bus_bytes) == (16, 32, 16)


def test_links_lead_to_files() -> None:
    pages = [ROOT / "README.md", ROOT / "models" / "README.md", *(ROOT / "docs").glob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))]
    files = [(page, link) for page, link in links if "://" not in link]
    assert len(files) > 10
    for page, link in files:
        assert (page.parent / link).exists(), f"{page}: {link}"


def test_the_commands_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for block in blocks("") for line in block.splitlines() if line.startswith("eightfold ")]
    assert len(lines) >= 7
    for line in lines:
        command, *arguments = shlex.split(line, comments=True)[1:]
        options = {argument for argument in arguments if argument.startswith("--")}
        assert main([command, "--help"]) == 0
        text = capsys.readouterr().out
        assert all(option in text for option in options), line
        assert all((ROOT / a).exists() for a in arguments if a.startswith("models/")), line
