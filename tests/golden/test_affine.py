"""Affine quantization: the documents' examples, and what must hold for every range."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.golden import affine
from eightfold.golden.graph import Quantization

FINITE = st.floats(-1e6, 1e6, width=32)
TYPES = st.sampled_from(["int8", "uint8", "int16"])


def test_the_range_from_minus_10_to_30() -> None:
    q = affine.asymmetric(-10.0, 30.0, "uint8")
    real = affine.dequantize(np.array([0, 128, 255], np.uint8), q)
    assert np.abs(real - [-10.0, 10.0, 30.0]).max() <= q.scale[0] / 2
    assert np.round(real, 1).tolist() == [-10.0, 10.0, 30.0]
    assert q.zero_point.tolist() == [64]


def test_the_range_from_minus_1_to_1_has_offset_128() -> None:
    assert affine.asymmetric(-1.0, 1.0, "uint8").zero_point.tolist() == [128]
    assert affine.symmetric(1.0, "uint8").zero_point.tolist() == [128]


def test_the_example_of_the_module() -> None:
    assert doctest.testmod(affine).failed == 0
    assert doctest.testmod(affine).attempted > 0


@given(FINITE, FINITE, TYPES)
def test_zero_is_exact_and_the_ends_are_within_half_a_step(a: float, b: float, dtype: str) -> None:
    low, high = min(a, b), max(a, b)
    q = affine.asymmetric(low, high, dtype)
    limits = np.iinfo(dtype)
    assert limits.min <= q.zero_point[0] <= limits.max
    assert affine.dequantize(affine.quantize([0.0], q, dtype), q) == [0.0]
    reached_low, reached_high = affine.representable(q, dtype)
    slack = float(q.scale[0]) * 0.5 + 1e-4 * (abs(low) + abs(high)) + 1e-30
    assert reached_low[0] <= min(low, 0.0) + slack
    assert reached_high[0] >= max(high, 0.0) - slack


@given(st.lists(FINITE, min_size=1, max_size=20), TYPES, st.booleans())
def test_no_value_in_range_is_off_by_more_than_one_nudged_step(values: list[float], dtype: str, centered: bool) -> None:
    data = np.array(values, np.float32)
    q = affine.of_data(data, dtype, zero_centered=centered)
    error = np.abs(affine.dequantize(affine.quantize(data, q, dtype), q).astype(np.float64) - data)
    # Half a step of rounding, and at the ends up to half a step of nudging.
    assert error.max() <= float(q.scale[0]) * 1.001 + 1e-5 * np.abs(data).max()


@given(st.integers(-128, 127), st.integers(-128, 127), st.floats(1.0, 2.0), st.integers(-100, 100))
def test_quantize_inverts_dequantize(value: int, zero_point: int, significand: float, exponent: int) -> None:
    q = Quantization(np.array([significand * 2.0**exponent], np.float32), np.array([zero_point]))
    assert affine.quantize(affine.dequantize([value], q), q) == [value]


def test_ties_round_away_from_zero_and_large_values_saturate() -> None:
    q = Quantization(np.array([1.0], np.float32), np.array([3]))
    real = [0.5, -0.5, 1.5, -1.5, 2.5, 0.49999997, 200.0, -200.0, np.inf, -np.inf]
    assert affine.quantize(real, q).tolist() == [4, 2, 5, 1, 6, 3, 127, -128, 127, -128]


def test_a_quotient_beyond_float32_saturates() -> None:
    q = Quantization(np.array([1e-30], np.float32), np.array([0]))
    assert affine.quantize([1e30, -1e30], q).tolist() == [127, -128]


def test_symmetric_leaves_the_most_negative_integer_unused() -> None:
    q = affine.symmetric([1.27, 2.54], axis=0)
    np.testing.assert_allclose(q.scale, [0.01, 0.02], rtol=1e-6)
    assert q.zero_point.tolist() == [0, 0]
    assert affine.quantize([[-1.27], [2.54]], q).tolist() == [[-127], [127]]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_slice_along_the_axis_has_its_own_scale(axis: int) -> None:
    data = np.random.default_rng(0).normal(size=(3, 4, 5)) * 10.0 ** np.arange(3 + axis).reshape(
        [-1 if i == axis else 1 for i in range(3)]
    )
    q = affine.of_data(data, axis=axis, zero_centered=True)
    assert q.scale.shape == (data.shape[axis],)
    whole = affine.of_data(data, zero_centered=True)
    assert whole.scale.shape == (1,)

    def sqnr_of_the_smallest_slice(q: Quantization) -> float:
        reference = data.take(0, axis)
        return affine.error_statistics(reference, affine.dequantize(affine.quantize(data, q), q).take(0, axis)).sqnr

    assert sqnr_of_the_smallest_slice(q) > 30 > sqnr_of_the_smallest_slice(whole)


def test_rows_are_axis_0_with_zero_points_of_their_own() -> None:
    q = affine.of_data([[0.0, 255.0], [-128.0, 127.0]], axis=0)
    assert q.scale.tolist() == [1.0, 1.0]
    assert q.zero_point.tolist() == [-128, 0]


def test_nothing_but_zeros_gets_scale_1() -> None:
    q = affine.of_data(np.zeros((2, 3)), axis=0)
    assert q.scale.tolist() == [1.0, 1.0]
    assert affine.quantize(np.zeros((2, 3)), q).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_range_around_the_smallest_floats_stays_finite() -> None:
    q = affine.asymmetric(0.0, 1e-44)
    assert q.scale[0] > 0
    assert np.isfinite(1 / q.scale[0])


def test_error_statistics_of_a_known_error() -> None:
    s = affine.error_statistics([3.0, -4.0, 0.0, 0.0], [3.0, -4.5, 0.0, 0.0], bins=2)
    assert s.sqnr == pytest.approx(20.0)  # 25 / 0.25
    assert (s.maximum, s.mean, s.root_mean_square) == (0.5, -0.125, 0.25)
    assert s.counts.tolist() == [1, 3]
    assert s.edges.tolist() == [-0.5, -0.25, 0.0]


def test_the_ideal_ratio_of_a_uniform_signal() -> None:
    # A full-scale uniform signal in b bits has 6.02 b decibels (Widrow).
    x = np.random.default_rng(1).uniform(-1, 1, 100_000)
    q = affine.asymmetric(-1.0, 1.0)
    assert affine.error_statistics(x, affine.dequantize(affine.quantize(x, q), q)).sqnr == pytest.approx(48.16, abs=0.3)


def test_error_statistics_without_noise_and_without_signal() -> None:
    assert affine.error_statistics([1.0], [1.0]).sqnr == math.inf
    assert affine.error_statistics([0.0], [1.0]).sqnr == -math.inf


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"range is \[2.0, 1.0\]"):
        affine.asymmetric(2.0, 1.0)
    with pytest.raises(ValueError, match=r"range is \[nan, 1.0\]"):
        affine.asymmetric(math.nan, 1.0)
    with pytest.raises(ValueError, match=r"range is \[1.0, -1.0\]"):
        affine.symmetric(-1.0)
    with pytest.raises(ValueError, match=r"shape \(1, 1\)"):
        affine.asymmetric([[0.0]], [[1.0]])
    with pytest.raises(ValueError, match=r"shape \(0,\) have no range"):
        affine.of_data([])
    with pytest.raises(ValueError, match="axis is 2, expected 0 to 1"):
        affine.of_data([[1.0]], axis=2)
    with pytest.raises(ValueError, match="NaNs"):
        affine.quantize([math.nan], affine.symmetric(1.0))
    with pytest.raises(ValueError, match="expected 2 slices along dimension 0"):
        affine.quantize([1.0], affine.symmetric([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"\(1,\) and \(2,\)"):
        affine.error_statistics([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="not finite"):
        affine.error_statistics([1.0], [math.inf])
