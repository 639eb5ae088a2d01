"""Comparisons: where two computations part, and the accumulator that tells why."""

from __future__ import annotations

import numpy as np
import pytest

from eightfold.golden import reader
from eightfold.golden.compare import accumulator_at, compare_profiles, compare_with
from eightfold.golden.graph import ModelError
from eightfold.golden.kernels import Node, requantization_of
from eightfold.golden.litert import LiteRT
from eightfold.golden.numerics import Profile
from eightfold.golden.runtime import run
from eightfold.golden.writer import write

from ..conftest import shared_models
from .cases import CASES
from .models import random_inputs


@pytest.mark.parametrize("name", ["conv_2d-int8", "conv_2d-uint8", "depthwise_conv_2d-int8", "fully_connected-int8"])
@pytest.mark.parametrize("seed", range(6))
def test_accumulators_by_definition_give_the_kernels_outputs(name: str, seed: int) -> None:
    graph = CASES[name](seed)
    (x,) = random_inputs(graph, np.random.default_rng(seed))
    output = run(graph, [x]).outputs[0]
    operator = graph.operators[0]
    requantization = requantization_of(Node.of(operator, graph))
    rng = np.random.default_rng(seed)
    for _ in range(20):
        place = tuple(int(rng.integers(d)) for d in output.shape)
        accumulator = accumulator_at(graph, operator, x, place)
        channel = min(place[-1], requantization.scale.size - 1)
        rounded = requantization.rounded(np.full(requantization.scale.size, accumulator))[channel]
        expected = np.clip(rounded + requantization.zero_point, requantization.minimum, requantization.maximum)
        assert output[place] == expected


def test_a_profile_equals_itself() -> None:
    graph = CASES["conv_2d-int8"](0)
    comparison = compare_profiles(graph, random_inputs(graph, np.random.default_rng(0)), Profile.TFLM, Profile.TFLM)
    assert comparison.equal
    assert all(layer.mismatches == layer.alone == 0 for layer in comparison.layers)


def test_the_first_divergence_of_two_profiles() -> None:
    graph = reader.read(shared_models() / "kws_ref_model.tflite")
    inputs = random_inputs(graph, np.random.default_rng(0))
    comparison = compare_profiles(graph, inputs, Profile.TFLM, Profile.XNNPACK)
    first = comparison.first
    assert first is not None
    assert not comparison.equal
    layer = next(layer for layer in comparison.layers if layer.mismatches)
    assert (layer.index, layer.tensor) == (first.index, first.tensor)
    assert layer.mismatches == layer.alone
    assert layer.largest == 1
    assert first.product is not None
    assert first.left_rounded is not None
    assert first.right_rounded is not None
    # A tie, or nearly one: both sides are within one of the product, on different sides.
    assert abs(first.left_rounded - first.right_rounded) == 1 == abs(first.left - first.right)
    assert abs(first.product - (first.left_rounded + first.right_rounded) / 2) < 2**-6
    assert f"accumulator {first.accumulator}, multiplier {first.multiplier}, shift {first.shift}" in str(first)


def test_a_planted_fault_is_found() -> None:
    graph = CASES["conv_2d-int8"](1)
    inputs = random_inputs(graph, np.random.default_rng(0))
    tensors = dict(run(graph, inputs).tensors)
    output = graph.main.outputs[0]
    wrong = tensors[output].copy()
    place = tuple(d - 1 for d in wrong.shape)
    wrong[place] ^= 5
    tensors[output] = wrong
    comparison = compare_with(graph, inputs, Profile.TFLM, tensors, name="rtl")
    assert comparison.first is not None
    assert comparison.first.position == place
    assert comparison.first.right_rounded is None
    assert comparison.layers[0].mismatches == 1
    assert repr(comparison) == "<Comparison tflm and rtl: 1 of 1 layers differ>"


def test_golden_and_litert() -> None:
    pytest.importorskip("ai_edge_litert")
    graph = CASES["depthwise_conv_2d-int8"](0)
    inputs = random_inputs(graph, np.random.default_rng(0))
    for profile in (Profile.TFLM, Profile.LITERT_OPT):
        other = LiteRT(write(graph), profile).run(graph, inputs)
        assert compare_with(graph, inputs, profile, other.tensors, name="litert").equal


def test_litert_names_what_it_cannot_do() -> None:
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(ModelError, match="does not compute like single; it can follow tflm, litert-opt, xnnpack"):
        LiteRT(b"", Profile.SINGLE)
    with pytest.raises(ModelError, match="LiteRT refuses the model"):
        LiteRT(b"TFL3TFL3TFL3")
    elu = write(CASES["ELU-int8"](0))
    with pytest.raises(ModelError, match="no ELU of version 1 like that of tflm; litert-opt or xnnpack may have one"):
        LiteRT(elu)
    LiteRT(elu, Profile.LITERT_OPT)
