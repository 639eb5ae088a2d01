"""What docs/quantization.md shows and says holds."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from eightfold.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "quantization.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"-?\d[\d,]*\.?\d*")


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


@pytest.fixture(autouse=True)
def in_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", ["quantize", "schemes"])
def test_a_command_prints_what_the_page_shows(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = blocks("")
    (number,) = [i for i, block in enumerate(text) if block.startswith(f"eightfold {command} ")]
    assert main(shlex.split(text[number].splitlines()[0])[1:]) == 0
    printed, shown = capsys.readouterr().out.split(), text[number + 1].split()
    assert len(printed) == len(shown)
    for got, wanted in zip(printed, shown, strict=True):
        if not NUMBER.match(wanted):
            assert got == wanted
            continue
        figures = [float(NUMBER.match(word)[0].replace(",", "")) for word in (got, wanted)]  # type: ignore[index]
        # Sums of floats depend on the processor in their last bits; an image may change its class.
        assert figures[0] == pytest.approx(figures[1], rel=0.01, abs=0.3)


def test_the_example_in_python_runs() -> None:
    names: dict[str, object] = {"np": np}
    (_, example) = blocks("python")
    exec(compile(example, "quantization.md", "exec"), names)
    assert Path("int8.tflite").stat().st_size < 30_000


def test_every_option_is_one_that_the_command_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quantize", "--help"]) == 0
    text = capsys.readouterr().out
    table = PAGE.split("## What is done")[1].split("###")[0]
    options = set(re.findall(r"`(--[a-z0-9-]+)", table))
    assert len(options) >= 8
    for option in options:
        assert option in text
