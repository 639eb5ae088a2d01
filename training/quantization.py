"""Quantization after training: a float network and the ranges of its activations become an integer network.

The rules are those of the TensorFlow Lite 8-bit quantization specification: activations int8 with a zero point, weights
int8 in [-127, 127] with a scale per output channel, biases int32 at the scale of the products they are added to. What
an operator asks of the tensors around it is in `_KINDS`, one word for each operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..golden import affine
from ..golden.graph import Graph, ModelError, Operator, Quantization
from .calibration import Range
from .samples import Floats

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Scheme:
    """How numbers become integers.

    Parameters
    ----------
    dtype
        Of activations and weights. "uint8" is the legacy format: one scale per tensor, weights with a zero point.
    per_channel
        Whether each output channel of the weights has a scale of its own.
    symmetric
        Whether activations have the zero point 0 (uint8: 128). What a ReLU leaves then uses half of the integers.

    Raises
    ------
    ValueError
        Legacy weights per channel, which no runtime computes, or another type.
    """

    dtype: Literal["int8", "uint8"] = "int8"
    per_channel: bool = True
    symmetric: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in ("int8", "uint8"):
            raise ValueError(f"dtype is {self.dtype!r}; int8 or uint8 was expected")
        if self.dtype == "uint8" and self.per_channel:
            raise ValueError("uint8 weights have one scale per tensor, not one per channel")

    def activation(self, low: float, high: float) -> Quantization:
        """The quantization of an activation of this range."""
        if self.symmetric:
            return affine.symmetric(max(abs(low), abs(high)), self.dtype)
        return affine.asymmetric(low, high, self.dtype)

    def __str__(self) -> str:
        weights = "per channel" if self.per_channel else "per tensor"
        return f"{self.dtype}, weights {weights}, activations {'symmetric' if self.symmetric else 'asymmetric'}"


INT8 = Scheme()
"""The specification's scheme."""

LEGACY = Scheme("uint8", per_channel=False)
"""That of the quantized networks of 2018."""

Rule = Literal["sums", "own", "shared", "fixed"]
"""What an operator asks for: `sums` multiplies by constant weights; `own` gives its output a range of its own; `shared`
moves or compares values, so that its inputs and outputs have one quantization; `fixed` has one that is prescribed."""

_KINDS: Mapping[Rule, str] = MappingProxyType(
    {
        "sums": "CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED TRANSPOSE_CONV",
        "own": "ADD SUB MUL MEAN SUM ELU HARD_SWISH LEAKY_RELU PRELU RELU RELU6 RELU_N1_TO_1",
        "fixed": "SOFTMAX LOG_SOFTMAX LOGISTIC TANH L2_NORMALIZATION",
        "shared": "AVERAGE_POOL_2D MAX_POOL_2D CONCATENATION PACK UNPACK PAD PADV2 MIRROR_PAD RESHAPE SQUEEZE "
        "EXPAND_DIMS TRANSPOSE SPLIT SPLIT_V SLICE STRIDED_SLICE GATHER TILE BROADCAST_TO REVERSE_V2 "
        "RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SPACE_TO_DEPTH DEPTH_TO_SPACE SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND "
        "MINIMUM MAXIMUM REDUCE_MAX REDUCE_MIN ARG_MAX ARG_MIN EQUAL NOT_EQUAL GREATER GREATER_EQUAL LESS LESS_EQUAL "
        "SELECT SELECT_V2 SHAPE",
    }
)

_RULES = {kind: rule for rule, kinds in _KINDS.items() for kind in kinds.split()}

_FIXED = {
    "SOFTMAX": (1 / 256, -128),
    "LOGISTIC": (1 / 256, -128),
    "TANH": (1 / 128, 0),
    "L2_NORMALIZATION": (1 / 128, 0),
    "LOG_SOFTMAX": (16 / 256, 127),
}
"""Scale and int8 zero point of outputs that the specification fixes."""


class Layer(NamedTuple):
    """Where an operator that sums products has its operands, and which dimension of the weights is the outputs'."""

    image: int
    weights: int
    bias: int
    axis: int


LAYERS: Mapping[str, Layer] = MappingProxyType(
    {
        "CONV_2D": Layer(0, 1, 2, 0),
        "DEPTHWISE_CONV_2D": Layer(0, 1, 2, 3),
        "FULLY_CONNECTED": Layer(0, 1, 2, 0),
        "TRANSPOSE_CONV": Layer(2, 1, 3, 0),
    }
)

