"""Operators that join tensors: CONCATENATION, PACK."""

from __future__ import annotations

import numpy as np

from ..numerics import round_half_away
from .node import Array, Evaluate, Node, kernel


@kernel("CONCATENATION")
def concatenation(node: Node) -> Evaluate:
    """Along an axis. uint8 inputs of another quantization than the output's are rescaled in float32."""
    first = node.input(0)
    tensors = [node.input(i) for i in range(len(node.inputs))]
    if node.option("fused_activation_function") != "NONE":
        raise node.fail("a fused activation is not supported")
    axis = node.axis(node.option("axis"), len(first.shape))
    rest = (*first.shape[:axis], *first.shape[axis + 1 :])
    for tensor in tensors:
        node.expect_type(tensor, node.output.dtype.name)
        if len(tensor.shape) != len(first.shape) or (*tensor.shape[:axis], *tensor.shape[axis + 1 :]) != rest:
            raise node.fail(f"the shapes {list(first.shape)} and {list(tensor.shape)} do not join along axis {axis}")
    node.expect_shape((*first.shape[:axis], sum(t.shape[axis] for t in tensors), *first.shape[axis + 1 :]))
    if first.dtype != np.uint8:
        node.expect_same_quantization(node.output, *tensors)
        return lambda *arrays: (np.concatenate(arrays, axis),)
    tables = [rescaling_table(node, i) for i in range(len(tensors))]

    def evaluate(*arrays: Array) -> tuple[Array]:
        parts = [x if table is None else table[x] for x, table in zip(arrays, tables, strict=True)]
        return (np.concatenate(parts, axis),)

    return evaluate


def rescaling_table(node: Node, position: int) -> Array | None:
    """What each uint8 value of an input becomes, None where it stays."""
    if node.input(position).quantization is None or node.output.quantization is None:
        return None
    (scale, zero_point), (scale_out, zero_out) = node.quantization(node.input(position)), node.quantization(node.output)
    if scale == scale_out and zero_point == zero_out:
        return None
    ratio = scale * (np.float32(1) / scale_out)
    bias = np.float32(-zero_point) * ratio
    values = np.arange(256).astype(np.float32) * ratio + bias
    table: Array = np.clip(round_half_away(values) + zero_out, 0, 255).astype(np.uint8)
    return table


@kernel("PACK")
def pack(node: Node) -> Evaluate:
    """Stacks tensors of one shape along a new axis."""
    tensors = [node.input(i) for i in range(len(node.inputs))]
    node.expect_same_quantization(node.output, *tensors)
    shape = tensors[0].shape
    if any(t.shape != shape for t in tensors) or node.option("values_count") != len(tensors):
        raise node.fail(f"{len(tensors)} inputs of the shapes {[list(t.shape) for t in tensors]} do not stack")
    axis = node.axis(node.option("axis"), len(shape) + 1)
    node.expect_shape((*shape[:axis], len(tensors), *shape[axis:]))
    return lambda *arrays: (np.stack(arrays, axis),)
