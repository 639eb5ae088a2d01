"""Every operator on random models: equal to LiteRT's kernels to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from eightfold.golden.numerics import Profile
from eightfold.golden.runtime import run
from eightfold.golden.writer import write

from .cases import CASES
from .models import random_inputs
from .oracle import LiteRT

SEEDS = 12

# What LiteRT 1.2.0 cannot load or run itself.
REFUSED_BY_THE_ORACLE = {
    ("DEPTH_TO_SPACE-int8", "tflm"),  # its registration stops at version 1
    ("SUM-int8", "tflm"),  # its reference kernel reads int8 as uint8
}


@pytest.mark.parametrize("profile", ["tflm"])
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
