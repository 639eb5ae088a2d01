"""The writer's files: LiteRT loads them and computes what the graph says; the schema's facts survive."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import tflite

from eightfold.golden import option_tables as schema
from eightfold.golden.graph import Graph, ModelError, Operator, Quantization, Subgraph, Tensor
from eightfold.golden.reader import parse as parse_graph
from eightfold.golden.reader import read
from eightfold.golden.versions import operator_version
from eightfold.golden.writer import save, write

from ..conftest import SHARED_NETWORKS, shared_models
from .models import random_inputs
from .oracle import LiteRT


def affine(scale: float | Sequence[float], zero_point: int = 0, axis: int = 0) -> Quantization:
    scales = np.atleast_1d(np.asarray(scale, np.float32))
    return Quantization(scales, np.full(scales.size, zero_point, np.int64), axis)


def single(kind: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], options: Mapping[str, Any]) -> Graph:
    """A graph of one operator; its inputs are the tensors that have no data."""
    count = len(inputs)
    numbers = tuple(range(count)), tuple(range(count, count + len(outputs)))
    operator = Operator(0, kind, *numbers, MappingProxyType(dict(options)))
    activations = tuple(t.index for t in inputs if t.data is None)
    return Graph("single", (Subgraph("main", (*inputs, *outputs), (operator,), activations, operator.outputs),))


def activation(index: int, shape: tuple[int, ...], quantization: Quantization | None, dtype: str = "int8") -> Tensor:
    return Tensor(index, f"t{index}", shape, np.dtype(dtype), quantization)


def constant(index: int, data: np.ndarray, quantization: Quantization | None = None) -> Tensor:
    return Tensor(index, f"t{index}", data.shape, data.dtype, quantization, data)


def convolution() -> Graph:
    random = np.random.default_rng(0)
    weights = random.integers(-127, 128, (5, 3, 3, 4)).astype(np.int8)
    bias = random.integers(-1000, 1000, 5).astype(np.int32)
    scales = np.linspace(0.001, 0.01, 5)
    return single(
        "CONV_2D",
        [
            activation(0, (1, 9, 7, 4), affine(0.05, 3)),
            constant(1, weights, affine(scales)),
            constant(2, bias, affine(scales * 0.05)),
        ],
        [activation(3, (1, 5, 4, 5), affine(0.1, -7))],
        {"padding": "SAME", "stride_h": 2, "stride_w": 2, "fused_activation_function": "RELU"},
    )


def parse(data: bytes) -> Any:
    return tflite.Model.GetRootAs(data, 0)


def interpret(graph: Graph, x: np.ndarray) -> Any:
    """LiteRT's interpreter after it has run `graph` on `x`."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    reference = litert.OpResolverType.BUILTIN_REF
    interpreter = litert.Interpreter(model_content=write(graph), experimental_op_resolver_type=reference)
    interpreter.allocate_tensors()
    interpreter.set_tensor(graph.main.inputs[0], x)
    interpreter.invoke()
    return interpreter


def test_litert_loads_a_convolution_and_sees_what_the_graph_says() -> None:
    graph = convolution()
    x = np.random.default_rng(1).integers(-128, 128, (1, 9, 7, 4)).astype(np.int8)
    interpreter = interpret(graph, x)
    for tensor, seen in zip(graph.tensors, interpreter.get_tensor_details(), strict=False):
        assert seen["name"] == tensor.name
        assert tuple(seen["shape"]) == tensor.shape
        assert seen["dtype"] == tensor.dtype
        assert tensor.quantization is not None
        np.testing.assert_array_equal(seen["quantization_parameters"]["scales"], tensor.quantization.scale)
        np.testing.assert_array_equal(seen["quantization_parameters"]["zero_points"], tensor.quantization.zero_point)
    weights, bias = graph.tensors[1].data, graph.tensors[2].data
    assert weights is not None
    np.testing.assert_array_equal(interpreter.get_tensor(1), weights)
    np.testing.assert_array_equal(interpreter.get_tensor(2), bias)

    # SAME with stride 2: 9 x 7 gives 5 x 4, with one row and one column of padding on each side.
    padded = np.pad(x.astype(np.int64) - 3, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::2, ::2]
    accumulators = np.einsum("nyxcij,oijc->nyxo", windows, weights.astype(np.int64)) + bias
    expected = np.clip(np.round(accumulators * np.linspace(0.001, 0.01, 5) * 0.05 / 0.1) - 7, -7, 127)
    measured = interpreter.get_tensor(3)
    assert np.abs(measured - expected).max() <= 1
    assert len(np.unique(measured)) > 20


