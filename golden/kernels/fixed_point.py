"""Transcendental functions in fixed point, as gemmlowp's `fixedpoint.h` computes them.

Raw values are int64 arrays in the range of int32, or of int16 where `bits` is 16. "Qm.n" has m integer and n fractional
bits, m + n = 31 (15). Products are rounding doubling high products, so that Qm.n times Qk.l is Q(m + k). The constants
of the 16-bit functions are those of the 32-bit ones, rounded.
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


def saturating_shift_left(x: Raw, shift: int | Raw, bits: int = 32) -> Raw:
    """`x * 2^shift`, saturated."""
    return _saturated(x << shift, bits)


def _saturated(x: Raw, bits: int) -> Raw:
    saturated: Raw = np.clip(x, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return saturated


def _constant(value: int, bits: int) -> int:
    """A 32-bit constant in fewer bits."""
    return value if bits == 32 else int(rounding_divide_by_pot(value, 32 - bits))


def multiply(a: Raw, b: Raw | int, bits: int = 32) -> Raw:
    """The rounding doubling high product."""
    if bits == 32:
        return _mul(a, b)
    product: Raw = (a * b + (1 << (bits - 2))) >> (bits - 1)
    return _saturated(product, bits)


def _exp_near_zero(a: Raw, bits: int) -> Raw:
    """exp(a) for a in [-1/4, 0), both without integer bits: a Taylor polynomial of the fourth order around -1/8."""
    x = a + (1 << (bits - 4))
    square = multiply(x, x, bits)
    cube = multiply(square, x, bits)
    fourth = multiply(square, square, bits)
    # x^4/24 + x^3/6 + x^2/2 = ((x^4/4 + x^3) / 3 + x^2) / 2
    third = _constant(715827883, bits)
    tail = rounding_divide_by_pot(multiply(rounding_divide_by_pot(fourth, 2) + cube, third, bits) + square, 1)
    exp_of_minus_eighth = _constant(1895147668, bits)
    return _saturated(exp_of_minus_eighth + multiply(x + tail, exp_of_minus_eighth, bits), bits)


def exp_on_negative_values(a: Raw, integer_bits: int, bits: int = 32) -> Raw:
    """exp(a), without integer bits, for a <= 0 with `integer_bits` integer bits."""
    fraction_bits = bits - 1 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    low = (a & (quarter - 1)) - quarter
    result = _exp_near_zero(saturating_shift_left(low, integer_bits, bits), bits)
    remainder = low - a
    for power, factor in _EXP_OF_MINUS_POWERS:
        if integer_bits > power:
            bit = 1 << (fraction_bits + power)
            result = np.where(remainder & bit, multiply(result, _constant(factor, bits), bits), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (fraction_bits + 5)), 0, result)
    return np.where(a == 0, (1 << (bits - 1)) - 1, result)


def _reciprocal_of_half_sum(x: Raw, bits: int) -> Raw:
    """2 / (1 + x) in two integer bits for x in [0, 1]: three steps of Newton's method from 48/17 - 32/17 d."""
    half_denominator = (x + (1 << (bits - 1))) >> 1
    start = multiply(half_denominator, _constant(-1010580540, bits), bits)
    estimate = _saturated(_constant(1515870810, bits) + start, bits)
    for _ in range(3):
        error = (1 << (bits - 3)) - multiply(half_denominator, estimate, bits)
        estimate = estimate + saturating_shift_left(multiply(estimate, error, bits), 2, bits)
    return estimate


def one_over_one_plus_x(x: Raw, bits: int = 32) -> Raw:
    """1 / (1 + x) for x in [0, 1], both without integer bits."""
    # The half of a number with two integer bits is the same raw value with one.
    return saturating_shift_left(_reciprocal_of_half_sum(x, bits), 1, bits)


def logistic16(x: Raw, integer_bits: int) -> Raw:
    """1 / (1 + exp(-x)) in Q0.15 for 16-bit x."""
    positive = one_over_one_plus_x(exp_on_negative_values(-np.abs(x), integer_bits, 16), 16)
    return np.where(x == 0, 1 << 14, np.where(x > 0, positive, (1 << 15) - 1 - positive))


