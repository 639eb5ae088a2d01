"""The README's commands run, one after the other, in a folder with the models: as they stand, or by the cycle model."""

from __future__ import annotations

import re
import shlex
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from eightfold.cli import main

ROOT = Path(__file__).parents[2]

ELSEWHERE = ("--waves", "--sharded", "verilator", "synth", "export")
"""In commands that take long: their options are understood here, and what they do is tested elsewhere."""


def commands() -> list[str]:
    """The lines of the README that call the command line."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("eightfold ")]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "models", folder / "models", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    np.save(folder / "image.npy", np.load(ROOT / "models" / "digits.npz")["images"][:1])
    return folder


def test_there_are_commands() -> None:
    assert len(commands()) > 12
    assert all(any(word in command for command in commands()) for word in ELSEWHERE)


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_runs(
    command: str, clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clone)
    _, *arguments = shlex.split(command, comments=True)
    if any(word in command for word in ELSEWHERE):
        # What is misspelt is found before anything is done.
        assert main([*arguments, "--no-such-option"]) == 2
        assert capsys.readouterr().err == "eightfold: error: No such option: --no-such-option\n"
        return
    if arguments[0] == "run" and "--backend" not in arguments:
        arguments += ["--backend", "model"]  # the RTL has the same layers and cycles
    assert main(arguments) == 0
    made = [clone / name for option, name in pairwise(arguments) if option in ("--out", "-o")]
    assert all(place.exists() for place in made)
    assert capsys.readouterr().out or made