POOL = {"padding": "VALID", "stride_w": 2, "stride_h": 2, "filter_width": 2, "filter_height": 2}


@pytest.mark.parametrize(
    ("kind", "output", "options"),
    [
        ("AVERAGE_POOL_2D", activation(1, (1, 2, 2, 3), affine(0.05, 3)), POOL),
        ("MAX_POOL_2D", activation(1, (1, 2, 2, 3), affine(0.05, 3)), POOL),
        ("RELU", activation(1, (1, 4, 4, 3), affine(0.05, 3)), {}),
        ("LEAKY_RELU", activation(1, (1, 4, 4, 3), affine(0.05, 3)), {"alpha": 0.125}),
        ("SPACE_TO_DEPTH", activation(1, (1, 2, 2, 12), affine(0.05, 3)), {"block_size": 2}),
        ("RESHAPE", activation(1, (1, 48), affine(0.05, 3)), {"new_shape": (1, 48)}),
        ("SQUEEZE", activation(1, (4, 4, 3), affine(0.05, 3)), {"squeeze_dims": (0,)}),
        ("HARD_SWISH", activation(1, (1, 4, 4, 3), affine(0.05, 3)), {}),
        ("L2_NORMALIZATION", activation(1, (1, 4, 4, 3), affine(1 / 128)), {"fused_activation_function": "NONE"}),
        ("SOFTMAX", activation(1, (1, 4, 4, 3), affine(1 / 256, -128)), {"beta": 1.0}),
        ("LOGISTIC", activation(1, (1, 4, 4, 3), affine(1 / 256, -128)), {}),
        ("DEQUANTIZE", activation(1, (1, 4, 4, 3), None, "float32"), {}),
    ],
)
def test_litert_runs_operators_of_one_input(kind: str, output: Tensor, options: dict[str, Any]) -> None:
    graph = single(kind, [activation(0, (1, 4, 4, 3), affine(0.05, 3))], [output], options)
    x = np.random.default_rng(2).integers(-128, 128, (1, 4, 4, 3)).astype(np.int8)
    measured = interpret(graph, x).get_tensor(1)
    assert measured.shape == output.shape
    assert len(np.unique(measured)) > 5


def test_the_file_states_its_identifier_versions_and_codes() -> None:
    data = write(convolution())
    assert data[4:8] == b"TFL3"
    model = parse(data)
    assert model.Version() == 3
    code = model.OperatorCodes(0)
    assert code.BuiltinCode() == code.DeprecatedBuiltinCode() == tflite.BuiltinOperator.CONV_2D
    assert code.Version() == 3
    assert model.Buffers(0).DataLength() == 0


def test_codes_above_127_leave_a_placeholder_in_the_old_field() -> None:
    graph = single("CALL_ONCE", [], [], {"init_subgraph_index": 1})
    initializer = Subgraph("init", (), (), (), ())
    code = parse(write(Graph("once", (graph.main, initializer)))).OperatorCodes(0)
    assert code.BuiltinCode() == tflite.BuiltinOperator.CALL_ONCE
    assert code.DeprecatedBuiltinCode() == tflite.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES


def test_constants_are_aligned_to_16_bytes() -> None:
    tensors = [constant(i, np.arange(n).astype(np.int8), affine(1.0)) for i, n in enumerate([1, 3, 16, 17, 100])]
    data = write(Graph("constants", (Subgraph("main", tuple(tensors), (), (), ()),)))
    model = parse(data)
    start = np.frombuffer(data, np.uint8).ctypes.data
    for index, tensor in enumerate(tensors):
        stored = model.Buffers(model.Subgraphs(0).Tensors(index).Buffer()).DataAsNumpy()
        np.testing.assert_array_equal(stored.view(np.int8), tensor.data)
        assert (stored.ctypes.data - start) % 16 == 0


