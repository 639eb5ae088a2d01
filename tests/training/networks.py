"""Small float networks with random weights, for the tests of this room."""

from __future__ import annotations

import numpy as np

from eightfold.golden.graph import Graph
from eightfold.golden.runtime import run
from eightfold.golden.writer import write
from eightfold.training.evaluation import quantized_inputs
from eightfold.training.network import NetworkBuilder
from eightfold.training.samples import Samples

from ..golden.oracle import LiteRT


def normal(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.normal(size=shape).astype(np.float32)


def chain(seed: int = 0) -> Graph:
    """Convolutions, a dense layer and a softmax."""
    random = np.random.default_rng(seed)
    builder = NetworkBuilder("small", (1, 9, 7, 3))
    builder.convolution(normal(random, 5, 3, 3, 3), normal(random, 5))
    builder.convolution(normal(random, 6, 3, 2, 5), normal(random, 6), stride=2, activation="RELU6")
    builder.convolution(normal(random, 4, 2, 2, 6), normal(random, 4), padding="VALID", activation="NONE")
    builder.flatten()
    builder.dense(normal(random, 10, 48) / 7, normal(random, 10))
    builder.softmax()
    return builder.build()


def branches(seed: int = 0) -> Graph:
    """Every way of the builder: branches, pools, padding, elementwise functions, joins."""
    random = np.random.default_rng(seed)
    builder = NetworkBuilder("branches", (1, 8, 8, 3))
    builder.pad((1, 0), (0, 2))
    builder.convolution(normal(random, 8, 3, 3, 3) / 4, normal(random, 8), activation="NONE")
    builder.elementwise("RELU6")
    start = builder.last
    builder.depthwise(normal(random, 1, 3, 3, 16) / 3, normal(random, 16), stride=(1, 2))
    builder.convolution(normal(random, 8, 1, 1, 16) / 4, normal(random, 8), activation="NONE")
    builder.elementwise("HARD_SWISH")
    left = builder.last
    builder.continue_from(start)
    builder.max_pool((1, 2), padding="SAME")
    builder.add(left, activation="RELU")
    whole = builder.last
    builder.average_pool()
    builder.convolution(normal(random, 8, 1, 1, 8), normal(random, 8), activation="NONE")
    builder.elementwise("LOGISTIC")
    gate = builder.last
    builder.continue_from(whole)
    builder.multiply(gate)
    scaled = builder.last
    builder.elementwise("TANH")
    builder.concatenate(scaled, whole)
    builder.mean()
    builder.dense(normal(random, 10, 24), normal(random, 10))
    builder.softmax()
    return builder.build()


def samples(graph: Graph, count: int = 32, seed: int = 1) -> Samples:
    """Normal numbers, and labels that have nothing to do with them."""
    random = np.random.default_rng(seed)
    inputs = tuple(normal(random, count, *tensor.shape) for tensor in graph.inputs)
    return Samples(inputs, random.integers(0, 10, count))


def assert_equal_to_litert(graph: Graph, data: Samples) -> None:
    """Every tensor of a quantized network equals LiteRT's reference kernels on every sample."""
    oracle = LiteRT(write(graph))
    for feed in data.feeds(graph):
        inputs = quantized_inputs(graph, feed)
        execution = run(graph, inputs)
        oracle.run(inputs)
        for operator in graph.operators:
            for index in operator.outputs:
                np.testing.assert_array_equal(execution.tensors[index], oracle.tensor(index), str(operator))
