"""Networks put together at random: quantized, they compute what LiteRT computes."""

from __future__ import annotations

import numpy as np
import pytest

from eightfold.golden.graph import Graph
from eightfold.training.network import NetworkBuilder
from eightfold.training.post_training import Settings, quantize_after_training
from eightfold.training.quantization import LEGACY, Scheme

from .networks import assert_equal_to_litert, normal, samples

ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
FUNCTIONS = ("RELU", "RELU6", "LOGISTIC", "TANH", "HARD_SWISH")


def network(seed: int) -> Graph:
    """Six to ten layers of any kind; branches join by ADD, MUL and CONCATENATION."""
    random = np.random.default_rng(seed)
    builder = NetworkBuilder(f"random_{seed}", (1, int(random.integers(4, 9)), int(random.integers(4, 9)), 3))
    seen = [builder.last]
    for _ in range(random.integers(6, 11)):
        _, height, width, channels = builder.last.shape
        activation = str(random.choice(ACTIVATIONS))
        alike = [tensor for tensor in seen if tensor.shape == builder.last.shape]
        near = [tensor for tensor in seen if tensor.shape[:3] == builder.last.shape[:3]]
        match random.integers(8):
            case 0 | 1:
                outputs, kernel = int(random.integers(1, 9)), int(random.integers(1, 4))
                weights = normal(random, outputs, kernel, kernel, channels) / kernel
                builder.convolution(weights, normal(random, outputs), activation=activation)
            case 2:
                stride = int(random.integers(1, 3))
                weights = normal(random, 1, 3, 3, channels)
                builder.depthwise(weights, normal(random, channels), stride=stride, activation=activation)
            case 3:
                builder.add(alike[random.integers(len(alike))], activation=activation)
            case 4:
                builder.multiply(alike[random.integers(len(alike))])
            case 5:
                builder.concatenate(near[random.integers(len(near))])
            case 6 if min(height, width) > 2:
                (builder.max_pool if random.random() < 0.5 else builder.average_pool)(2, stride=1, padding="SAME")
            case _:
                builder.elementwise(str(random.choice(FUNCTIONS)))
        seen.append(builder.last)
    builder.mean()
    builder.dense(normal(random, 10, builder.last.shape[1]), normal(random, 10))
    builder.softmax()
    return builder.build()


SETTINGS = (
    Settings(),
    Settings(Scheme(per_channel=False), "mse", equalize=True, bias_correction=True),
    Settings(Scheme(symmetric=True), "percentile"),
    Settings(LEGACY, bias_correction=True),
)


@pytest.mark.parametrize("seed", range(24))
def test_a_random_network_equals_litert(seed: int) -> None:
    graph = network(seed)
    data = samples(graph, 6, seed)
    result = quantize_after_training(graph, data, SETTINGS[seed % len(SETTINGS)])
    assert_equal_to_litert(result.graph, data.first(2))
    assert len(result.measurement.layers) == len(graph.operators)
