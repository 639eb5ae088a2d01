"""Operators that reorder elements: TRANSPOSE, and the four between space and depth or batch."""

from __future__ import annotations

import math

import numpy as np

from .node import Array, Evaluate, Node, kernel


@kernel("TRANSPOSE")
def transpose(node: Node) -> Evaluate:
    """Reorders the dimensions as the second input says."""
    x = node.input(0)
    node.expect_same_type(x, node.output)
    order = tuple(node.axis(a, len(x.shape)) for a in node.integers(1))
    if sorted(order) != list(range(len(x.shape))):
        raise node.fail(f"the permutation {list(order)} does not fit {len(x.shape)} dimensions")
    node.expect_shape([x.shape[a] for a in order])
    return lambda x, _: (np.ascontiguousarray(x.transpose(order)),)


def _block_size(node: Node) -> int:
    size = int(node.option("block_size"))
    if size < 1 or len(node.input(0).shape) != 4:
        raise node.fail(f"block_size is {size} for the shape {list(node.input(0).shape)}")
    node.expect_same_type(node.input(0), node.output)
    return size


@kernel("SPACE_TO_DEPTH")
def space_to_depth(node: Node) -> Evaluate:
    """Each block of pixels becomes one pixel with all their channels."""
    size = _block_size(node)
    n, h, w, c = node.input(0).shape
    if h % size or w % size:
        raise node.fail(f"an image of {h} x {w} does not divide into blocks of {size}")
    shape = (n, h // size, w // size, c * size * size)
    node.expect_shape(shape)

    def evaluate(x: Array) -> tuple[Array]:
        blocks = x.reshape(n, h // size, size, w // size, size, c)
        return (blocks.transpose(0, 1, 3, 2, 4, 5).reshape(shape),)

    return evaluate


@kernel("DEPTH_TO_SPACE")
def depth_to_space(node: Node) -> Evaluate:
    """The inverse of SPACE_TO_DEPTH."""
    size = _block_size(node)
    n, h, w, c = node.input(0).shape
    if c % (size * size):
        raise node.fail(f"{c} channels do not divide into blocks of {size} x {size}")
    shape = (n, h * size, w * size, c // (size * size))
    node.expect_shape(shape)

    def evaluate(x: Array) -> tuple[Array]:
        blocks = x.reshape(n, h, w, size, size, shape[3])
        return (blocks.transpose(0, 1, 3, 2, 4, 5).reshape(shape),)

    return evaluate


def _blocks(node: Node) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """Block sizes and the pairs of paddings or crops, one for each spatial dimension."""
    x = node.input(0)
    node.expect_same_quantization(x, node.output)
    blocks, borders = node.integers(1), node.constant(2)
    spatial = len(blocks)
    if len(x.shape) < spatial + 1 or not spatial or min(blocks) < 1:
        raise node.fail(f"blocks of {list(blocks)} do not fit the shape {list(x.shape)}")
    if borders.shape != (spatial, 2) or borders.dtype.kind != "i" or np.any(borders < 0):
        raise node.fail(f"the borders are {borders.tolist()}; expected {spatial} pairs of numbers >= 0")
    return blocks, [(int(before), int(after)) for before, after in borders]


@kernel("SPACE_TO_BATCH_ND")
def space_to_batch_nd(node: Node) -> Evaluate:
    """Pads, and makes each position within a block an image of its own."""
    blocks, widths = _blocks(node)
    x, spatial = node.input(0), len(blocks)
    padded = [before + d + after for d, (before, after) in zip(x.shape[1 : spatial + 1], widths, strict=True)]
    if any(d % block for d, block in zip(padded, blocks, strict=True)):
        raise node.fail(f"the padded sizes {padded} do not divide into blocks of {list(blocks)}")
    rest = x.shape[spatial + 1 :]
    small = [d // block for d, block in zip(padded, blocks, strict=True)]
    shape = (math.prod(blocks) * x.shape[0], *small, *rest)
    node.expect_shape(shape)
    zero = node.quantization(node.output)[1] if node.output.quantization and x.dtype.kind in "iu" else 0
    all_widths = [(0, 0), *widths, *((0, 0) for _ in rest)]
    parts = [v for pair in zip(small, blocks, strict=True) for v in pair]
    inner, outer = [2 + 2 * i for i in range(spatial)], [1 + 2 * i for i in range(spatial)]
    last = range(1 + 2 * spatial, 1 + 2 * spatial + len(rest))

    def evaluate(x: Array, *_: Array) -> tuple[Array]:
        image = np.pad(x, all_widths, constant_values=zero).reshape(x.shape[0], *parts, *rest)
        return (image.transpose(*inner, 0, *outer, *last).reshape(shape),)

    return evaluate


@kernel("BATCH_TO_SPACE_ND")
def batch_to_space_nd(node: Node) -> Evaluate:
    """The inverse of SPACE_TO_BATCH_ND: interleaves images, and crops."""
    blocks, crops = _blocks(node)
    x, spatial = node.input(0), len(blocks)
    count = math.prod(blocks)
    if x.shape[0] % count:
        raise node.fail(f"a batch of {x.shape[0]} does not divide into blocks of {list(blocks)}")
    batch, small, rest = x.shape[0] // count, x.shape[1 : spatial + 1], x.shape[spatial + 1 :]
    whole = [d * block for d, block in zip(small, blocks, strict=True)]
    kept = [slice(before, d - after) for d, (before, after) in zip(whole, crops, strict=True)]
    if any(part.stop < part.start for part in kept):
        raise node.fail(f"the crops {crops} leave nothing of {whole}")
    node.expect_shape((batch, *(part.stop - part.start for part in kept), *rest))
    order = [spatial, *(v for i in range(spatial) for v in (spatial + 1 + i, i))]
    order += range(1 + 2 * spatial, 1 + 2 * spatial + len(rest))

    def evaluate(x: Array, *_: Array) -> tuple[Array]:
        image = x.reshape(*blocks, batch, *small, *rest).transpose(order).reshape(batch, *whole, *rest)
        return (image[(slice(None), *kept)],)

    return evaluate
