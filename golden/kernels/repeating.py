"""Operators that make or repeat elements: TILE, BROADCAST_TO, FILL, ZEROS_LIKE, REVERSE_V2."""

from __future__ import annotations

import numpy as np

from .node import Array, Evaluate, Node, Shape, kernel


@kernel("TILE")
def tile(node: Node) -> Evaluate:
    """Repeats along each dimension as often as the second input says."""
    x = node.input(0)
    node.expect_same_type(x, node.output)
    counts = node.integers(1)
    if len(counts) != len(x.shape) or min(counts, default=1) < 0:
        raise node.fail(f"the multiples {list(counts)} do not fit the shape {list(x.shape)}")
    node.expect_shape([d * count for d, count in zip(x.shape, counts, strict=True)])
    return lambda x, _: (np.tile(x, counts),)


@kernel("BROADCAST_TO")
def broadcast_to(node: Node) -> Evaluate:
    """Repeats dimensions of size 1 up to a shape."""
    x = node.input(0)
    node.expect_same_type(x, node.output)
    node.expect_integers(1)

    def checked(shape: Shape) -> Shape:
        if min(shape, default=0) < 0:
            raise node.fail(f"the shape is {list(shape)}")
        node.expect_shape(shape)
        if not _broadcasts(x.shape, shape):
            raise node.fail(f"the shape {list(x.shape)} does not broadcast to {list(shape)}")
        return shape

    if node.input(1).data is not None:
        fixed = checked(node.integers(1))
        return lambda x, _: (np.ascontiguousarray(np.broadcast_to(x, fixed)),)
    return lambda x, shape: (np.ascontiguousarray(np.broadcast_to(x, checked(tuple(shape.reshape(-1).tolist())))),)


def _broadcasts(small: Shape, large: Shape) -> bool:
    pairs = zip(reversed(small), reversed(large), strict=False)
    return len(small) <= len(large) and all(a in (1, b) for a, b in pairs)


@kernel("FILL")
def fill(node: Node) -> Evaluate:
    """A tensor of a shape, full of one value."""
    node.expect_integers(0)
    node.expect_same_type(node.input(1), node.output)

    def evaluate(shape: Array, value: Array) -> tuple[Array]:
        wanted = tuple(shape.reshape(-1).tolist())
        if min(wanted, default=0) < 0 or value.size != 1:
            raise node.fail(f"the shape is {list(wanted)}, for {value.size} values")
        node.expect_shape(wanted)
        return (np.full(wanted, value.reshape(-1)[0], value.dtype),)

    return evaluate


@kernel("ZEROS_LIKE")
def zeros_like(node: Node) -> Evaluate:
    """Zeros of the input's shape; numbers that are not quantized only."""
    node.expect_type(node.input(0), "float32", "int32", "int64")
    node.expect_type(node.output, node.input(0).dtype.name)
    node.expect_shape(node.input(0).shape)
    return lambda x: (np.zeros_like(x),)


@kernel("REVERSE_V2")
def reverse(node: Node) -> Evaluate:
    """Turns an axis around."""
    x = node.input(0)
    node.expect_same_type(x, node.output)
    axes = tuple(node.axis(a, len(x.shape)) for a in node.integers(1))
    if len(set(axes)) != len(axes):
        raise node.fail(f"an axis is repeated in {list(node.integers(1))}")
    node.expect_shape(x.shape)
    return lambda x, _: (np.ascontiguousarray(np.flip(x, axes)),)
