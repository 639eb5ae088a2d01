"""Transcendental functions in fixed point, as gemmlowp's `fixedpoint.h` computes them.

Raw values are int64 arrays in the range of int32. "Qm.n" has m integer and n = 31 - m fractional bits. Products are
SRDHM, so that Qm.n times Qk.l is Q(m + k).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..numerics import INT32_MAX, INT32_MIN, rounding_divide_by_pot, saturating_rounding_doubling_high_mul

Raw = npt.NDArray[np.int64]

_mul = saturating_rounding_doubling_high_mul

# exp(-2^k) in Q0.31 for k = -2 to 4.
_EXP_OF_MINUS_POWERS = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)


def saturating_shift_left(x: Raw, bits: int) -> Raw:
    """`x * 2^bits`, saturated to int32."""
    saturated: Raw = np.clip(x << bits, INT32_MIN, INT32_MAX)
    return saturated


def _exp_near_zero(a: Raw) -> Raw:
    """exp(a) in Q0.31 for a in [-1/4, 0), Q0.31: a Taylor polynomial of the fourth order around -1/8."""
    x = a + (1 << 28)
    square = _mul(x, x)
    cube = _mul(square, x)
    fourth = _mul(square, square)
    # x^4/24 + x^3/6 + x^2/2 = ((x^4/4 + x^3) / 3 + x^2) / 2
    third = 715827883
    tail = rounding_divide_by_pot(_mul(rounding_divide_by_pot(fourth, 2) + cube, third) + square, 1)
    exp_of_minus_eighth = 1895147668
    return exp_of_minus_eighth + _mul(exp_of_minus_eighth, x + tail)


def exp_on_negative_values(a: Raw, integer_bits: int) -> Raw:
    """exp(a) in Q0.31 for a <= 0 with `integer_bits` integer bits."""
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    low = (a & (quarter - 1)) - quarter
    result = _exp_near_zero(saturating_shift_left(low, integer_bits))
    remainder = low - a
    for power, factor in _EXP_OF_MINUS_POWERS:
        if integer_bits > power:
            bit = 1 << (fraction_bits + power)
            result = np.where(remainder & bit, _mul(result, factor), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (fraction_bits + 5)), 0, result)
    return np.where(a == 0, INT32_MAX, result)


def one_over_one_plus_x(x: Raw) -> Raw:
    """1 / (1 + x) in Q0.31 for x in [0, 1], Q0.31: three steps of Newton's method from 48/17 - 32/17 d."""
    total = x + INT32_MAX
    half_denominator = (total + 1) >> 1
    estimate = 1515870810 + _mul(half_denominator, -1010580540)
    for _ in range(3):
        error = (1 << 29) - _mul(half_denominator, estimate)
        estimate = estimate + saturating_shift_left(_mul(estimate, error), 2)
    # The half of a Q2.29 number is the same raw value in Q1.30.
    return saturating_shift_left(estimate, 1)


def reciprocal(x: Raw, integer_bits: int) -> tuple[Raw, Raw]:
    """`(m, e)` with 1 / x = m * 2^-e, m in Q0.31, for x > 0 with `integer_bits` integer bits."""
    headroom = 31 - np.floor(np.log2(x.astype(np.float64))).astype(np.int64)
    return one_over_one_plus_x((x << headroom) - (1 << 31)), integer_bits - headroom
