"""Well-known networks: their layers and MACs are those of the published files."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eightfold.golden.graph import Graph
from eightfold.golden.macs import macs
from eightfold.golden.reader import read
from eightfold.golden.runtime import run
from eightfold.training.architectures import ds_cnn, mobilenet_v1, mobilenet_v2, random_parameters, resnet_8

from ..conftest import shared_models


def total(graph: Graph) -> int:
    return sum(macs(operator, graph) for operator in graph.operators)


@pytest.mark.parametrize(
    ("graph", "published"),
    [
        (mobilenet_v1(1.0, 224), "mobilenet_v1_1.0_224_uint8"),
        (mobilenet_v1(0.25, 128), "mobilenet_v1_0.25_128_uint8"),
        (mobilenet_v2(0.35, 160, classes=2), "mobilenet_v2_0.35_160_int8"),
        (resnet_8(), "pretrainedResnet_quant"),
        (ds_cnn(), "kws_ref_model"),
    ],
    ids=lambda value: value.name if isinstance(value, Graph) else "",
)
def test_layers_and_macs_are_those_of_the_published_file(graph: Graph, published: str) -> None:
    other = read(shared_models() / f"{published}.tflite")
    # One of the files normalizes its image first.
    operators = [operator for operator in other.operators if operator.kind not in ("MUL", "SUB")]
    assert [operator.kind for operator in graph.operators] == [operator.kind for operator in operators]
    for own, published_operator in zip(graph.operators, operators, strict=True):
        shapes = [g.tensors[o.outputs[0]].shape for g, o in ((graph, own), (other, published_operator))]
        assert shapes[0] == shapes[1]
        activations = [o.options.get("fused_activation_function") for o in (own, published_operator)]
        assert activations[0] == activations[1]
    assert total(graph) == total(other)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (mobilenet_v1(1.0, 224), 568_741_376),
        (mobilenet_v1(0.25, 128), 13_570_304),
        (mobilenet_v2(1.0, 224), 300_775_552),
        (mobilenet_v2(0.35, 160, classes=2), 29_597_360),
        (resnet_8(), 12_501_632),
        (ds_cnn(), 2_656_768),
    ],
    ids=lambda value: value.name if isinstance(value, Graph) else "",
)
def test_macs(graph: Graph, expected: int) -> None:
    assert total(graph) == expected


@pytest.mark.parametrize("graph", [mobilenet_v1(0.25, 32, 10), mobilenet_v2(0.35, 32, 10), resnet_8(), ds_cnn()])
def test_random_weights_carry_signals_to_the_end(graph: Graph) -> None:
    image = np.random.default_rng(0).normal(size=graph.inputs[0].shape).astype(np.float32)
    tensors = run(graph, [image]).tensors
    for operator in graph.operators:
        values = tensors[operator.outputs[0]]
        assert np.isfinite(values).all()
        if operator.kind != "SOFTMAX":
            assert 0.01 < np.abs(values).max() < 100
    assert math.isclose(float(tensors[graph.outputs[0].index].sum()), 1, rel_tol=1e-5)


def test_given_parameters_are_used_and_random_ones_are_reproducible() -> None:
    asked: dict[str, tuple[int, ...]] = {}

    def parameters(layer: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        asked[layer] = shape
        outputs = shape[3] if layer.startswith("depthwise") else shape[0]
        return np.full(shape, len(asked), np.float32), np.zeros(outputs, np.float32)

    graph = ds_cnn(parameters=parameters)
    assert list(asked)[:2] == ["conv_2d_0", "depthwise_conv_2d_1"]
    assert asked["conv_2d_0"] == (64, 10, 4, 1)
    (weights,) = (t for t in graph.tensors if t.name == "depthwise_conv_2d_1/weights")
    assert weights.data is not None
    assert (weights.data == 2).all()

    first, second = (ds_cnn(parameters=random_parameters(7)) for _ in range(2))
    for a, b in zip(first.tensors, second.tensors, strict=True):
        if a.data is not None:
            np.testing.assert_array_equal(a.data, b.data)


def test_parameters_of_another_shape_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"conv_2d_0 was given weights \[1\] and bias \[2\]; expected \[64, 10, 4, 1\]"
    ):
        ds_cnn(parameters=lambda layer, shape: (np.zeros(1, np.float32), np.zeros(2, np.float32)))
