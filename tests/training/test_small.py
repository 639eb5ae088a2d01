"""The small MobileNet that calibration and training are compared on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eightfold.cli import main
from eightfold.golden.reader import read
from eightfold.training import schemes
from eightfold.training.quantization import Scheme
from eightfold.training.samples import samples_of

from .networks import assert_equal_to_litert

pytest.importorskip("torch")
pytest.importorskip("sklearn")


def test_its_files_are_what_the_comparison_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from eightfold.training.qat import small

    monkeypatch.setattr(small, "RESOLUTION", 32)
    small.main(["--out", str(tmp_path), "--shrink", "100"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["float", *small.SCHEMES]
    graph = read(tmp_path / "float.tflite")
    data = {}
    for name, count in (("calibration", small.CALIBRATION_IMAGES), ("test", 360)):
        with np.load(tmp_path / f"{name}.npz") as file:
            data[name] = samples_of(graph, dict(file))
        assert len(data[name]) == count
    for name in small.SCHEMES:
        assert_equal_to_litert(read(tmp_path / f"trained-{name}.tflite"), data["test"].first(1))
    monkeypatch.setattr(schemes, "WAYS", schemes.WAYS[:1])
    few = data["test"].first(6)
    np.savez(tmp_path / "few.npz", inputs=few.inputs[0], labels=few.labels)
    command = ["schemes", str(tmp_path / "float.tflite"), "--calibration", str(tmp_path / "few.npz")]
    trained = [option for name in small.SCHEMES for option in ("--trained", str(tmp_path / f"trained-{name}.tflite"))]
    assert main([*command, "--test", str(tmp_path / "few.npz"), *trained]) == 0
    text = capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if line.startswith("trained-int8-channel")]
    assert line.split()[1:4] == ["channel", "asymmetric", "trained"]
    (line,) = [line for line in text.splitlines() if line.startswith("trained-uint8")]
    assert line.split()[1:4] == ["tensor", "asymmetric", "trained"]


@pytest.mark.parametrize("function", ["RELU", "RELU6"])
def test_a_symmetric_range_does_not_let_negative_numbers_through_a_relu(function: str) -> None:
    import torch

    from eightfold.training.qat.ranges import Activation

    activation = Activation("there", function=function, scheme=Scheme(symmetric=True))
    x = torch.linspace(-8, 8, 101)
    assert activation(x).min() == 0
    assert activation(x).max() == pytest.approx(6 if function == "RELU6" else 8, abs=0.05)
