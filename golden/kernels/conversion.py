"""Operators between number types: QUANTIZE, DEQUANTIZE, CAST."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..numerics import Profile, Requantization, Rounding, round_half_away
from .node import Array, Evaluate, Node, kernel


@kernel("QUANTIZE")
def quantize(node: Node) -> Evaluate:
    """From float32: `round_half_away(x / scale) + zero_point`, saturated. From integers: requantization."""
    x, output = node.input(0), node.output
    node.expect_type(x, "float32", "int8", "uint8", "int16", "int32")
    node.expect_type(output, "int8", "uint8", "int16", "int32")
    node.expect_shape(x.shape)
    scale, zero_point = node.quantization(output)
    limits = np.iinfo(output.dtype)
    if x.dtype == np.float32:

        def evaluate(x: Array) -> tuple[Array]:
            rounded = np.nan_to_num(round_half_away(x / scale).astype(np.float64), nan=float(limits.min))
            return (np.clip(rounded + zero_point, limits.min, limits.max).astype(output.dtype),)

        return evaluate
    scale_in, zero_in = node.quantization(x)
    minimum, maximum = int(limits.min), int(limits.max)
    ratio = scale_in / scale
    if node.profile is Profile.XNNPACK and x.dtype == output.dtype != np.int16 and 2**-8 <= ratio <= 2**7:
        # XNNPACK's multiplier has 8 fractional bits.
        factor = int(np.rint(np.float32(256) * ratio))

        def convert(x: Array) -> tuple[Array]:
            product = ((x.astype(np.int64) - zero_in) * factor + 128) >> 8
            return (np.clip(product + zero_point, minimum, maximum).astype(output.dtype),)

        return convert
    requantization = Requantization.of(
        float(scale_in) / float(scale),
        zero_point=zero_point,
        minimum=minimum,
        maximum=maximum,
        rounding=node.profile.elementwise_rounding,
    )
    narrow = x.dtype.itemsize == output.dtype.itemsize == 1
    if narrow and node.profile in (Profile.LITERT_OPT, Profile.XNNPACK):
        return _vectorized(requantization, zero_in, output.dtype)
    return lambda x: (requantization.apply(x.astype(np.int64) - zero_in, output.dtype),)


def _vectorized(requantization: Requantization, zero_in: int, dtype: np.dtype[Any]) -> Evaluate:
    """The optimized kernel takes 16 elements at a time, with ties up, and what is left as the reference does."""
    upward = replace(requantization, rounding=Rounding.DOUBLE_UP)

    def evaluate(x: Array) -> tuple[Array]:
        centered = x.reshape(-1).astype(np.int64) - zero_in
        head = centered.size // 16 * 16
        parts = (upward.apply(centered[:head, None], dtype), requantization.apply(centered[head:, None], dtype))
        return (np.concatenate(parts).reshape(x.shape),)

    return evaluate


_DEQUANTIZE_VECTOR = 8


@kernel("DEQUANTIZE")
def dequantize(node: Node) -> Evaluate:
    """`scale * (q - zero_point)`, rounded to float32 once; float16 constants become float32."""
    x = node.input(0)
    node.expect_type(x, "int8", "uint8", "int16", "int32", "float16")
    node.expect_type(node.output, "float32")
    node.expect_shape(x.shape)
    if x.dtype == np.float16:
        return lambda x: (x.astype(np.float32),)
    affine = node.affine(x)
    shape = [1] * len(x.shape)
    if affine.per_axis:
        shape[affine.axis] = affine.scale.size
    scale, zero_point = affine.scale.astype(np.float64), affine.zero_point
    if affine.per_axis:
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)

    def evaluate(x: Array) -> tuple[Array]:
        if node.profile is Profile.LITERT_OPT and x.dtype != np.int32 and not affine.per_axis:
            # The optimized kernel takes 8 elements at a time and multiplies out the zero point: it rounds twice.
            offset = -np.float32(zero_point[0]) * affine.scale[0]
            flat = x.reshape(-1)
            result = (scale * (flat.astype(np.int64) - zero_point)).astype(np.float32)
            head = flat.size // _DEQUANTIZE_VECTOR * _DEQUANTIZE_VECTOR
            result[:head] = flat[:head].astype(np.float32) * affine.scale[0] + offset
            return (result.reshape(x.shape),)
        return ((scale * (x.astype(np.int64) - zero_point)).astype(np.float32).reshape(x.shape),)

    return evaluate


@kernel("CAST")
def cast(node: Node) -> Evaluate:
    """The values in another type, truncated toward zero; quantization plays no part."""
    names = ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")
    node.expect_type(node.input(0), *names)
    node.expect_type(node.output, *names)
    node.expect_shape(node.input(0).shape)
    kind = node.output.dtype

    def evaluate(x: Array) -> tuple[Array]:
        if x.dtype == np.float32 and kind.kind in "iu":
            limits = np.iinfo(kind)
            x = np.clip(np.nan_to_num(np.trunc(x).astype(np.float64)), float(limits.min), float(limits.max))
        return (x.astype(kind),)

    return evaluate
