"""The comparison of ways to quantize one network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from eightfold.cli import main
from eightfold.golden.numerics import Profile
from eightfold.golden.reader import read
from eightfold.golden.writer import write
from eightfold.reports.quantization import schemes_report
from eightfold.training import schemes
from eightfold.training.calibration import calibrate
from eightfold.training.dequantization import dequantize
from eightfold.training.evaluation import accuracy
from eightfold.training.measurement import measure
from eightfold.training.quantization import INT8, LEGACY, Scheme, quantize
from eightfold.training.samples import samples_of

from .networks import chain, samples

MODELS = Path(__file__).resolve().parents[2] / "models"


def test_every_way_and_every_profile_is_a_row() -> None:
    graph = chain()
    data, test = samples(graph, 4), samples(graph, 6, seed=3)
    network = quantize(graph, calibrate(graph, data))
    calls: list[tuple[int, int]] = []
    found = schemes.compare_schemes(graph, data, test, {"other": network}, report=lambda *call: calls.append(call))
    assert calls == [(i + 1, len(found.ways)) for i in range(len(found.ways))]
    names = [way.name for way in found.ways]
    assert names == ["float32", *["int8"] * 10, "uint8", "other", *["int8"] * 4]
    assert [way.profile for way in found.ways[-4:]] == [p.value for p in Profile if p is not Profile.TFLM]
    assert (found.ways[0].accuracy, found.ways[0].bytes) == (accuracy(graph, test), len(write(graph)))
    plain, other = found.ways[1], found.ways[12]
    assert (plain.accuracy, plain.bytes) == (other.accuracy, other.bytes)
    assert other.sqnr is None
    for way in found.ways[1:12]:
        assert way.sqnr is not None
        assert 10 < way.sqnr < 60
    json.loads(json.dumps(found.to_json()))


def test_without_labels_there_is_agreement_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemes, "WAYS", schemes.WAYS[:1])
    graph = chain()
    data = replace(samples(graph, 2), labels=None)
    found = schemes.compare_schemes(graph, data, data, {"other": quantize(graph, calibrate(graph, data))})
    assert {way.accuracy for way in found.ways} == {None}
    assert found.ways[1].agreement in (0, 0.5, 1)
    console = Console(width=120)
    with console.capture() as capture:
        console.print(schemes_report(found))
    assert "as float" in capture.get()
    assert "accuracy" not in capture.get()


@pytest.mark.parametrize(
    "scheme", [INT8, Scheme(per_channel=False), Scheme(symmetric=True), LEGACY], ids=lambda scheme: str(scheme)
)
def test_the_scheme_of_a_network_is_seen(scheme: Scheme) -> None:
    graph = chain()
    assert schemes.scheme_of(quantize(graph, calibrate(graph, samples(graph, 2)), scheme)) == scheme
    assert schemes.scheme_of(graph) is None


def test_noise_is_that_of_the_last_layer_even_where_its_weights_are_exact() -> None:
    graph = dequantize(quantize(chain(), calibrate(chain(), samples(chain(), 4))))
    data = samples(graph, 4)
    rows = schemes._ways(graph, data, data, {})
    assert next(rows).name == "float32"
    plain = next(rows)
    last = measure(graph, quantize(graph, calibrate(graph, data)), data).layers[4]
    assert (last.op, last.weight_sqnr) == ("FULLY_CONNECTED", None)
    assert plain.sqnr == last.sqnr


def test_the_command_shows_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemes, "WAYS", schemes.WAYS[:1])
    float_model, int8 = (str(MODELS / name) for name in ("digits_float.tflite", "digits.tflite"))
    data = str(tmp_path / "few.npz")
    with np.load(MODELS / "digits.npz") as file:
        np.savez(data, inputs=file["inputs"][:20], labels=file["labels"][:20])
    command = ["schemes", float_model, "--calibration", data, "--test", data, "--trained", int8]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "digits_float: 20 samples, calibrated on 20" in text
    for word in ("float32", "digits ", "trained", "per channel", "xnnpack", "100.00%", "90,128"):
        assert word.replace("per ", "") in text
    assert main([*command, "--json", "-"]) == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert value["format"] == "eightfold-schemes/1"
    assert len(value["ways"]) == 1 + 1 + 1 + 4


def test_the_committed_network_is_what_the_committed_float_network_becomes() -> None:
    graph = read(MODELS / "digits_float.tflite")
    with np.load(MODELS / "digits_calibration.npz") as file:
        data = samples_of(graph, dict(file))
    committed, quantized = read(MODELS / "digits.tflite"), quantize(graph, calibrate(graph, data), INT8)
    assert len(committed.tensors) == len(quantized.tensors)
    for a, b in zip(committed.tensors, quantized.tensors, strict=True):
        assert (a.name, a.shape, a.dtype) == (b.name, b.shape, b.dtype)
        if a.data is not None and a.dtype == np.int8:
            np.testing.assert_array_equal(a.data, b.data)
        if a.quantization is not None and b.quantization is not None:
            # Ranges are sums of float32, whose order depends on the processor.
            np.testing.assert_allclose(a.quantization.scale, b.quantization.scale, rtol=1e-6)
            np.testing.assert_array_equal(a.quantization.zero_point, b.quantization.zero_point)
