"""A part of a network computes the tensors that the whole computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eightfold.golden.graph import Graph, ModelError
from eightfold.golden.reader import parse, read
from eightfold.golden.runtime import run
from eightfold.golden.writer import write

from ..conftest import shared_models

DIGITS = Path(__file__).parents[2] / "models" / "digits.tflite"


def image(graph: Graph) -> np.ndarray:
    tensor = graph.inputs[0]
    if tensor.dtype.kind == "f":
        return np.random.default_rng(0).uniform(-1, 1, tensor.shape).astype(tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    return np.random.default_rng(0).integers(limits.min, limits.max, tensor.shape, endpoint=True, dtype=tensor.dtype)


def check(graph: Graph, tensors: dict[int, np.ndarray], first: int, stop: int) -> Graph:
    part = graph.part(first, stop)
    execution = run(part, [tensors[tensor.index] for tensor in part.inputs])
    for operator in part.operators:
        for index in operator.outputs:
            assert np.array_equal(execution.tensors[index], tensors[index]), (first, stop, index)
    return part


def test_every_part_computes_what_the_whole_does() -> None:
    graph = read(DIGITS)
    tensors = dict(run(graph, [image(graph)]).tensors)
    count = len(graph.operators)
    for first in range(count):
        for stop in range(first + 1, count + 1):
            part = check(graph, tensors, first, stop)
            assert [operator.index for operator in part.operators] == list(range(stop - first))
            assert (part.first, part.name) == (first, f"digits[{first}:{stop}]")
            assert part.main.outputs == graph.operators[stop - 1].outputs


@pytest.mark.parametrize("network", ["pretrainedResnet_quant", "person_detection_yolo", "mobilenet_v2_0.35_160_int8"])
def test_branches_are_cut_where_they_are_read(network: str) -> None:
    graph = read(shared_models() / f"{network}.tflite")
    tensors = dict(run(graph, [image(graph)]).tensors)
    count = len(graph.operators)
    for first in range(0, count, 4):
        part = check(graph, tensors, first, min(first + 4, count))
        later = {i for o in graph.operators[first + 4 :] for i in o.inputs} | {*graph.main.outputs}
        written = {i for o in part.operators for i in o.outputs}
        assert set(part.main.outputs) == written & later
        # It is light, and a network that a file can hold.
        assert {t.index for t in part.tensors if t.constant} <= {i for o in part.operators for i in o.inputs}
        again = parse(write(part))
        assert again.main.inputs == part.main.inputs


def test_a_part_of_a_part_knows_where_it_was() -> None:
    part = read(DIGITS).part(2, 7).part(1, 3)
    assert (part.first, [o.kind for o in part.operators]) == (3, ["CONV_2D", "RESHAPE"])


@pytest.mark.parametrize(("first", "stop"), [(3, 3), (4, 2), (-1, 2), (0, 8), (7, 8)])
def test_operators_that_are_not_there_are_refused(first: int, stop: int) -> None:
    with pytest.raises(ModelError, match=f"digits has no operators {first}:{stop}; it has 0:7"):
        read(DIGITS).part(first, stop)


def test_a_state_is_not_cut_from_what_sets_it() -> None:
    graph = read(shared_models() / "vad_streaming.tflite")
    tensors = dict(run(graph, [image(graph)]).tensors)
    check(graph, tensors, 0, 14)
    part = check(graph, tensors, 11, 20)  # assigns, and reads nothing
    assert any(tensor.dtype == object for tensor in part.inputs)
    with pytest.raises(ModelError, match=r"operator 8 \(READ_VARIABLE\) reads a state that operator 0 \(CALL_ONCE\)"):
        graph.part(8, 10)
