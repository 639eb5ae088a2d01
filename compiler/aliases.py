"""Tensors that are others by a new name: what an operator that only changes the shape makes.

Tensors lie dense and in one order, so the shape is no matter of memory: such an operator moves nothing, and whoever
reads its output reads its input's bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..golden.graph import Graph, Operator

KINDS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
"""The operators that change nothing but the shape."""


def is_alias(operator: Operator, graph: Graph) -> bool:
    """Whether an operator's output is its first input under another shape, which is known beforehand."""
    if operator.kind not in KINDS:
        return False
    source, *stated = operator.inputs
    constant = [graph.tensors[index].constant for index in stated if index >= 0]
    return source >= 0 and not graph.tensors[source].constant and all(constant)


def roots_of(graph: Graph) -> Mapping[int, int]:
    """For each tensor that is another's alias, the tensor that an operator computes or the network is given."""
    roots: dict[int, int] = {}
    for operator in graph.operators:
        if is_alias(operator, graph):
            source = operator.inputs[0]
            roots[operator.outputs[0]] = roots.get(source, source)
    return roots
