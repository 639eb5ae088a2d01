"""Conditions: comparisons, logical operators, SELECT and SELECT_V2.

Quantized numbers are compared as they are, so both sides must share their quantization.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .node import Array, Evaluate, Node, kernel

_COMPARISONS: dict[str, Callable[[Array, Array], Array]] = {
    "EQUAL": np.equal,
    "NOT_EQUAL": np.not_equal,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
}


@kernel(*_COMPARISONS)
def comparison(node: Node) -> Evaluate:
    """A bool for each pair of elements."""
    node.expect_type(node.input(0), "float32", "int32", "int64", "int8", "uint8", "int16", "bool")
    node.expect_same_quantization(node.input(0), node.input(1))
    node.expect_type(node.output, "bool")
    node.broadcast_shape()
    function = _COMPARISONS[node.operator.kind]
    return lambda a, b: (function(a, b),)


@kernel("LOGICAL_AND", "LOGICAL_OR")
def logical(node: Node) -> Evaluate:
    """Of two bools."""
    for tensor in (node.input(0), node.input(1), node.output):
        node.expect_type(tensor, "bool")
    node.broadcast_shape()
    function = np.logical_and if node.operator.kind == "LOGICAL_AND" else np.logical_or
    return lambda a, b: (function(a, b),)


@kernel("LOGICAL_NOT")
def logical_not(node: Node) -> Evaluate:
    """Of one bool."""
    for tensor in (node.input(0), node.output):
        node.expect_type(tensor, "bool")
    node.expect_shape(node.input(0).shape)
    return lambda a: (np.logical_not(a),)


@kernel("SELECT", "SELECT_V2")
def select(node: Node) -> Evaluate:
    """The second input where the first is true, else the third. SELECT takes a condition per row, too."""
    condition, a, b = (node.input(i) for i in range(3))
    node.expect_type(condition, "bool")
    node.expect_same_type(node.output, a, b)
    rows = node.operator.kind == "SELECT" and len(condition.shape) == 1 and len(a.shape) > 1
    shown = condition.shape + (1,) * (len(a.shape) - 1) if rows else condition.shape
    try:
        shape = np.broadcast_shapes(shown, a.shape, b.shape)
    except ValueError:
        raise node.fail(f"{list(condition.shape)}, {list(a.shape)}, {list(b.shape)} do not broadcast") from None
    node.expect_shape(shape)

    def evaluate(condition: Array, a: Array, b: Array) -> tuple[Array]:
        return (np.where(condition.reshape(shown), a, b),)

    return evaluate
