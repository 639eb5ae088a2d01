"""Published networks: every tensor equals the oracle's."""

from __future__ import annotations

import numpy as np
import pytest

from eightfold.golden import reader
from eightfold.golden.numerics import Profile
from eightfold.golden.runtime import Session, run, run_operator

from ..conftest import SHARED_NETWORKS, shared_models
from .models import random_inputs
from .oracle import LiteRT, Vectors, digest


@pytest.mark.parametrize("name", SHARED_NETWORKS)
def test_every_output_equals_the_stored_vectors(name: str) -> None:
    graph = reader.read(shared_models() / f"{name}.tflite")
    vectors = Vectors(shared_models() / "vectors" / f"{name}.npz")
    session = Session(graph)
    assert vectors.cases()
    for case in vectors.cases():
        for got, expected in zip(session.run(vectors.inputs(case)).outputs, vectors.outputs(case), strict=True):
            assert np.array_equal(got, expected)


@pytest.mark.parametrize("name", SHARED_NETWORKS)
def test_every_intermediate_tensor_equals_the_stored_checksum(name: str) -> None:
    graph = reader.read(shared_models() / f"{name}.tflite")
    vectors = Vectors(shared_models() / "vectors" / f"{name}.npz")
    execution = run(graph, vectors.inputs(0))
    assert vectors.tensors
    # The interpreter appends scratch tensors of its own to the file's.
    stated = [
        t for t in vectors.tensors if t["index"] < len(graph.tensors) and graph.tensors[t["index"]].dtype != object
    ]
    wrong = [t["name"] for t in stated if digest(execution.tensors[t["index"]]) != t["sha256"]]
    assert not wrong


@pytest.mark.parametrize("profile", ["tflm", "litert-opt", "xnnpack"])
@pytest.mark.parametrize("name", SHARED_NETWORKS)
def test_every_intermediate_tensor_equals_the_live_kernels(name: str, profile: str) -> None:
    path = shared_models() / f"{name}.tflite"
    graph, oracle = reader.read(path), LiteRT(path.read_bytes(), profile)
    inputs = random_inputs(graph, np.random.default_rng(1))
    execution = run(graph, inputs, Profile(profile))
    oracle.run(inputs)
    for operator in graph.operators:
        for index in operator.outputs:
            if graph.tensors[index].dtype != object:
                assert np.array_equal(execution.tensors[index], oracle.tensor(index)), (operator.index, operator.kind)


@pytest.mark.parametrize("name", SHARED_NETWORKS)
def test_outputs_of_later_reference_kernels(name: str) -> None:
    path = shared_models() / "vectors" / f"{name}.litert-ref.npz"
    if not path.is_file():
        pytest.skip("there are no vectors of LiteRT 2.3.0, as it computes what 1.2.0 does")
    inputs, vectors = Vectors(path.with_name(f"{name}.npz")), Vectors(path)
    session = Session(reader.read(shared_models() / f"{name}.tflite"), Profile.LITERT_REF)
    for case in inputs.cases():
        for got, expected in zip(session.run(inputs.inputs(case)).outputs, vectors.outputs(case), strict=True):
            assert np.array_equal(got, expected)


def test_operators_run_alone() -> None:
    graph = reader.read(shared_models() / "kws_ref_model.tflite")
    x = np.random.default_rng(2).integers(-128, 128, graph.inputs[0].shape, np.int8)
    execution = run(graph, [x])
    for operator in graph.operators:
        outputs = run_operator(graph, operator, execution.tensors)
        for index, got in zip(operator.outputs, outputs, strict=True):
            assert np.array_equal(got, execution.tensors[index])


def test_operators_run_alone_with_a_session_s_state() -> None:
    graph = reader.read(shared_models() / "vad_streaming.tflite")
    vectors = Vectors(shared_models() / "vectors" / "vad_streaming.npz")
    session = Session(graph)
    for case in vectors.cases()[:3]:
        tensors = dict(zip(graph.main.inputs, vectors.inputs(case), strict=True))
        for operator in graph.operators:
            tensors.update(zip(operator.outputs, session.run_operator(operator, tensors), strict=True))
        for tensor, expected in zip(graph.outputs, vectors.outputs(case), strict=True):
            assert np.array_equal(tensors[tensor.index], expected)


def test_only_the_outputs_are_kept_on_request() -> None:
    graph = reader.read(shared_models() / "kws_ref_model.tflite")
    x = np.zeros(graph.inputs[0].shape, np.int8)
    few, all_of_them = run(graph, [x], keep="outputs"), run(graph, [x])
    assert set(few.tensors) == set(graph.main.outputs)
    assert np.array_equal(few.outputs[0], all_of_them.outputs[0])


def test_state_passes_from_call_to_call() -> None:
    graph = reader.read(shared_models() / "vad_streaming.tflite")
    file = Vectors(shared_models() / "vectors" / "vad_streaming.npz").file
    session = Session(graph)
    for _ in range(2):
        for x, expected in zip(file["sequence_input"], file["sequence_output"], strict=True):
            assert np.array_equal(session.run([x], keep="outputs").outputs[0], expected)
        session.reset()
