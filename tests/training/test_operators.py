"""Each operator by itself: quantized to what LiteRT computes, or refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eightfold.golden.graph import Graph, ModelError
from eightfold.golden.writer import write
from eightfold.training.calibration import calibrate
from eightfold.training.evaluation import quantized_inputs
from eightfold.training.quantization import LAYERS, quantize

from ..golden.cases import CASES
from ..golden.oracle import LiteRT
from .networks import assert_equal_to_litert, normal, samples

REFUSED = ("CAST", "DEQUANTIZE", "QUANTIZE", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM")

REFUSED_BY_THE_ORACLE = {
    "DEPTH_TO_SPACE-int8",
    "ELU-int8",
    "SUM-int8",  # its reference kernel reads int8 as uint8
    "masked_slice-int8",
    "reverse-int8",
    "tile-int8",
}


def in_float(graph: Graph, seed: int) -> Graph:
    """A network of one int8 operator on real numbers."""
    random = np.random.default_rng(seed)
    layers = [(operator.inputs, LAYERS[operator.kind].bias) for operator in graph.operators if operator.kind in LAYERS]
    biases = [inputs[bias] for inputs, bias in layers if len(inputs) > bias]
    tensors = []
    for tensor in graph.tensors:
        if tensor.dtype == np.int8 or tensor.index in biases or tensor.quantization is not None:
            data = None if tensor.data is None else normal(random, *tensor.shape)
            tensor = replace(tensor, dtype=np.dtype(np.float32), quantization=None, data=data)
        tensors.append(tensor)
    return replace(graph, subgraphs=(replace(graph.main, tensors=tuple(tensors)),))


# Conditions cannot be calibrated on real numbers.
OTHERS = ("SELECT-int8", "SELECT_V2-int8")


@pytest.mark.parametrize("name", sorted(name for name in CASES if name.endswith("-int8") and name not in OTHERS))
def test_an_operator_is_quantized_to_what_litert_computes_or_refused(name: str) -> None:
    if name in REFUSED_BY_THE_ORACLE:
        pytest.skip("LiteRT 1.2.0 refuses this operator, or computes something else")
    compared = refused = 0
    for seed in range(6):
        graph = in_float(CASES[name](seed), seed)
        data = samples(graph, 8, seed)
        if any(operator.kind in REFUSED for operator in graph.operators):
            with pytest.raises(ModelError):
                quantize(graph, {})
            refused += 1
            continue
        quantized = quantize(graph, calibrate(graph, data))
        try:
            LiteRT(write(quantized)).run(quantized_inputs(quantized, next(data.feeds(graph))))
        except (RuntimeError, ValueError):
            continue
        assert_equal_to_litert(quantized, data.first(2))
        compared += 1
    assert compared >= 3 or refused == 6
