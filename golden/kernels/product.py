"""What CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED share: operands, multipliers, bounds and exact fast sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import Tensor
from ..numerics import INT32_MAX, Profile, Requantization, Rounding
from .node import Array, Node

# Sums of integers whose partial sums all stay within the significand are exact in floating point, in any order.
_EXACT: tuple[tuple[int, type[np.floating[Any]]], ...] = ((2**24, np.float32), (2**53, np.float64))


_OPTIMIZED = (Profile.LITERT_OPT, Profile.XNNPACK)

SUMS_OF_PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""The operators that sum products of inputs and constant weights into accumulators."""


@dataclass(frozen=True, eq=False)
class Operands:
    """The constants of an operator that sums products: `sum((x - input_zero_point) * (w - weights_zero_point)) + bias`.

    Parameters
    ----------
    weights
        As in the file: int8 or uint8; `(out, height, width, in)`, `(1, height, width, out)` or `(out, in)`.
    bias
        int64, shape `(out,)`; zeros where the operator has none.
    input_zero_point, weights_zero_point
        The latter is 0 for int8 weights.
    """

    weights: Array
    bias: npt.NDArray[np.int64]
    input_zero_point: int
    weights_zero_point: int


def output_channels(node: Node) -> int:
    """How many outputs one pixel or row has."""
    shape = node.input(1).shape
    return shape[3] if node.operator.kind == "DEPTHWISE_CONV_2D" else shape[0]


def check_types(node: Node) -> None:
    """Refuse combinations of types that no runtime computes in integers."""
    x, weights = node.input(0), node.input(1)
    node.expect_type(x, "int8", "uint8", "int16")
    node.expect_type(weights, "uint8" if x.dtype == np.uint8 else "int8")
    node.expect_type(node.output, x.dtype.name)
    _check_bias(node, *(("int32", "int64") if x.dtype == np.int16 else ("int32",)))
    scales = node.affine(weights)
    axis = 3 if node.operator.kind == "DEPTHWISE_CONV_2D" else 0
    if scales.per_axis and (scales.axis != axis or x.dtype == np.uint8):
        raise node.fail(f"the weights are quantized along dimension {scales.axis}; expected {axis}, and int8")
    if weights.dtype == np.int8 and np.any(scales.zero_point != 0) and node.operator.kind != "FULLY_CONNECTED":
        raise node.fail("int8 weights have a zero point other than 0")
    if x.dtype == np.int16 and (node.quantization(x)[1] or node.quantization(node.output)[1]):
        raise node.fail("int16 activations have a zero point other than 0")


def check_real_types(node: Node) -> None:
    """Refuse weights, bias and outputs that are not real numbers where the input is."""
    for tensor in (node.input(1), node.output):
        node.expect_type(tensor, "float32")
    _check_bias(node, "float32")


def _check_bias(node: Node, *types: str) -> None:
    bias = node.optional(2)
    if bias is None:
        return
    node.expect_type(bias, *types)
    if bias.shape != (output_channels(node),):
        raise node.fail(f"the bias has the shape {list(bias.shape)}; expected [{output_channels(node)}]")


def operands_of(node: Node) -> Operands:
    """The constants of an operator that sums products.

    Raises
    ------
    ModelError
        The weights or the bias are not constants.
    """
    weights_zero_point = int(node.affine(node.input(1)).zero_point[0])
    bias = np.zeros(output_channels(node), np.int64) if node.optional(2) is None else node.constant(2).astype(np.int64)
    return Operands(node.constant(1), bias, node.quantization(node.input(0))[1], weights_zero_point)


def requantization_of(node: Node) -> Requantization:
    """The requantization of CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED under the node's profile.

    The multiplier is `s_in * s_w / s_out`. How it is formed decides its last bit: in double throughout where there is
    one per channel; where there is one for all (uint8, and FULLY_CONNECTED), the product is taken in float32 first.
    Shapes are `(1,)` for one multiplier, `(out,)` for one per channel.
    """
    return requantization_for(node, node.input(0), node.input(1))


def requantization_for(node: Node, x: Tensor, weights: Tensor) -> Requantization:
    """As `requantization_of`, for an operator whose image and weights are these."""
    dense = node.operator.kind == "FULLY_CONNECTED"
    rounding = node.profile.dense_rounding if dense else node.profile.convolution_rounding
    if x.dtype == np.int16 and dense and node.optional(2) is None and node.profile in _OPTIMIZED:
        rounding = Rounding.DOUBLE_UP
    elif x.dtype == np.int16:
        rounding = Rounding.REDUCED
    elif node.profile is Profile.LITERT_OPT and _has_no_optimized_kernel(node):
        rounding = Rounding.DOUBLE
    s_in, _ = node.quantization(x)
    s_out, zero_point = node.quantization(node.output)
    s_w = node.affine(weights).scale
    scale: npt.NDArray[np.float64]
    if rounding is Rounding.FLOAT32 and node.operator.kind == "TRANSPOSE_CONV" and _strides_over_pixels(node):
        return requantization_for(replace(node, profile=Profile.LITERT_OPT), x, weights)
    if rounding is Rounding.FLOAT32:
        scale = (s_in * s_w / s_out).astype(np.float64)
    elif (dense and s_w.size == 1) or x.dtype == np.uint8:
        scale = (s_in * s_w).astype(np.float64) / np.float64(s_out)
    else:
        scale = np.float64(s_in) * s_w.astype(np.float64) / np.float64(s_out)
    minimum, maximum = node.bounds()
    if not np.all(np.isfinite(scale)):
        raise node.fail("the scales give a multiplier that is not finite")
    return Requantization.of(scale, zero_point=zero_point, minimum=minimum, maximum=maximum, rounding=rounding)