def test_custom_operators_keep_their_name_and_options() -> None:
    tensors = [activation(0, (1,), None), activation(1, (1,), None)]
    model = parse(write(single("CUSTOM:My_Op", tensors[:1], tensors[1:], {"custom_options": b"\x01\x02"})))
    assert model.OperatorCodes(0).CustomCode() == b"My_Op"
    assert model.OperatorCodes(0).BuiltinCode() == tflite.BuiltinOperator.CUSTOM
    assert bytes(model.Subgraphs(0).Operators(0).CustomOptionsAsNumpy()) == b"\x01\x02"


def assert_same(a: Graph, b: Graph) -> None:
    """Field by field: the graph's dataclasses compare by identity."""

    def facts(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            return {f.name: facts(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, np.ndarray):
            return value.dtype.str, value.shape, value.tobytes()
        if isinstance(value, tuple):
            return tuple(map(facts, value))
        return dict(value) if isinstance(value, Mapping) else value

    assert facts(a) == facts(b)


@pytest.mark.parametrize("name", SHARED_NETWORKS)
def test_a_published_network_that_is_written_reads_the_same(name: str) -> None:
    graph = read(shared_models() / f"{name}.tflite")
    data = write(graph)
    again = parse_graph(data, name=f"{name}.tflite")
    assert_same(again, graph)
    assert write(again) == data


@pytest.mark.parametrize("name", SHARED_NETWORKS)
def test_a_published_network_that_is_written_computes_the_same_in_litert(name: str) -> None:
    path = shared_models() / f"{name}.tflite"
    graph = read(path)
    inputs = random_inputs(graph, np.random.default_rng(3))
    original, written = LiteRT(path.read_bytes()), LiteRT(write(graph))
    for oracle in (original, written):
        oracle.run(inputs)
    for operator in graph.operators:
        for index in operator.outputs:
            if graph.tensors[index].dtype != object:
                np.testing.assert_array_equal(written.tensor(index), original.tensor(index))


def test_signatures_intermediates_and_absent_inputs_survive() -> None:
    tensors = (
        Tensor(0, "x", (1, 4), np.dtype("int8"), affine(0.5, 1), shape_signature=(-1, 4)),
        constant(1, np.ones((2, 4), np.int8), affine([0.5, 0.25])),
        Tensor(2, "y", (1, 2), np.dtype("int8"), affine(0.5, 1)),
        Tensor(3, "z", (), np.dtype("int16"), affine(0.5, 0)),
    )
    options = {"fused_activation_function": "NONE", "weights_format": "DEFAULT", "keep_num_dims": True}
    everything = options | {"asymmetric_quantize_inputs": False, "quantized_bias_type": "FLOAT32"}
    operator = Operator(0, "FULLY_CONNECTED", (0, 1, -1), (2,), MappingProxyType(everything), (3, -1))
    graph = Graph("model", (Subgraph("main", tensors, (operator,), (0,), (2,)),), "for people")
    assert_same(parse_graph(write(graph)), graph)


def not_the_default(field: schema.OptionField) -> Any:
    if field.enumeration is not None:
        return next(name for name in reversed(list(field.enumeration.values())) if name != field.default)
    if isinstance(field.default, bool):
        return not field.default
    return {int: 3, float: 0.5, str: "name", tuple: (4, 5)}[type(field.default)]


@pytest.mark.parametrize("kind", [kind for kind in schema.OPERATOR_CODES if schema.option_table(kind)])
def test_every_option_of_every_operator_reaches_the_file(kind: str) -> None:
    table = schema.option_table(kind)
    assert table is not None
    fields = schema.option_fields(table)
    options = {name: not_the_default(field) for name, field in fields.items()}
    tensors = [activation(i, (1, 2, 2, 2), affine(0.5)) for i in range(4)]
    operator = parse(write(single(kind, tensors[:3], tensors[3:], options))).Subgraphs(0).Operators(0)
    assert operator.BuiltinOptionsType() == schema.OPTION_TABLE_CODES[table]
    stored = getattr(tflite, table)()
    stored.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
    for name, field in fields.items():
        if field.vector:
            assert tuple(getattr(stored, f"{field.accessor}AsNumpy")().view(np.int32)) == options[name]
            continue
        value = getattr(stored, field.accessor)()
        if field.enumeration is not None:
            value = field.enumeration[value]
        assert (value.decode() if isinstance(value, bytes) else value) == options[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": 1}, "option stride: unknown, expected one of padding, stride_w"),
        ({"padding": "FULL"}, "option padding: 'FULL' is none of SAME, VALID"),
    ],
)
def test_options_that_the_schema_does_not_have_are_refused(change: dict[str, Any], message: str) -> None:
    graph = convolution()
    bad = single("CONV_2D", graph.tensors[:3], graph.tensors[3:], {**graph.operators[0].options, **change})
    with pytest.raises(ModelError, match=rf"single: operator 0 \(CONV_2D\), {message}"):
        write(bad)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Tensor(0, "x", (2,), np.dtype("i1"), None, np.zeros(3, np.int8)), r"data is int8\[3\], expected int8\[2\]"),
        (Tensor(0, "x", (2,), np.dtype("i1"), None, np.zeros(2, np.int16)), r"data is int16\[2\], expected int8\[2\]"),
        (Tensor(0, "x", (2,), np.dtype("U1")), "no element type <U1"),
        (Tensor(1, "x", (2,), np.dtype("i1")), "its index is 1, not its position"),
    ],
)
def test_tensors_that_the_format_cannot_hold_are_refused(tensor: Tensor, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        write(Graph("g", (Subgraph("main", (tensor,), (), (), ()),)))


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(ModelError, match="single: operator 0: the format has no operator CONV_3"):
        write(single("CONV_3", [], [], {}))


def test_the_same_graph_gives_the_same_bytes() -> None:
    assert write(convolution()) == write(convolution())


def test_save_leaves_nothing_behind_when_it_fails(tmp_path: Any) -> None:
    target = tmp_path / "m.tflite"
    save(convolution(), target)
    assert target.read_bytes() == write(convolution())
    bad = Graph("g", (Subgraph("main", (Tensor(1, "x", (), np.dtype("int8")),), (), (), ()),))
    with pytest.raises(ModelError):
        save(bad, tmp_path / "bad.tflite")
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        save(convolution(), tmp_path / "taken")
    assert sorted(os.listdir(tmp_path)) == ["m.tflite", "taken"]


@pytest.mark.parametrize(
    ("kind", "types", "options", "version"),
    [
        ("CONV_2D", ("uint8", "uint8", "int32"), {}, 1),
        ("CONV_2D", ("int8", "int8", "int32"), {}, 3),
        ("CONV_2D", ("int16", "int8", "int64"), {"quantized_bias_type": "INT64"}, 8),
        ("DEPTHWISE_CONV_2D", ("uint8", "uint8", "int32"), {"dilation_h_factor": 2}, 2),
        ("FULLY_CONNECTED", ("int8", "int8", "int32"), {}, 4),
        ("FULLY_CONNECTED", ("int8", "int8"), {}, 6),
        ("FULLY_CONNECTED", ("int8", "int8", "int32"), {"keep_num_dims": True}, 5),
        ("SOFTMAX", ("int8",), {"beta": 1.0}, 2),
        ("SPLIT", ("int32", "int8"), {"num_splits": 2}, 2),
        ("LOGISTIC", ("int16",), {}, 3),
        ("RESIZE_BILINEAR", ("int8", "int32"), {"half_pixel_centers": True}, 3),
        ("MUL", ("int8", "int8"), {}, 3),
        ("RESHAPE", ("int8", "int32"), {}, 1),
    ],
)
def test_versions_are_the_lowest_that_suffice(
    kind: str, types: tuple[str, ...], options: dict[str, Any], version: int
) -> None:
    inputs = [activation(i, (1, 2, 2, 4), affine(1.0), dtype) for i, dtype in enumerate(types)]
    graph = single(kind, inputs, [activation(len(types), (1, 2, 2, 4), affine(1.0), types[0])], options)
    assert operator_version(graph.operators[0], graph.tensors) == version
