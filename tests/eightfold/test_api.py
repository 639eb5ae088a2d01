"""The public names, as a notebook's user would guess them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import eightfold as ef

MODELS = Path(__file__).parents[2] / "models"


def test_a_network_runs_in_four_lines() -> None:
    graph = ef.load(MODELS / "digits.tflite")
    program = ef.compile(graph, ef.Config.named("16x16"))
    result = ef.run(program, np.zeros(graph.inputs[0].shape, np.int8), backend="commands")
    assert result.bit_exact
    assert result.outputs[0].shape == (1, 10)
    for value in (graph, program, result, program.config):
        assert repr(value).startswith("<")
        assert "\n" not in repr(value)
        assert len(repr(value)) < 200


@pytest.mark.parametrize("name", ef.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(ef, name)
    assert value.__doc__
    assert name in dir(ef)


def test_names_that_do_not_exist_are_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Runner'"):
        ef.Runner  # noqa: B018


def test_errors_have_one_kind_each() -> None:
    errors = {ef.CompileError, ef.ConfigError, ef.MachineError, ef.ModelError, ef.SimulatorError}
    assert all(issubclass(error, Exception) for error in errors)


def test_the_import_is_quick() -> None:
    script = (
        "import sys, eightfold; print([m for m in ('numpy', 'amaranth', 'matplotlib', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
