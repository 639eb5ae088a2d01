"""Operators that reduce axes: MEAN, SUM, REDUCE_MAX, REDUCE_MIN, ARG_MAX, ARG_MIN."""

from __future__ import annotations

import math

import numpy as np

from ..numerics import Profile, Requantization, Rounding, quantize_multiplier, round_half_away
from .node import Array, Evaluate, Node, kernel


def _axes(node: Node) -> tuple[int, ...]:
    """The axes to reduce; the output's shape is checked."""
    x = node.input(0)
    axes = tuple(sorted({node.axis(a, len(x.shape)) for a in node.integers(1)}))
    keep = node.option("keep_dims")
    node.expect_shape([1 if i in axes else d for i, d in enumerate(x.shape) if keep or i not in axes])
    if not all(x.shape[a] for a in axes):
        raise node.fail(f"an axis of the shape {list(x.shape)} that is reduced has no elements")
    return axes


@kernel("MEAN")
def mean(node: Node) -> Evaluate:
    """`sum - n * z`, requantized by a multiplier that is divided by n."""
    x, output = node.input(0), node.output
    node.expect_type(x, "int8", "uint8", "int16", "float32")
    node.expect_type(output, x.dtype.name)
    axes, keep = _axes(node), bool(node.option("keep_dims"))
    if x.dtype == np.float32:
        return lambda x, _: (x.mean(axes, keepdims=keep, dtype=np.float32),)
    _, subtracted, requantization = mean_of(node)

    def evaluate(x: Array, _: Array) -> tuple[Array]:
        total = x.sum(axes, dtype=np.int64, keepdims=keep) - subtracted
        return (requantization.apply(total, output.dtype),)

    return evaluate


def mean_of(node: Node) -> tuple[tuple[int, ...], int, Requantization]:
    """Of a quantized MEAN: the axes, what is subtracted from the sum, and how that is requantized."""
    x, output = node.input(0), node.output
    axes, keep = _axes(node), bool(node.option("keep_dims"))
    count = math.prod(x.shape[a] for a in axes)
    (scale, zero_point), (scale_out, zero_out) = node.quantization(x), node.quantization(output)
    bias, rounding = zero_out, node.profile.elementwise_rounding
    shared = float(scale) / float(scale_out)
    subtracted = count * zero_point
    if node.profile is Profile.XNNPACK and x.dtype != np.int16:
        q, s = 0, 0
        rounding, shared = Rounding.FLOAT32, float(scale / scale_out / np.float32(count))
    elif node.profile is Profile.LITERT_OPT and x.dtype != np.int16 and axes == (1, 2) and keep and len(x.shape) == 4:
        # The optimized kernel for images folds the zero points into one bias, which it rounds by itself.
        bias -= int(round_half_away(np.float32(zero_point) * scale / scale_out))
        q, s = quantize_multiplier(float(scale / (np.float32(count) * scale_out)))
        subtracted = 0
    else:
        q, s = divided_multiplier(*quantize_multiplier(shared, rounding=rounding), count)
    limits = np.iinfo(output.dtype)
    requantization = Requantization(
        np.array([q], np.int32),
        np.array([s], np.int32),
        bias,
        int(limits.min),
        int(limits.max),
        rounding,
        np.array([shared]),
    )
    return axes, subtracted, requantization


def divided_multiplier(q: int, s: int, count: int) -> tuple[int, int]:
    """The multiplier of `1 / count` of a multiplier, kept at full precision as far as the shift's range allows."""
    shift = min(count.bit_length() - 1, 32, 31 + s)
    return (q << shift) // count, s - shift


@kernel("SUM")
def sum_(node: Node) -> Evaluate:
    """8 bits: `sum - n * z`, requantized; in float32 by the optimized kernels."""
    x, output = node.input(0), node.output
    node.expect_type(x, "int8", "uint8", "int32", "int64", "float32")
    node.expect_type(output, x.dtype.name)
    axes, keep = _axes(node), bool(node.option("keep_dims"))
    if x.dtype.name not in ("int8", "uint8"):
        return lambda x, _: (x.sum(axes, keepdims=keep, dtype=x.dtype),)
    count = math.prod(x.shape[a] for a in axes)
    (scale, zero_point), (scale_out, zero_out) = node.quantization(x), node.quantization(output)
    limits = np.iinfo(output.dtype)
    exact = node.profile not in (Profile.LITERT_OPT, Profile.XNNPACK)
    requantization = Requantization.of(
        float(scale) / float(scale_out) if exact else float(scale / scale_out),
        zero_point=zero_out,
        minimum=int(limits.min),
        maximum=int(limits.max),
        rounding=node.profile.elementwise_rounding if exact else Rounding.FLOAT32,
    )

    def evaluate(x: Array, _: Array) -> tuple[Array]:
        total = x.sum(axes, dtype=np.int64, keepdims=keep) - count * zero_point
        return (requantization.apply(total, output.dtype),)

    return evaluate


@kernel("REDUCE_MAX", "REDUCE_MIN")
def reduce_extreme(node: Node) -> Evaluate:
    """The greatest or the least along axes."""
    node.expect_type(node.input(0), "int8", "uint8", "int16", "int32", "float32")
    node.expect_same_quantization(node.input(0), node.output)
    axes, keep = _axes(node), bool(node.option("keep_dims"))
    if node.operator.kind == "REDUCE_MAX":
        return lambda x, _: (x.max(axes, keepdims=keep),)
    return lambda x, _: (x.min(axes, keepdims=keep),)


@kernel("ARG_MAX", "ARG_MIN")
def arg_extreme(node: Node) -> Evaluate:
    """The index of the greatest or the least along an axis; the first one wins."""
    x, output = node.input(0), node.output
    node.expect_type(x, "int8", "uint8", "int16", "int32", "float32")
    node.expect_type(output, "int32", "int64")
    axis = node.axis(node.scalar(1), len(x.shape))
    if not x.shape[axis]:
        raise node.fail(f"axis {axis} of {list(x.shape)} has no elements")
    node.expect_shape((*x.shape[:axis], *x.shape[axis + 1 :]))
    if node.operator.kind == "ARG_MAX":
        return lambda x, _: (np.argmax(x, axis).astype(output.dtype),)
    return lambda x, _: (np.argmin(x, axis).astype(output.dtype),)
