"""Quantization after training as a whole, and its two corrections."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from eightfold.golden.graph import Graph
from eightfold.golden.writer import write
from eightfold.training.architectures import ds_cnn, mobilenet_v1, mobilenet_v2, resnet_8
from eightfold.training.calibration import calibrate
from eightfold.training.correction import correct_biases
from eightfold.training.equalization import equalize
from eightfold.training.evaluation import accuracy, activations
from eightfold.training.measurement import measure
from eightfold.training.network import NetworkBuilder
from eightfold.training.post_training import Settings, quantize_after_training
from eightfold.training.quantization import LEGACY, Scheme, quantize

from .networks import assert_equal_to_litert, branches, chain, normal, samples


def uneven(seed: int = 0, activation: str = "RELU") -> Graph:
    """Layers whose channels differ in size by a factor of a thousand, as some trained MobileNets have them."""
    random = np.random.default_rng(seed)
    factors = (10 ** random.uniform(-1.5, 1.5, 8)).astype(np.float32)
    builder = NetworkBuilder("uneven", (1, 8, 8, 3))
    weights, bias = normal(random, 8, 3, 3, 3) / 4, normal(random, 8) / 4
    builder.convolution(weights * factors.reshape(-1, 1, 1, 1), bias * factors, activation=activation)
    builder.depthwise(normal(random, 1, 3, 3, 8) / factors / 3, normal(random, 8) / 4, activation=activation)
    builder.average_pool(2)
    builder.convolution(normal(random, 6, 1, 1, 8), normal(random, 6), activation="NONE")
    return builder.build()


def last(graph: Graph, quantized: Graph, count: int = 16) -> float:
    """The signal to noise ratio at the end."""
    value = measure(graph, quantized, samples(graph, count)).layers[-1].sqnr
    assert value is not None
    return value


def test_equalization_keeps_the_function_and_evens_out_the_channels() -> None:
    graph = uneven()
    data = samples(graph, 4)
    result = equalize(graph, calibrate(graph, data))
    assert (result.pairs, result.held) == (((0, 1), (1, 3)), ())
    for before, after in zip(activations(graph, data), activations(result.graph, data), strict=True):
        np.testing.assert_allclose(after[graph.outputs[0].index], before[graph.outputs[0].index], rtol=1e-4, atol=1e-4)
    first, second = (result.graph.tensors[o.inputs[1]].data for o in result.graph.operators[:2])
    assert first is not None
    assert second is not None
    np.testing.assert_allclose(np.abs(first).max(axis=(1, 2, 3)), np.abs(second).max(axis=(0, 1, 2)), rtol=1e-2)


def test_equalization_helps_one_scale_for_all_channels() -> None:
    graph = uneven()
    data = samples(graph, 16)
    ranges = calibrate(graph, data)
    even = equalize(graph, ranges).graph
    scheme = Scheme(per_channel=False)
    before = last(graph, quantize(graph, ranges, scheme))
    after = last(even, quantize(even, calibrate(even, data), scheme))
    assert after > before + 10


def test_a_relu6_that_acts_is_left_alone_and_one_that_does_not_becomes_a_relu() -> None:
    graph = uneven(activation="RELU6")
    data = samples(graph, 4)
    ranges = dict(calibrate(graph, data))
    acting = [o.index for o in graph.operators[:2] if ranges[o.outputs[0]][1] == 6]
    assert acting == [0]
    result = equalize(graph, ranges)
    assert (result.pairs, result.held) == (((1, 3),), (0,))
    activation = [o.options["fused_activation_function"] for o in result.graph.operators[:2]]
    assert activation == ["RELU6", "RELU"]


def test_nothing_moves_past_a_branch_or_an_output() -> None:
    graph = resnet_8()
    pairs = equalize(graph, calibrate(graph, samples(graph, 1))).pairs
    # Only between the two convolutions of each block.
    assert pairs == ((1, 2), (4, 5), (8, 9))
    graph = uneven()
    both = replace(graph.main, outputs=(*graph.main.outputs, graph.operators[0].outputs[0]))
    seen = replace(graph, subgraphs=(both,))
    assert equalize(seen, calibrate(seen, samples(seen, 1))).pairs == ((1, 3),)


def test_channels_of_zeros_are_not_moved() -> None:
    graph = uneven()
    weights = graph.tensors[graph.operators[0].inputs[1]]
    assert weights.data is not None
    weights.data[2] = 0
    even = equalize(graph, calibrate(graph, samples(graph, 2))).graph
    for tensor in even.tensors:
        assert tensor.data is None or np.isfinite(tensor.data).all()
    data = even.tensors[weights.index].data
    assert data is not None
    assert not data[2].any()


def test_bias_correction_takes_the_mean_error_back() -> None:
    graph = uneven()
    data = samples(graph, 32)
    data = replace(data, inputs=(np.abs(data.inputs[0]),))
    ranges, scheme = calibrate(graph, data), Scheme(per_channel=False)
    rounded = quantize(graph, ranges, scheme)
    corrected = quantize(correct_biases(graph, rounded, data), ranges, scheme)

    def mean_errors(quantized: Graph) -> np.ndarray:
        # In real numbers, with the integers' weights: what is left is the weights' doing.
        tensors = list(graph.tensors)
        for operator in graph.operators:
            for index in operator.inputs[1:]:
                constant = quantized.tensors[index]
                assert constant.data is not None
                assert constant.quantization is not None
                real = constant.data * constant.quantization.scale
                tensors[index] = replace(tensors[index], data=real.astype(np.float32))
        simulated = replace(graph, subgraphs=(replace(graph.main, tensors=tuple(tensors)),))
        index = graph.operators[0].outputs[0]
        pairs = zip(activations(simulated, data), activations(graph, data), strict=True)
        return np.mean([(a[index] - b[index]).mean(axis=(0, 1, 2)) for a, b in pairs], axis=0)

    assert np.abs(mean_errors(corrected)).mean() < 0.7 * np.abs(mean_errors(rounded)).mean()


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(Scheme(per_channel=False), "mse", equalize=True, bias_correction=True),
        Settings(LEGACY, "percentile", 99.9, bias_correction=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("graph", [chain(), branches(), ds_cnn()], ids=lambda graph: graph.name)
def test_the_whole_is_measured_and_equals_litert(graph: Graph, settings: Settings) -> None:
    data, test = samples(graph, 6), samples(graph, 4, seed=5)
    calls: list[tuple[int, int]] = []
    result = quantize_after_training(graph, data, settings, test=test, report=lambda *call: calls.append(call))
    found = result.measurement
    assert calls == [(number + 1, len(calls)) for number in range(len(calls))]
    assert (found.calibration_samples, found.measured_samples) == (6, 4)
    assert (found.float_bytes, found.quantized_bytes) == (len(write(graph)), len(write(result.graph)))
    assert [layer.index for layer in found.layers] == [operator.index for operator in graph.operators]
    assert (found.plain_layers is None) == settings.plain
    for layer in found.layers:
        assert (layer.weight_sqnr is not None) == ("CONV" in layer.op or layer.op == "FULLY_CONNECTED")
        assert layer.rounding_sqnr is None or layer.rounding_sqnr > 10
        assert 0 <= layer.saturated < 0.2
    assert found.accuracy is not None
    assert found.accuracy.float32 == accuracy(graph, test)
    assert found.accuracy.quantized == accuracy(result.graph, test)
    assert (found.accuracy.plain is None) == settings.plain
    json.loads(json.dumps(found.to_json()))
    assert_equal_to_litert(result.graph, test.first(2))


def test_saturation_is_counted() -> None:
    graph = chain()
    data = samples(graph, 4)
    ranges = dict(calibrate(graph, data))
    index = graph.operators[1].outputs[0]
    low, high = ranges[index]
    quantized = quantize(graph, {**ranges, index: (low / 2, high / 2)})
    values = np.concatenate([v[index].reshape(-1) for v in activations(graph, data)])
    layer = measure(graph, quantized, data).layers[1]
    beyond = (values < layer.low - layer.scale / 2) | (values > layer.high + layer.scale / 2)
    assert layer.saturated == beyond.mean() > 0


@pytest.mark.parametrize("build", [lambda: mobilenet_v1(0.25, 64, 10), lambda: mobilenet_v2(0.35, 64, 10)])
def test_mobilenets_keep_their_signal(build: object) -> None:
    graph = build()  # type: ignore[operator]
    data = samples(graph, 2)
    layers = quantize_after_training(graph, data).measurement.layers
    assert all(layer.sqnr is None or layer.sqnr > 15 for layer in layers if layer.op != "SOFTMAX")


def test_without_labels_there_is_no_accuracy() -> None:
    graph = chain()
    result = quantize_after_training(graph, replace(samples(graph, 2), labels=None))
    assert result.measurement.accuracy is None
    assert result.measurement.agreement in (0, 0.5, 1)
