"""From torch modules to golden graphs: float, for quantization after training, and integer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ...golden.graph import Graph, ModelError, Tensor
from ..folding import fold_batch_norm
from ..network import NetworkBuilder
from ..quantization import quantize
from .graphs import TrainingGraph, identifier
from .modules import Simulation
from .tracing import Layer, Window, trace

Floats = npt.NDArray[np.float32]


def float_graph(
    model: nn.Module, input_shape: tuple[int, ...] | None = None, *, name: str = "", softmax: bool = False
) -> Graph:
    """The float network that a module is in evaluation mode: channels last, batch normalization folded.

    Parameters
    ----------
    model
        An ordinary module, or a training graph, whose rounding is left out.
    input_shape
        Of one sample: `(channels, rows, columns)` or `(features,)`. None if the module has an attribute of this name.
    name
        The network's; the class of the module if empty.
    softmax
        Whether to add a softmax at the end.

    Raises
    ------
    ModelError
        An operator that has no counterpart, with its place.
    """
    return _build(model, input_shape, name, softmax)[0]


def eval_graph(model: TrainingGraph, *, name: str = "", softmax: bool = False) -> Simulation:
    """The integer network that a training graph has become, simulated in float.

    Weights are folded with the moving averages and are integers now, as are biases; ranges are fixed.

    Parameters
    ----------
    model
        What `training_graph` made, after training of one batch at least.
    name, softmax
        As for `float_graph`.

    Raises
    ------
    TypeError
        Another module.
    ModelError
        A range was never seen, or weights or ranges are not finite; with the place.
    """
    if not isinstance(model, TrainingGraph):
        raise TypeError(f"model is a {type(model).__name__}; expected what training_graph returns")
    graph, tensors = _build(model, None, name, softmax)
    ranges = {tensors[number]: span for number, span in model.ranges()}
    return Simulation(quantize(graph, ranges, model.scheme))


def convert(model: Simulation) -> Graph:
    """The integer network that an eval graph simulates, to be written with `golden.writer.save`.

    Raises
    ------
    TypeError
        Another module.
    """
    if not isinstance(model, Simulation):
        raise TypeError(f"model is a {type(model).__name__}; expected what eval_graph returns")
    return model.network


def _build(
    model: nn.Module, input_shape: tuple[int, ...] | None, name: str, softmax: bool
) -> tuple[Graph, dict[int, int]]:
    """The float graph, and the tensor that holds each layer's output."""
    layers = model.layers if isinstance(model, TrainingGraph) else trace(model, input_shape)
    builder = NetworkBuilder(name or identifier(model), _channels_last(layers[0].shape))
    outputs: list[Tensor] = [builder.last]
    for layer in layers[1:]:
        inputs = [outputs[i] for i in layer.inputs]
        builder.continue_from(inputs[0])
        _add(builder, layer, inputs[1:])
        outputs.append(builder.last)
    if softmax and layers[-1].kind != "SOFTMAX":
        builder.softmax()
    return builder.build(), {number: tensor.index for number, tensor in enumerate(outputs)}


def _add(builder: NetworkBuilder, layer: Layer, others: list[Tensor]) -> None:
    match layer.kind:
        case "CONV_2D" | "DEPTHWISE_CONV_2D" if layer.window is not None:
            window = layer.window
            if window.padding is None:
                _pad(builder, window)
            weights, bias = _folded(layer)
            # torch: (outputs, inputs of a group, rows, columns)
            dense = layer.kind == "CONV_2D"
            weights = weights.transpose(0, 2, 3, 1) if dense else weights.transpose(1, 2, 3, 0)
            method = builder.convolution if dense else builder.depthwise
            method(
                np.ascontiguousarray(weights),
                bias,
                stride=window.stride,
                padding=window.padding or "VALID",
                dilation=window.dilation,
                activation=layer.activation,
            )
        case "FULLY_CONNECTED":
            weights, bias = _folded(layer)
            if layer.columns is not None:
                channels_last = weights.reshape(len(weights), *layer.columns).transpose(0, 2, 3, 1)
                weights = np.ascontiguousarray(channels_last).reshape(len(weights), -1)
            builder.dense(weights, bias, activation=layer.activation)
        case "ADD":
            builder.add(others[0], activation=layer.activation)
        case "CONCATENATION":
            builder.concatenate(*others)
        case "AVERAGE_POOL_2D" | "MAX_POOL_2D" if layer.window is not None:
            window = layer.window
            if window.padding is None:
                _pad(builder, window)
            pool = builder.max_pool if layer.kind == "MAX_POOL_2D" else builder.average_pool
            pool(window.kernel, stride=window.stride, padding=window.padding or "VALID")
        case "PAD" if layer.window is not None:
            _pad(builder, layer.window)
        case "RESHAPE":
            builder.flatten()
        case "SOFTMAX":
            builder.softmax()
        case "RELU" | "RELU6":
            builder.elementwise(layer.kind)
        case _:
            raise ModelError(f"{layer.place}: {layer.kind} cannot be exported")


def _pad(builder: NetworkBuilder, window: Window) -> None:
    top, bottom, left, right = window.pads
    builder.pad((top, bottom), (left, right))


def _folded(layer: Layer) -> tuple[Floats, Floats]:
    """Weights as torch lays them and bias, batch normalization folded in."""
    module: Any = layer.module
    norm: Any = layer.norm
    weights = _array(module.weight)
    bias = None if module.bias is None else _array(module.bias)
    if norm is None:
        return weights, np.zeros(len(weights), np.float32) if bias is None else bias
    return fold_batch_norm(
        weights,
        bias,
        gamma=np.ones(len(weights), np.float32) if norm.weight is None else _array(norm.weight),
        beta=np.zeros(len(weights), np.float32) if norm.bias is None else _array(norm.bias),
        mean=_array(norm.running_mean),
        variance=_array(norm.running_var),
        epsilon=norm.eps,
    )


def _array(tensor: torch.Tensor) -> Floats:
    return np.asarray(tensor.detach().cpu().numpy(), np.float32)


def _channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1, shape[1], shape[2], shape[0]) if len(shape) == 3 else (1, *shape)
