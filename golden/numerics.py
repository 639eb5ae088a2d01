"""The integer arithmetic of TensorFlow Lite's quantized kernels, vectorized, in the rounding of every runtime.

A quantized layer sums products of small integers into an int32 *accumulator* and then *requantizes* it: multiplies it
by a real number below or near one, rounds, adds the output's zero point and clamps. With a double `m` written as

    m = q * 2^(s - 31),    2^30 <= q < 2^31                                                              (1)

this needs one integer product and one shift. The runtimes agree on (1) and disagree on how to round; `Rounding` names
the ways and `Profile` says which runtime rounds how. Formulas follow gemmlowp's documents "Low-precision matrix
multiplication" and "fixedpoint", and Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (2018), section 2.2.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.integer[Any]]
Wide = npt.NDArray[np.int64]

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1

# Elements per block in `Requantization.apply`: the int64 temporaries of one block stay in a core's second-level cache.
_BLOCK = 1 << 14


class Rounding(enum.Enum):
    """How `accumulator * multiplier` becomes an integer."""

    DOUBLE = "double"
    """Doubling high product, rounded; then a right shift, rounded with ties away from zero (gemmlowp)."""

    DOUBLE_UP = "double-up"
    """As DOUBLE, but the ties of the right shift go up (the instructions of Arm NEON and of SSE kernels)."""

    SINGLE = "single"
    """One rounding of the exact product, ties up (ruy, TOSA)."""

    FLOAT32 = "float32"
    """Product in float32, ties to even (XNNPACK, FBGEMM)."""

    FLOAT64 = "float64"
    """Product in float64, ties away from zero (the reference FULLY_CONNECTED of LiteRT from 1.3.0 on)."""

    REDUCED = "reduced"
    """The multiplier reduced to 15 bits, one rounding, ties up: for the 48-bit accumulators of 16-bit activations."""


class Profile(enum.Enum):
    """Whose arithmetic a run follows to the bit."""

    TFLM = "tflm"
    """TensorFlow Lite Micro; the reference kernels of LiteRT up to 1.2.0."""

    LITERT_REF = "litert-ref"
    """The reference kernels of LiteRT from 1.3.0 on."""

    LITERT_OPT = "litert-opt"
    """The built-in kernels of LiteRT without a delegate."""

    SINGLE = "single"
    """Kernels built with TFLITE_SINGLE_ROUNDING, ruy, TOSA-style hardware."""

    XNNPACK = "xnnpack"
    """LiteRT's default: XNNPACK."""

    @property
    def convolution_rounding(self) -> Rounding:
        """How CONV_2D, DEPTHWISE_CONV_2D and TRANSPOSE_CONV requantize 32-bit accumulators."""
        return {
            Profile.TFLM: Rounding.DOUBLE,
            Profile.LITERT_REF: Rounding.DOUBLE,
            Profile.LITERT_OPT: Rounding.DOUBLE_UP,
            Profile.SINGLE: Rounding.SINGLE,
            Profile.XNNPACK: Rounding.FLOAT32,
        }[self]

    @property
    def dense_rounding(self) -> Rounding:
        """How FULLY_CONNECTED requantizes 32-bit accumulators."""
        return Rounding.FLOAT64 if self is Profile.LITERT_REF else self.convolution_rounding

    @property
    def elementwise_rounding(self) -> Rounding:
        """How operators without a matrix product requantize."""
        return Rounding.SINGLE if self is Profile.SINGLE else Rounding.DOUBLE


def quantize_multiplier(multiplier: float, *, rounding: Rounding = Rounding.DOUBLE) -> tuple[int, int]:
    """The fixed-point form `(q, s)` of a real multiplier, equation (1).

    Parameters
    ----------
    multiplier
        A double >= 0.
    rounding
        SINGLE limits the shift to 30, at the largest q.

    Returns
    -------
    `(q, s)`: `q` is 0 or a 31-bit positive number; `-31 <= s`. Multipliers below 2^-32 become `(0, 0)`.

    Raises
    ------
    ValueError
        `multiplier` is negative or not finite.
    """
    if not (math.isfinite(multiplier) and multiplier >= 0):
        raise ValueError(f"multiplier is {multiplier}; expected a finite number >= 0")
    fraction, shift = math.frexp(multiplier)
    # The fraction has 53 bits, so adding one half before the floor is exact.
    quantized = math.floor(fraction * 2**31 + 0.5)
    if quantized == 2**31:
        quantized, shift = 2**30, shift + 1
    if shift < -31:
        return 0, 0
    if rounding is Rounding.SINGLE and shift > 30:
        return INT32_MAX, 30
    return quantized, shift