def _has_no_optimized_kernel(node: Node) -> bool:
    """Whether LiteRT's optimized kernel rounds as the reference kernel does."""
    kind, dtype = node.operator.kind, node.output.dtype
    if kind == "CONV_2D":
        return node.input(0).shape[3] != node.input(1).shape[3]
    return (kind == "TRANSPOSE_CONV" and dtype == np.int8) or (kind == "DEPTHWISE_CONV_2D" and dtype == np.uint8)


def _strides_over_pixels(node: Node) -> bool:
    """Whether SAME padding would be negative, which XNNPACK leaves to LiteRT's own kernel."""
    _, height, width, _ = node.input(1).shape
    over = node.option("stride_h") > height or node.option("stride_w") > width
    return bool(over and node.option("padding") == "SAME")


def accumulator_bound(node: Node) -> int:
    """A bound on the magnitude of every accumulator of an operator, whatever its input.

    With x' = x - zx and w' = w - zw: `max |x'| * sum |w'| + |bias|`, the greatest over all output channels. Partial
    sums, in any order, obey it too.
    """
    operands = operands_of(node)
    limits = np.iinfo(node.input(0).dtype)
    zero_point = operands.input_zero_point
    largest = max(int(limits.max) - zero_point, zero_point - int(limits.min))
    magnitudes = _channel_sums(node, np.abs(centered_weights(operands)))
    return int((magnitudes * largest + np.abs(operands.bias)).max(initial=0))


def centered_weights(operands: Operands) -> npt.NDArray[np.int16]:
    """`w - zw`, which fits 9 bits."""
    centered: npt.NDArray[np.int16] = operands.weights.astype(np.int16) - np.int16(operands.weights_zero_point)
    return centered


def _channel_sums(node: Node, weights: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
    """Sums over everything but the output channel."""
    last = node.operator.kind == "DEPTHWISE_CONV_2D"
    axes = tuple(range(weights.ndim - 1)) if last else tuple(range(1, weights.ndim))
    sums: npt.NDArray[np.int64] = weights.sum(axis=axes, dtype=np.int64)
    return sums


@dataclass(frozen=True, eq=False)
class FloatProduct:
    """A sum of products of raw inputs that floating point computes exactly.

    `sum((x - zx) w') + b` equals `sum(x w') + (b - zx sum(w'))`: the zero point goes into the bias, and inputs need no
    subtraction. A tap outside the image then contributes as if x were the zero point.

    Parameters
    ----------
    kind
        float32 or float64: the narrowest type in which all partial sums, the bias included, are exact.
    operands
        The constants, as in the file. Weights become floats only while they are used: they take four times the memory.
    bias
        `b - zx sum(w')`, int64, one per output channel.
    bound
        On the magnitude of the accumulators of the whole sum.
    """

    kind: type[np.floating[Any]]
    operands: Operands
    bias: npt.NDArray[np.int64]
    bound: int

    def weights(self) -> npt.NDArray[np.floating[Any]]:
        """`w - zw`, in the file's layout."""
        weights = self.operands.weights.astype(self.kind)
        if self.operands.weights_zero_point:
            weights -= self.operands.weights_zero_point
        return weights


def float_product(node: Node) -> FloatProduct:
    """The exact floating-point form of CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED."""
    operands = operands_of(node)
    weights = centered_weights(operands)
    bias = operands.bias - operands.input_zero_point * _channel_sums(node, weights)
    limits = np.iinfo(node.input(0).dtype)
    largest = max(int(limits.max), -int(limits.min))
    partial = _channel_sums(node, np.abs(weights)) * largest + np.abs(bias)
    return FloatProduct(exact_float(int(partial.max(initial=0))), operands, bias, accumulator_bound(node))


def exact_float(bound: int) -> type[np.floating[Any]]:
    """The narrowest floating-point type in which sums of integers bounded by `bound` are exact.

    Raises
    ------
    OverflowError
        There is none.
    """
    for limit, kind in _EXACT:
        if bound <= limit:
            return kind
    raise OverflowError(f"sums up to {bound} are exact in no floating-point type")


def check_accumulator(node: Node, accumulator: Array, bias: npt.NDArray[np.int64], bound: int) -> None:
    """Refuse accumulators beyond 32 bits, which the runtimes would wrap; `bound` is the static bound.

    16-bit activations have 48-bit accumulators.
    """
    limit = 2**47 - 1 if node.output.dtype == np.int16 else INT32_MAX
    if bound <= limit or accumulator.size == 0:
        return
    whole = accumulator.astype(np.int64) + bias
    largest = max(int(whole.max()), -int(whole.min()))
    if largest > limit:
        raise node.fail(f"an accumulator of {largest} leaves {limit.bit_length() + 1} bits")
