"""From float layers to integer layers: folding, evaluation, quantization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from eightfold.golden import affine
from eightfold.golden.graph import Graph, ModelError, Operator, Subgraph, Tensor
from eightfold.golden.reader import read
from eightfold.golden.runtime import run
from eightfold.golden.writer import write
from eightfold.training.architectures import ds_cnn, mobilenet_v2, resnet_8
from eightfold.training.calibration import calibrate
from eightfold.training.evaluation import accuracy, activations, quantized_inputs
from eightfold.training.folding import fold_batch_norm
from eightfold.training.network import NetworkBuilder
from eightfold.training.quantization import INT8, LEGACY, Scheme, quantize, quantize_weights
from eightfold.training.samples import Samples

from ..conftest import shared_models
from ..golden.oracle import LiteRT
from .networks import assert_equal_to_litert, branches, chain, normal, samples

SCHEMES = (INT8, Scheme(per_channel=False), Scheme(symmetric=True), LEGACY, Scheme("uint8", False, True))


@pytest.mark.parametrize("graph", [chain(), branches()], ids=lambda graph: graph.name)
def test_float_networks_compute_what_litert_computes(graph: Graph) -> None:
    data = samples(graph, 1)
    (ours,) = activations(graph, data)
    oracle = LiteRT(write(graph))
    oracle.run(next(data.feeds(graph)))
    for operator in graph.operators:
        index = operator.outputs[0]
        np.testing.assert_allclose(ours[index], oracle.tensor(index), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("graph", [chain(), branches()], ids=lambda graph: graph.name)
def test_every_tensor_equals_litert_and_approximates_the_float_network(graph: Graph, scheme: Scheme) -> None:
    data = samples(graph)
    quantized = quantize(graph, calibrate(graph, data), scheme)
    assert_equal_to_litert(quantized, data.first(3))
    for feed, floats in zip(data.first(3).feeds(graph), activations(graph, data.first(3)), strict=True):
        integers = run(quantized, quantized_inputs(quantized, feed)).tensors
        for operator in graph.operators:
            # Not the softmax: it turns a small error of large logits into whatever it likes.
            if operator.kind != "SOFTMAX":
                index = operator.outputs[0]
                real = affine.dequantize(integers[index], affine.known(quantized.tensors[index]))
                assert affine.error_statistics(floats[index], real).sqnr > 15, operator


@pytest.mark.parametrize("scheme", [INT8, LEGACY], ids=str)
@pytest.mark.parametrize("build", [resnet_8, ds_cnn, lambda: mobilenet_v2(0.35, 32, 10)])
def test_whole_networks_equal_litert_in_every_tensor(build: Any, scheme: Scheme) -> None:
    graph = build()
    data = samples(graph, 2)
    assert_equal_to_litert(quantize(graph, calibrate(graph, data), scheme), data)


def test_the_int8_network_follows_the_specification() -> None:
    graph = branches()
    quantized = quantize(graph, calibrate(graph, samples(graph)))
    kinds = set()
    for operator in quantized.operators:
        kinds.add(operator.kind)
        tensors = [quantized.tensors[i] for i in (*operator.inputs, *operator.outputs)]
        q: list[Any] = [tensor.quantization for tensor in tensors]
        match operator.kind:
            case "CONV_2D" | "DEPTHWISE_CONV_2D" | "FULLY_CONNECTED":
                axis = 3 if operator.kind == "DEPTHWISE_CONV_2D" else 0
                assert [t.dtype.name for t in tensors] == ["int8", "int8", "int32", "int8"]
                data = tensors[1].data
                assert data is not None
                assert (q[1].scale.shape, q[1].axis) == ((tensors[1].shape[axis],), axis)
                assert not q[1].zero_point.any()
                assert not q[2].zero_point.any()
                largest = np.abs(np.moveaxis(data, axis, 0).reshape(len(q[1].scale), -1).astype(int)).max(axis=1)
                assert (largest == 127).all()
                np.testing.assert_array_equal(q[2].scale, q[0].scale * q[1].scale)
            case "MAX_POOL_2D" | "AVERAGE_POOL_2D" | "PAD" | "CONCATENATION":
                same = [p for t, p in zip(tensors, q, strict=True) if t.dtype == np.int8]
                assert len({(p.scale[0], p.zero_point[0]) for p in same}) == 1
            case "SOFTMAX" | "LOGISTIC":
                assert (q[-1].scale[0], q[-1].zero_point[0]) == (1 / 256, -128)
            case "TANH":
                assert (q[-1].scale[0], q[-1].zero_point[0]) == (1 / 128, 0)
    # TANH's prescribed scale is not the other branches'.
    assert "QUANTIZE" in kinds
    assert [t.name for t in quantized.tensors if t.name.endswith("/requantized")] == ["tanh_12/requantized"]


def test_the_schemes_do_what_they_say() -> None:
    graph = chain()
    ranges = calibrate(graph, samples(graph))
    for scheme in SCHEMES:
        quantized = quantize(graph, ranges, scheme)
        for tensor in quantized.tensors:
            q = tensor.quantization
            if q is None:
                assert tensor.dtype == np.int32
            elif tensor.dtype == np.int32:
                continue
            elif tensor.data is not None:
                assert tensor.dtype == scheme.dtype
                assert len(q.scale) == (tensor.shape[0] if scheme.per_channel else 1)
                assert tensor.data.min() >= (1 if scheme.dtype == "uint8" else -127)
            elif scheme.symmetric and "softmax" not in tensor.name:
                assert q.zero_point[0] == (128 if scheme.dtype == "uint8" else 0)
    assert str(SCHEMES[1]) == "int8, weights per tensor, activations asymmetric"
    with pytest.raises(ValueError, match="uint8 weights have one scale per tensor"):
        Scheme("uint8")
    with pytest.raises(ValueError, match="dtype is 'int4'"):
        Scheme("int4")  # type: ignore[arg-type]


def test_accuracy_counts_the_first_of_the_largest() -> None:
    graph = chain()
    data = samples(graph, 20)
    quantized = quantize(graph, calibrate(graph, data))
    for network in (graph, quantized):
        right = []
        for feed in data.feeds(graph):
            inputs = feed if network is graph else quantized_inputs(network, feed)
            right.append(int(run(network, inputs).outputs[0].argmax()))
        assert accuracy(network, replace(data, labels=np.array(right))) == 1
        assert accuracy(network, replace(data, labels=(np.array(right) + (np.arange(20) < 5)) % 10)) == 0.75
    with pytest.raises(ModelError, match="no labels"):
        accuracy(graph, replace(data, labels=None))


def test_folded_batch_norm_computes_the_same() -> None:
    random = np.random.default_rng(3)
    weights, bias = normal(random, 5, 3, 3, 2), normal(random, 5)
    gamma, beta, mean = normal(random, 5), normal(random, 5), normal(random, 5)
    variance = np.abs(normal(random, 5))
    folded = fold_batch_norm(weights, bias, gamma=gamma, beta=beta, mean=mean, variance=variance, epsilon=1e-3)

    def convolve(weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
        builder = NetworkBuilder("one", (1, 6, 6, 2))
        builder.convolution(weights, bias, activation="NONE")
        return run(builder.build(), [x]).outputs[0]

    x = normal(random, 1, 6, 6, 2)
    expected = gamma * (convolve(weights, bias) - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(convolve(*folded), expected, rtol=1e-4, atol=1e-4)


def test_folding_without_a_bias_is_folding_with_zeros() -> None:
    random = np.random.default_rng(4)
    statistics = {name: np.abs(normal(random, 5)) for name in ("gamma", "beta", "mean", "variance")}
    weights = normal(random, 5, 1, 1, 2)
    without = fold_batch_norm(weights, None, **statistics, epsilon=1e-3)
    zeros = fold_batch_norm(weights, np.zeros(5, np.float32), **statistics, epsilon=1e-3)
    np.testing.assert_array_equal(without[1], zeros[1])


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_a_large_bias_on_small_weights_does_not_overflow(scheme: Scheme) -> None:
    weights = np.array([[1e-9, -1e-9], [0.0, 0.0], [1.0, 0.5]], np.float32)
    bias = np.array([100.0, -3.0, 0.25], np.float32)
    values = quantize_weights(weights, bias, 0.01, scheme)
    np.testing.assert_allclose(affine.dequantize(values.bias, values.bias_quantization), bias, rtol=1e-3, atol=1e-3)
    assert np.abs(values.bias.astype(np.int64)).max() <= 2**30


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_channels_of_zeros_stay_zeros(scheme: Scheme) -> None:
    random = np.random.default_rng(0)
    builder = NetworkBuilder("zeros", (1, 6, 6, 3))
    weights = normal(random, 4, 3, 3, 3)
    weights[1] = 0
    builder.convolution(weights, np.array([1, 0, -1, 2], np.float32), activation="NONE")
    builder.convolution(np.zeros((2, 1, 1, 4), np.float32), np.array([0.75, 0], np.float32), activation="NONE")
    graph = builder.build()
    data = samples(graph, 4)
    quantized = quantize(graph, calibrate(graph, data), scheme)
    assert_equal_to_litert(quantized, data)
    output = run(quantized, quantized_inputs(quantized, next(data.feeds(graph)))).outputs[0]
    real = affine.dequantize(output, affine.known(quantized.outputs[0]))
    np.testing.assert_allclose(real, np.broadcast_to([0.75, 0], real.shape), atol=0.004)


def test_a_constant_activation_is_exact() -> None:
    builder = NetworkBuilder("constant", (1, 2, 2, 1))
    builder.convolution(np.zeros((1, 1, 1, 1), np.float32), np.zeros(1, np.float32))
    graph = builder.build()
    data = Samples((np.full((3, 2, 2, 1), -7.5, np.float32),))
    quantized = quantize(graph, calibrate(graph, data))
    inputs = quantized_inputs(quantized, next(data.feeds(graph)))
    assert (affine.dequantize(inputs[0], affine.known(quantized.inputs[0])) == -7.5).all()
    output = run(quantized, inputs).outputs[0]
    assert (affine.dequantize(output, affine.known(quantized.outputs[0])) == 0).all()


def one(kind: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], **options: Any) -> Graph:
    operator = Operator(
        0, kind, tuple(t.index for t in inputs), tuple(t.index for t in outputs), MappingProxyType(options)
    )
    main = Subgraph("main", (*inputs, *outputs), (operator,), (0,), tuple(t.index for t in outputs))
    return Graph("one", (main,))


def floats(index: int, *shape: int, data: np.ndarray | None = None) -> Tensor:
    return Tensor(index, f"t{index}", shape, np.dtype(np.float32), data=data)


def test_constants_of_elementwise_operators_are_quantized() -> None:
    constant = np.array([0.5, -2, 8], np.float32)
    graph = one(
        "ADD", [floats(0, 1, 3), floats(1, 3, data=constant)], [floats(2, 1, 3)], fused_activation_function="NONE"
    )
    data = samples(graph)
    quantized = quantize(graph, calibrate(graph, data))
    stored = quantized.tensors[1]
    assert stored.data is not None
    np.testing.assert_allclose(affine.dequantize(stored.data, affine.known(stored)), constant, atol=0.02)
    assert_equal_to_litert(quantized, data.first(3))


def test_a_constant_in_a_concatenation_takes_the_common_scale() -> None:
    constant = np.full((1, 2), 50, np.float32)
    tensors = [floats(0, 1, 3), floats(1, 1, 2, data=constant)]
    graph = one("CONCATENATION", tensors, [floats(2, 1, 5)], axis=1, fused_activation_function="NONE")
    data = samples(graph)
    quantized = quantize(graph, calibrate(graph, data))
    assert len({float(affine.known(t).scale[0]) for t in quantized.tensors}) == 1
    assert affine.known(quantized.tensors[0]).scale[0] > 50 / 255
    assert_equal_to_litert(quantized, data.first(3))


def test_weights_that_two_layers_share_have_a_bias_for_each() -> None:
    random = np.random.default_rng(0)
    builder = NetworkBuilder("tied", (1, 4))
    weights, bias = normal(random, 4, 4), normal(random, 4)
    builder.dense(weights, bias)
    builder.dense(weights, bias)
    graph = builder.build()
    first, second = graph.operators
    tied = replace(second, inputs=(second.inputs[0], *first.inputs[1:]))
    graph = replace(graph, subgraphs=(replace(graph.main, operators=(first, tied)),))
    data = samples(graph)
    quantized = quantize(graph, calibrate(graph, data))
    one_, other = quantized.operators
    assert one_.inputs[1] == other.inputs[1]
    assert one_.inputs[2] != other.inputs[2]
    assert_equal_to_litert(quantized, data.first(3))


def test_what_has_no_rule_is_refused() -> None:
    graph = chain()
    with pytest.raises(ModelError, match=r"small: tensor \d+ \(\w+\) has no calibrated range"):
        quantize(graph, {})
    ranges = dict(calibrate(graph, samples(graph)))
    for bad in ((0.0, np.nan), (-np.inf, 1.0), (2.0, 1.0)):
        with pytest.raises(ModelError, match=r"small: tensor 3 \(conv_2d_0\) has the range \[.*finite ends"):
            quantize(graph, {**ranges, 3: bad})
    strange = one("EXP", [floats(0, 1, 3)], [floats(1, 1, 3)])
    with pytest.raises(ModelError, match=r"one: operators that cannot be quantized: operator 0 \(EXP\), .* t1$"):
        quantize(strange, {0: (0.0, 1.0), 1: (0.0, 1.0)})
    computed = one("FULLY_CONNECTED", [floats(0, 1, 3), floats(1, 2, 3)], [floats(2, 1, 2)])
    with pytest.raises(
        ModelError, match=r"one: operator 0 \(FULLY_CONNECTED\): its weights and bias must be constants"
    ):
        quantize(computed, dict.fromkeys(range(3), (0.0, 1.0)))
    weights = floats(1, 2, 3, data=np.full((2, 3), np.nan, np.float32))
    broken = one("FULLY_CONNECTED", [floats(0, 1, 3), weights], [floats(2, 1, 2)])
    with pytest.raises(ModelError, match=r"operator 0 \(FULLY_CONNECTED\): tensor 1 \(t1\) is a constant that is not"):
        quantize(broken, dict.fromkeys(range(3), (0.0, 1.0)))


def test_a_network_that_is_quantized_already_is_refused() -> None:
    graph = chain()
    with pytest.raises(ModelError, match=r"tensor 0 \(input\) is int8: the network is quantized already"):
        quantize(quantize(graph, calibrate(graph, samples(graph))), {})
    with pytest.raises(ModelError, match="quantized already"):
        quantize(read(shared_models() / "person_detection_yolo.tflite"), {})
    with pytest.raises(ModelError, match=r"quantized already|keeps state"):
        quantize(read(shared_models() / "vad_streaming.tflite"), {})


def test_layers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"weights have shape \(4, 3, 3, 2\), expected 3 input channels"):
        NetworkBuilder("n", (1, 8, 8, 3)).convolution(np.zeros((4, 3, 3, 2), np.float32), np.zeros(4, np.float32))
    with pytest.raises(ValueError, match=r"weights have shape \(1, 3, 3, 4\), expected a multiple of 3 channels"):
        NetworkBuilder("n", (1, 8, 8, 3)).depthwise(np.zeros((1, 3, 3, 4), np.float32), np.zeros(4, np.float32))
    with pytest.raises(ValueError, match=r"kernel of \[3, 3\] does not fit an image of \[2, 8\]"):
        NetworkBuilder("n", (1, 2, 8, 3)).convolution(
            np.zeros((4, 3, 3, 3), np.float32), np.zeros(4, np.float32), padding="VALID"
        )
    with pytest.raises(ValueError, match=r"weights have shape \(10, 7\), expected 8 inputs"):
        NetworkBuilder("n", (1, 8)).dense(np.zeros((10, 7), np.float32), np.zeros(10, np.float32))
