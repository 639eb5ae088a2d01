"""Float networks that integer networks stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eightfold.cli import main
from eightfold.golden import affine
from eightfold.golden.graph import ModelError
from eightfold.golden.reader import read
from eightfold.golden.runtime import run
from eightfold.golden.writer import write
from eightfold.training.calibration import calibrate
from eightfold.training.dequantization import dequantize
from eightfold.training.quantization import quantize

from ..conftest import SHARED_NETWORKS, shared_models
from ..golden.oracle import LiteRT, Vectors
from .networks import branches, chain, samples

MODELS = Path(__file__).resolve().parents[2] / "models"


@pytest.mark.parametrize("name", [name for name in SHARED_NETWORKS if name != "vad_streaming"])
def test_a_published_network_in_float_approximates_its_integers_and_equals_litert(name: str) -> None:
    graph = read(shared_models() / f"{name}.tflite")
    real = dequantize(graph)
    vectors = Vectors(shared_models() / "vectors" / f"{name}.npz")
    inputs, output = vectors.inputs(0), vectors.outputs(0)[0]
    if (q := graph.inputs[0].quantization) is not None:
        inputs = [affine.dequantize(inputs[0], q)]
    if (q := graph.outputs[0].quantization) is not None:
        output = affine.dequantize(output, q)
    computed = run(real, inputs).outputs[0]
    assert affine.error_statistics(computed, output).sqnr > 12
    np.testing.assert_allclose(
        LiteRT(write(real)).run(inputs)[0], computed, rtol=1e-3, atol=1e-3 * np.abs(computed).max()
    )


def test_quantized_again_from_the_same_ranges_it_is_the_same_network() -> None:
    graph = chain()
    ranges = calibrate(graph, samples(graph))
    quantized = quantize(graph, ranges)
    again = quantize(dequantize(quantized), ranges)
    for a, b in zip(quantized.tensors, again.tensors, strict=True):
        if a.data is not None:
            np.testing.assert_array_equal(a.data, b.data)


def test_conversions_fall_away() -> None:
    graph = quantize(branches(), calibrate(branches(), samples(branches())))
    real = dequantize(graph)
    assert any(operator.kind == "QUANTIZE" for operator in graph.operators)
    assert [o.kind for o in real.operators] == [o.kind for o in branches().operators]
    assert [o.index for o in real.operators] == list(range(len(real.operators)))


def test_what_has_no_float_network_is_refused() -> None:
    with pytest.raises(ModelError, match="small: nothing in it is quantized"):
        dequantize(chain())
    with pytest.raises(ModelError, match="vad_streaming: it keeps state"):
        dequantize(read(shared_models() / "vad_streaming.tflite"))


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "float.tflite"
    assert main(["dequantize", str(MODELS / "digits.tflite"), "-o", str(out)]) == 0
    assert "float32[1, 8, 8, 1] -> float32[1, 10]" in capsys.readouterr().out
    assert read(out).inputs[0].dtype == np.float32
    assert main(["dequantize", str(out), "-o", str(tmp_path / "again.tflite")]) == 2
    assert "nothing in it is quantized" in capsys.readouterr().err
    assert not (tmp_path / "again.tflite").exists()
