"""FULLY_CONNECTED: `clamp(requantize(sum((x - zx) * (w - zw)) + bias) + zo)` for each row of the input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..graph import Graph, Operator
from .node import Array, Evaluate, Node, kernel
from .product import check_accumulator, check_real_types, check_types, float_product, requantization_of


@dataclass(frozen=True)
class DenseGeometry:
    """The loops of a FULLY_CONNECTED: `rows` vectors of `inputs` numbers become vectors of `outputs` numbers."""

    rows: int
    inputs: int
    outputs: int
    output_shape: tuple[int, ...]

    @property
    def macs(self) -> int:
        """Products in all."""
        return self.rows * self.inputs * self.outputs


def dense_geometry(operator: Operator, graph: Graph) -> DenseGeometry:
    """The loops of a FULLY_CONNECTED of a graph's main subgraph.

    Raises
    ------
    ModelError
        Shapes that do not fit each other.
    """
    return geometry_of(Node.of(operator, graph))


def geometry_of(node: Node) -> DenseGeometry:
    """The loops of a FULLY_CONNECTED. Leading dimensions are rows, unless the weights span several dimensions."""
    x, weights = node.input(0), node.input(1)
    if len(weights.shape) != 2 or not weights.shape[0] or not weights.shape[1]:
        raise node.fail(f"the weights have the shape {list(weights.shape)}; expected two dimensions")
    outputs, inputs = weights.shape
    size = math.prod(x.shape)
    if not x.shape or size % inputs or not size:
        raise node.fail(
            f"an input of the shape {list(x.shape)} does not fit weights of the shape {list(weights.shape)}"
        )
    rows = size // inputs
    if node.option("keep_num_dims"):
        if x.shape[-1] != inputs:
            raise node.fail(f"the last dimension of the input is {x.shape[-1]}; the weights need {inputs}")
        return DenseGeometry(rows, inputs, outputs, (*x.shape[:-1], outputs))
    return DenseGeometry(rows, inputs, outputs, (rows, outputs))


@kernel("FULLY_CONNECTED")
def fully_connected(node: Node) -> Evaluate:
    """One product of matrices."""
    if node.input(0).dtype == np.float32:
        return _float_dense(node)
    check_types(node)
    if node.option("weights_format") != "DEFAULT":
        raise node.fail(f"weights_format is {node.option('weights_format')}; expected DEFAULT")
    geometry = geometry_of(node)
    node.expect_shape(geometry.output_shape)
    requantization, product = requantization_of(node), float_product(node)

    def evaluate(x: Array, *_: Array) -> tuple[Array]:
        sums = x.reshape(geometry.rows, geometry.inputs).astype(product.kind) @ product.weights().T
        check_accumulator(node, sums, product.bias, product.bound)
        return (requantization.apply(sums, node.output.dtype, bias=product.bias).reshape(geometry.output_shape),)

    return evaluate


def _float_dense(node: Node) -> Evaluate:
    """Real numbers. Sums of floats depend on their order: equal to other runtimes' up to rounding errors."""
    check_real_types(node)
    geometry = geometry_of(node)
    node.expect_shape(geometry.output_shape)
    low, high = node.float_bounds()

    def evaluate(x: Array, weights: Array, *bias: Array) -> tuple[Array]:
        sums = x.reshape(geometry.rows, geometry.inputs) @ weights.T
        if bias and bias[0] is not None:
            sums = sums + bias[0]
        return (np.clip(sums, low, high).reshape(geometry.output_shape),)

    return evaluate
