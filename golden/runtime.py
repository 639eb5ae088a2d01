"""The integer runtime: computes graphs to the bit of a named runtime.

execution = run(graph, [image], Profile.TFLM)
execution.outputs[0]            # the network's output
execution.tensors[17]           # any tensor on the way
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from .graph import Graph, ModelError, Operator, Subgraph, Tensor
from .kernels import MEMORY_LIMIT, Array, Evaluate, Node, Shape, check_supported, prepare
from .numerics import Profile

Keep = Literal["all", "outputs"]


@dataclass(frozen=True, eq=False)
class Execution:
    """What one run computed.

    Parameters
    ----------
    tensors
        Arrays by tensor index of the main subgraph. With `keep="all"`: inputs, constants and every intermediate; else
        the outputs.
    outputs
        The network's outputs, in the graph's order.
    """

    tensors: Mapping[int, Array]
    outputs: tuple[Array, ...]


def run(
    graph: Graph, inputs: Sequence[npt.ArrayLike], profile: Profile = Profile.TFLM, *, keep: Keep = "all"
) -> Execution:
    """One inference from a fresh state.

    Parameters
    ----------
    graph
        The network.
    inputs
        One array per input of the graph, of its type and shape. A dimension that the file leaves open may be any size.
    profile
        Whose arithmetic to follow.
    keep
        "outputs" frees every intermediate tensor after its last reader.

    Raises
    ------
    ModelError
        Operators that are not supported, or inputs that do not fit.
    """
    return Session(graph, profile).run(inputs, keep=keep)


def run_operator(
    graph: Graph, operator: Operator, tensors: Mapping[int, Array], profile: Profile = Profile.TFLM
) -> tuple[Array, ...]:
    """One operator of the main subgraph on its own.

    Parameters
    ----------
    tensors
        Arrays by tensor index: at least the operator's inputs that are not constants.

    Returns
    -------
    Its outputs, in its order.

    Raises
    ------
    ModelError
        The operator is not supported, needs a session, or an input is missing.
    """
    inputs = [_value(graph.main, index, tensors) for index in operator.inputs]
    shapes = [None if x is None else x.shape for x in inputs]
    with quiet():
        return prepare(Node.of(operator, graph, profile, shapes=shapes))(*inputs)


def quiet() -> np.errstate:
    """Without warnings of overflow and the like: what real numbers beyond a type's range become is defined here."""
    return np.errstate(all="ignore")


def _value(subgraph: Subgraph, index: int, tensors: Mapping[int, Array]) -> Array | None:
    if index < 0:
        return None
    value = tensors[index] if index in tensors else subgraph.tensors[index].data
    if value is None:
        raise ModelError(f"{subgraph.name}: tensor {index} ({subgraph.tensors[index].name}) has no value")
    return value


