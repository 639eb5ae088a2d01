"""Affine quantization: real numbers as small integers, and what that costs.

A quantized tensor stands for real numbers by

    real = scale * (quantized - zero_point)                                                              (1)

with one scale and zero point for the tensor, or for each slice along an axis (each output channel of a convolution,
each row of a matrix). The rules are those of the TensorFlow Lite 8-bit quantization specification and of Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018), section 3.

>>> import numpy as np
>>> q = asymmetric(-10.0, 30.0, "uint8")
>>> np.round(dequantize(np.array([0, 128, 255], np.uint8), q), 1).tolist()
[-10.0, 10.0, 30.0]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .graph import ModelError, Quantization, Tensor

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]


def asymmetric(
    low: npt.ArrayLike, high: npt.ArrayLike, dtype: npt.DTypeLike = np.int8, *, axis: int = 0, narrow: bool = False
) -> Quantization:
    """The quantization whose integers span `[low, high]`, with a zero point that makes 0.0 exact.

    The range is first widened to contain 0.0. The zero point that (1) asks for is seldom an integer; it is *nudged* to
    the nearest one (ties away from zero), which moves both ends of the range by at most half a step.

    Parameters
    ----------
    low, high
        The ends of the range: numbers, or vectors with one entry per slice along `axis`.
    dtype
        `int8`, `uint8`, `int16`, ...: all of its values are used.
    axis
        The quantized dimension, where the ends are vectors.
    narrow
        Whether the least integer stays unused, as in legacy uint8 weights.

    Raises
    ------
    ValueError
        An end is not finite, or `low > high`.
    """
    low, high = _ends(low, high)
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    least, greatest = _limits(dtype)
    least += narrow
    step = (high - low) / (greatest - least)
    # In float64: the scale's rounding to float32 must not decide a tie. A range of nothing but zero has no step, and
    # any zero point will do.
    exact = np.divide(-low, step, out=np.full(low.shape, -float(least)), where=step > 0) + least
    zero_point = np.clip(_round_half_away(exact), least, greatest)
    return Quantization(_scale(step), zero_point.astype(np.int64), axis)


def symmetric(bound: npt.ArrayLike, dtype: npt.DTypeLike = np.int8, *, axis: int = 0) -> Quantization:
    """The quantization whose integers span `[-bound, bound]` with zero point 0, as weights have it.

    The most negative integer stays unused (int8: [-127, 127]), so that the negative of every weight is a weight. For an
    unsigned type the zero point is the middle, 128 for `uint8`.

    Parameters
    ----------
    bound
        The largest magnitude: a number, or a vector with one entry per slice along `axis`.

    Raises
    ------
    ValueError
        The bound is negative or not finite.
    """
    bound = np.atleast_1d(np.asarray(bound, np.float64))
    _ends(-bound, bound)
    least, greatest = _limits(dtype)
    middle = (least + greatest + 1) // 2
    return Quantization(_scale(bound / (greatest - middle)), np.full(bound.shape, middle, np.int64), axis)


def of_data(
    data: npt.ArrayLike, dtype: npt.DTypeLike = np.int8, *, axis: int | None = None, zero_centered: bool = False
) -> Quantization:
    """The quantization that just covers `data`.

    Parameters
    ----------
    data
        Real numbers, any shape, at least one element.
    axis
        None for one scale for the tensor; else one per slice along `axis`. The rows of a matrix are axis 0.
    zero_centered
        Whether to quantize with `symmetric`, as for weights, rather than with `asymmetric`, as for activations.

    Raises
    ------
    ValueError
        There are no data, they are not finite, or `axis` is not one of their dimensions.
    """
    data = np.asarray(data, np.float64)
    if data.size == 0:
        raise ValueError(f"data of shape {data.shape} have no range")
    if axis is not None and not 0 <= axis < data.ndim:
        raise ValueError(f"axis is {axis}, expected 0 to {data.ndim - 1}")
    others = None if axis is None else tuple(i for i in range(data.ndim) if i != axis)
    low, high = data.min(axis=others), data.max(axis=others)
    if zero_centered:
        return symmetric(np.maximum(np.abs(low), np.abs(high)), dtype, axis=axis or 0)
    return asymmetric(low, high, dtype, axis=axis or 0)


def quantize(real: npt.ArrayLike, quantization: Quantization, dtype: npt.DTypeLike = np.int8) -> Integers:
    """The integers nearest to `real`, ties away from zero, saturated to the type's range.

    `round_half_away(real / scale) + zero_point` with the quotient in float32, as QUANTIZE of TensorFlow Lite has it.

    Raises
    ------
    ValueError
        `real` has NaNs, or its dimension `axis` does not have one slice per scale.
    """
    real = np.asarray(real, np.float32)
    if np.isnan(real).any():
        raise ValueError("real has NaNs, which no integer stands for")
    scale, zero_point = _broadcast(quantization, real.shape)
    with np.errstate(over="ignore"):  # a quotient beyond float32 saturates like any other
        steps = (real / scale).astype(np.float64)
    least, greatest = _limits(dtype)
    return np.clip(_round_half_away(steps) + zero_point, least, greatest).astype(dtype)


def dequantize(quantized: npt.ArrayLike, quantization: Quantization) -> npt.NDArray[np.float32]:
    """The real numbers, in float32, that the integers stand for by equation (1).

    Raises
    ------
    ValueError
        Its dimension `axis` does not have one slice per scale.
    """
    quantized = np.asarray(quantized)
    scale, zero_point = _broadcast(quantization, quantized.shape)
    return (quantized.astype(np.int64) - zero_point).astype(np.float32) * scale


def known(tensor: Tensor) -> Quantization:
    """The quantization of a tensor that must have one.

    Raises
    ------
    ModelError
        It has none.
    """
    if tensor.quantization is None:
        raise ModelError(f"tensor {tensor.index} ({tensor.name}) is not quantized")
    return tensor.quantization


def representable(quantization: Quantization, dtype: npt.DTypeLike = np.int8) -> tuple[Floats, Floats]:
    """The ends of the range that the type's integers reach, each of shape `(n,)`, in float32."""
    least, greatest = _limits(dtype)
    steps = least - quantization.zero_point, greatest - quantization.zero_point
    return steps[0].astype(np.float32) * quantization.scale, steps[1].astype(np.float32) * quantization.scale


