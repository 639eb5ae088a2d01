"""Operators on pairs of elements: ADD, SUB, MUL, MINIMUM, MAXIMUM. Shapes broadcast."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..numerics import (
    Profile,
    Requantization,
    Rounding,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
)
from .node import Array, Evaluate, Node, kernel


def _check_types(node: Node) -> None:
    node.expect_type(node.input(0), "int8", "uint8", "int16", "int32", "int64", "float32")
    for tensor in (node.input(1), node.output):
        node.expect_type(tensor, node.input(0).dtype.name)
    node.broadcast_shape()


def _paired(node: Node, evaluate: Callable[[Array, Array], Array]) -> Evaluate:
    """A function of two elements; for many 8-bit elements, looked up in a table of all 65,536 pairs."""
    if node.output.dtype.itemsize > 1 or math.prod(node.output.shape) < 1 << 15:
        return lambda a, b: (evaluate(a, b),)
    values = np.arange(256, dtype=np.uint8).view(node.output.dtype)
    table = evaluate(values[:, None], values[None, :]).reshape(-1)

    def look_up(a: Array, b: Array) -> tuple[Array]:
        pairs = (a.view(np.uint8).astype(np.uint16) << 8) | b.view(np.uint8)
        return (table[pairs],)

    return look_up


def _plain(node: Node) -> Evaluate:
    """The operator on numbers that are not quantized; integers wrap."""
    function = {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "DIV": np.divide}[node.operator.kind]
    if node.output.dtype == np.float32:
        low, high = node.float_bounds()
        return lambda a, b: (np.clip(function(a, b), low, high),)
    if node.option("fused_activation_function") != "NONE":
        raise node.fail("a fused activation is not supported on integers that are not quantized")
    return lambda a, b: (function(a, b),)


@kernel("ADD", "SUB")
def add(node: Node) -> Evaluate:
    """Both inputs are brought to twice the larger of their scales, with 20 (int16: 15) more bits, and added."""
    _check_types(node)
    if node.output.dtype.name in ("int32", "int64", "float32"):
        return _plain(node)
    if node.output.dtype == np.int16 and node.option("pot_scale_int16"):
        exponents = _exponents(node)
        if exponents is not None:
            return _add_powers_of_two(node, exponents)
    rounding = node.profile.elementwise_rounding
    left_shift = _left_shift(node)
    z1, z2, zo = (node.quantization(t)[1] for t in (node.input(0), node.input(1), node.output))
    (q1, e1), (q2, e2), (qo, eo) = add_multipliers(node)
    minimum, maximum = node.bounds()
    sign = -1 if node.operator.kind == "SUB" else 1

    def scaled(x: Array, zero_point: int, q: int, exponent: int) -> Array:
        shifted = (x.astype(np.int64) - zero_point) << left_shift
        return multiply_by_quantized_multiplier(shifted, q, exponent, rounding=rounding)

    def evaluate(a: Array, b: Array) -> Array:
        total = scaled(a, z1, q1, e1) + sign * scaled(b, z2, q2, e2)
        result = multiply_by_quantized_multiplier(total, qo, eo, rounding=rounding) + zo
        clamped: Array = np.clip(result, minimum, maximum).astype(node.output.dtype)
        return clamped

    return _paired(node, evaluate)


def _left_shift(node: Node) -> int:
    """Bits that sums have more than inputs."""
    return 15 if node.output.dtype == np.int16 else 20


def add_multipliers(node: Node) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """`(q, s)` of ADD or SUB: for each input, of its scale over twice the larger one, and for the sum.

    The inputs are multiplied after a shift by 20 bits (int16: 15) to the left.
    """
    rounding = node.profile.elementwise_rounding
    s1, s2, so = (float(node.quantization(t)[0]) for t in (node.input(0), node.input(1), node.output))
    twice = 2 * max(s1, s2)
    first, second = (quantize_multiplier(s / twice, rounding=rounding) for s in (s1, s2))
    return first, second, quantize_multiplier(twice / (2 ** _left_shift(node) * so), rounding=rounding)


def _exponents(node: Node) -> tuple[int, int] | None:
    """The exponents of the inputs' scales over the output's, where all three are powers of two; else None."""
    parts = [np.frexp(node.quantization(tensor)[0]) for tensor in (node.input(0), node.input(1), node.output)]
    if any(mantissa != 0.5 for mantissa, _ in parts):
        return None
    first, second, output = (int(exponent) for _, exponent in parts)
    return first - output, second - output


def _add_powers_of_two(node: Node, exponents: tuple[int, int]) -> Evaluate:
    """int16 with scales that are powers of two: one input is shifted, and the sum saturates."""
    first, second = exponents
    if first > 0 or second > 0 or (first and second):
        raise node.fail(f"the inputs' scales are 2^{first} and 2^{second} of the output's; expected 1 and at most 1")
    minimum, maximum = node.bounds()
    sign = -1 if node.operator.kind == "SUB" else 1

    def evaluate(a: Array, b: Array) -> tuple[Array]:
        total = rounding_divide_by_pot(a, -first) + sign * rounding_divide_by_pot(b, -second)
        return (np.clip(total, minimum, maximum).astype(np.int16),)

    return evaluate


@kernel("MUL")
def mul(node: Node) -> Evaluate:
    """The product of the centered values, requantized. The multiplier is formed in float32."""
    _check_types(node)
    if node.output.dtype.name in ("int32", "int64", "float32"):
        return _plain(node)
    z1, z2 = (node.quantization(tensor)[1] for tensor in (node.input(0), node.input(1)))
    requantization = mul_requantization(node)

    def evaluate(a: Array, b: Array) -> Array:
        product = (a.astype(np.int64) - z1) * (b.astype(np.int64) - z2)
        return requantization.apply(product, node.output.dtype)

    return _paired(node, evaluate)


def mul_requantization(node: Node) -> Requantization:
    """What MUL makes of a product."""
    (s1, _), (s2, _), (so, zo) = (node.quantization(t) for t in (node.input(0), node.input(1), node.output))
    minimum, maximum = node.bounds()
    delegated = node.profile is Profile.XNNPACK and node.output.dtype != np.int16
    return Requantization.of(
        float(s1 * s2 / so),
        zero_point=zo,
        minimum=minimum,
        maximum=maximum,
        rounding=Rounding.FLOAT32 if delegated else node.profile.elementwise_rounding,
    )


@kernel("DIV")
def div(node: Node) -> Evaluate:
    """Real numbers only: quantized division differs between runtimes."""
    node.expect_type(node.input(0), "float32")
    _check_types(node)
    return _plain(node)


@kernel("SQUARED_DIFFERENCE")
def squared_difference(node: Node) -> Evaluate:
    """`(a - b)^2` of real numbers and of int32."""
    node.expect_type(node.input(0), "float32", "int32")
    _check_types(node)
    return lambda a, b: ((a - b) * (a - b),)


@kernel("ABS", "NEG", "EXP", "SQRT", "RSQRT", "FLOOR", "SQUARE", "LOG", "SIN", "COS", "GELU", "CEIL", "ROUND")
def unary(node: Node) -> Evaluate:
    """Functions of real numbers."""
    node.expect_type(node.input(0), "float32")
    node.expect_type(node.output, "float32")
    node.expect_shape(node.input(0).shape)
    function = _UNARY[node.operator.kind]
    if node.operator.kind == "GELU" and not node.option("approximate"):
        function = _gelu
    return lambda x: (function(x.astype(np.float64)).astype(np.float32),)


def _gelu(x: Array) -> Array:
    result: Array = 0.5 * x * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2)))
    return result


_UNARY: dict[str, Callable[[Array], Array]] = {
    "ABS": np.abs,
    "NEG": np.negative,
    "EXP": np.exp,
    "SQRT": np.sqrt,
    "RSQRT": lambda x: 1 / np.sqrt(x),
    "FLOOR": np.floor,
    "CEIL": np.ceil,
    "ROUND": np.rint,
    "SQUARE": np.square,
    "LOG": np.log,
    "SIN": np.sin,
    "COS": np.cos,
    "GELU": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
}


@kernel("MINIMUM", "MAXIMUM")
def extreme(node: Node) -> Evaluate:
    """The lesser or the greater of two quantized values, as they are."""
    _check_types(node)
    node.expect_same_type(node.output, node.input(0), node.input(1))
    function = np.minimum if node.operator.kind == "MINIMUM" else np.maximum
    return lambda a, b: (function(a, b),)
