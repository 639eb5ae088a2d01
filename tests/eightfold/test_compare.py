"""`eightfold compare`: two computations of the digits network, layer by layer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eightfold.cli import main

DIGITS = str(Path(__file__).resolve().parents[2] / "models" / "digits.tflite")


def test_two_profiles_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", DIGITS, "--profiles", "tflm,xnnpack", "--input", "random:3"]) == 0
    text = capsys.readouterr().out
    assert "digits: tflm and xnnpack" in text
    assert "CONV_2D" in text


def test_two_profiles_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", DIGITS, "--profiles", "tflm,tflm", "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["format"], result["model"], result["equal"], result["first"]) == (
        "eightfold-compare/1",
        "digits",
        True,
        None,
    )
    assert {layer["mismatches"] for layer in result["layers"]} == {0}


def test_golden_and_litert(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ai_edge_litert")
    assert main(["compare", DIGITS, "--oracle", "litert"]) == 0
    assert "all equal" in capsys.readouterr().out


def test_a_dump_with_a_wrong_element(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump = tmp_path / "run.npz"
    assert main(["run", DIGITS, "--backend", "golden", "--dump", str(dump), "--json", "-"]) == 0
    with np.load(dump) as file:
        tensors = dict(file)
    operator_output = json.loads(_inspection(capsys))["operators"][0]["outputs"][0]
    tensors[f"tensor{operator_output}"].reshape(-1)[7] ^= 1
    np.savez(dump, **tensors)
    assert main(["compare", DIGITS, "--dump", str(dump), "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["layers"][0]["mismatches"] == 1
    assert result["first"]["index"] == 0
    assert result["first"]["accumulator"] is not None


def _inspection(capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["inspect", DIGITS, "--json", "-"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profiles", "tflm"], "two profiles, or one with either --oracle or --dump, were expected"),
        (["--profiles", "tflm,fast"], "--profiles is 'fast'; one of tflm, litert-ref"),
        (["--oracle", "onnx"], "--oracle is 'onnx'; litert was expected"),
        (["--dump", "missing.npz"], "missing.npz: cannot be read"),
        (["--dump", DIGITS], "not an .npz file of arrays"),
    ],
)
def test_what_cannot_be_compared(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", DIGITS, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_inspect_tells_how_wide_accumulators_get(capsys: pytest.CaptureFixture[str]) -> None:
    bounds = [operator["accumulator_bound"] for operator in json.loads(_inspection(capsys))["operators"]]
    assert bounds[0] is not None
    assert 0 < bounds[0] < 2**31