# A bias may take half of the accumulator's range and leave the other half to the sum.
_LARGEST_BIAS = 2.0**30


class QuantizedWeights(NamedTuple):
    """The integers of one layer's weights and bias (int32), and what they stand for."""

    weights: Array
    bias: npt.NDArray[np.int32]
    weight_quantization: Quantization
    bias_quantization: Quantization


def quantize(graph: Graph, ranges: Mapping[int, Range], scheme: Scheme = INT8) -> Graph:
    """The integer network that approximates `graph`, with integer inputs and outputs.

    Tensors and operators keep their numbers. Where an operator needs its inputs at one scale and one of them has a
    prescribed one, a QUANTIZE is put between, and a constant that two layers read at different scales is stored twice.

    Parameters
    ----------
    graph
        A float network of one subgraph. Of one with float16 weights take what `float16.widened` returns.
    ranges
        The range of each activation by tensor index, as `calibrate` returns it. Of tensors that share a quantization
        one range is enough, and several are joined.
    scheme
        Of weights and activations.

    Raises
    ------
    ModelError
        The network has operators without a rule (all of them are named) or is quantized already; an activation has no
        range, or one that is not finite; weights are not constant, or not finite.
    """
    check_float(graph)
    return _Quantizer(graph, ranges, scheme).finish()


def check_float(graph: Graph) -> None:
    """Refuse what cannot be quantized: all operators without a rule at once, and constants that are not finite.

    Raises
    ------
    ModelError
        As `quantize`.
    """
    for tensor in graph.tensors:
        if tensor.dtype == np.float16:
            raise ModelError(
                f"{graph.name}: tensor {tensor.index} ({tensor.name}) is float16; float16 constants behind DEQUANTIZE "
                "operators would do (after `eightfold.training.float16.widened`), or float32"
            )
        if tensor.dtype.name in ("int8", "uint8", "int16") or tensor.quantization is not None:
            raise ModelError(
                f"{graph.name}: tensor {tensor.index} ({tensor.name}) is {tensor.dtype}: "
                "the network is quantized already, at least in part; a float32 network was expected"
            )
    if len(graph.subgraphs) > 1 or any(tensor.variable for tensor in graph.tensors):
        raise ModelError(f"{graph.name}: it keeps state or calls subgraphs, which cannot be quantized")
    for operator in graph.operators:
        for index in operator.inputs:
            data = graph.tensors[index].data if index >= 0 else None
            if data is not None and data.dtype == np.float32 and not np.isfinite(data).all():
                raise ModelError(
                    f"{_where(graph, operator)}: tensor {index} ({graph.tensors[index].name}) is a constant that is "
                    "not finite"
                )
    missing = [_place(graph, operator) for operator in graph.operators if _rule(graph, operator) is None]
    if missing:
        raise ModelError(f"{graph.name}: operators that cannot be quantized: {'; '.join(missing)}")


def _rule(graph: Graph, operator: Operator) -> Rule | None:
    """What an operator asks for, if that is known; one that has nothing to do with real numbers asks for nothing."""
    real = any(graph.tensors[i].dtype == np.float32 for i in (*operator.inputs, *operator.outputs) if i >= 0)
    return _RULES.get(operator.kind) if real else "shared"


def _place(graph: Graph, operator: Operator) -> str:
    names = ", ".join(graph.tensors[index].name for index in operator.outputs)
    return f"operator {operator.index} ({operator.kind}), which computes {names}"


