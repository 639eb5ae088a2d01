"""Quantization after training: a float network and the ranges of its activations become an int8 network.

The rules are those of the TensorFlow Lite 8-bit quantization specification: activations int8 with a zero point, weights
int8 in [-127, 127] with a scale per output channel, biases int32 at the scale of the products they are added to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..golden import affine
from ..golden.graph import Graph, ModelError, Operator, Quantization, Tensor
from .calibration import Range

_WEIGHTED = ("CONV_2D", "FULLY_CONNECTED")
_SHARING = ("RESHAPE",)
"""Operators that move data: their output has its input's quantization."""

_FIXED = {"SOFTMAX": Quantization(np.array([1 / 256], np.float32), np.array([-128]))}
"""Operators whose output has the quantization that the specification fixes."""

# A bias may take half of the accumulator's range and leave the other half to the sum.
_LARGEST_BIAS = 2.0**30


def quantize(graph: Graph, ranges: Mapping[int, Range]) -> Graph:
    """The int8 network that approximates `graph`, with int8 inputs and outputs.

    Parameters
    ----------
    graph
        A float network of CONV_2D, FULLY_CONNECTED, RESHAPE and SOFTMAX.
    ranges
        The range of each activation by tensor index, as `calibrate` returns it.

    Raises
    ------
    ModelError
        The network has an operator without a rule, or an activation without a range.
    """
    tensors = list(graph.tensors)
    for tensor in graph.inputs:
        tensors[tensor.index] = _activation(graph, tensor, ranges)
    for operator in graph.operators:
        output = tensors[operator.outputs[0]]
        if operator.kind in _WEIGHTED:
            output = _activation(graph, output, ranges)
            _quantize_constants(tensors, operator)
        elif operator.kind in _SHARING:
            output = _as_int8(output, _quantization(tensors[operator.inputs[0]]))
        elif operator.kind in _FIXED:
            output = _as_int8(output, _FIXED[operator.kind])
        else:
            raise ModelError(f"{graph.name}: operator {operator.index} ({operator.kind}) has no quantization rule")
        tensors[output.index] = output
    return replace(graph, subgraphs=(replace(graph.main, tensors=tuple(tensors)), *graph.subgraphs[1:]))


def quantize_weights(
    weights: npt.NDArray[np.float32], bias: npt.NDArray[np.float32], input_scale: float
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32], Quantization, Quantization]:
    """Quantizes the weights and bias of one layer, with a scale per output channel (dimension 0).

    A channel whose weights are so small that its bias would overflow int32 gets a larger scale.

    Returns
    -------
    weights, bias
        int8 and int32.
    weight_quantization, bias_quantization
        Theirs, both along axis 0; the bias has the product of the scales of input and weights.
    """
    largest = np.abs(weights.reshape(len(weights), -1)).max(axis=1)
    needed = np.abs(bias.astype(np.float64)) / (_LARGEST_BIAS * input_scale)
    quantization = affine.symmetric(np.maximum(largest, 127 * needed), axis=0)
    # The kernels multiply the float32 scales; so must the bias's scale be the product of just these.
    products = Quantization(quantization.scale * np.float32(input_scale), np.zeros(len(bias), np.int64), 0)
    quantized = affine.quantize(weights, quantization, np.int8).astype(np.int8)
    offsets = np.round(bias.astype(np.float64) / products.scale.astype(np.float64)).astype(np.int32)
    return quantized, offsets, quantization, products


def _quantize_constants(tensors: list[Tensor], operator: Operator) -> None:
    source, weights, bias = (tensors[i] for i in operator.inputs)
    if weights.data is None or bias.data is None:
        raise ModelError(f"operator {operator.index} ({operator.kind}): its weights and bias must be constants")
    scale = float(_quantization(source).scale[0])
    values, offsets, weight_quantization, bias_quantization = quantize_weights(weights.data, bias.data, scale)
    tensors[weights.index] = replace(weights, dtype=values.dtype, quantization=weight_quantization, data=values)
    tensors[bias.index] = replace(bias, dtype=offsets.dtype, quantization=bias_quantization, data=offsets)


def _activation(graph: Graph, tensor: Tensor, ranges: Mapping[int, Range]) -> Tensor:
    if tensor.index not in ranges:
        raise ModelError(f"{graph.name}: tensor {tensor.index} ({tensor.name}) has no calibrated range")
    return _as_int8(tensor, affine.asymmetric(*ranges[tensor.index]))


def _as_int8(tensor: Tensor, quantization: Quantization) -> Tensor:
    return replace(tensor, dtype=np.dtype(np.int8), quantization=quantization)


def _quantization(tensor: Tensor) -> Quantization:
    if tensor.quantization is None:
        raise ModelError(f"tensor {tensor.index} ({tensor.name}) is not quantized")
    return tensor.quantization
