"""Data for calibration: what fits a network, and what is said of what does not."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from eightfold.golden.graph import Graph, ModelError, Operator, Subgraph, Tensor
from eightfold.training.calibration import calibrate
from eightfold.training.quantization import quantize
from eightfold.training.samples import Samples, samples_of

from .networks import assert_equal_to_litert, chain


def images(count: int = 4, **change: Any) -> dict[str, np.ndarray]:
    return {"inputs": np.zeros((count, 9, 7, 3), np.float32), **change}


def test_samples_come_with_and_without_the_first_dimension() -> None:
    graph = chain()
    for arrays in (images(), images(inputs=np.zeros((4, 1, 9, 7, 3))), {"input": np.zeros((4, 9, 7, 3), np.float16)}):
        data = samples_of(graph, arrays)
        assert len(data) == 4
        assert data.labels is None
        for (x,) in data.feeds(graph):
            assert (x.shape, x.dtype) == ((1, 9, 7, 3), np.float32)


def test_labels_come_along() -> None:
    data = samples_of(chain(), images(labels=np.array([3, 1, 4, 1], np.uint8)))
    assert data.labels is not None
    assert data.labels.tolist() == [3, 1, 4, 1]
    part = data.first(2)
    assert (len(part), part.labels.tolist() if part.labels is not None else None) == (2, [3, 1])
    assert len(data.first(9)) == 4


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3)}, "d.npz: no array 'input' or 'inputs' for an input of small; there are: x"),
        ({}, "there are: -"),
        (images(0), "d.npz: there are no samples"),
        (images(inputs=np.zeros((4, 9, 7, 3), np.uint8)), "input input is uint8; real numbers were expected"),
        (images(inputs=np.zeros((4, 7, 9, 3))), r"is [4, 7, 9, 3]; expected samples of [1, 9, 7, 3] or [9, 7, 3]"),
        (images(inputs=np.zeros((9, 7, 3))), r"is [9, 7, 3]; expected samples"),
        (images(inputs=np.float32(3.0)), r"is []; expected samples"),
        (images(inputs=np.full((4, 9, 7, 3), np.nan)), "is not finite in float32 in sample 0"),
        (images(labels=np.zeros(3, int)), "arrays of 3 and 4 samples; expected equal numbers"),
        (images(labels=np.zeros((4, 10), int)), r"labels are int64[4, 10]; expected one integer per sample"),
        (images(labels=np.arange(4) + 7), "labels are 7 to 10; expected 0 to 9, as the network's first output has 10"),
        (images(labels=np.arange(4) - 1), "labels are -1 to 2; expected 0 to 9"),
        (images(labels=np.zeros(4)), r"labels are float64[4]; expected one integer per sample"),
    ],
)
def test_data_that_do_not_fit_are_refused(arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ModelError, match=re.escape(message)):
        samples_of(chain(), {name: np.asarray(array) for name, array in arrays.items()}, "d.npz")


def test_an_infinite_sample_is_named() -> None:
    arrays = images()
    arrays["inputs"][2, 0, 0, 0] = np.inf
    with pytest.raises(ModelError, match="not finite in float32 in sample 2"):
        samples_of(chain(), arrays)


def test_samples_of_a_network_with_one_input_are_one_array() -> None:
    data = Samples((np.ones((2, 9, 7, 3), np.float32),))
    assert [len(feed) for feed in data.feeds(chain())] == [1, 1]


def test_a_network_of_two_inputs_takes_an_array_for_each() -> None:
    tensors = tuple(Tensor(i, name, (1, 3), np.dtype(np.float32)) for i, name in enumerate(("left", "right", "sum")))
    add = Operator(0, "ADD", (0, 1), (2,), {"fused_activation_function": "NONE"})
    graph = Graph("two", (Subgraph("main", tensors, (add,), (0, 1), (2,)),))
    random = np.random.default_rng(0)
    arrays = {"left": random.normal(size=(6, 3)), "right": random.normal(size=(6, 1, 3))}
    data = samples_of(graph, arrays)
    quantized = quantize(graph, calibrate(graph, data))
    assert_equal_to_litert(quantized, data)
    with pytest.raises(ModelError, match=r"no array 'right' for an input of two; there are: left, inputs"):
        samples_of(graph, {"left": arrays["left"], "inputs": arrays["right"]})
    with pytest.raises(ModelError, match="arrays of 5 and 6 samples"):
        samples_of(graph, {**arrays, "left": arrays["left"][:5]})
