"""The float network that an integer network stands for: what other ways of quantization are tried out on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..golden import affine
from ..golden.graph import Graph, ModelError, Operator, Tensor

_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")


def dequantize(graph: Graph) -> Graph:
    """The network in real numbers: its constants are what the integers stand for, and nothing rounds between.

    Operators that convert numbers fall away. It is not the network that was once quantized, whose weights were not on
    the integers' grid.

    Raises
    ------
    ModelError
        It has nothing quantized, or an operator computes integers that no scale makes real.
    """
    if all(tensor.quantization is None for tensor in graph.tensors):
        raise ModelError(f"{graph.name}: nothing in it is quantized")
    if len(graph.subgraphs) > 1 or any(tensor.variable for tensor in graph.tensors):
        raise ModelError(f"{graph.name}: it keeps state or calls subgraphs, for which there is no float network")
    same: dict[int, int] = {}
    operators: list[Operator] = []
    for operator in graph.operators:
        inputs = tuple(same.get(index, index) for index in operator.inputs)
        if operator.kind in _CONVERSIONS:
            same[operator.outputs[0]] = inputs[0]
        else:
            operators.append(replace(operator, index=len(operators), inputs=inputs))
    tensors = tuple(_real(graph, tensor) for tensor in graph.tensors)
    outputs = tuple(same.get(index, index) for index in graph.main.outputs)
    main = replace(graph.main, tensors=tensors, operators=tuple(operators), outputs=outputs)
    return replace(graph, subgraphs=(main,))


def _real(graph: Graph, tensor: Tensor) -> Tensor:
    if tensor.quantization is None:
        if tensor.dtype.name in ("int8", "uint8", "int16"):
            raise ModelError(f"{graph.name}: tensor {tensor.index} ({tensor.name}) is {tensor.dtype} without a scale")
        return tensor
    data = None if tensor.data is None else affine.dequantize(tensor.data, tensor.quantization)
    return replace(tensor, dtype=np.dtype(np.float32), quantization=None, data=data)
