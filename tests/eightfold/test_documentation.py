"""The site's pages: what the tutorial says runs, what they show is what the simulator shows, none is forgotten."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from eightfold.cli import main
from eightfold.compiler import compile as compile_graph
from eightfold.golden.reader import read
from eightfold.hw.config import Config
from eightfold.reports.array_steps import steps
from eightfold.reports.exploration.space import Space
from eightfold.sim.model import profile

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

SETUP = ("python3 -m venv", ". .venv", "pip install", "eightfold doctor")
"""What makes the environment in which the tests are already."""


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the models, as a clone has it."""
    shutil.copytree(ROOT / "models", tmp_path / "models", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(page: str, language: str) -> list[str]:
    return [line for block in blocks(page, language) for line in block.splitlines()]


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_the_tutorials_commands_run_one_after_the_other(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in commands("tutorial.md", "sh") if not line.startswith(SETUP)]
    assert len(lines) == 8
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "eightfold"
        assert main(arguments) == 0, line
    assert "exact" in capsys.readouterr().out
    for made in ("trace.json", "build/digits/report.html", "build/explore/explore.png"):
        assert (clone / made).is_file()


@pytest.mark.parametrize("page", ["tutorial.md", "new-operator.md", "cycle-model.md", "energy.md", "report.md"])
def test_python_in_pages_runs(page: str, clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for code in blocks(page, "python"):
        exec(compile(code, page, "exec"), {})
    assert capsys.readouterr().out.count("\n") == {"tutorial.md": 3, "new-operator.md": 1}.get(page, 0)


def test_the_commands_of_exploration_run(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid, sample, confirmed = commands("exploration.md", "")
    assert main(shlex.split(grid)[1:]) == 0
    assert "8 machines" in capsys.readouterr().out
    for line in (sample, confirmed):
        assert main([*shlex.split(line)[1:], "--no-such-option"]) == 2
        assert "no-such-option" in capsys.readouterr().err


def test_the_sweep_of_exploration_is_one(tmp_path: Path) -> None:
    (text,) = blocks("exploration.md", "toml")
    (tmp_path / "sweep.toml").write_text(text)
    space = Space.from_toml(tmp_path / "sweep.toml")
    assert (space.combinations, space.size) == (24, 25)


def test_the_array_s_figure_is_what_the_simulation_shows() -> None:
    def content(svg: str) -> list[tuple[str, str]]:
        """Its texts and colours in their order; how curves are written is matplotlib's."""
        return re.findall(r">([^<>\n]+)</text>|fill: (#\w+)", svg)

    assert content((DOCS / "array.svg").read_text(encoding="utf-8")) == content(steps())
    assert ("cycle 15", "") in content(steps())


def test_the_site_has_every_page_once() -> None:
    listed = re.findall(r"^ +- (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in DOCS.glob("*.md"))


def test_the_reference_names_what_exists() -> None:
    from importlib import import_module

    names = re.findall(r"^::: (\S+)\.(\w+)$", (DOCS / "reference.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(names) > 15
    for module, name in names:
        assert getattr(import_module(module), name).__doc__


def test_the_tutorial_describes_the_picture_of_today() -> None:
    """A picture whose description has other cycles is to be made anew with it."""
    told = re.search(r"^!\[The top of the report: ([\d,]+) cycles", (DOCS / "tutorial.md").read_text(), re.MULTILINE)
    assert told is not None
    program = compile_graph(read(ROOT / "models" / "digits.tflite"), Config.named("16x16"))
    assert told[1] == f"{profile(program, 20).cycles:,}"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_the_pictures_of_the_report_are_made_anew_by_one_command(tmp_path: Path) -> None:
    names = re.findall(r"^!\[[^\]]*\]\((report-\w+\.webp)\)", (DOCS / "tutorial.md").read_text(), re.MULTILINE)
    script = ROOT / "benchmarks" / "report_pictures.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, cwd=ROOT, capture_output=True)
    assert (
        sorted(names) == sorted(path.name for path in tmp_path.iterdir()) == ["report-costs.webp", "report-limits.webp"]
    )
    for name in names:
        with Image.open(tmp_path / name) as picture, Image.open(DOCS / name) as kept:
            assert picture.width == kept.width == 1280
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 100  # no empty page
        assert (DOCS / name).stat().st_size < 150_000
