"""Operators that only change the shape: RESHAPE."""

from __future__ import annotations

import math

from .node import Array, Evaluate, Node, kernel


@kernel("RESHAPE")
def reshape(node: Node) -> Evaluate:
    """The shape is a second input, or else an option; one -1 in it stands for what is left."""
    x = node.input(0)
    node.expect_type(node.output, x.dtype.name)

    def resolved(wanted: tuple[int, ...]) -> tuple[int, ...]:
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
    if shape is not None and shape.data is None:
        return lambda x, wanted: (x.reshape(resolved(tuple(wanted.reshape(-1).tolist()))),)
    stated = node.option("new_shape") if shape is None else node.constant(1).reshape(-1).tolist()
    final = resolved(tuple(stated))

    def evaluate(x: Array, *_: Array) -> tuple[Array]:
        return (x.reshape(final),)

    return evaluate
