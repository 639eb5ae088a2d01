"""Operators that add a border: PAD, PADV2, MIRROR_PAD."""

from __future__ import annotations

import numpy as np

from .node import Array, Evaluate, Node, kernel


def widths_of(node: Node, paddings: Array) -> list[tuple[int, int]]:
    """Elements before and after, for each dimension; the shape that they give is the output's."""
    x = node.input(0)
    if paddings.shape != (len(x.shape), 2) or paddings.dtype.kind != "i" or np.any(paddings < 0):
        raise node.fail(f"the paddings are {paddings.tolist()}; expected {len(x.shape)} pairs of numbers >= 0")
    widths = [(int(before), int(after)) for before, after in paddings]
    node.expect_shape([before + d + after for d, (before, after) in zip(x.shape, widths, strict=True)])
    return widths


@kernel("PAD", "PADV2")
def pad(node: Node) -> Evaluate:
    """A constant border: the real number 0, or for PADV2 a third input."""
    x, output = node.input(0), node.output
    node.expect_same_type(x, output)
    node.expect_integers(1)
    zero = 0
    if x.dtype.kind in "iu" and output.quantization is not None:
        zero = node.quantization(output)[1]
    chosen = node.operator.kind == "PADV2"
    if chosen:
        node.expect_type(node.input(2), x.dtype.name)
    fixed = None if node.input(1).data is None else widths_of(node, node.constant(1))

    def evaluate(x: Array, paddings: Array, *value: Array) -> tuple[Array]:
        widths = fixed if fixed is not None else widths_of(node, paddings)
        filling = value[0].reshape(-1)[0] if chosen else zero
        padded = np.full([b + d + a for d, (b, a) in zip(x.shape, widths, strict=True)], filling, x.dtype)
        padded[tuple(slice(b, b + d) for d, (b, _) in zip(x.shape, widths, strict=True))] = x
        return (padded,)

    return evaluate


@kernel("MIRROR_PAD")
def mirror_pad(node: Node) -> Evaluate:
    """A border that mirrors the image, with (SYMMETRIC) or without (REFLECT) the outermost pixels."""
    x = node.input(0)
    node.expect_same_type(x, node.output)
    mode = node.option("mode")
    widths = widths_of(node, node.constant(1))
    least = 0 if mode == "SYMMETRIC" else 1
    if any(max(width) > d - least for d, width in zip(x.shape, widths, strict=True)):
        raise node.fail(f"the paddings {widths} are wider than what the shape {list(x.shape)} can mirror")

    def evaluate(x: Array, _: Array) -> tuple[Array]:
        if mode == "SYMMETRIC":
            return (np.pad(x, widths, mode="symmetric"),)
        return (np.pad(x, widths, mode="reflect"),)

    return evaluate
