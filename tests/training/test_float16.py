"""Networks whose weights are float16 constants behind DEQUANTIZE operators."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eightfold.cli import main
from eightfold.golden.graph import Graph, ModelError, Operator
from eightfold.golden.reader import read
from eightfold.golden.runtime import run
from eightfold.golden.writer import save, write
from eightfold.training.calibration import calibrate
from eightfold.training.float16 import widened
from eightfold.training.post_training import quantize_after_training
from eightfold.training.quantization import quantize
from eightfold.training.schemes import compare_schemes

from ..golden.oracle import LiteRT
from .networks import assert_equal_to_litert, branches, chain, samples


def halved(graph: Graph) -> Graph:
    """As TensorFlow Lite's converter does it: float16 constants, and operators that widen them, before all others."""
    tensors, widening = list(graph.tensors), []
    for tensor in graph.tensors:
        if tensor.data is not None and tensor.dtype == np.float32:
            half = replace(tensor, index=len(tensors), dtype=np.dtype(np.float16), data=tensor.data.astype(np.float16))
            tensors[tensor.index] = replace(tensor, name=f"{tensor.name}/wide", data=None)
            tensors.append(half)
            widening.append(Operator(0, "DEQUANTIZE", (half.index,), (tensor.index,)))
    operators = tuple(replace(o, index=number) for number, o in enumerate((*widening, *graph.operators)))
    return replace(graph, subgraphs=(replace(graph.main, tensors=tuple(tensors), operators=operators),))


@pytest.mark.parametrize("graph", [chain(), branches()], ids=lambda graph: graph.name)
def test_a_network_with_wide_constants_computes_the_same(graph: Graph) -> None:
    half = halved(graph)
    wide = widened(half)
    assert [o.kind for o in wide.operators] == [o.kind for o in graph.operators]
    assert {t.dtype.name for t in wide.tensors} <= {"float32", "int32"}
    assert len(wide.tensors) == len(graph.tensors)
    for feed in samples(graph, 2).feeds(graph):
        np.testing.assert_array_equal(run(wide, feed).outputs[0], run(half, feed).outputs[0])
        oracle = LiteRT(write(half))
        oracle.run(feed)
        np.testing.assert_allclose(
            run(wide, feed).outputs[0], oracle.tensor(half.main.outputs[0]), rtol=1e-5, atol=1e-6
        )


def test_a_network_without_is_returned_as_it_is() -> None:
    graph = chain()
    assert widened(graph) is graph


def test_it_is_quantized_as_the_float32_network_of_these_weights() -> None:
    half = halved(chain())
    wide, data = widened(half), samples(half, 4)
    expected = quantize_after_training(wide, data)
    result = quantize_after_training(half, data)
    assert write(result.graph) == write(expected.graph)
    assert result.measurement.float_bytes == len(write(half)) < len(write(wide))
    # Numbers of tensors would not fit ranges of the other graph.
    with pytest.raises(ModelError, match="float16 constants behind DEQUANTIZE operators would do"):
        quantize(half, calibrate(half, data))
    assert_equal_to_litert(result.graph, data.first(2))


def test_the_comparison_of_schemes_calls_it_by_its_type() -> None:
    half = halved(chain())
    ways = compare_schemes(half, samples(half, 2), samples(half, 2)).ways
    assert (ways[0].name, ways[0].bytes) == ("float16", len(write(half)))


def test_the_command_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = halved(chain())
    save(half, tmp_path / "half.tflite")
    np.savez(tmp_path / "data.npz", inputs=samples(half, 3).inputs[0])
    options = ["--calibration", str(tmp_path / "data.npz"), "-o", str(tmp_path / "int8.tflite")]
    assert main(["quantize", str(tmp_path / "half.tflite"), *options]) == 0
    assert "half: int8, weights per channel" in capsys.readouterr().out
    assert read(tmp_path / "int8.tflite").inputs[0].dtype == np.int8


def test_a_weight_beyond_float16_is_an_infinity_and_refused() -> None:
    graph = chain()
    weights = graph.tensors[graph.operators[0].inputs[1]].data
    assert weights is not None
    with np.errstate(over="ignore"):
        weights[0, 0, 0, 0] = 1e5
        half = halved(graph)
    with pytest.raises(ModelError, match="not finite"):
        quantize_after_training(half, samples(graph, 2))


def test_activations_of_float16_are_refused() -> None:
    graph = chain()
    tensors = tuple(
        replace(t, dtype=np.dtype(np.float16)) if t.index == graph.operators[0].outputs[0] else t for t in graph.tensors
    )
    with pytest.raises(ModelError, match="float16"):
        quantize(replace(graph, subgraphs=(replace(graph.main, tensors=tensors),)), {})