def quantize_weights(
    weights: Floats, bias: Floats, input_scale: float, scheme: Scheme = INT8, *, axis: int = 0
) -> QuantizedWeights:
    """Quantizes the weights and bias of one layer.

    int8 weights are symmetric, uint8 ones have a zero point and leave 0 unused, as the runtimes of 2018 demand. A
    channel (or, with one scale for all, a layer) whose weights are so small that its bias would overflow int32 gets a
    larger scale: then nothing but the bias counts. Weights that are all zero are zeros at any scale.

    Parameters
    ----------
    axis
        The dimension of the output channels.
    """
    channels = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1).astype(np.float64)
    needed = np.abs(bias.astype(np.float64)) / (_LARGEST_BIAS * input_scale)
    low, high = channels.min(axis=1), channels.max(axis=1)
    if not scheme.per_channel:
        low, high, needed = low.min(keepdims=True), high.max(keepdims=True), needed.max(keepdims=True)
    if scheme.dtype == "int8":
        quantization = affine.symmetric(np.maximum(np.maximum(-low, high), 127 * needed), axis=axis)
    else:
        quantization = affine.asymmetric(low, np.maximum(high, low + 254 * needed), np.uint8, narrow=True)
    quantized = affine.quantize(weights, quantization, scheme.dtype)
    if scheme.dtype == "uint8":
        quantized = np.maximum(quantized, 1)
    # The kernels multiply the float32 scales; so must the bias's scale be the product of just these.
    scales = quantization.scale * np.float32(input_scale)
    products = Quantization(scales, np.zeros(len(scales), np.int64), 0)
    offsets = np.round(bias.astype(np.float64) / scales.astype(np.float64)).astype(np.int32)
    return QuantizedWeights(quantized, offsets, quantization, products)


