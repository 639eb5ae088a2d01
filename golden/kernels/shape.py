"""Operators that only change the shape: RESHAPE, SQUEEZE, EXPAND_DIMS; and SHAPE, which tells it."""

from __future__ import annotations

import math

import numpy as np

from .node import Array, Evaluate, Node, Shape, kernel


@kernel("RESHAPE")
def reshape(node: Node) -> Evaluate:
    """The shape is a second input, or else an option; one -1 in it stands for what is left."""
    x = node.input(0)
    node.expect_type(node.output, x.dtype.name)

    def resolved(wanted: Shape) -> Shape:
        # Files of old converters state a scalar as [0].
        wanted = () if wanted == (0,) and math.prod(x.shape) == 1 else wanted
        known = math.prod(d for d in wanted if d != -1)
        if wanted.count(-1) == 1 and known > 0:
            wanted = tuple(math.prod(x.shape) // known if d == -1 else d for d in wanted)
        if any(d < 0 for d in wanted) or math.prod(wanted) != math.prod(x.shape):
            raise node.fail(f"an input of the shape {list(x.shape)} cannot take the shape {list(wanted)}")
        node.expect_shape(wanted)
        return wanted

    shape = node.optional(1)
    if shape is not None:
        node.expect_integers(1)
    if shape is not None and shape.data is None:
        return lambda x, wanted: (x.reshape(resolved(tuple(wanted.reshape(-1).tolist()))),)
    stated = node.option("new_shape") if shape is None else node.constant(1).reshape(-1).tolist()
    return _reshaped(resolved(tuple(stated)))


def _reshaped(shape: Shape) -> Evaluate:
    return lambda x, *_: (x.reshape(shape),)


@kernel("SQUEEZE")
def squeeze(node: Node) -> Evaluate:
    """Drops the dimensions of size 1 that the options name, or all of them."""
    x = node.input(0)
    node.expect_type(node.output, x.dtype.name)
    dropped = {node.axis(d, len(x.shape)) for d in node.option("squeeze_dims")}
    if not dropped:
        dropped = {i for i, d in enumerate(x.shape) if d == 1}
    if any(x.shape[i] != 1 for i in dropped):
        raise node.fail(f"the dimensions {sorted(dropped)} of the shape {list(x.shape)} are not all 1")
    shape = tuple(d for i, d in enumerate(x.shape) if i not in dropped)
    node.expect_shape(shape)
    return _reshaped(shape)


@kernel("EXPAND_DIMS")
def expand_dims(node: Node) -> Evaluate:
    """Inserts a dimension of size 1 at a constant axis."""
    x = node.input(0)
    node.expect_type(node.output, x.dtype.name)
    axis = node.axis(node.scalar(1), len(x.shape) + 1)
    shape = (*x.shape[:axis], 1, *x.shape[axis:])
    node.expect_shape(shape)
    return _reshaped(shape)


@kernel("SHAPE")
def shape_of(node: Node) -> Evaluate:
    """The dimensions of the input, as int32 or int64."""
    node.expect_type(node.output, "int32", "int64")
    shape = np.array(node.input(0).shape, node.output.dtype)
    node.expect_shape(shape.shape)

    def evaluate(_: Array) -> tuple[Array]:
        return (shape.copy(),)

    return evaluate
