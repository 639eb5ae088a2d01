"""Bias correction: takes back the mean error that rounded weights leave in each channel.

Rounding a channel's weights shifts its output by `sum((w' - w) x)`, whose mean over data is seldom zero and adds up
from layer to layer. It is subtracted from the bias (Nagel et al., "Data-Free Quantization Through Weight Equalization
and Bias Correction", 2019, section 4.2; here the mean is that of the calibration data).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ..golden import affine
from ..golden.graph import Graph, ModelError, Operator
from ..golden.kernels import Node, prepare
from .calibration import Progress
from .evaluation import activations
from .quantization import LAYERS
from .samples import Floats, Samples

Errors = Callable[..., tuple[Floats, ...]]


def correct_biases(graph: Graph, quantized: Graph, samples: Samples, *, progress: Progress = lambda: None) -> Graph:
    """The float network with biases from which the mean error of the quantized weights is subtracted.

    To be quantized with the same ranges as before. A layer without a bias stays without one.

    Parameters
    ----------
    graph
        A float network.
    quantized
        What `quantize` made of it: its weights tell what rounding did.
    samples
        The calibration data.

    Raises
    ------
    ModelError
        As `evaluation.activations`.
    """
    layers = [operator for operator in graph.operators if _has_bias(operator)]
    errors = {operator.index: _error_of(graph, quantized, operator) for operator in layers}
    sums: dict[int, npt.NDArray[np.float64]] = {}
    for values in activations(graph, samples):
        for operator in layers:
            (error,) = errors[operator.index](values[operator.inputs[LAYERS[operator.kind].image]])
            mean = error.reshape(-1, error.shape[-1]).mean(axis=0, dtype=np.float64)
            sums[operator.index] = sums.get(operator.index, 0.0) + mean
        progress()
    tensors = list(graph.tensors)
    for operator in layers:
        index = operator.inputs[LAYERS[operator.kind].bias]
        bias = tensors[index]
        if bias.data is not None:
            corrected = bias.data - (sums[operator.index] / len(samples)).astype(np.float32)
            tensors[index] = replace(bias, data=corrected)
    return replace(graph, subgraphs=(replace(graph.main, tensors=tuple(tensors)),))


def _has_bias(operator: Operator) -> bool:
    if operator.kind not in LAYERS:
        return False
    place = LAYERS[operator.kind].bias
    return len(operator.inputs) > place and operator.inputs[place] >= 0


def _error_of(graph: Graph, quantized: Graph, operator: Operator) -> Errors:
    """A layer's output, before the activation, with the errors of its weights for weights."""
    places = LAYERS[operator.kind]
    exact = graph.tensors[operator.inputs[places.weights]]
    # Operators that quantization inserted have shifted the numbers; what they compute has kept its.
    twin = next(o for o in quantized.operators if o.outputs == operator.outputs)
    rounded = quantized.tensors[twin.inputs[places.weights]]
    if exact.data is None or rounded.data is None or rounded.quantization is None:
        raise ModelError(f"{graph.name}: operator {operator.index} ({operator.kind}): its weights must be constants")
    weights = affine.dequantize(rounded.data, rounded.quantization) - exact.data
    options = MappingProxyType({**operator.options, "fused_activation_function": "NONE"})
    bare = replace(operator, options=options, inputs=operator.inputs[: places.bias])
    evaluate = prepare(Node.of(bare, graph))

    def errors(x: Floats) -> tuple[Floats, ...]:
        return evaluate(*(x if i == places.image else weights if i == places.weights else None for i in range(2)))

    return errors