class _Quantizer:
    """One network on its way."""

    def __init__(self, graph: Graph, ranges: Mapping[int, Range], scheme: Scheme) -> None:
        self.graph, self.ranges, self.scheme = graph, ranges, scheme
        self.dtype = np.dtype(scheme.dtype)
        self.tensors = list(graph.tensors)
        self.operators: list[Operator] = []
        self.groups = {t.index: t.index for t in graph.tensors if t.dtype == np.float32}
        self.fixed: dict[int, tuple[float, int]] = {}
        self.results: dict[int, Quantization] = {}

    def finish(self) -> Graph:
        for operator in self.graph.operators:
            self.operators.append(self.share(operator))
        for operator in self.operators:
            for index in operator.outputs:
                self.activation(index)
        for index in self.graph.main.inputs:
            self.activation(index)
        operators = [self.constants(operator) for operator in self.operators]
        numbered = tuple(replace(operator, index=number) for number, operator in enumerate(operators))
        main = replace(self.graph.main, tensors=tuple(self.tensors), operators=numbered)
        return replace(self.graph, subgraphs=(main,))

    # Which tensors have one quantization

    def share(self, operator: Operator) -> Operator:
        """Joins the tensors of an operator that must have one quantization, and notes a prescribed one."""
        rule = _rule(self.graph, operator)
        if rule == "fixed":
            scale, zero_point = _FIXED[operator.kind]
            offset = 128 if self.scheme.dtype == "uint8" else 0
            self.fixed[self.group(operator.outputs[0])] = scale, zero_point + offset
        if rule != "shared":
            return operator
        sources = list(dict.fromkeys(i for i in operator.inputs if i in self.groups))
        if len({self.fixed.get(self.group(index)) for index in sources}) > 1:
            # What is prescribed for one input would be wrong for the others.
            operator = self.requantized(operator, [i for i in sources if self.group(i) in self.fixed])
            sources = [index for index in operator.inputs if index in self.groups]
        for index in (*sources[1:], *(i for i in operator.outputs if i in self.groups)):
            self.groups[self.group(index)] = self.group(sources[0])
        return operator

    def requantized(self, operator: Operator, indices: list[int]) -> Operator:
        """The operator reading copies of these inputs that have a quantization of their own."""
        copies = {}
        for index in indices:
            source = self.tensors[index]
            copy = replace(source, index=len(self.tensors), name=f"{source.name}/requantized")
            self.tensors.append(copy)
            self.groups[copy.index] = copy.index
            self.ranges = {**self.ranges, copy.index: self.ranges.get(index) or self.whole_range(index)}
            self.operators.append(Operator(0, "QUANTIZE", (index,), (copy.index,)))
            copies[index] = copy.index
        return replace(operator, inputs=tuple(copies.get(index, index) for index in operator.inputs))

    def group(self, index: int) -> int:
        """The representative of the tensors that have this one's quantization."""
        while self.groups[index] != index:
            index = self.groups[index]
        return index

    # What quantization they have

    def activation(self, index: int) -> None:
        """Gives a tensor that is computed its type and quantization."""
        tensor = self.tensors[index]
        if tensor.dtype == np.float32:
            self.tensors[index] = replace(tensor, dtype=self.dtype, quantization=self.quantization(index))

    def quantization(self, index: int) -> Quantization:
        group = self.group(index)
        if group not in self.results:
            if group in self.fixed:
                scale, zero_point = self.fixed[group]
                self.results[group] = Quantization(np.array([scale], np.float32), np.array([zero_point]))
            else:
                self.results[group] = self.scheme.activation(*self.joined_range(group, index))
        return self.results[group]

    def whole_range(self, index: int) -> Range:
        """What a tensor with a prescribed quantization can hold."""
        low, high = affine.representable(self.quantization(index), self.dtype)
        return float(low[0]), float(high[0])

    def joined_range(self, group: int, index: int) -> Range:
        """The range of all tensors of a group, constants included."""
        ranges = []
        for member in self.groups:
            if self.group(member) != group:
                continue
            data = self.graph.tensors[member].data if member < len(self.graph.tensors) else None
            if member in self.ranges:
                ranges.append(self.checked_range(member))
            elif data is not None and data.size:
                ranges.append((float(data.min()), float(data.max())))
        if not ranges:
            raise ModelError(f"{self.graph.name}: {self.called(index)} has no calibrated range")
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    def checked_range(self, index: int) -> Range:
        low, high = self.ranges[index]
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise ModelError(
                f"{self.graph.name}: {self.called(index)} has the range [{low}, {high}]; "
                "finite ends in ascending order were expected"
            )
        return low, high

    def called(self, index: int) -> str:
        return f"tensor {index} ({self.tensors[index].name})"

    # Constants

    def constants(self, operator: Operator) -> Operator:
        """Quantizes the constants that an operator reads."""
        if operator.kind in LAYERS:
            return self.layer(operator)
        for position, index in enumerate(operator.inputs):
            data = self.graph.tensors[index].data if 0 <= index < len(self.graph.tensors) else None
            if data is None or data.dtype != np.float32:
                continue
            if _RULES.get(operator.kind) == "shared":
                quantization = self.quantization(index)
            else:
                quantization = self.scheme.activation(float(data.min()), float(data.max()))
            values = affine.quantize(data, quantization, self.dtype)
            operator = self.stored(operator, position, values, quantization)
        return operator

    def layer(self, operator: Operator) -> Operator:
        """Quantizes weights and bias."""
        places = LAYERS[operator.kind]
        weights = self.graph.tensors[operator.inputs[places.weights]]
        bias_index = operator.inputs[places.bias] if len(operator.inputs) > places.bias else -1
        bias = None if bias_index < 0 else self.graph.tensors[bias_index].data
        if weights.data is None or (bias_index >= 0 and bias is None):
            raise ModelError(f"{_where(self.graph, operator)}: its weights and bias must be constants")
        source = affine.known(self.tensors[operator.inputs[places.image]])
        zeros = np.zeros(weights.shape[places.axis], np.float32)
        values = quantize_weights(
            weights.data, zeros if bias is None else bias, float(source.scale[0]), self.scheme, axis=places.axis
        )
        operator = self.stored(operator, places.weights, values.weights, values.weight_quantization)
        if bias is not None:
            operator = self.stored(operator, places.bias, values.bias, values.bias_quantization)
        return operator

    def stored(self, operator: Operator, position: int, values: Array, quantization: Quantization) -> Operator:
        """The operator reading a constant; a copy of it where another operator has stored other integers there."""
        index = operator.inputs[position]
        old = self.tensors[index]
        if old.data is None or old.dtype == np.float32:
            self.tensors[index] = replace(old, dtype=values.dtype, quantization=quantization, data=values)
            return operator
        same = old.quantization is not None and _same(old.quantization, quantization)
        if same and old.dtype == values.dtype and np.array_equal(old.data, values):
            return operator
        name = f"{old.name}/{len(self.tensors)}"
        copy = replace(
            old, index=len(self.tensors), name=name, dtype=values.dtype, quantization=quantization, data=values
        )
        self.tensors.append(copy)
        inputs = (*operator.inputs[:position], copy.index, *operator.inputs[position + 1 :])
        return replace(operator, inputs=inputs)


def _where(graph: Graph, operator: Operator) -> str:
    return f"{graph.name}: operator {operator.index} ({operator.kind})"


def _same(a: Quantization, b: Quantization) -> bool:
    return np.array_equal(a.scale, b.scale) and np.array_equal(a.zero_point, b.zero_point) and a.axis == b.axis