@dataclass(frozen=True, eq=False)
class ErrorStatistics:
    """How far an approximation is from its reference.

    Parameters
    ----------
    sqnr
        Signal to quantization noise ratio in decibels, `10 log10(sum(reference^2) / sum(error^2))`; infinite where
        nothing differs.
    maximum
        The largest magnitude of an error.
    mean
        The mean error: away from zero it is a bias that the next layer inherits.
    root_mean_square
        The root of the mean squared error.
    counts, edges
        A histogram of the errors (approximation - reference): `counts[i]` of them lie in `[edges[i], edges[i + 1])`.
    """

    sqnr: float
    maximum: float
    mean: float
    root_mean_square: float
    counts: npt.NDArray[np.int64]
    edges: npt.NDArray[np.float64]


def error_statistics(reference: npt.ArrayLike, approximation: npt.ArrayLike, *, bins: int = 32) -> ErrorStatistics:
    """Compares two arrays of real numbers of the same shape, in float64.

    Raises
    ------
    ValueError
        The shapes differ, there are no elements, or one is not finite.
    """
    reference, approximation = np.asarray(reference, np.float64), np.asarray(approximation, np.float64)
    if reference.shape != approximation.shape or reference.size == 0:
        raise ValueError(f"shapes are {reference.shape} and {approximation.shape}, expected equal and not empty")
    if not (np.isfinite(reference).all() and np.isfinite(approximation).all()):
        raise ValueError("an element is not finite")
    error = approximation - reference
    noise, signal = float(np.sum(error**2)), float(np.sum(reference**2))
    sqnr = float("inf") if noise == 0 else -float("inf") if signal == 0 else 10 * float(np.log10(signal / noise))
    counts, edges = np.histogram(error, bins)
    return ErrorStatistics(
        sqnr=sqnr,
        maximum=float(np.abs(error).max()),
        mean=float(error.mean()),
        root_mean_square=float(np.sqrt(noise / error.size)),
        counts=counts.astype(np.int64),
        edges=edges,
    )


def _limits(dtype: npt.DTypeLike) -> tuple[int, int]:
    limits = np.iinfo(np.dtype(dtype))
    return int(limits.min), int(limits.max)


def _ends(low: npt.ArrayLike, high: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    low, high = np.broadcast_arrays(np.atleast_1d(np.asarray(low, np.float64)), np.asarray(high, np.float64))
    if low.ndim != 1:
        raise ValueError(f"the ends of the range have shape {low.shape}, expected numbers or vectors")
    bad = ~(np.isfinite(low) & np.isfinite(high) & (low <= high))
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(f"the range is [{low[first]}, {high[first]}], expected finite ends in ascending order")
    return low, high


def _scale(step: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Scales in float32, as files store them; 1 where there is nothing but zero to represent."""
    scale = step.astype(np.float32)
    # Below the normal numbers a scale loses precision, and its reciprocal is infinite.
    return np.where(step == 0, np.float32(1), np.maximum(scale, np.finfo(np.float32).tiny))


def _broadcast(
    quantization: Quantization, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    if not quantization.per_axis:
        return quantization.scale.reshape(()), quantization.zero_point.reshape(())
    axis, slices = quantization.axis, quantization.scale.size
    if axis >= len(shape) or shape[axis] != slices:
        raise ValueError(f"shape is {shape}, expected {slices} slices along dimension {axis}")
    form = tuple(slices if i == axis else 1 for i in range(len(shape)))
    return quantization.scale.reshape(form), quantization.zero_point.reshape(form)


def _round_half_away(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.copysign(np.floor(np.abs(x) + 0.5), x)
