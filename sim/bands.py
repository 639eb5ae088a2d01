"""A long layer as several short ones, each with some rows of the image.

The rows `[r, s)` of a convolution's output need the input rows that their windows see. A network of its own with just
those rows gives them, if its first row is a multiple of the stride and, with SAME padding, as many rows are left over
by the stride as in the whole image: the padding is then the same. Rows at a cut that see padding where the whole image
has pixels are computed too, and not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy.typing as npt

from ..golden.graph import Graph
from ..golden.kernels import Node
from ..golden.kernels.windows import Axis, axis_of

Array = npt.NDArray[Any]

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D")
_POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")


@dataclass(frozen=True, eq=False)
class Band:
    """Some rows of an operator's output.

    Parameters
    ----------
    graph
        The operator, on the rows of its input that it needs.
    rows
        `[first, stop)` of the whole output; None for the whole of an output that need not have rows.
    source
        The rows of the whole input that it takes; None for all.
    offset
        Which of its output's rows is the first of `rows`.
    """

    graph: Graph
    rows: tuple[int, int] | None = None
    source: tuple[int, int] | None = None
    offset: int = 0

    def inputs(self, inputs: list[Array]) -> list[Array]:
        """Its inputs out of the whole operator's."""
        return inputs if self.source is None else [x[:, slice(*self.source)] for x in inputs]

    def output(self, value: Array) -> Array:
        """Its rows of the whole operator's output, out of what it computes."""
        return value if self.rows is None else value[:, self.offset :][:, : self.rows[1] - self.rows[0]]


def bands(graph: Graph, count: int) -> Iterator[Band]:
    """Cuts an operator into about so many bands of equal height; one that has no rows to cut stays whole.

    Parameters
    ----------
    graph
        A network with one operator.
    count
        1 or more.
    """
    axis = _vertical(graph) if count > 1 else None
    count = min(count, axis.outputs) if axis is not None else 1
    if axis is None or count == 1:
        yield Band(graph)
        return
    for first, stop in pairwise(axis.outputs * i // count for i in range(count + 1)):
        yield _band(graph, axis, first, stop)


def _vertical(graph: Graph) -> Axis | None:
    """How the operator's windows lie along the rows of its only input."""
    operator = graph.operators[0]
    if operator.kind not in (*_WEIGHTED, *_POOLS) or len(graph.inputs) != 1 or len(graph.inputs[0].shape) != 4:
        return None
    weighted = operator.kind in _WEIGHTED
    node = Node.of(operator, graph)
    return axis_of(
        node,
        size=graph.inputs[0].shape[1],
        kernel=graph.tensors[operator.inputs[1]].shape[1] if weighted else node.option("filter_height"),
        stride=node.option("stride_h"),
        dilation=node.option("dilation_h_factor") if weighted else 1,
        padding=node.option("padding"),
    )


def _band(graph: Graph, axis: Axis, first: int, stop: int) -> Band:
    stride, size = axis.stride, axis.size
    begin = max(0, first * stride - axis.before) // stride * stride
    end = min(size, (stop - 1) * stride - axis.before + axis.reach)
    padded = graph.operators[0].options["padding"] == "SAME"
    if padded:
        end = min(size, end + (size - end) % stride)
        outputs = -(-(end - begin) // stride)
    else:
        outputs = (end - begin - axis.reach) // stride + 1
    heights = {graph.main.inputs[0]: end - begin, graph.main.outputs[0]: outputs}
    tensors = tuple(
        replace(t, shape=(t.shape[0], heights[t.index], *t.shape[2:]), shape_signature=None)
        if t.index in heights
        else t
        for t in graph.tensors
    )
    part = replace(
        graph,
        name=f"{graph.name} rows {first}:{stop}",
        subgraphs=(replace(graph.main, tensors=tensors), *graph.subgraphs[1:]),
    )
    return Band(part, (first, stop), (begin, end), first - begin // stride)
