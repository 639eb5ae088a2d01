"""Operators that take parts: SLICE, STRIDED_SLICE, SPLIT, SPLIT_V, UNPACK, GATHER."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .node import Array, Evaluate, Node, kernel


@kernel("SLICE")
def slice_(node: Node) -> Evaluate:
    """A box: begins and sizes are inputs; a size of -1 reaches to the end."""
    x = node.input(0)
    node.expect_type(node.output, x.dtype.name)
    node.expect_integers(1, 2)

    def box(begins: list[int], sizes: list[int]) -> tuple[slice, ...]:
        if len(begins) != len(x.shape) or len(sizes) != len(x.shape):
            raise node.fail(f"{len(begins)} begins and {len(sizes)} sizes for {len(x.shape)} dimensions")
        parts = []
        for begin, size, dimension in zip(begins, sizes, x.shape, strict=True):
            size = dimension - begin if size == -1 else size
            if begin < 0 or size < 0 or begin + size > dimension:
                raise node.fail(f"a slice of {size} from {begin} leaves a dimension of {dimension}")
            parts.append(slice(begin, begin + size))
        node.expect_shape([part.stop - part.start for part in parts])
        return tuple(parts)

    begin, size = node.input(1).data, node.input(2).data
    if begin is not None and size is not None:
        fixed = box(begin.reshape(-1).tolist(), size.reshape(-1).tolist())
        return lambda x, *_: (x[fixed],)
    return lambda x, begin, size: (x[box(begin.reshape(-1).tolist(), size.reshape(-1).tolist())],)


@kernel("STRIDED_SLICE")
def strided_slice(node: Node) -> Evaluate:
    """numpy's basic slicing, with bit masks that say which begins and ends are open and which axes disappear."""
    x = node.input(0)
    node.expect_type(node.output, x.dtype.name)
    node.expect_integers(1, 2, 3)
    masks = {name: node.option(f"{name}_mask") for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}

    def parts(begins: list[int], ends: list[int], strides: list[int]) -> tuple[Any, ...]:
        count = len(begins)
        added = sum(1 for i in range(count) if (masks["new_axis"] | masks["ellipsis"]) >> i & 1)
        if not len(ends) == len(strides) == count or count - added > len(x.shape):
            raise node.fail(f"{count} begins, {len(ends)} ends and {len(strides)} strides do not fit {list(x.shape)}")
        chosen: list[Any] = []
        dimension = 0
        for i, (begin, end, stride) in enumerate(zip(begins, ends, strides, strict=True)):
            bit = 1 << i
            if masks["ellipsis"] & bit:
                if Ellipsis in chosen:
                    raise node.fail("there is more than one ellipsis")
                chosen.append(Ellipsis)
                dimension += len(x.shape) - (count - added)
                continue
            if masks["new_axis"] & bit:
                chosen.append(None)
                continue
            size = x.shape[dimension]
            dimension += 1
            if stride == 0:
                raise node.fail(f"the stride of axis {i} is 0")
            if masks["shrink_axis"] & bit:
                begin = 0 if masks["begin"] & bit else begin
                if not -size <= begin < size:
                    raise node.fail(f"index {begin} leaves axis {i}, which has {size} elements")
                chosen.append(begin)
                continue
            start = None if masks["begin"] & bit else begin
            # With `offset`, an end counts from the begin.
            stop = None if masks["end"] & bit else begin + end if node.option("offset") else end
            chosen.append(slice(start, stop, stride))
        return tuple(chosen)

    def evaluate(x: Array, begin: Array, end: Array, strides: Array) -> tuple[Array]:
        result = x[parts(*(a.reshape(-1).tolist() for a in (begin, end, strides)))]
        node.expect_shape(result.shape)
        return (np.asarray(result),)

    return evaluate


@kernel("SPLIT")
def split(node: Node) -> Evaluate:
    """Equal parts along an axis, one per output. The axis is the first input."""
    x = node.input(1)
    axis = node.axis(node.scalar(0), len(x.shape))
    count = len(node.outputs)
    if node.option("num_splits") != count or x.shape[axis] % count:
        raise node.fail(f"{x.shape[axis]} elements do not split into {node.option('num_splits')} for {count} outputs")
    return _split(node, 1, axis, [x.shape[axis] // count] * count)


@kernel("SPLIT_V")
def split_v(node: Node) -> Evaluate:
    """Parts of given sizes along an axis; one of -1 takes what is left."""
    x = node.input(0)
    axis = node.axis(node.scalar(2), len(x.shape))
    sizes = list(node.integers(1))
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = x.shape[axis] - sum(size for size in sizes if size != -1)
    if len(sizes) != len(node.outputs) or min(sizes, default=0) < 0 or sum(sizes) != x.shape[axis]:
        raise node.fail(f"{x.shape[axis]} elements do not split into {sizes} for {len(node.outputs)} outputs")
    return _split(node, 0, axis, sizes)


def _split(node: Node, position: int, axis: int, sizes: list[int]) -> Evaluate:
    x = node.input(position)
    node.expect_same_type(x, *node.outputs)
    for i, size in enumerate(sizes):
        node.expect_shape((*x.shape[:axis], size, *x.shape[axis + 1 :]), i)
    cuts = np.cumsum(sizes)[:-1].tolist()

    def evaluate(*inputs: Array) -> tuple[Array, ...]:
        return tuple(np.split(inputs[position], cuts, axis))

    return evaluate


@kernel("UNPACK")
def unpack(node: Node) -> Evaluate:
    """One output per index of an axis."""
    x = node.input(0)
    axis = node.axis(node.option("axis"), len(x.shape))
    if x.shape[axis] != len(node.outputs):
        raise node.fail(f"axis {axis} of {list(x.shape)} does not give {len(node.outputs)} outputs")
    node.expect_same_type(x, *node.outputs)
    for i in range(len(node.outputs)):
        node.expect_shape((*x.shape[:axis], *x.shape[axis + 1 :]), i)
    return lambda x: tuple(np.moveaxis(x, axis, 0))


@kernel("GATHER")
def gather(node: Node) -> Evaluate:
    """The slices along an axis that the second input lists; the leading `batch_dims` are gathered one by one."""
    x, indices = node.input(0), node.input(1)
    node.expect_same_type(x, node.output)
    node.expect_type(indices, "int16", "int32", "int64")
    axis = node.axis(node.option("axis"), len(x.shape))
    batch = node.axis(node.option("batch_dims"), len(indices.shape) + 1)
    if batch > axis or x.shape[:batch] != indices.shape[:batch]:
        raise node.fail(f"batch_dims is {batch} for the shapes {list(x.shape)} and {list(indices.shape)}")
    shape = (*x.shape[:axis], *indices.shape[batch:], *x.shape[axis + 1 :])
    node.expect_shape(shape)

    def evaluate(x: Array, indices: Array) -> tuple[Array]:
        if indices.size and not (int(indices.min()) >= 0 and int(indices.max()) < x.shape[axis]):
            raise node.fail(f"an index leaves axis {axis}, which has {x.shape[axis]} elements")
        rows = math.prod(x.shape[:batch])
        flat = x.reshape(rows, *x.shape[batch:])
        taken = [
            np.take(a, i, axis - batch)
            for a, i in zip(flat, indices.reshape(rows, *indices.shape[batch:]), strict=True)
        ]
        return (np.stack(taken).reshape(shape) if taken else np.zeros(shape, x.dtype),)

    return evaluate
