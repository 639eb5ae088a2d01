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
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.integer[Any]]
Wide = npt.NDArray[np.int64]

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1

# Elements per block in `Requantization.apply`, so that its temporaries stay in a core's second-level cache, and per
# table of parameters, which a block reads many times.
_BLOCK, _TABLE = 1 << 16, 1 << 11


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
    # A half goes up, and for negative numbers one less than a half; nothing where nothing is shifted.
    half = (np.int64(1) << exponent) >> 1
    result: Wide = (x + (half - ((x < 0) & (exponent > 0)))) >> exponent
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
    if rounding not in (Rounding.DOUBLE, Rounding.DOUBLE_UP):
        raise ValueError(f"rounding is {rounding}; expected a fixed-point one")
    left = (x << np.maximum(shift, 0)).astype(np.int32) if shift.max(initial=0) > 0 else x
    high = saturating_rounding_doubling_high_mul(left, multiplier)
    right = np.maximum(-shift, 0)
    if rounding is Rounding.DOUBLE:
        return rounding_divide_by_pot(high, right)
    result = (high + ((np.int64(1) << right) >> 1)) >> right
    return result


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
    if np.dtype(dtype).kind not in "iu":
        raise ValueError(f"the output's type is {np.dtype(dtype)}; expected integers")
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
        return self._rounded(np.asarray(accumulator), slice(None))

    def apply(
        self,
        accumulator: npt.ArrayLike,
        dtype: npt.DTypeLike = np.int32,
        *,
        bias: npt.NDArray[np.integer[Any]] | None = None,
    ) -> Integers:
        """The quantized outputs.

        Parameters
        ----------
        accumulator
            Of shape `(..., channels)`, in the range of int32 (of 48 bits for `Rounding.REDUCED`). Integers in any type:
            float32 accumulators whose values are integers up to 2^24 are requantized the fastest.
        dtype
            The type to return them in.
        bias
            Integers of shape `(channels,)` that are added to the accumulators first. For float32 accumulators, the sums
            must stay within 2^24 too.

        Returns
        -------
        An array of the accumulator's shape and of `dtype`.
        """
        accumulator = np.asarray(accumulator)
        result = np.empty(accumulator.shape, dtype)
        flat, outputs = accumulator.reshape(-1), result.reshape(-1)
        channels = max(1, accumulator.shape[-1]) if accumulator.ndim else 1
        tables = _Tables(self, channels, flat.size, None if bias is None else bias.astype(accumulator.dtype))
        fast = accumulator.dtype == np.float32 and tables.fast
        for part in tables.parts(flat.size):
            width = min(tables.size, part.stop - part.start)
            block, target = flat[part].reshape(-1, width), outputs[part].reshape(-1, width)
            if tables.bias is not None:
                block = block + tables.bias[:width]
            if not (fast and tables.requantize_floats(block, target)):
                target[...] = tables.requantize(block.reshape(-1, channels)).reshape(-1, width)
        return result

    @functools.cached_property
    def _float_parameters(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None:
        """For `_Tables`: the factor, and the distance to an integer within which `rint` is certain; None if never."""
        wide = max(abs(self.minimum), abs(self.maximum)) > 255
        if wide or self.rounding is Rounding.REDUCED or int(self.shift.max(initial=0)) > 0:
            return None
        scale, moved = self.scale, np.zeros(self.scale.size)
        if self.rounding not in (Rounding.FLOAT32, Rounding.FLOAT64):
            scale = np.ldexp(self.multiplier.astype(np.float64), self.shift - 31)
        if self.rounding in (Rounding.DOUBLE, Rounding.DOUBLE_UP):
            moved = np.ldexp(0.5, self.shift)
        return scale.astype(np.float32), (0.5 - moved - 2.0**-12).astype(np.float32)

    @functools.cached_property
    def _shift_parameters(self) -> tuple[Wide, Wide, Wide, Wide]:
        """For `_settled`: q, the right shift, half of what it drops, and what negative numbers lack of that half."""
        right = np.maximum(-self.shift, 0).astype(np.int64)
        away = (right > 0) if self.rounding is Rounding.DOUBLE else np.zeros(right.size)
        return self.multiplier.astype(np.int64), right, (np.int64(1) << right) >> 1, away.astype(np.int64)

    def _settled(self, accumulator: npt.NDArray[np.float32], channel: npt.NDArray[np.intp]) -> Wide:
        """`_rounded` for a few accumulators, in as few steps as possible; without left shifts."""
        if self.rounding not in (Rounding.DOUBLE, Rounding.DOUBLE_UP):
            return self._rounded(accumulator, channel)
        q, right, half, away = (values[channel] for values in self._shift_parameters)
        high = accumulator.astype(np.int64)
        high *= q
        high += 1 << 30
        high >>= 31
        # The sign of a number, shifted down to every bit, is -1 or 0.
        result: Wide = (high + (half + (high >> 63) * away)) >> right
        return result

    def _rounded(self, accumulator: npt.NDArray[Any], channel: slice | npt.NDArray[np.intp]) -> Wide:
        """`rounded`, for accumulators that belong to these channels."""
        if self.rounding is Rounding.FLOAT32:
            return np.rint(accumulator.astype(np.float32) * self.scale[channel].astype(np.float32)).astype(np.int64)
        if self.rounding is Rounding.FLOAT64:
            return round_half_away(accumulator.astype(np.float64) * self.scale[channel]).astype(np.int64)
        q, s = self.multiplier[channel], self.shift[channel]
        return multiply_by_quantized_multiplier(accumulator, q, s, rounding=self.rounding)


class _Tables:
    """The parameters of a requantization, repeated for some thousand elements, and the two ways to use them.

    Most results do not depend on how ties are rounded. With y the exact product `accumulator * q * 2^(s - 31)`, every
    rounding gives an integer within 1/2 + d of y: the first rounding of DOUBLE and DOUBLE_UP moves it by at most
    d = 2^(s - 1), half a unit s <= 0 places to the left; the others have d = 0. So where y is further than d from a
    tie, all agree with `rint(y)`. In float32, y is off by less than 2^-13 for |y| < 1024; what is larger is clamped in
    any case, since outputs have 8 bits. The few elements within `d + 2^-12` of a tie are left to integer arithmetic.
    For FLOAT32, `rint(y)` in float32 is the definition itself.
    """

    def __init__(self, r: Requantization, channels: int, elements: int, bias: npt.NDArray[Any] | None) -> None:
        self.requantization = r
        self.channels = channels
        self.size = _table_pixels(elements // channels, max(1, _TABLE // channels)) * channels
        self.fast = r._float_parameters is not None
        vectors = [] if r._float_parameters is None else list(r._float_parameters)
        if bias is not None:
            vectors.append(bias)
        repeated = _repeated(vectors, channels, self.size)
        self.bias = repeated.pop() if bias is not None else None
        if self.fast:
            self.factor, self.certain = repeated
            # numpy takes the extremes of two vectors much faster than those of a vector and a number.
            self.low = np.full(self.size, r.minimum, np.float32)
            self.high = np.full(self.size, r.maximum, np.float32)

    def parts(self, elements: int) -> Iterator[slice]:
        """Cuts a number of elements into blocks of whole tables, and a last one of less than a table."""
        step = max(1, _BLOCK // self.size) * self.size
        whole = elements // self.size * self.size
        for start in range(0, whole, step):
            yield slice(start, min(start + step, whole))
        if whole < elements:
            yield slice(whole, elements)

    def requantize(self, accumulator: npt.NDArray[Any]) -> Wide:
        """The outputs of accumulators of the shape (pixels, channels)."""
        r = self.requantization
        rounded = r.rounded(accumulator)
        rounded += r.zero_point
        clamped: Wide = np.clip(rounded, r.minimum, r.maximum)
        return clamped

    def requantize_floats(self, accumulator: npt.NDArray[np.float32], target: npt.NDArray[Any]) -> bool:
        """Write the outputs of (rows, elements); False, and nothing, where too many are close to a tie."""
        r, width = self.requantization, accumulator.shape[1]
        product = accumulator * self.factor[:width]
        nearest = np.rint(product)
        close = None
        if r.rounding is not Rounding.FLOAT32:
            product -= nearest
            np.abs(product, out=product)
            close = np.flatnonzero(product >= self.certain[:width])
            if close.size > accumulator.size // 4:
                return False
        nearest += np.float32(r.zero_point)
        np.maximum(nearest, self.low[:width], out=nearest)
        np.minimum(nearest, self.high[:width], out=nearest)
        target[...] = nearest
        if close is not None and close.size:
            channel = close % self.channels if r.scale.size > 1 else np.zeros(1, np.intp)
            rounded = r._settled(accumulator.reshape(-1)[close], channel)
            target.reshape(-1)[close] = np.minimum(np.maximum(rounded + r.zero_point, r.minimum), r.maximum)
        return True


def _table_pixels(pixels: int, most: int) -> int:
    """How many pixels a table holds: at most `most`, and if possible a divisor of `pixels`, so that nothing is left."""
    if pixels <= most:
        return max(1, pixels)
    return next((n for n in range(most, most // 4, -1) if pixels % n == 0), most)


def _repeated(vectors: list[npt.NDArray[Any]], channels: int, size: int) -> list[npt.NDArray[Any]]:
    """Vectors of one or of `channels` elements, repeated up to a size, by copies that double."""
    if not vectors:
        return []
    result = np.empty((len(vectors), size), np.result_type(*vectors))
    for row, values in zip(result, vectors, strict=True):
        row[:channels] = values
    done = channels
    while done < size:
        more = min(done, size - done)
        result[:, done : done + more] = result[:, :more]
        done += more
    return list(result)
