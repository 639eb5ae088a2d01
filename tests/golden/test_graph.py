"""The nouns of a graph: what they take, and what becomes of it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from eightfold.compiler import compile
from eightfold.compiler.storage import from_bytes, to_bytes
from eightfold.golden.graph import Graph, Operator, Tensor
from eightfold.golden.writer import write
from eightfold.hw.config import Config

from ..compiler.networks import Builder


def network(number: type) -> Graph:
    """Strides, kernels, shapes and indices are numbers of that type."""

    def pair(size: int) -> tuple[Any, Any]:
        return number(size), number(size)

    builder = Builder(tuple(map(number, (1, 8, 8, 4))))
    builder.convolution(number(6), pair(3), stride=pair(2)).convolution(number(0), pair(3), depthwise=True)
    builder.pool("AVERAGE_POOL_2D", pair(4), padding="VALID")
    return builder.graph()


@pytest.mark.parametrize("number", [np.int64, np.int32])
def test_integers_of_numpy_are_as_good_as_python_s(number: type) -> None:
    graph = network(number)
    for tensor in graph.tensors:
        assert {type(dimension) for dimension in tensor.shape} <= {int}
    for operator in graph.operators:
        assert {type(value) for value in operator.options.values()} <= {int, str}
    config = Config.named("8x8")
    assert to_bytes(compile(graph, config)) == to_bytes(compile(network(int), config))
    assert from_bytes(to_bytes(compile(graph, config)), "network").graph.tensors[0].shape == (1, 8, 8, 4)


@pytest.mark.parametrize("shape", [(1, 2.5), (1, None), (1, "3")])
def test_dimensions_that_are_no_integers_are_refused(shape: Any) -> None:
    with pytest.raises(TypeError, match=r"tensor 7: shape is \(1, .*\); integers were expected"):
        Tensor(7, "x", shape, np.dtype(np.int8))


def test_indices_that_are_no_integers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"operator 2: outputs is \(1\.0,\); integers were expected"):
        Operator(2, "RELU", (0,), (1.0,))  # type: ignore[arg-type]


def test_a_network_can_be_sent_to_another_process() -> None:
    graph = network(int)
    other = pickle.loads(pickle.dumps(graph))
    assert write(other) == write(graph)
    assert other.operators[0].options == graph.operators[0].options
    with pytest.raises(TypeError, match="does not support item assignment"):
        other.operators[0].options["stride_h"] = 5
