"""From float layers to int8 layers: folding, evaluation, calibration, quantization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eightfold.golden import affine
from eightfold.golden.graph import Graph, ModelError
from eightfold.golden.writer import write
from eightfold.training.calibration import calibrate
from eightfold.training.evaluation import evaluate, same_padding
from eightfold.training.folding import fold_batch_norm
from eightfold.training.network import NetworkBuilder
from eightfold.training.quantization import quantize, quantize_weights


def normal(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.normal(size=shape).astype(np.float32)


def network(seed: int = 0) -> Graph:
    random = np.random.default_rng(seed)
    builder = NetworkBuilder("small", (1, 9, 7, 3))
    builder.convolution(normal(random, 5, 3, 3, 3), normal(random, 5))
    builder.convolution(normal(random, 6, 3, 2, 5), normal(random, 6), stride=2, activation="RELU6")
    builder.convolution(normal(random, 4, 2, 2, 6), normal(random, 4), padding="VALID", activation="NONE")
    builder.flatten()
    builder.dense(normal(random, 10, 48) / 7, normal(random, 10))
    builder.softmax()
    return builder.build()


def litert_tensors(graph: Graph, x: np.ndarray) -> dict[int, np.ndarray]:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(
        model_content=write(graph),
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, x)
    interpreter.invoke()
    outputs = [o for operator in graph.operators for o in operator.outputs]
    return {i: interpreter.get_tensor(i) for i in outputs}


def test_evaluation_equals_litert_in_every_tensor() -> None:
    graph = network()
    x = normal(np.random.default_rng(1), 1, 9, 7, 3)
    ours = evaluate(graph, x)
    for index, expected in litert_tensors(graph, x).items():
        np.testing.assert_allclose(ours[index], expected, rtol=1e-5, atol=1e-5)


def test_samples_do_not_mix() -> None:
    graph = network()
    x = normal(np.random.default_rng(2), 4, 9, 7, 3)
    together = evaluate(graph, x)
    for i in range(4):
        for index, value in evaluate(graph, x[i : i + 1]).items():
            np.testing.assert_allclose(together[index][i], value[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [(8, 3, 1, (1, 1)), (8, 3, 2, (0, 1)), (9, 3, 2, (1, 1)), (8, 1, 2, (0, 0)), (7, 2, 2, (0, 1))],
)
def test_same_pads_what_is_odd_after(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == padding


def test_folded_batch_norm_computes_the_same() -> None:
    random = np.random.default_rng(3)
    weights, bias = normal(random, 5, 3, 3, 2), normal(random, 5)
    gamma, beta, mean = normal(random, 5), normal(random, 5), normal(random, 5)
    variance = np.abs(normal(random, 5))
    folded = fold_batch_norm(weights, bias, gamma=gamma, beta=beta, mean=mean, variance=variance, epsilon=1e-3)

    def convolve(weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
        builder = NetworkBuilder("one", (1, 6, 6, 2))
        builder.convolution(weights, bias, activation="NONE")
        return evaluate(builder.build(), x)[3]

    x = normal(random, 2, 6, 6, 2)
    expected = gamma * (convolve(weights, bias) - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(convolve(*folded), expected, rtol=1e-4, atol=1e-4)


def test_folding_without_a_bias_is_folding_with_zeros() -> None:
    random = np.random.default_rng(4)
    statistics = {name: np.abs(normal(random, 5)) for name in ("gamma", "beta", "mean", "variance")}
    weights = normal(random, 5, 1, 1, 2)
    without = fold_batch_norm(weights, None, **statistics, epsilon=1e-3)
    zeros = fold_batch_norm(weights, np.zeros(5, np.float32), **statistics, epsilon=1e-3)
    np.testing.assert_array_equal(without[1], zeros[1])


def test_calibration_takes_the_extremes_of_all_batches() -> None:
    graph = network()
    batches = [normal(np.random.default_rng(i), 3, 9, 7, 3) for i in range(3)]
    ranges = calibrate(graph, batches)
    everything = evaluate(graph, np.concatenate(batches))
    assert ranges.keys() == everything.keys()
    for index, value in everything.items():
        assert ranges[index] == pytest.approx((value.min(), value.max()), rel=1e-5, abs=1e-5)
    with pytest.raises(ValueError, match="no batches"):
        calibrate(graph, [])


def quantized(seed: int = 0) -> tuple[Graph, Graph, np.ndarray]:
    graph = network(seed)
    x = normal(np.random.default_rng(5), 64, 9, 7, 3)
    return graph, quantize(graph, calibrate(graph, [x])), x


def test_the_int8_network_approximates_the_float_network() -> None:
    graph, small, x = quantized()
    expected = evaluate(graph, x[:1])
    source = small.inputs[0].quantization
    assert source is not None
    *upto_logits, _ = litert_tensors(small, affine.quantize(x[:1], source)).items()
    # Not the softmax: it turns a small error of large logits into whatever it likes.
    for index, value in upto_logits:
        quantization = small.tensors[index].quantization
        assert quantization is not None
        assert affine.error_statistics(expected[index], affine.dequantize(value, quantization)).sqnr > 25


def test_the_int8_network_follows_the_specification() -> None:
    _, small, _ = quantized()
    for operator in small.operators:
        tensors = [small.tensors[i] for i in (*operator.inputs, *operator.outputs)]
        quantizations: list[Any] = [t.quantization for t in tensors]
        if operator.kind in ("CONV_2D", "FULLY_CONNECTED"):
            source, weights, bias, _ = quantizations
            assert [t.dtype.name for t in tensors] == ["int8", "int8", "int32", "int8"]
            assert tensors[1].data is not None
            assert weights.scale.shape == (tensors[1].shape[0],)
            assert not weights.zero_point.any()
            assert tensors[1].data.min() >= -127
            assert (np.abs(tensors[1].data.reshape(len(weights.scale), -1)).max(axis=1) == 127).all()
            np.testing.assert_array_equal(bias.scale, source.scale * weights.scale)
        elif operator.kind == "RESHAPE":
            assert quantizations[-1] is quantizations[0]
        elif operator.kind == "SOFTMAX":
            assert (quantizations[-1].scale[0], quantizations[-1].zero_point[0]) == (1 / 256, -128)


def test_a_large_bias_on_small_weights_does_not_overflow() -> None:
    weights = np.array([[1e-9, -1e-9], [0.0, 0.0], [1.0, 0.5]], np.float32)
    bias = np.array([100.0, -3.0, 0.25], np.float32)
    _, stored, _, quantization = quantize_weights(weights, bias, 0.01)
    np.testing.assert_allclose(affine.dequantize(stored, quantization), bias, rtol=1e-3)
    assert np.abs(stored.astype(np.int64)).max() <= 2**30


def test_what_has_no_rule_is_refused() -> None:
    graph = network()
    with pytest.raises(ModelError, match=r"small: tensor 0 \(input\) has no calibrated range"):
        quantize(graph, {})
    with pytest.raises(ValueError, match=r"weights have shape \(4, 3, 3, 2\), expected 3 input channels"):
        NetworkBuilder("n", (1, 8, 8, 3)).convolution(np.zeros((4, 3, 3, 2), np.float32), np.zeros(4, np.float32))
    with pytest.raises(ValueError, match=r"kernel of \[3, 3\] does not fit an image of \[2, 8\]"):
        NetworkBuilder("n", (1, 2, 8, 3)).convolution(
            np.zeros((4, 3, 3, 3), np.float32), np.zeros(4, np.float32), padding="VALID"
        )
    with pytest.raises(ValueError, match=r"weights have shape \(10, 7\), expected 8 inputs"):
        NetworkBuilder("n", (1, 8)).dense(np.zeros((10, 7), np.float32), np.zeros(10, np.float32))
