"""Tensors that are others by a new name: what an operator that changes no byte makes.

Tensors lie dense and in one order, so the shape is no matter of memory, and neither is what a byte stands for: an
operator that changes only these moves nothing, and whoever reads its output reads its input's bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..golden.graph import Graph, Operator
from ..golden.kernels import Node
from ..golden.numerics import Profile
from .lowering.unary import unchanged

KINDS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
"""The operators that change nothing but the shape."""


def source_of(operator: Operator, graph: Graph, profile: Profile = Profile.TFLM) -> int | None:
    """The tensor whose bytes an operator's output is, maybe under another shape, type or scale; None where it is none.

    Raises
    ------
    ModelError
        The operator describes nothing that can be computed.
    """
    if operator.kind not in KINDS:
        position = unchanged(Node.of(operator, graph, profile))
        return None if position is None else operator.inputs[position]
    source, *stated = operator.inputs
    constant = [graph.tensors[index].constant for index in stated if index >= 0]
    return source if source >= 0 and not graph.tensors[source].constant and all(constant) else None


def roots_of(graph: Graph, profile: Profile = Profile.TFLM) -> Mapping[int, int]:
    """For each tensor that is another's alias, the tensor that an operator computes or the network is given."""
    roots: dict[int, int] = {}
    for operator in graph.operators:
        source = source_of(operator, graph, profile)
        if source is not None:
            roots[operator.outputs[0]] = roots.get(source, source)
    return roots


def is_alias(operator: Operator, roots: Mapping[int, int]) -> bool:
    """Whether nobody computes an operator, whose output is one of the aliases."""
    return bool(operator.outputs) and operator.outputs[0] in roots
