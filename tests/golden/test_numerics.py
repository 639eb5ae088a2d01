"""The arithmetic, against definitions that are exact because they are written with fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.golden.numerics import (
    INT32_MAX,
    INT32_MIN,
    Profile,
    Requantization,
    Rounding,
    activation_bounds,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    round_half_away,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)

int32 = st.integers(INT32_MIN, INT32_MAX) | st.sampled_from([INT32_MIN, INT32_MIN + 1, -1, 0, 1, INT32_MAX])
multipliers = st.integers(2**30, INT32_MAX)


def truncated(x: Fraction) -> int:
    """Division as C does it."""
    return math.trunc(x)


def away(x: Fraction) -> int:
    """Nearest, ties away from zero."""
    return int(math.copysign(math.floor(abs(x) + Fraction(1, 2)), x)) if x else 0


def up(x: Fraction) -> int:
    """Nearest, ties up."""
    return math.floor(x + Fraction(1, 2))


@given(int32, int32)
def test_srdhm_is_gemmlowps(a: int, b: int) -> None:
    nudge = 2**30 if a * b >= 0 else 1 - 2**30
    expected = INT32_MAX if a == b == INT32_MIN else truncated(Fraction(a * b + nudge, 2**31))
    assert saturating_rounding_doubling_high_mul(a, b) == expected


@given(int32, st.integers(0, 31))
def test_rdbpot_rounds_ties_away_from_zero(x: int, exponent: int) -> None:
    assert rounding_divide_by_pot(x, exponent) == away(Fraction(x, 2**exponent))


@given(int32, multipliers, st.integers(-31, 0))
def test_double_rounding_rounds_twice(x: int, q: int, s: int) -> None:
    high = up(Fraction(x * q, 2**31))
    assert multiply_by_quantized_multiplier(x, q, s) == away(Fraction(high, 2**-s))
    assert multiply_by_quantized_multiplier(x, q, s, rounding=Rounding.DOUBLE_UP) == up(Fraction(high, 2**-s))


@given(int32, multipliers, st.integers(-31, 30))
def test_single_rounding_rounds_the_exact_product(x: int, q: int, s: int) -> None:
    exact = Fraction(x * q) * Fraction(2) ** (s - 31)
    assert multiply_by_quantized_multiplier(x, q, s, rounding=Rounding.SINGLE) == up(exact)


@given(st.integers(-(2**15), 2**15), multipliers, st.integers(1, 15))
def test_a_left_shift_comes_before_the_product(x: int, q: int, s: int) -> None:
    assert multiply_by_quantized_multiplier(x, q, s) == up(Fraction((x << s) * q, 2**31))


@given(st.integers(-(2**47), 2**47 - 1), multipliers, st.integers(-31, 7))
def test_reduced_multipliers_take_48_bit_accumulators(x: int, q: int, s: int) -> None:
    reduced = (q + 2**15) >> 16 if q < 0x7FFF0000 else 0x7FFF
    expected = up(Fraction(x * reduced) * Fraction(2) ** (s - 15))
    assert multiply_by_quantized_multiplier(x, q, s, rounding=Rounding.REDUCED) == expected


@given(st.floats(2.0**-31, 2.0**29))
def test_a_quantized_multiplier_is_within_half_a_unit(multiplier: float) -> None:
    q, s = quantize_multiplier(multiplier)
    assert 2**30 <= q < 2**31
    assert abs(Fraction(q) * Fraction(2) ** (s - 31) - Fraction(multiplier)) <= Fraction(2) ** (s - 32)


@pytest.mark.parametrize(
    ("multiplier", "expected"),
    [
        (0.0, (0, 0)),
        (0.5, (2**30, 0)),
        (1.0, (2**30, 1)),
        (1 - 2.0**-40, (2**30, 1)),  # rounds up to 2^31, which is halved
        (2.0**-32, (2**30, -31)),
        (2.0**-33, (0, 0)),
        (1.5 * 2.0**-20, (3 * 2**29, -19)),
    ],
)
def test_multipliers_at_the_edges(multiplier: float, expected: tuple[int, int]) -> None:
    assert quantize_multiplier(multiplier) == expected


def test_single_rounding_limits_the_shift() -> None:
    assert quantize_multiplier(2.0**40, rounding=Rounding.SINGLE) == (INT32_MAX, 30)


@pytest.mark.parametrize("multiplier", [-1.0, math.inf, math.nan])
def test_multipliers_that_are_none(multiplier: float) -> None:
    with pytest.raises(ValueError, match="multiplier is"):
        quantize_multiplier(multiplier)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("NONE", (-128, 127)), ("RELU", (-28, 127)), ("RELU6", (-28, 32)), ("RELU_N1_TO_1", (-38, -18))],
)
def test_activation_bounds(activation: str, expected: tuple[int, int]) -> None:
    assert activation_bounds(activation, 0.1, -28, np.int8) == expected


def test_activation_bounds_of_a_tiny_scale_do_not_overflow() -> None:
    assert activation_bounds("RELU6", 1e-30, 0, np.int8) == (0, 127)


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="TANH"):
        activation_bounds("TANH", 0.1, 0, np.int8)


@given(st.floats(-1e9, 1e9))
def test_round_half_away(x: float) -> None:
    assert round_half_away(np.float64(x)) == away(Fraction(x))


def test_round_half_away_just_below_a_tie() -> None:
    assert round_half_away(np.float64(0.49999999999999994)) == 0


@given(st.lists(int32, min_size=6, max_size=6), st.sampled_from(list(Rounding)), st.data())
def test_requantization_is_multiply_add_clamp(values: list[int], rounding: Rounding, data: st.DataObject) -> None:
    scales = data.draw(st.lists(st.floats(2.0**-20, 0.99), min_size=3, max_size=3))
    requantization = Requantization.of(scales, zero_point=3, minimum=-100, maximum=120, rounding=rounding)
    accumulator = np.array(values, np.int32).reshape(2, 3)
    result = requantization.apply(accumulator, np.int8)
    assert result.dtype == np.int8
    for row, values_of_row in zip(result, accumulator, strict=True):
        for channel, acc in enumerate(values_of_row):
            alone = Requantization.of(scales[channel], zero_point=3, minimum=-100, maximum=120, rounding=rounding)
            assert row[channel] == min(max(int(alone.rounded(acc.reshape(1))[0]) + 3, -100), 120)
            # No rounding is further than one from the real product (float32 has 24 bits).
            real = min(max(float(acc) * scales[channel] + 3, -100), 120)
            assert abs(float(row[channel]) - real) <= 1


def test_large_blocks_and_small_ones_agree() -> None:
    rng = np.random.default_rng(0)
    accumulator = rng.integers(-(2**20), 2**20, (3000, 17))
    requantization = Requantization.of(rng.uniform(1e-5, 1e-3, 17), zero_point=-5, minimum=-128, maximum=127)
    rows = np.stack([requantization.apply(row, np.int8) for row in accumulator])
    assert np.array_equal(requantization.apply(accumulator, np.int8), rows)


def test_profiles_differ_where_runtimes_do() -> None:
    assert Profile.LITERT_REF.convolution_rounding is Rounding.DOUBLE
    assert Profile.LITERT_REF.dense_rounding is Rounding.FLOAT64
    assert Profile("tflm").dense_rounding is Rounding.DOUBLE


NEAR_TIES = [2.0**-1, 2.0**-3, 2.0**-9, 3 * 2.0**-8, 0.9999 * 2.0**-4, 1.00001 * 2.0**-6, 0.00731, 0.31]


@pytest.mark.parametrize("rounding", [r for r in Rounding if r is not Rounding.REDUCED])
def test_float_accumulators_give_the_same_bits_as_integers(rounding: Rounding) -> None:
    rng = np.random.default_rng(0)
    accumulators = np.concatenate([np.arange(-3000, 3000), rng.integers(-(2**24), 2**24, 4000)])
    accumulator = np.repeat(accumulators[:, None], len(NEAR_TIES), axis=1)
    bias = rng.integers(-5, 6, len(NEAR_TIES))
    accumulator -= bias  # so that sums stay within 2^24
    for zero_point, minimum, maximum in ((0, -128, 127), (128, 0, 255), (-128, -128, -20)):
        requantization = Requantization.of(
            NEAR_TIES, zero_point=zero_point, minimum=minimum, maximum=maximum, rounding=rounding
        )
        dtype = np.uint8 if maximum == 255 else np.int8
        exact = requantization.apply(accumulator, dtype, bias=bias)
        assert np.array_equal(requantization.apply(accumulator.astype(np.float32), dtype, bias=bias), exact)
        by_definition = np.clip(requantization.rounded(accumulator + bias) + zero_point, minimum, maximum)
        assert np.array_equal(exact, by_definition)


@given(st.floats(2.0**-30, 0.999), st.lists(st.integers(-(2**24), 2**24), min_size=1, max_size=40), st.data())
def test_float_accumulators_for_any_multiplier(scale: float, values: list[int], data: st.DataObject) -> None:
    rounding = data.draw(st.sampled_from([r for r in Rounding if r is not Rounding.REDUCED]))
    requantization = Requantization.of(scale, zero_point=7, minimum=-128, maximum=127, rounding=rounding)
    accumulator = np.array(values)[:, None]
    fast = requantization.apply(accumulator.astype(np.float32), np.int8)
    assert np.array_equal(fast, requantization.apply(accumulator, np.int8))
