"""Every operator on random models: equal to LiteRT's kernels to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eightfold.golden.graph import Graph
from eightfold.golden.numerics import Profile
from eightfold.golden.runtime import Session, run
from eightfold.golden.writer import write

from .cases import CASES
from .models import random_inputs
from .oracle import LiteRT

SEEDS = 12

# What LiteRT 1.2.0 cannot load or run itself.
REFUSED_BY_THE_ORACLE = {
    ("DEPTH_TO_SPACE-int8", "tflm"),  # its registration stops at version 1
    ("ELU-int8", "tflm"),
    ("SUM-int8", "tflm"),  # its reference kernel reads int8 as uint8
    ("masked_slice-float32", "tflm"),
    ("masked_slice-int8", "tflm"),
    ("reverse-int8", "tflm"),
    ("tile-int8", "tflm"),
}


@pytest.mark.parametrize("profile", ["tflm", "litert-opt", "xnnpack"])
@pytest.mark.parametrize("name", sorted(CASES))
def test_operator_equals_the_oracle(name: str, profile: str) -> None:
    if (name, profile) in REFUSED_BY_THE_ORACLE:
        pytest.skip("LiteRT 1.2.0 refuses this operator")
    compared = 0
    for seed in range(SEEDS):
        graph = CASES[name](seed)
        inputs = random_inputs(graph, np.random.default_rng(seed))
        try:
            expected = LiteRT(write(graph), profile).run(inputs)
        except (RuntimeError, ValueError):
            continue
        compared += 1
        for got, wanted in zip(run(graph, inputs, Profile(profile)).outputs, expected, strict=True):
            assert got.dtype == wanted.dtype
            assert got.shape == wanted.shape, f"seed {seed}"
            assert np.array_equal(got, wanted), f"seed {seed}: {np.sum(got != wanted)} of {got.size} differ"
    assert compared >= SEEDS // 3


@pytest.mark.parametrize("name", ["svdf-int8", "lstm-int8"])
def test_state_of_an_operator_passes_from_call_to_call(name: str) -> None:
    for seed in range(6):
        graph = CASES[name](seed)
        session, oracle = Session(graph), LiteRT(write(graph))
        rng = np.random.default_rng(seed)
        for _ in range(12):
            inputs = random_inputs(graph, rng)
            assert np.array_equal(session.run(inputs).outputs[0], oracle.run(inputs)[0])


def real(name: str, seed: int) -> Graph:
    """A case for int8 with every tensor as real numbers."""
    graph = CASES[f"{name}-int8"](seed)
    rng = np.random.default_rng(seed)
    tensors = []
    for tensor in graph.tensors:
        if tensor.dtype.kind == "i" and tensor.quantization is None:
            tensors.append(tensor)  # shapes and the like
            continue
        data = None if tensor.data is None else rng.normal(size=tensor.shape).astype(np.float32)
        tensors.append(replace(tensor, dtype=np.dtype(np.float32), quantization=None, data=data))
    return replace(graph, subgraphs=(replace(graph.main, tensors=tuple(tensors)),))


REAL = [
    "conv_2d",
    "depthwise_conv_2d",
    "fully_connected",
    "ADD",
    "SUB",
    "MUL",
    "AVERAGE_POOL_2D",
    "MAX_POOL_2D",
    "softmax",
]
REAL += ["LOGISTIC", "TANH", "RELU", "RELU6", "leaky_relu", "hard_swish", "MAXIMUM", "l2_normalization", "log_softmax"]
REAL += ["transpose_conv"]


@pytest.mark.parametrize("name", REAL)
def test_float32_islands_agree_with_the_oracle(name: str) -> None:
    compared = 0
    for seed in range(SEEDS):
        graph = real(name, seed)
        inputs = random_inputs(graph, np.random.default_rng(seed))
        try:
            expected = LiteRT(write(graph)).run(inputs)
        except (RuntimeError, ValueError):
            continue
        compared += 1
        for got, wanted in zip(run(graph, inputs).outputs, expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)
    assert compared >= SEEDS // 3
