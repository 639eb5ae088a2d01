"""The runtime: what it keeps, how much memory it takes, batches, and accumulators that are too wide."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from eightfold.golden import reader
from eightfold.golden.graph import Graph, ModelError
from eightfold.golden.kernels import Node, accumulator_bound
from eightfold.golden.runtime import Session, run, working_set
from eightfold.golden.writer import write

from ..conftest import shared_models
from .models import Builder


def dense(inputs: int, bias: int = 0) -> Graph:
    b = Builder()
    x = b.input((1, inputs), np.int8, 0.1, 127)
    w = b.constant(np.full((2, inputs), 127, np.int8), 0.1)
    c = b.constant(np.full(2, bias, np.int32), 0.01)
    b.operator("FULLY_CONNECTED", (x, w, c), (b.tensor((1, 2), np.int8, 1e6),))
    return b.graph()


def test_accumulators_up_to_32_bits_are_computed() -> None:
    # -128 - 127 = -255 is the greatest input: its product with 127 fits 66,311 times.
    graph = dense(66311)
    assert accumulator_bound(Node.of(graph.operators[0], graph)) == 66311 * 255 * 127 < 2**31
    run(graph, [np.full((1, 66311), -128, np.int8)])


def test_an_accumulator_beyond_32_bits_is_no_silent_wrap() -> None:
    graph = dense(66312)
    assert accumulator_bound(Node.of(graph.operators[0], graph)) > 2**31 - 1
    with pytest.raises(
        ModelError, match=r"operator 0 \(FULLY_CONNECTED\): an accumulator of 2147514120 leaves 32 bits"
    ):
        run(graph, [np.full((1, 66312), -128, np.int8)])
    # The bound is beyond 32 bits; these inputs are not.
    run(graph, [np.zeros((1, 66312), np.int8)])


def test_a_batch_that_the_graph_computes_from_its_own_shape() -> None:
    b = Builder()
    x = b.input((1, 4, 4, 2), np.int8, 0.1)
    w = b.constant(b.rng.integers(-9, 9, (3, 2, 2, 2)).astype(np.int8), [0.1, 0.2, 0.3])
    y = b.tensor((1, 3, 3, 3), np.int8, 0.5)
    b.operator("CONV_2D", (x, w), (y,), padding="VALID", stride_h=1, stride_w=1)
    shape = b.tensor((4,), np.int32)
    b.operator("SHAPE", (y,), (shape,), out_type="INT32")
    first = b.tensor((), np.int32)
    ends = [b.constant(np.array([v], np.int32)) for v in (0, 1, 1)]
    b.operator("STRIDED_SLICE", (shape, *ends), (first,), shrink_axis_mask=1)
    target = b.tensor((2,), np.int32)
    b.operator("PACK", (first, b.constant(np.array(27, np.int32))), (target,), values_count=2, axis=0)
    flat = b.tensor((1, 27), np.int8, 0.5)
    b.operator("RESHAPE", (y, target), (flat,))
    graph = b.graph()
    tensors = (replace(graph.tensors[0], shape_signature=(-1, 4, 4, 2)), *graph.tensors[1:])
    graph = replace(graph, subgraphs=(replace(graph.main, tensors=tensors),))
    images = b.rng.integers(-128, 128, (3, 4, 4, 2)).astype(np.int8)
    session = Session(reader.parse(write(graph)))
    together = session.run([images]).outputs[0]
    assert together.shape == (3, 27)
    for image, row in zip(images, together, strict=True):
        assert np.array_equal(session.run([image[None]]).outputs[0][0], row)


def test_memory_stays_within_twice_the_working_set() -> None:
    graph = reader.read(shared_models() / "mobilenet_v1_1.0_224_uint8.tflite")
    constants = sum(tensor.data.nbytes for tensor in graph.tensors if tensor.data is not None)
    image = np.zeros(graph.inputs[0].shape, np.uint8)
    tracemalloc.start()
    Session(graph).run([image], keep="outputs")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * (constants + working_set(graph))
