"""What the lowerings of operators share: parameters, and layers of works."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...golden.graph import Tensor
from ...golden.kernels import Node
from ...golden.numerics import quantize_multiplier
from ...hw.config import Config
from ..lines import Lines
from ..work import Layer, Parameters, Target, Work
from .reasons import signed_offset

ADD_SHIFT = 20
"""Bits that ADD gains before it rescales its inputs."""

MOST_COPIES = 64
"""Commands for each part of an image, beyond which the host is no slower."""

IDENTITY = quantize_multiplier(1.0)
"""The multiplier that changes nothing, in every rounding."""


def parameters(bias: int = 0, multiplier: tuple[int, int] = IDENTITY) -> Parameters:
    """The same requantization for all channels."""
    q, s = multiplier
    return Parameters(*(np.array([value], np.int32) for value in (bias, q, s)))


def signed_zero_point(node: Node, tensor: Tensor) -> int:
    """The zero point of a tensor's signed bytes."""
    return node.quantization(tensor)[1] - signed_offset(tensor)


def internal(node: Node) -> int:
    """The number of a tensor between layers of an operator: negative, as those of the graph are not."""
    return -1 - node.operator.index


def flat_lines(tensor: Tensor, config: Config, **fields: Any) -> Lines:
    """A work on all bytes of tensors of that size, in vectors of C, whatever their shape is."""
    size, length = math.prod(tensor.shape), config.columns
    lines = -(-size // length)
    return Lines(
        target=Target(lines, length, 0, length),
        lines=lines,
        length=length,
        last=size - (lines - 1) * length,
        pitch=length,
        **fields,
    )


def flat_layer(node: Node, sources: Sequence[Tensor], works: Sequence[Work], config: Config) -> Layer:
    """A layer of such works, which go on with each other's sums."""
    size = math.prod(node.output.shape)
    return Layer(
        operator=node.operator.index,
        sources=tuple(source.index for source in sources),
        source_bytes=tuple(math.prod(source.shape) for source in sources),
        destination=node.output.index,
        batch=1,
        rows=-(-size // config.columns),
        row_bytes=config.columns,
        size=size,
        groups=(tuple(works),),
    )


def independent_layer(
    node: Node, tensors: Sequence[Tensor], batch: int, rows: int, row_bytes: int, works: Sequence[Work]
) -> Layer:
    """A layer of works that know nothing of each other."""
    return Layer(
        operator=node.operator.index,
        sources=tuple(tensor.index for tensor in tensors),
        source_bytes=tuple(math.prod(tensor.shape) for tensor in tensors),
        destination=node.output.index,
        batch=batch,
        rows=rows,
        row_bytes=row_bytes,
        size=batch * rows * row_bytes,
        groups=tuple((work,) for work in works),
    )
