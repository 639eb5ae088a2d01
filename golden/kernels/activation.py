"""Functions of single elements: LOGISTIC, TANH, ELU, RELU and its kin, LEAKY_RELU, PRELU, HARD_SWISH."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..numerics import (
    Profile,
    activation_bounds,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    round_half_away,
    rounding_divide_by_pot,
)
from .node import Array, Evaluate, Node, kernel


def logistic(x: Array) -> Array:
    """`1 / (1 + exp(-x))` in float32, the exponential rounded correctly."""
    exponential = np.exp(-x.astype(np.float64)).astype(np.float32)
    result: Array = np.float32(1) / (np.float32(1) + exponential)
    return result


def hyperbolic_tangent(x: Array) -> Array:
    """tanh in float32, rounded correctly."""
    return np.tanh(x.astype(np.float64)).astype(np.float32)


def exponential_linear(x: Array) -> Array:
    """`x` above 0, `exp(x) - 1` below, in float32."""
    return np.where(x < 0, np.expm1(x.astype(np.float64)).astype(np.float32), x)


_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "ELU": exponential_linear,
    "LOGISTIC": logistic,
    "TANH": hyperbolic_tangent,
}


@kernel("LOGISTIC", "TANH", "ELU")
def table_function(node: Node) -> Evaluate:
    """8 bits: a table of what the float32 function gives for each of the 256 inputs."""
    x, output = node.input(0), node.output
    node.expect_type(x, "int8", "uint8", "float32")
    node.expect_type(output, x.dtype.name)
    node.expect_shape(x.shape)
    function = _FUNCTIONS[node.operator.kind]
    if x.dtype == np.float32:
        return lambda x: (function(x),)
    table = lookup_table(node, function)
    return lambda x: (table[x.view(np.uint8)],)


def lookup_table(node: Node, function: Callable[[Array], Array]) -> Array:
    """The quantized outputs of a float32 function, indexed by the input's bits as uint8."""
    x, output = node.input(0), node.output
    (scale, zero_point), (scale_out, zero_out) = node.quantization(x), node.quantization(output)
    values = np.arange(256, dtype=np.uint8).view(x.dtype).astype(np.int64)
    results = function((scale * (values - zero_point).astype(np.float32)).astype(np.float32))
    rescaled = round_half_away(results * (np.float32(1) / scale_out)) + zero_out
    limits = np.iinfo(output.dtype)
    table: Array = np.clip(rescaled, limits.min, limits.max).astype(output.dtype)
    return table


@kernel("RELU", "RELU6", "RELU_N1_TO_1")
def relu(node: Node) -> Evaluate:
    """Requantization and a clamp."""
    x, output = node.input(0), node.output
    node.expect_type(x, "int8", "uint8", "int16", "float32")
    node.expect_type(output, x.dtype.name)
    node.expect_shape(x.shape)
    if x.dtype == np.float32:
        low, high = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}[node.operator.kind]
        return lambda x: (np.clip(x, np.float32(low), np.float32(high)),)
    (scale, zero_point), (scale_out, zero_out) = node.quantization(x), node.quantization(output)
    minimum, maximum = activation_bounds(node.operator.kind, scale_out, zero_out, output.dtype)
    q, s = quantize_multiplier(float(scale / scale_out), rounding=node.profile.elementwise_rounding)

    def evaluate(x: Array) -> tuple[Array]:
        centered = x.astype(np.int64) - zero_point
        result = multiply_by_quantized_multiplier(centered, q, s, rounding=node.profile.elementwise_rounding) + zero_out
        return (np.clip(result, minimum, maximum).astype(output.dtype),)

    return evaluate


@kernel("LEAKY_RELU")
def leaky_relu(node: Node) -> Evaluate:
    """One multiplier for positive inputs, one that includes alpha for negative ones."""
    x, output = node.input(0), node.output
    node.expect_type(x, "int8", "uint8", "int16", "float32")
    node.expect_type(output, x.dtype.name)
    node.expect_shape(x.shape)
    alpha = np.float32(node.option("alpha"))
    if x.dtype == np.float32:
        return lambda x: (np.where(x > 0, x, x * alpha),)
    (scale, zero_point), (scale_out, zero_out) = node.quantization(x), node.quantization(output)
    rounding = node.profile.elementwise_rounding
    sign = -1 if alpha < 0 else 1
    identity = quantize_multiplier(float(scale / scale_out), rounding=rounding)
    leak = quantize_multiplier(abs(float(scale * alpha / scale_out)), rounding=rounding)
    limits = np.iinfo(output.dtype)
    ratio = scale / scale_out
    if node.profile is Profile.XNNPACK and x.dtype != np.int16 and _delegated(ratio) and _delegated(abs(ratio * alpha)):
        # XNNPACK's multipliers have 8 fractional bits.
        gain, loss = (int(np.rint(np.float32(256) * factor)) for factor in (ratio, ratio * alpha))

        def scaled(x: Array) -> tuple[Array]:
            centered = x.astype(np.int64) - zero_point
            product = (centered * np.where(centered > 0, gain, loss) + 128) >> 8
            return (np.clip(product + zero_out, limits.min, limits.max).astype(output.dtype),)

        return scaled

    def evaluate(x: Array) -> tuple[Array]:
        centered = x.astype(np.int64) - zero_point
        positive = multiply_by_quantized_multiplier(centered, *identity, rounding=rounding)
        negative = multiply_by_quantized_multiplier(sign * centered, *leak, rounding=rounding)
        result = np.where(centered >= 0, positive, negative) + zero_out
        return (np.clip(result, limits.min, limits.max).astype(output.dtype),)

    return evaluate