class Session:
    """A network that is prepared to run many times, and the state that it keeps between calls.

    Parameters
    ----------
    graph
        The network.
    profile
        Whose arithmetic to follow.
    memory_limit
        Bytes that activations may take at a time: what a damaged file asks for can exceed any memory.

    Raises
    ------
    ModelError
        Operators that are not supported, all of them in one message, or a working set beyond the limit.
    """

    def __init__(self, graph: Graph, profile: Profile = Profile.TFLM, *, memory_limit: int = MEMORY_LIMIT) -> None:
        check_supported(graph)
        needed = working_set(graph)
        if needed > memory_limit:
            raise ModelError(f"{graph.name}: activations take {needed} bytes; the limit is {memory_limit}")
        self.graph = graph
        self.profile = profile
        self.variables: dict[str, Array] = {}
        self._states: dict[tuple[int, int], Array] = {}
        self._called: set[int] = set()
        self._prepared: dict[tuple[int, int], tuple[tuple[Shape | None, ...], Evaluate]] = {}
        self._last_readers = [_last_readers(subgraph) for subgraph in graph.subgraphs]

    def reset(self) -> None:
        """Forget all state: the next run is the first."""
        self.variables.clear()
        self._states.clear()
        self._called.clear()

    def run(self, inputs: Sequence[npt.ArrayLike], *, keep: Keep = "all") -> Execution:
        """One inference from the state that the last one left.

        Parameters and errors are those of `run`.
        """
        if len(inputs) != len(self.graph.inputs):
            raise ModelError(f"{self.graph.name}: {len(inputs)} inputs given; the network has {len(self.graph.inputs)}")
        values = {
            tensor.index: check_input(self.graph, position, array)
            for position, (tensor, array) in enumerate(zip(self.graph.inputs, inputs, strict=True))
        }
        with quiet():
            tensors = self._run(0, values, keep)
        outputs = tuple(tensors[tensor.index] for tensor in self.graph.outputs)
        return Execution(MappingProxyType(tensors), outputs)

    def run_operator(self, operator: Operator, tensors: Mapping[int, Array]) -> tuple[Array, ...]:
        """One operator of the main subgraph on its own, with the session's state.

        Parameters
        ----------
        tensors
            Arrays by tensor index: at least the operator's inputs that are neither constants nor variables.

        Returns
        -------
        Its outputs, in its order.

        Raises
        ------
        ModelError
            An input is missing.
        """
        variables = {t.index: self._state(0, t) for t in self.graph.tensors if t.variable and t.data is None}
        inputs = [_value(self.graph.main, index, {**variables, **tensors}) for index in operator.inputs]
        with quiet():
            return self._evaluate(0, operator, inputs)(*inputs)

    def call_once(self, subgraph: int) -> None:
        """Run a subgraph without inputs, unless it has run since the last reset."""
        if not 0 < subgraph < len(self.graph.subgraphs):
            raise ModelError(f"{self.graph.name}: subgraph {subgraph} is called; there are {len(self.graph.subgraphs)}")
        if subgraph not in self._called:
            self._called.add(subgraph)
            self._run(subgraph, {}, "outputs")

    def _run(self, number: int, tensors: dict[int, Array], keep: Keep) -> dict[int, Array]:
        subgraph = self.graph.subgraphs[number]
        tensors |= {t.index: t.data for t in subgraph.tensors if t.data is not None}
        tensors |= {t.index: self._state(number, t) for t in subgraph.tensors if t.variable and t.data is None}
        for operator in subgraph.operators:
            inputs = [None if index < 0 else tensors[index] for index in operator.inputs]
            results = self._evaluate(number, operator, inputs)(*inputs)
            tensors.update(zip(operator.outputs, results, strict=True))
            if keep == "outputs":
                for index in self._last_readers[number][operator.index]:
                    del tensors[index]
        if keep == "all":
            # The next call changes states where they are.
            tensors |= {t.index: tensors[t.index].copy() for t in subgraph.tensors if t.variable}
        return tensors if keep == "all" else {index: tensors[index] for index in subgraph.outputs}

    def _evaluate(self, number: int, operator: Operator, inputs: Sequence[Array | None]) -> Evaluate:
        """The operator's function, prepared anew only where the shapes of its inputs have changed."""
        shapes = tuple(None if x is None else x.shape for x in inputs)
        known = self._prepared.get((number, operator.index))
        if known is None or known[0] != shapes:
            subgraph = self.graph.subgraphs[number]
            node = Node.of(operator, subgraph, self.profile, shapes=shapes, context=self, name=self.graph.name)
            known = self._prepared[number, operator.index] = (shapes, prepare(node))
        return known[1]

    def _state(self, number: int, tensor: Tensor) -> Array:
        """The value of a variable tensor; a fresh one holds the quantized zero."""
        key = (number, tensor.index)
        if key not in self._states:
            self._states[key] = np.full(tensor.shape, fresh_value(tensor), tensor.dtype)
        return self._states[key]


def working_set(graph: Graph) -> int:
    """The most bytes that the activations of the main subgraph take at a time, by the shapes that the file states.

    An activation lives from the operator that writes it to its last reader.
    """
    live = {tensor.index: _bytes(tensor) for tensor in graph.tensors if tensor.variable and not tensor.constant}
    live |= {tensor.index: _bytes(tensor) for tensor in graph.inputs}
    largest = total = sum(live.values())
    for operator, freed in zip(graph.operators, _last_readers(graph.main), strict=True):
        for index in operator.outputs:
            live[index] = _bytes(graph.tensors[index])
            total += live[index]
        largest = max(largest, total)
        total -= sum(live.pop(index, 0) for index in freed)
    return largest


def _bytes(tensor: Tensor) -> int:
    return math.prod(tensor.shape) * tensor.dtype.itemsize


def fresh_value(tensor: Tensor) -> int:
    """What a state holds before anything is assigned: the zero point."""
    return int(tensor.quantization.zero_point[0]) if tensor.quantization is not None else 0


def check_input(graph: Graph, position: int, array: npt.ArrayLike) -> Array:
    """An input of a graph as an array.

    Raises
    ------
    ModelError
        It has another type or shape than the graph states.
    """
    tensor = graph.inputs[position]
    value = np.asarray(array)
    wanted = tensor.shape_signature or tensor.shape
    fits = len(value.shape) == len(wanted) and all(w in (-1, d) for w, d in zip(wanted, value.shape, strict=True))
    if value.dtype != tensor.dtype or not fits:
        raise ModelError(
            f"{graph.name}: input {position} ({tensor.name}) is {value.dtype}{list(value.shape)}; "
            f"expected {tensor.dtype}{list(wanted)}"
        )
    return value


def _last_readers(subgraph: Subgraph) -> list[tuple[int, ...]]:
    """For each operator, the tensors that nothing reads after it."""
    last: dict[int, int] = {}
    for operator in subgraph.operators:
        for index in (*operator.inputs, *operator.outputs):
            last[index] = operator.index
    freed: list[list[int]] = [[] for _ in subgraph.operators]
    kept = {-1, *subgraph.outputs}
    for index, operator_index in last.items():
        if index not in kept:
            freed[operator_index].append(index)
    return [tuple(indices) for indices in freed]