def saturating_rounding_doubling_high_mul(a: npt.ArrayLike, b: npt.ArrayLike) -> Wide:
    """gemmlowp's SRDHM: the high half of `2 a b`, rounded to nearest, ties up.

    Equals `(a b + 2^30) >> 31`, but for `a = b = -2^31`, which saturates to `2^31 - 1`. That gemmlowp divides toward
    zero after a nudge of `1 - 2^30` for negative products comes to the same.

    Parameters
    ----------
    a, b
        Values in the range of int32, of shapes that broadcast.
    """
    product: Wide = np.multiply(a, b, dtype=np.int64)
    result: Wide = np.minimum((product + (1 << 30)) >> 31, INT32_MAX)
    return result


def rounding_divide_by_pot(x: npt.ArrayLike, exponent: npt.ArrayLike) -> Wide:
    """gemmlowp's RoundingDivideByPOT: `x / 2^exponent`, rounded to nearest, ties away from zero.

    Parameters
    ----------
    x
        Values in the range of int32.
    exponent
        0 to 31, of a shape that broadcasts with `x`.
    """
    x = np.asarray(x, np.int64)
    exponent = np.asarray(exponent, np.int64)
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (x < 0)
    result: npt.NDArray[np.int64] = (x >> exponent) + ((x & mask) > threshold)
    return result


def multiply_by_quantized_multiplier(
    x: npt.ArrayLike, multiplier: npt.ArrayLike, shift: npt.ArrayLike, *, rounding: Rounding = Rounding.DOUBLE
) -> Wide:
    """MBQM: `x * q * 2^(s - 31)` in one of the fixed-point roundings.

    Parameters
    ----------
    x
        Accumulators: int32, or 48 bits for REDUCED.
    multiplier, shift
        `q` and `s` of equation (1), of shapes that broadcast with `x`.
    rounding
        DOUBLE, DOUBLE_UP, SINGLE or REDUCED.

    Returns
    -------
    int64, with values in the range of int32 for 32-bit accumulators. A left shift drops the bits that leave int32.

    Raises
    ------
    ValueError
        `rounding` is a floating-point one.
    """
    x = np.asarray(x, np.int64)
    multiplier = np.asarray(multiplier, np.int64)
    shift = np.asarray(shift, np.int64)
    result: Wide
    if rounding is Rounding.SINGLE:
        result = (x * multiplier + (np.int64(1) << (30 - shift))) >> (31 - shift)
        return result
    if rounding is Rounding.REDUCED:
        reduced = np.where(multiplier < 0x7FFF0000, (multiplier + (1 << 15)) >> 16, 0x7FFF)
        result = (x * reduced + (np.int64(1) << (14 - shift))) >> (15 - shift)
        return result
    left = (x << np.maximum(shift, 0)).astype(np.int32) if np.any(shift > 0) else x
    high = saturating_rounding_doubling_high_mul(left, multiplier)
    right = np.maximum(-shift, 0)
    if rounding is Rounding.DOUBLE:
        return rounding_divide_by_pot(high, right)
    if rounding is Rounding.DOUBLE_UP:
        result = (high + ((np.int64(1) << right) >> 1)) >> right
        return result
    raise ValueError(f"rounding is {rounding}; expected a fixed-point one")


def round_half_away(x: npt.ArrayLike) -> npt.NDArray[np.floating[Any]]:
    """C's `round`: to nearest, ties away from zero, in the floating-point type of `x`."""
    x = np.asarray(x)
    whole = np.trunc(x)
    # x - trunc(x) is exact, where x + 0.5 is not.
    result: npt.NDArray[np.floating[Any]] = whole + np.where(np.abs(x - whole) >= 0.5, np.sign(x), 0).astype(x.dtype)
    return result


