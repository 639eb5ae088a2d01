"""`eightfold quantize`: a float network and samples in, an integer network and what it cost out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eightfold.cli import main
from eightfold.golden.reader import read
from eightfold.golden.writer import save
from eightfold.training.network import NetworkBuilder

from ..sim.test_result import check_types
from ..training.networks import assert_equal_to_litert, chain, samples

LAYER_TYPES = {
    "index": (int,),
    "op": (str,),
    "name": (str,),
    "low": (float,),
    "high": (float,),
    "scale": (float,),
    "zero_point": (int,),
    "weight_sqnr": (
        float,
        type(None),
    ),
    "rounding_sqnr": (
        float,
        type(None),
    ),
    "sqnr": (
        float,
        type(None),
    ),
    "saturated": (float,),
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    graph = chain()
    save(graph, "float.tflite")
    for name, seed in (("data.npz", 1), ("test.npz", 2)):
        data = samples(graph, 12, seed)
        assert data.labels is not None
        np.savez(name, inputs=data.inputs[0], labels=data.labels)


def quantize(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["quantize", "float.tflite", "--calibration", "data.npz", "-o", "int8.tflite", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refuse(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    before = sorted(os.listdir())
    assert main(["quantize", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert sorted(os.listdir()) == before
    assert line.startswith("eightfold: error: ")
    return line.removeprefix("eightfold: error: ")


def test_the_table_tells_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    text = quantize(capsys)
    assert "float: int8, weights per channel, activations asymmetric, ranges minmax" in text
    assert text.count("CONV_2D") == 3
    assert "calibrated on 12 samples, measured on 12" in text
    assert "accuracy:" in text
    assert_equal_to_litert(read("int8.tflite"), samples(chain(), 2))


def test_the_figures_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    value = json.loads(quantize(capsys, "--json", "-", "--test", "test.npz", "--samples", "5"))
    assert value["format"] == "eightfold-quantize/1"
    assert value["model"] == "float"
    assert (value["calibration_samples"], value["measured_samples"]) == (5, 12)
    assert value["quantized_bytes"] == Path("int8.tflite").stat().st_size
    assert value["float_bytes"] == Path("float.tflite").stat().st_size
    assert set(value["accuracy"]) == {"float32", "quantized", "plain"}
    assert value["plain_layers"] is None
    assert len(value["layers"]) == 6
    for layer in value["layers"]:
        check_types(layer, LAYER_TYPES)
    assert value["settings"]["scheme"] == {"dtype": "int8", "per_channel": True, "symmetric": False}


def test_every_option_reaches_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--per-tensor",
        "--symmetric",
        "--ranges",
        "percentile",
        "--percentile",
        "99",
        "--equalize",
        "--bias-correction",
    ]
    value = json.loads(quantize(capsys, *options, "--json", "-"))
    assert value["settings"] == {
        "scheme": {"dtype": "int8", "per_channel": False, "symmetric": True},
        "ranges": "percentile",
        "percentile": 99.0,
        "equalize": True,
        "bias_correction": True,
    }
    assert len(value["plain_layers"]) == 6
    assert value["held"] == [1]
    text = quantize(capsys, *options)
    assert "plain dB" in text
    assert "1 pair of layers equalized; 1 left alone" in text
    assert "without corrections" in text
    value = json.loads(quantize(capsys, "--uint8", "--ranges", "mse", "--json", "-"))
    assert value["settings"]["scheme"] == {"dtype": "uint8", "per_channel": False, "symmetric": False}
    assert read("int8.tflite").inputs[0].dtype == np.uint8


def test_an_interrupt_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("eightfold.training.post_training.calibrate", interrupted)
    before = sorted(os.listdir())
    assert main(["quantize", "float.tflite", "--calibration", "data.npz", "-o", "int8.tflite"]) == 130
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.tflite"], "missing.tflite"),
        (["float.tflite", "--calibration", "missing.npz"], "missing.npz: cannot be read: No such file"),
        (["float.tflite", "--calibration", "float.tflite"], "float.tflite: not an .npz file of arrays"),
        (["float.tflite", "--calibration", "one.npy"], "one.npy: an .npy file with one array"),
        (["float.tflite", "--calibration", "empty.npz"], "empty.npz: there are no samples"),
        (
            ["float.tflite", "--calibration", "pixels.npz"],
            "pixels.npz: input input is uint8; real numbers were expected",
        ),
        (
            ["float.tflite", "--calibration", "turned.npz"],
            "turned.npz: input input is [3, 7, 9, 3]; expected samples of",
        ),
        (["float.tflite", "--calibration", "nan.npz"], "nan.npz: input input is not finite in float32 in sample 1"),
        (["float.tflite", "--calibration", "huge.npz"], "huge.npz: input input is not finite in float32 in sample 0"),
        (["float.tflite", "--calibration", "pickled.npz"], "pickled.npz: not an .npz file of arrays"),
        (["float.tflite", "--calibration", "cut.npz"], "cut.npz: not an .npz file of arrays"),
        (["float.tflite", "--calibration", "hot.npz"], "hot.npz: labels are int64[3, 10]; expected one integer per"),
        (
            ["broken.tflite", "--calibration", "data.npz"],
            "operator 1 (CONV_2D): tensor 4 (conv_2d_1/weights) is a constant that is not finite",
        ),
        (["float.tflite", "--test", "turned.npz"], "turned.npz: input input is [3, 7, 9, 3]"),
        (["float.tflite", "--ranges", "median"], "--ranges is 'median'; one of minmax, percentile, mse was expected"),
        (["float.tflite", "--percentile", "20"], "--percentile is 20; above 50 and at most 100 was expected"),
        (["float.tflite", "--uint8", "--per-channel"], "--uint8 has one scale per tensor"),
        (["float.tflite", "--samples", "0"], "Invalid value for '--samples'"),
        (["float.tflite", "-o", "nowhere/int8.tflite"], "nowhere/int8.tflite cannot be written"),
        (["strange.tflite", "--calibration", "ones.npz"], "operators that cannot be quantized: operator 1 (EXP)"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    good = np.zeros((3, 9, 7, 3), np.float32)
    bad = good.copy()
    bad[1, 2] = np.nan
    np.save("one.npy", good)
    np.savez("empty.npz", inputs=good[:0])
    np.savez("pixels.npz", inputs=good.astype(np.uint8))
    np.savez("turned.npz", inputs=good.transpose(0, 2, 1, 3))
    np.savez("nan.npz", inputs=bad)
    np.savez("huge.npz", inputs=np.full(good.shape, 1e300))
    np.savez("pickled.npz", inputs=np.array([object()]))
    np.savez("hot.npz", inputs=good, labels=np.eye(10, dtype=np.int64)[:3])
    Path("cut.npz").write_bytes(Path("data.npz").read_bytes()[:300])
    broken = chain()
    weights = broken.tensors[broken.operators[1].inputs[1]].data
    assert weights is not None
    weights[0, 0, 0, 0] = np.nan
    save(broken, "broken.tflite")
    np.savez("ones.npz", inputs=np.ones((2, 1, 4), np.float32))
    builder = NetworkBuilder("strange", (1, 4))
    builder.elementwise("RELU")
    builder.elementwise("EXP")
    save(builder.build(), "strange.tflite")
    defaults = [] if "--calibration" in arguments else ["--calibration", "data.npz"]
    defaults += [] if "-o" in arguments else ["-o", "int8.tflite"]
    assert message in refuse(capsys, *arguments, *defaults)


def test_a_quantized_network_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    quantize(capsys)
    text = refuse(capsys, "int8.tflite", "--calibration", "data.npz", "-o", "again.tflite")
    assert "int8: tensor 0 (input) is int8: the network is quantized already" in text