def tanh16(x: Raw, integer_bits: int) -> Raw:
    """tanh(x) = (1 - exp(-2x)) / (1 + exp(-2x)) in Q0.15 for 16-bit x."""
    # Twice a number is the same raw value with one more integer bit.
    exponential = exp_on_negative_values(-np.abs(x), integer_bits + 1, 16)
    positive = saturating_shift_left(_reciprocal_of_half_sum(exponential, 16) - (1 << 13), 2, 16)
    return np.where(x == 0, 0, np.where(x > 0, positive, -positive))


def reciprocal(x: Raw, integer_bits: int) -> tuple[Raw, Raw]:
    """`(m, e)` with 1 / x = m * 2^-e, m in Q0.31, for x > 0 with `integer_bits` integer bits."""
    headroom = _headroom(x)
    return one_over_one_plus_x((x << headroom) - (1 << 31)), integer_bits - headroom


def _headroom(x: Raw) -> Raw:
    """Leading zeros of 32-bit values."""
    return 31 - np.floor(np.log2(np.maximum(x, 1).astype(np.float64))).astype(np.int64)


def logarithm(x: Raw, input_bits: int, output_bits: int) -> Raw:
    """log(x) in `output_bits` integer bits for x > 0 with `input_bits` integer bits.

    x is written as 2^z r twice, with r around 2^(-1/4) from either side; the better of the two is kept, and a rational
    function of r gives the rest.
    """
    accumulator_bits = output_bits + 1
    log_2, fourth_root_half, root_half = 1488522236, 1805811301, 1518500250
    alpha_n, alpha_d, alpha_i, alpha_f = 117049297, 127690142, 1057819769, 638450708
    quarter = rounding_divide_by_pot(536870912, accumulator_bits)

    lead_a = _headroom(x)
    r_a = saturating_shift_left(_mul(saturating_shift_left(x, lead_a - 1), root_half), 1)
    power_a = saturating_shift_left(input_bits - lead_a, 31 - accumulator_bits) + quarter
    lead_b = _headroom(_mul(x, root_half)) - 1
    r_b = saturating_shift_left(x, lead_b)
    power_b = saturating_shift_left(input_bits - lead_b, 31 - accumulator_bits) - quarter
    r = np.minimum(r_a, r_b)
    power = np.clip(np.maximum(power_a, power_b), INT32_MIN, INT32_MAX)

    total = r + fourth_root_half
    p = (total + 1) >> 1
    q = 2 * (r - fourth_root_half)
    square = _mul(q, q)
    numerator = _mul(q, r) + _mul(_mul(q, square), alpha_n)
    denominator = _mul(p, alpha_i + q + _mul(alpha_d, square)) + _mul(alpha_f, q)
    scaled = rounding_divide_by_pot(numerator, accumulator_bits)
    result = _mul(power, log_2) + _mul(scaled, one_over_one_plus_x(denominator))
    return saturating_shift_left(result, accumulator_bits - output_bits)


def inverse_square_root(x: int) -> tuple[int, int]:
    """`(q, s)` of equation (1) in `numerics` for 1 / sqrt(x), x >= 0; 0 counts as 1.

    Five steps of Newton's method in Q3.28 from 1, `y = 3/2 y - x/2 y^3`.
    """
    if x <= 1:
        return INT32_MAX, 0
    shift = 11
    while x >= 1 << 29:
        x //= 4
        shift += 1
    pairs = (31 - x.bit_length()) // 2 - 1
    shift -= pairs
    half = int(rounding_divide_by_pot((x << (2 * pairs)) >> 1, 1))
    y: Raw = np.asarray(1 << 28)
    for _ in range(5):
        cube = saturating_shift_left(_mul(_mul(y, y), y), 6)
        y = saturating_shift_left(_mul((1 << 28) + (1 << 27), y) - _mul(half, cube), 3)
    result = int(_mul(y, 1518500250))
    if shift < 0:
        result, shift = result << -shift, 0
    return result, -shift
