"""The version that an operator code must state, so that a runtime too old for what the operator does refuses it.

The figures are those of TensorFlow Lite (`tools/versioning/op_version.cc`), for operators whose activations are all of
one type. A runtime that knows a version knows all below it, so the highest requirement decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .graph import Operator, Tensor
from .option_tables import option_fields, option_table

# Each line: what the element type asks for, and of whom.
_BY_TYPE = [
    (
        {"int8": 2, "int16": 3},
        "AVERAGE_POOL_2D MAX_POOL_2D SOFTMAX MEAN MIRROR_PAD REDUCE_MAX REDUCE_MIN RELU6 RSQRT TANH LOGISTIC "
        "BATCH_MATMUL LESS GREATER_EQUAL DEQUANTIZE PAD PADV2",
    ),
    (
        {"int8": 2},
        "SPLIT_V SUM LOG_SOFTMAX GREATER LESS_EQUAL SQUARED_DIFFERENCE SPACE_TO_DEPTH DEPTH_TO_SPACE "
        "L2_NORMALIZATION NOT_EQUAL SELECT TRANSPOSE_CONV",
    ),
    ({"int8": 2, "int16": 2}, "EXP LOG REDUCE_PROD FLOOR_MOD TOPK_V2"),
    ({"int8": 2, "int16": 4}, "MAXIMUM MINIMUM RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SPACE_TO_BATCH_ND"),
    ({"int8": 2, "int16": 4}, "BATCH_TO_SPACE_ND SLICE EQUAL"),
    ({"int8": 2, "bool": 3}, "STRIDED_SLICE ARG_MAX ARG_MIN"),
    ({"int8": 2, "uint8": 2, "bool": 3, "int16": 4}, "UNPACK"),
    ({"int8": 2, "int16": 3, "uint32": 4}, "CONCATENATION PACK"),
    ({"int8": 2, "int16": 3, "int64": 4}, "ADD"),
    ({"int8": 2, "int64": 4, "int16": 5}, "SUB"),
    ({"int8": 2, "int16": 4, "int64": 5, "complex64": 6, "uint32": 7}, "MUL"),
    ({"int8": 2, "uint8": 2, "int16": 3}, "RELU"),
    ({"int8": 2, "uint8": 2, "int16": 3, "int32": 5}, "ABS"),
    ({"int8": 2, "int32": 3, "int16": 4}, "SPLIT"),
    ({"int8": 2, "bool": 3, "int16": 4}, "GATHER"),
    ({"int8": 2, "bool": 3, "int16": 5}, "TRANSPOSE"),
    ({"int8": 3, "int16": 4}, "CONV_2D"),
    ({"int8": 3, "int16": 5}, "DEPTHWISE_CONV_2D"),
    ({"int8": 4, "int16": 7}, "FULLY_CONNECTED"),
    ({"int8": 3}, "SVDF TILE REVERSE_V2"),
    ({"int8": 3, "int16": 3}, "FLOOR_DIV BROADCAST_TO"),
    ({"int16": 5}, "UNIDIRECTIONAL_SEQUENCE_LSTM"),
    ({"int16": 2}, "LEAKY_RELU QUANTIZE"),
]
_TYPE_VERSIONS = {kind: versions for versions, kinds in _BY_TYPE for kind in kinds.split()}

# What an option asks for where it is not at its default.
_OPTION_VERSIONS = {
    ("CONV_2D", "quantized_bias_type"): 8,
    ("DEPTHWISE_CONV_2D", "dilation_w_factor"): 2,
    ("DEPTHWISE_CONV_2D", "dilation_h_factor"): 2,
    ("FULLY_CONNECTED", "quantized_bias_type"): 11,
    ("FULLY_CONNECTED", "keep_num_dims"): 5,
    ("TRANSPOSE_CONV", "quantized_bias_type"): 5,
    ("TRANSPOSE_CONV", "fused_activation_function"): 4,
    ("RESIZE_BILINEAR", "half_pixel_centers"): 3,
    ("RESIZE_NEAREST_NEIGHBOR", "half_pixel_centers"): 3,
    ("RESIZE_NEAREST_NEIGHBOR", "align_corners"): 3,
    ("GATHER", "batch_dims"): 5,
    ("STRIDED_SLICE", "ellipsis_mask"): 6,
    ("STRIDED_SLICE", "new_axis_mask"): 6,
    ("STRIDED_SLICE", "offset"): 8,
    ("UNIDIRECTIONAL_SEQUENCE_LSTM", "diagonal_recurrent_tensors"): 4,
}

# What more than four dimensions ask for; of the second group only where the shapes differ.
_RANK_VERSIONS = {"TRANSPOSE": 4, "SLICE": 5, "STRIDED_SLICE": 4, "PAD": 4, "PADV2": 4, "SELECT": 3}
_BROADCAST_VERSIONS = {"SUB": 3, "MAXIMUM": 3, "MINIMUM": 3, "DIV": 2}

# The input that carries the data, where it is not the first.
_DATA_INPUT = {"SPLIT": 1, "TRANSPOSE_CONV": 1, "FILL": 1}


def operator_version(operator: Operator, tensors: Sequence[Tensor]) -> int:
    """The lowest version that covers what `operator` does with the given tensors of its subgraph."""
    inputs = [tensors[i] for i in operator.inputs if i >= 0]
    return max((1, *_requirements(operator, inputs, [tensors[i] for i in operator.outputs])))


def _requirements(operator: Operator, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Iterator[int]:
    kind = operator.kind
    types = _TYPE_VERSIONS.get(kind, {})
    data = inputs[min(_DATA_INPUT.get(kind, 0), len(inputs) - 1)] if inputs else None
    if data is not None:
        yield types.get(data.dtype.name, 1)
        if len(data.shape) > 4:
            yield _RANK_VERSIONS.get(kind, 1)
    if kind in _BROADCAST_VERSIONS and len({t.shape for t in inputs}) > 1 and max(len(t.shape) for t in inputs) > 4:
        yield _BROADCAST_VERSIONS[kind]

    fields = option_fields(option_table(kind) or "NONE")
    for name, value in operator.options.items():
        if name in fields and value != fields[name].default:
            yield _OPTION_VERSIONS.get((kind, name), 1)

    match kind:
        case "CONV_2D" if len(inputs) > 1 and inputs[0].shape[-1:] != inputs[1].shape[-1:]:
            yield 6  # grouped
        case "FULLY_CONNECTED" if len(operator.inputs) == 2:
            yield 6  # without a bias
        case "TRANSPOSE_CONV" if len(inputs) == 4:
            yield 3  # with a bias
        case "MUL" if _product_of_scales(inputs, outputs) >= 1.0:
            yield 3
        case "QUANTIZE" if outputs[0].dtype.name == "int16":
            yield 2
        case "DEQUANTIZE" if inputs[0].quantization is not None and inputs[0].quantization.per_axis:
            yield 5
        case "DEQUANTIZE" if inputs[0].dtype.name == "float16":
            yield 3
        case "CAST" if "int8" in (inputs[0].dtype.name, outputs[0].dtype.name):
            yield 3
        case "BROADCAST_TO":
            yield 2


def _product_of_scales(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> float:
    scales = [float(t.quantization.scale[0]) for t in (*inputs, *outputs) if t.quantization is not None]
    return scales[0] * scales[1] / scales[2] if len(scales) == 3 else 0.0
