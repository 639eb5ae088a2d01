"""The reader: what it reads, and what it says about files that it refuses."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from eightfold.golden import reader
from eightfold.golden.graph import Graph, ModelError, Quantization, Tensor
from eightfold.golden.runtime import Session, run, working_set
from eightfold.golden.writer import write

from .cases import CASES
from .models import Builder


def convolution() -> Graph:
    return CASES["conv_2d-int8"](0)


def with_tensor(graph: Graph, index: int, **changes: object) -> Graph:
    tensors = list(graph.tensors)
    tensors[index] = replace(tensors[index], **changes)  # type: ignore[arg-type]
    return replace(graph, subgraphs=(replace(graph.main, tensors=tuple(tensors)),))


def with_operator(graph: Graph, index: int, **changes: object) -> Graph:
    operators = list(graph.operators)
    operators[index] = replace(operators[index], **changes)  # type: ignore[arg-type]
    return replace(graph, subgraphs=(replace(graph.main, operators=tuple(operators)),))


@pytest.mark.parametrize("name", sorted(CASES))
def test_what_was_written_is_read(name: str) -> None:
    graph = CASES[name](3)
    again = reader.parse(write(graph), name="test.tflite")
    assert again.name == "test"
    assert again.main.inputs == graph.main.inputs
    assert again.main.outputs == graph.main.outputs
    for got, expected in zip(again.tensors, graph.tensors, strict=True):
        assert_same_tensor(got, expected)
    for operator, expected_operator in zip(again.operators, graph.operators, strict=True):
        assert operator.kind == expected_operator.kind
        assert operator.inputs == expected_operator.inputs
        assert operator.outputs == expected_operator.outputs
        assert {**operator.options, **expected_operator.options} == dict(operator.options)


def assert_same_tensor(got: Tensor, expected: Tensor) -> None:
    assert (got.index, got.name, got.shape, got.dtype) == (
        expected.index,
        expected.name,
        expected.shape,
        expected.dtype,
    )
    assert (got.data is None) == (expected.data is None)
    if got.data is not None and expected.data is not None:
        assert np.array_equal(got.data, expected.data)
        assert not got.data.flags.writeable
    assert (got.quantization is None) == (expected.quantization is None)
    if got.quantization is not None and expected.quantization is not None:
        assert np.array_equal(got.quantization.scale, expected.quantization.scale)
        assert np.array_equal(got.quantization.zero_point, expected.quantization.zero_point)
        assert got.quantization.axis == expected.quantization.axis


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing\.tflite: cannot be read: No such file"):
        reader.read(tmp_path / "nothing.tflite")


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x89PNG\r\n\x1a\n" * 10, bytes(100)])
def test_not_a_tflite_file(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"model\.tflite: not a \.tflite file"):
        reader.parse(data)


def test_a_root_beyond_the_file() -> None:
    with pytest.raises(ModelError, match="truncated: the root table"):
        reader.parse(b"\xff\xff\x00\x00TFL3" + bytes(20))


def test_every_truncation_is_noticed() -> None:
    data = write(convolution())
    for length in range(0, len(data) - 16, 7):
        with pytest.raises(ModelError):
            # Constants lie at the end or the start; either way something is missing, or the graph cannot run.
            Session(reader.parse(data[:length])).run([np.zeros(1, np.int8)])


Change = Callable[[Graph], Graph]


def affine(scale: list[float], zero_point: list[int], axis: int = 0) -> Quantization:
    return Quantization(np.array(scale, np.float32), np.array(zero_point, np.int64), axis)


WRONG: dict[str, tuple[Change, str]] = {
    "scale of zero": (
        lambda g: with_tensor(g, 0, quantization=affine([0], [0])),
        r"tensor 0 \(t0\), quantization: scale is 0\.0; expected a finite number above 0",
    ),
    "scale that is no number": (
        lambda g: with_tensor(g, 0, quantization=affine([float("nan")], [0])),
        r"tensor 0 \(t0\), quantization: scale is nan",
    ),
    "infinite scale": (lambda g: with_tensor(g, 0, quantization=affine([float("inf")], [0])), "scale is inf"),
    "zero point out of range": (
        lambda g: with_tensor(g, 0, quantization=affine([1], [128])),
        "zero_point is 128; int8 holds -128 to 127",
    ),
    "fewer zero points than scales": (
        lambda g: with_tensor(g, 0, quantization=affine([1, 1], [0])),
        "there are 1 zero points for 2 scales",
    ),
    "axis out of range": (
        lambda g: with_tensor(g, 0, quantization=affine([1], [0], 4)),
        "quantized_dimension is 4; the tensor has 4 dimensions",
    ),
    "scales that do not fit the axis": (
        lambda g: with_tensor(g, 1, quantization=affine([1] * 1000, [0] * 1000, 3)),
        r"there are 1000 scales along dimension 3 of the shape",
    ),
    "too few inputs": (
        lambda g: with_operator(g, 0, inputs=(0,)),
        r"operator 0 \(CONV_2D\): inputs: there are 1; expected 2 to 3",
    ),
    "two outputs": (
        lambda g: with_operator(g, 0, outputs=(3, 3)),
        r"outputs: there are 2; expected 1",
    ),
    "an operator that feeds itself": (
        lambda g: with_operator(g, 0, inputs=(3, 1, 2)),
        "tensor 3, which no earlier operator writes: the operators form a cycle",
    ),
    "an operator that writes a constant": (
        lambda g: with_operator(g, 0, outputs=(1,)),
        "tensor 1, which already has a value",
    ),
    "an output that nothing writes": (
        lambda g: replace(g, subgraphs=(replace(g.main, operators=()),)),
        r"outputs\[0\] is tensor 3, which no operator writes",
    ),
    "more elements than any memory": (
        lambda g: with_tensor(g, 0, shape=(0, 2**20, 2**20, 2)),
        r"shape is \[0, 1048576, 1048576, 2\], more than 1099511627776 elements",
    ),
    "a negative dimension": (
        lambda g: with_tensor(g, 0, shape=(1, -5, 3, 4)),
        r"shape is \[1, -5, 3, 4\]; expected at most 8 dimensions, none negative",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_are_refused_with_the_place(name: str) -> None:
    change, message = WRONG[name]
    with pytest.raises(ModelError, match=message) as caught:
        reader.parse(write(change(convolution())), name="net.tflite")
    assert str(caught.value).startswith("net.tflite")
    assert "\n" not in str(caught.value)


def test_a_shape_that_does_not_fit_its_buffer() -> None:
    graph = convolution()
    data = bytearray(write(graph))
    shape = np.array(graph.tensors[2].shape, np.int32).tobytes()
    place = data.find(len(graph.tensors[2].shape).to_bytes(4, "little") + shape)
    data[place + 4 : place + 8] = (graph.tensors[2].shape[0] + 1).to_bytes(4, "little")
    with pytest.raises(ModelError, match=r"buffer \d+ has \d+ bytes; the shape .* needs"):
        reader.parse(bytes(data))


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ((0, 1, 99), r"operator 0 \(CONV_2D\): inputs\[2\] is tensor 99; the subgraph has 4 tensors"),
        ((0, -2, 2), r"inputs\[1\] is tensor -2; the subgraph has 4 tensors"),
    ],
)
def test_an_input_that_does_not_exist(ends: tuple[int, ...], message: str) -> None:
    data = write(convolution())
    stated = np.array([3, 0, 1, 2], np.int32).tobytes()
    assert data.count(stated) == 1
    with pytest.raises(ModelError, match=message):
        reader.parse(data.replace(stated, np.array([3, *ends], np.int32).tobytes()))


def test_all_unsupported_operators_are_named_at_once() -> None:
    b = Builder()
    x = b.input((4,), np.float32)
    y = b.tensor((4,), np.float32)
    z = b.tensor((4,), np.float32)
    b.operator("ATAN2", (x, x), (y,))
    b.operator("CUSTOM:Mystery", (y,), (z,))
    graph = reader.parse(write(b.graph()), name="odd.tflite")
    with pytest.raises(
        ModelError, match=r"odd: operators that are not supported: ATAN2 \(operator 0\); CUSTOM:Mystery"
    ):
        Session(graph)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "0 inputs given; the network has 1"),
        ([np.zeros((1, 2), np.int8)], r"input 0 \(t0\) is int8\[1, 2\]; expected int8\[2, 3\]"),
        ([np.zeros((2, 3), np.uint8)], r"is uint8\[2, 3\]; expected int8"),
    ],
)
def test_inputs_that_do_not_fit(given: list[np.ndarray], message: str) -> None:
    b = Builder()
    x = b.input((2, 3), np.int8, 0.1)
    b.operator("RELU", (x,), (b.tensor((2, 3), np.int8, 0.1),))
    with pytest.raises(ModelError, match=message):
        run(b.graph(), given)


def test_an_output_shape_that_is_not_what_the_operator_computes() -> None:
    graph = with_tensor(convolution(), 3, shape=(1, 1, 1, 1))
    with pytest.raises(ModelError, match=r"operator 0 \(CONV_2D\): output 0 is stated as \[1, 1, 1, 1\]"):
        run(graph, [np.zeros(graph.inputs[0].shape, np.int8)])


def test_a_graph_that_needs_too_much_memory() -> None:
    b = Builder()
    x = b.input((1, 2**20, 2**10, 1), np.int8, 0.1)
    b.operator("RELU", (x,), (b.tensor((1, 2**20, 2**10, 1), np.int8, 0.1),))
    with pytest.raises(ModelError, match=re.escape(f"activations take {2**31} bytes")):
        Session(b.graph())


def test_the_working_set_counts_what_lives_together() -> None:
    b = Builder()
    tensors = [b.input((100,), np.int8, 0.1), *(b.tensor((n,), np.int8, 0.1) for n in (100, 100, 100))]
    for x, y in itertools.pairwise(tensors):
        b.operator("RELU", (x,), (y,))
    assert working_set(b.graph()) == 200


def test_a_dynamic_batch() -> None:
    b = Builder()
    x = b.input((1, 5), np.int8, 0.1)
    w = b.constant(np.eye(5, dtype=np.int8), 0.1)
    y = b.tensor((1, 5), np.int8, 0.1)
    b.operator("FULLY_CONNECTED", (x, w), (y,))
    graph = with_tensor(b.graph(), 0, shape_signature=(-1, 5))
    values = np.arange(-30, 30, dtype=np.int8).reshape(12, 5)
    together = run(graph, [values]).outputs[0]
    rows = [run(graph, [row[None]]).outputs[0] for row in values]
    assert np.array_equal(together, np.concatenate(rows))


def test_options_that_a_file_leaves_out_have_their_defaults() -> None:
    graph = convolution()
    options = {k: v for k, v in graph.operators[0].options.items() if not k.startswith("dilation")}
    read = reader.parse(write(with_operator(graph, 0, options=MappingProxyType(options))))
    assert read.operators[0].options["dilation_h_factor"] == 1