def activation_bounds(
    activation: str, scale: float | np.float32, zero_point: int, dtype: npt.DTypeLike
) -> tuple[int, int]:
    """The quantized range that a fused activation leaves of an output's type.

    Parameters
    ----------
    activation
        "NONE", "RELU", "RELU6" or "RELU_N1_TO_1".
    scale, zero_point
        The output's quantization.
    dtype
        The output's integer type.

    Returns
    -------
    `(minimum, maximum)`, both inclusive. As in the runtimes, the quotient is taken in float32.

    Raises
    ------
    ValueError
        Another activation.
    """
    low, high = {
        "NONE": (None, None),
        "RELU": (0.0, None),
        "RELU6": (0.0, 6.0),
        "RELU_N1_TO_1": (-1.0, 1.0),
    }.get(activation, ("", ""))
    if low == "":
        raise ValueError(f"fused activation is {activation}; expected NONE, RELU, RELU6 or RELU_N1_TO_1")
    information = np.iinfo(np.dtype(dtype))
    minimum, maximum = int(information.min), int(information.max)

    def quantized(value: float) -> int:
        # A tiny scale would leave every integer type; the bound is the same at 2^40.
        quotient = float(np.float32(value) / np.float32(scale))
        return zero_point + int(round_half_away(np.float32(min(max(quotient, -(2.0**40)), 2.0**40))))

    if low is not None:
        minimum = max(minimum, quantized(float(low)))
    if high is not None:
        maximum = min(maximum, quantized(float(high)))
    return minimum, maximum


@dataclass(frozen=True, eq=False)
class Requantization:
    """What turns accumulators into quantized outputs: `clamp(round(accumulator * scale) + zero_point)`.

    The one parameter object of the software model (`apply`) and of the hardware's requantization unit.

    Parameters
    ----------
    multiplier, shift
        int32, shape `(n,)`: `q` and `s` of equation (1), one for all channels (n = 1) or one per channel.
    zero_point
        The output's zero point.
    minimum, maximum
        The output's range, both inclusive.
    rounding
        How to round.
    scale
        float64, shape `(n,)`: the real multipliers, which the floating-point roundings use.
    """

    multiplier: npt.NDArray[np.int32]
    shift: npt.NDArray[np.int32]
    zero_point: int
    minimum: int
    maximum: int
    rounding: Rounding
    scale: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls,
        scale: float | Sequence[float] | npt.NDArray[np.float64],
        *,
        zero_point: int,
        minimum: int,
        maximum: int,
        rounding: Rounding = Rounding.DOUBLE,
    ) -> Requantization:
        """The requantization by real multipliers `scale` (a number, or one per channel).

        Raises
        ------
        ValueError
            A multiplier is negative or not finite.
        """
        scales = np.atleast_1d(np.asarray(scale, np.float64))
        pairs = [quantize_multiplier(float(m), rounding=rounding) for m in scales]
        return cls(
            multiplier=np.array([q for q, _ in pairs], np.int32),
            shift=np.array([s for _, s in pairs], np.int32),
            zero_point=zero_point,
            minimum=minimum,
            maximum=maximum,
            rounding=rounding,
            scale=scales,
        )

    def rounded(self, accumulator: npt.ArrayLike) -> Wide:
        """`round(accumulator * scale)`, before the zero point and the clamp.

        Parameters
        ----------
        accumulator
            Integers of shape `(..., channels)`.

        Returns
        -------
        int64, of the accumulator's shape.
        """
        if self.rounding is Rounding.FLOAT32:
            product = np.asarray(accumulator).astype(np.float32) * self.scale.astype(np.float32)
            return np.rint(product).astype(np.int64)
        if self.rounding is Rounding.FLOAT64:
            return round_half_away(np.asarray(accumulator, np.float64) * self.scale).astype(np.int64)
        return multiply_by_quantized_multiplier(accumulator, self.multiplier, self.shift, rounding=self.rounding)

    def apply(self, accumulator: npt.ArrayLike, dtype: npt.DTypeLike = np.int32) -> Integers:
        """The quantized outputs.

        Parameters
        ----------
        accumulator
            Integers of shape `(..., channels)`, in the range of int32 (of 48 bits for `Rounding.REDUCED`).
        dtype
            The type to return them in.

        Returns
        -------
        An array of the accumulator's shape and of `dtype`.
        """
        accumulator = np.asarray(accumulator)
        result = np.empty(accumulator.shape, dtype)
        channels = accumulator.shape[-1] if accumulator.ndim else 1
        rows, outputs = accumulator.reshape(-1, channels), result.reshape(-1, channels)
        step = max(1, _BLOCK // max(1, channels))
        for start in range(0, len(rows), step):
            block = self.rounded(rows[start : start + step])
            block += self.zero_point
            outputs[start : start + step] = np.clip(block, self.minimum, self.maximum)
        return result
