"""A part of a network as a network of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .graph import Graph, ModelError, Operator, Subgraph, Tensor

_SETS_STATE = ("CALL_ONCE", "ASSIGN_VARIABLE")


def part(graph: Graph, first: int, stop: int) -> Graph:
    """The operators `first` to `stop - 1` of the main subgraph.

    Tensors keep their indices, so that values of the one are values of the other. The inputs are what the operators
    read and others write, in the order of reading; the outputs are what others read, or nobody, in the order of
    writing. Constants that none of the operators reads are left out.

    Parameters
    ----------
    graph
        The network, which may itself be a part.
    first, stop
        A range of operators that is not empty, by their index in `graph`.

    Raises
    ------
    ModelError
        There are no such operators, or one of them reads a state that an operator before them sets in the same run.
    """
    main = graph.main
    if not 0 <= first < stop <= len(main.operators):
        raise ModelError(f"{graph.name} has no operators {first}:{stop}; it has 0:{len(main.operators)}")
    _check_state(graph, first, stop)
    taken = main.operators[first:stop]
    read = _unique(index for operator in taken for index in operator.inputs if index >= 0)
    written = _unique(index for operator in taken for index in operator.outputs if index >= 0)
    used = {*read, *written, *(index for operator in taken for index in operator.intermediates)}
    others = [*main.operators[:first], *main.operators[stop:]]
    wanted = {*main.outputs, *(index for operator in others for index in operator.inputs)}
    inside = {index for operator in taken for index in operator.inputs}
    own = Subgraph(
        name=main.name,
        tensors=tuple(t if t.index in used else _bare(t) for t in main.tensors),
        operators=tuple(replace(operator, index=place) for place, operator in enumerate(taken)),
        inputs=tuple(i for i in read if i not in written and not _held(main.tensors[i])),
        outputs=tuple(i for i in written if i in wanted or i not in inside),
    )
    calls = any("subgraph" in name for operator in taken for name in operator.options)
    return replace(
        graph,
        name=f"{graph.name}[{first}:{stop}]",
        subgraphs=(own, *graph.subgraphs[1:]) if calls else (own,),
        first=graph.first + first,
    )


def _unique(indices: Iterable[int]) -> Sequence[int]:
    return list(dict.fromkeys(indices))


def _held(tensor: Tensor) -> bool:
    """Whether a tensor has its value without being an input."""
    return tensor.constant or tensor.variable


def _bare(tensor: Tensor) -> Tensor:
    """A tensor that nothing uses, and that only keeps its place."""
    return replace(tensor, data=None, variable=False) if _held(tensor) else tensor


def _check_state(graph: Graph, first: int, stop: int) -> None:
    names = {o.outputs[0]: _variable(o) for o in graph.operators if o.kind == "VAR_HANDLE"}
    setters = [o for o in graph.operators[:first] if o.kind in _SETS_STATE]
    for operator in graph.operators[first:stop]:
        for setter in setters if operator.kind == "READ_VARIABLE" else ():
            if setter.kind == "CALL_ONCE" or names.get(setter.inputs[0]) == names.get(operator.inputs[0]):
                raise ModelError(
                    f"{graph.name}: operator {operator.index} (READ_VARIABLE) reads a state that operator "
                    f"{setter.index} ({setter.kind}) sets: a part has both or neither"
                )


def _variable(handle: Operator) -> tuple[object, object]:
    return handle.options.get("container"), handle.options.get("shared_name")