def _delegated(ratio: np.float32) -> bool:
    """Whether XNNPACK takes a factor; LiteRT's own kernel takes the others."""
    return bool(2**-8 <= ratio <= 2**7)


@kernel("PRELU")
def prelu(node: Node) -> Evaluate:
    """As LEAKY_RELU, with a tensor of alphas that broadcasts."""
    x, alphas, output = node.input(0), node.input(1), node.output
    node.expect_type(x, "int8", "uint8", "float32")
    for tensor in (alphas, output):
        node.expect_type(tensor, x.dtype.name)
    node.broadcast_shape()
    if x.dtype == np.float32:
        return lambda x, alpha: (np.where(x >= 0, x, x * alpha),)
    (scale, zero_point), (scale_out, zero_out) = node.quantization(x), node.quantization(output)
    scale_alpha, zero_alpha = node.quantization(alphas)
    rounding = node.profile.elementwise_rounding
    identity = quantize_multiplier(float(scale / scale_out), rounding=rounding)
    leak = quantize_multiplier(float(scale * scale_alpha / scale_out), rounding=rounding)
    limits = np.iinfo(output.dtype)

    def evaluate(x: Array, alpha: Array) -> tuple[Array]:
        centered = x.astype(np.int64) - zero_point
        positive = multiply_by_quantized_multiplier(centered, *identity, rounding=rounding)
        product = centered * (alpha.astype(np.int64) - zero_alpha)
        negative = multiply_by_quantized_multiplier(product, *leak, rounding=rounding)
        result = np.where(centered >= 0, positive, negative) + zero_out
        return (np.clip(result, limits.min, limits.max).astype(output.dtype),)

    return evaluate


@kernel("HARD_SWISH")
def hard_swish(node: Node) -> Evaluate:
    """`x * relu6(x + 3) / 6` in 16-bit fixed point."""
    x, output = node.input(0), node.output
    node.expect_type(x, "int8", "uint8", "float32")
    node.expect_type(output, x.dtype.name)
    node.expect_shape(x.shape)
    if x.dtype == np.float32:
        return lambda x: (x * np.clip(x + np.float32(3), np.float32(0), np.float32(6)) / np.float32(6),)
    (scale, zero_point), (scale_out, zero_out) = node.quantization(x), node.quantization(output)
    # 7 more bits of the input; relu6(x + 3) / 6 becomes a 16-bit number that saturates where x reaches 3.
    fine = np.float32(1 / 128) * scale
    output_q, output_s = _multiplier16(float(fine / scale_out))
    gate_q, gate_s = _multiplier16(float(fine / np.float32(3 / 32768)))
    if output_s > 0:
        raise node.fail("the output's scale is too fine for the input's")
    limits = np.iinfo(output.dtype)

    def evaluate(x: Array) -> tuple[Array]:
        wide = (x.astype(np.int64) - zero_point) << 7
        value = _high_mul16(wide, output_q)
        gate = wide
        if gate_s > 0:
            gate = _saturate16(gate << (gate_s - 1))
        gate = _high_mul16(gate, gate_q)
        if gate_s > 0:
            gate = _saturate16(gate << 1)
        elif gate_s < 0:
            gate = rounding_divide_by_pot(gate, -gate_s)
        gate = (gate + (1 << 15)) >> 1
        # This product truncates.
        product = np.trunc(gate * value / 2.0**15).astype(np.int64)
        result = rounding_divide_by_pot(product, -output_s) + zero_out
        return (np.clip(result, limits.min, limits.max).astype(output.dtype),)

    return evaluate


def _multiplier16(multiplier: float) -> tuple[int, int]:
    """A quantized multiplier of 16 bits."""
    q, s = quantize_multiplier(multiplier)
    return min((q + (1 << 15)) >> 16, 32767), s


def _high_mul16(x: Array, q: int) -> Array:
    """SRDHM on 16 bits."""
    return _saturate16((x * q + (1 << 14)) >> 15)


def _saturate16(x: Array) -> Array:
    return np.clip(x, -(2**15), 2**15 - 1)
