"""Golden graphs as torch modules: float ones to be trained, integer ones simulated in float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ...golden.graph import Graph, ModelError, Operator, Tensor
from .graphs import convolve, slide
from .ranges import BOUNDS
from .tracing import WEIGHTED, Layer, Window, same_padding

_KINDS = (
    *WEIGHTED,
    "ADD",
    "CONCATENATION",
    "AVERAGE_POOL_2D",
    "MAX_POOL_2D",
    "PAD",
    "RESHAPE",
    "RELU",
    "RELU6",
    "SOFTMAX",
    "QUANTIZE",
)


class Network(nn.Module):
    """A float graph as an ordinary module, to be trained: one description for both.

        Network(mobilenet_v1(0.25, 128, classes=10, channels=1))

    Takes and gives torch's layout, channels first. A fresh module in evaluation mode computes what the graph computes.

    Parameters
    ----------
    graph
        Float, of one input and one output. Its weights are where training starts.
    batch_norm
        Whether a batch normalization follows each convolution. It changes nothing yet; its offset is the bias.
    softmax
        Whether a softmax at the end stays; training wants what comes before it.

    Raises
    ------
    ModelError
        An operator that has no module here.
    """

    def __init__(self, graph: Graph, *, batch_norm: bool = True, softmax: bool = False) -> None:
        super().__init__()
        _check(graph)
        self.name = graph.name
        self.input_shape = _channels_first(graph.inputs[0].shape)[1:]
        operators = graph.operators
        if operators[-1].kind == "SOFTMAX" and not softmax:
            operators = operators[:-1]
        self.layers = nn.ModuleDict({_name(o): _module(o, graph, batch_norm) for o in operators})
        activations = {*graph.main.inputs, *(o.outputs[0] for o in operators)}
        self.source = graph.main.inputs[0]
        # What each layer reads and writes, by the numbers of the graph's tensors.
        self.route = [(_name(o), [i for i in o.inputs if i in activations], o.outputs[0]) for o in operators]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A batch: `(n, *input_shape)`."""
        values = {self.source: x}
        for name, inputs, output in self.route:
            x = values[output] = self.layers[name](*[values[i] for i in inputs])
        return x


class Simulation(nn.Module):
    """An integer graph, computed by torch: the eval graph of training.

    Takes and gives real numbers, channels first; inside, every tensor holds the integers of the integer network, less
    their zero point, as floats. Sums of products are exact. Their rounding is that of TensorFlow Lite, twice
    (`golden.numerics`, DOUBLE), but by real multipliers, where the integer network has 31 bits of them: an element that
    comes within 2^-31 of the middle may become its neighbour. `agreement` tells how many do.

    Parameters
    ----------
    network
        Quantized, int8 or uint8, of one input and one output.

    Raises
    ------
    ModelError
        An operator that has no simulation, or a tensor that is not quantized.
    """

    def __init__(self, network: Graph) -> None:
        super().__init__()
        _check(network)
        self.network = network
        self.input_shape = _channels_first(network.inputs[0].shape)[1:]
        self._layers = [_layer(operator, network) for operator in network.operators]
        self._sums = {o.index: _Sums(o, network) for o in network.operators if o.kind in WEIGHTED}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A batch of real numbers, `(n, *input_shape)`; the output's real numbers."""
        output = self.network.outputs[0]
        return self._run(x)[output.index] * _affine(output)[0]

    def tensors(self, x: torch.Tensor) -> Mapping[int, npt.NDArray[np.integer[Any]]]:
        """Every activation's integers for a batch, by tensor index, as the graph lays them: channels last."""
        result = {}
        for index, value in self._run(x).items():
            tensor = self.network.tensors[index]
            result[index] = (_channels_last(value) + _affine(tensor)[1]).numpy().astype(tensor.dtype)
        return MappingProxyType(result)

    @torch.no_grad()
    def _run(self, x: torch.Tensor) -> dict[int, torch.Tensor]:
        if x.shape[1:] != self.input_shape:
            raise ValueError(f"the input has the shape {list(x.shape)}; expected [n, {str(list(self.input_shape))[1:]}")
        source = self.network.inputs[0]
        # float32, as QUANTIZE divides
        steps = (x.float() / torch.tensor(_affine(source)[0], dtype=torch.float32)).double()
        values = {source.index: _integers(steps, source, "NONE")}
        for operator, layer in zip(self.network.operators, self._layers, strict=True):
            output = self.network.tensors[operator.outputs[0]]
            steps = self._compute(operator, layer, values, output)
            values[output.index] = _integers(steps, output, layer.activation, raw=operator.kind == "AVERAGE_POOL_2D")
        return values

    def _compute(
        self, operator: Operator, layer: Layer, values: Mapping[int, torch.Tensor], output: Tensor
    ) -> torch.Tensor:
        """The output in steps of its scale, float64, not rounded yet."""
        if operator.kind in WEIGHTED:
            return self._sums[operator.index](values[operator.inputs[0]], layer)
        scale = _affine(output)[0]
        inputs = [
            values[i].double() * (_affine(self.network.tensors[i])[0] / scale) for i in operator.inputs if i in values
        ]
        x = inputs[0]
        match operator.kind:
            case "ADD":
                return inputs[0] + inputs[1]
            case "CONCATENATION":
                return torch.cat(inputs, 1)
            case "RESHAPE":
                return _to_channels_first(_channels_last(x).reshape(x.shape[0], *output.shape[1:]))
            case "SOFTMAX":
                return torch.softmax(x * scale, 1) / scale
            case "PAD" | "MAX_POOL_2D" | "AVERAGE_POOL_2D":
                return slide(x, layer)
        return x


class _Sums:
    """A sum of products and its requantization."""

    def __init__(self, operator: Operator, network: Graph) -> None:
        image, weights = (network.tensors[i] for i in operator.inputs[:2])
        output = network.tensors[operator.outputs[0]]
        if weights.data is None or weights.quantization is None:
            raise ModelError(f"{network.name}: operator {operator.index} ({operator.kind}): expected quantized weights")
        integers = _torch_weights(
            operator.kind, weights.data.astype(np.int64) - int(weights.quantization.zero_point[0])
        )
        # Sums below 2^24 are exact in float32, in any order.
        largest = int(np.abs(integers).reshape(len(integers), -1).sum(axis=1).max()) * 255
        self.dtype = torch.float32 if largest < 2**24 else torch.float64
        self.weights = torch.from_numpy(np.ascontiguousarray(integers)).to(self.dtype)
        self.groups = image.shape[3] // self.weights.shape[1] if self.weights.ndim == 4 else 1
        bias = (
            network.tensors[operator.inputs[2]].data if len(operator.inputs) > 2 and operator.inputs[2] >= 0 else None
        )
        multiplier = _affine(image)[0] * weights.quantization.scale.astype(np.float64) / _affine(output)[0]
        _, shift = np.frexp(multiplier)
        form = (1, -1, 1, 1) if self.weights.ndim == 4 else (1, -1)
        self.bias = None if bias is None else torch.from_numpy(bias.astype(np.float64)).reshape(form)
        self.multiplier = torch.from_numpy(multiplier).reshape(form)
        # What the first rounding leaves for the second: 2^-n of the output's step.
        self.finer = torch.from_numpy(np.exp2(np.maximum(-shift, 0).astype(np.float64))).reshape(form)

    def __call__(self, x: torch.Tensor, layer: Layer) -> torch.Tensor:
        """Steps of the output, rounded to the finer step."""
        if layer.window is None:
            sums = nn.functional.linear(x.flatten(1).to(self.dtype), self.weights)
        else:
            sums = convolve(x.to(self.dtype), self.weights, None, layer.window, self.groups)
        total = sums.double() if self.bias is None else sums + self.bias
        return torch.floor(total * (self.multiplier * self.finer) + 0.5) / self.finer


def _integers(steps: torch.Tensor, tensor: Tensor, activation: str, *, raw: bool = False) -> torch.Tensor:
    """The nearest integers, ties away from zero (of the stored integers if `raw`), clamped; less the zero point."""
    scale, zero_point = _affine(tensor)
    offset = float(zero_point) if raw else 0.0
    steps = steps + offset
    nearest = torch.copysign(torch.floor(steps.abs() + 0.5), steps) - offset
    limits = np.iinfo(tensor.dtype)
    low, high = (int(limit) - zero_point for limit in (limits.min, limits.max))
    lower, upper = BOUNDS[activation]
    low = max(low, 0) if lower == 0 else low
    high = min(high, int(np.floor(upper / np.float32(scale) + 0.5))) if np.isfinite(upper) else high
    return nearest.clamp(low, high).float()


def _affine(tensor: Tensor) -> tuple[float, int]:
    """Scale and zero point of an activation."""
    if tensor.quantization is None or tensor.quantization.per_axis:
        raise ModelError(f"tensor {tensor.index} ({tensor.name}): expected one scale and zero point")
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0])


class Join(nn.Module):
    """Several tensors become one.

    Parameters
    ----------
    kind
        ADD, the sum of two of one shape; or CONCATENATION along the channels.
    activation
        What follows.
    """

    def __init__(self, kind: str, activation: nn.Module) -> None:
        super().__init__()
        self.kind = kind
        self.activation = activation

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Channels first."""
        joined = tensors[0] + tensors[1] if self.kind == "ADD" else torch.cat(tensors, 1)
        result: torch.Tensor = self.activation(joined)
        return result


def _check(graph: Graph) -> None:
    for operator in graph.operators:
        if operator.kind not in _KINDS:
            raise ModelError(
                f"{graph.name}: operator {operator.index} ({operator.kind}) has no counterpart in torch here"
            )
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ModelError(
            f"{graph.name}: {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; expected one of each"
        )


def _name(operator: Operator) -> str:
    return f"{operator.kind.lower()}_{operator.index}"


def _layer(operator: Operator, graph: Graph) -> Layer:
    """An operator in the words of `tracing`."""
    activation = operator.options.get("fused_activation_function", "NONE")
    if operator.kind in ("RELU", "RELU6"):
        activation = operator.kind
    if activation not in ("NONE", "RELU", "RELU6"):
        raise ModelError(f"{graph.name}: operator {operator.index} ({operator.kind}): {activation} is not supported")
    tensor = graph.tensors[operator.outputs[0]]
    window = _window(operator, graph)
    return Layer(tensor.name, operator.kind, operator.inputs, tensor.shape, activation=activation, window=window)


def _window(operator: Operator, graph: Graph) -> Window | None:
    options = operator.options
    if operator.kind == "PAD":
        around = graph.tensors[operator.inputs[1]].data
        if around is None or around[[0, 3]].any():
            raise ModelError(f"{graph.name}: operator {operator.index} (PAD): expected constant pixels around an image")
        (top, bottom), (left, right) = around[1:3].tolist()
        return Window((1, 1), (1, 1), (top, bottom, left, right), None)
    if "stride_h" not in options:
        return None
    if operator.kind in WEIGHTED:
        rows, columns = graph.tensors[operator.inputs[1]].shape[1:3]
    else:
        rows, columns = options["filter_height"], options["filter_width"]
    stride = options["stride_h"], options["stride_w"]
    dilation = options.get("dilation_h_factor", 1), options.get("dilation_w_factor", 1)
    window = Window((rows, columns), stride, padding=options["padding"], dilation=dilation)
    if window.padding == "VALID":
        return window
    _, height, width, _ = graph.tensors[operator.inputs[0]].shape
    rows, columns = window.extent
    return replace(window, pads=(*same_padding(height, rows, stride[0]), *same_padding(width, columns, stride[1])))


def _module(operator: Operator, graph: Graph, batch_norm: bool) -> nn.Module:
    """An ordinary module for one operator."""
    layer = _layer(operator, graph)
    modules: list[nn.Module] = []
    match operator.kind:
        case "CONV_2D" | "DEPTHWISE_CONV_2D":
            modules += _convolution(operator, graph, layer, batch_norm)
        case "FULLY_CONNECTED":
            modules.append(_linear(operator, graph))
        case "ADD" | "CONCATENATION":
            return Join(operator.kind, _activation(layer.activation))
        case "RESHAPE":
            modules.append(nn.Flatten())
        case "SOFTMAX":
            modules.append(nn.Softmax(1))
        case "AVERAGE_POOL_2D" | "MAX_POOL_2D" | "PAD" if layer.window is not None:
            modules += _pool(operator, layer, layer.window)
    if layer.activation != "NONE":
        modules.append(_activation(layer.activation))
    return nn.Sequential(*modules)


def _activation(name: str) -> nn.Module:
    return {"NONE": nn.Identity, "RELU": nn.ReLU, "RELU6": nn.ReLU6}[name]()


def _convolution(operator: Operator, graph: Graph, layer: Layer, batch_norm: bool) -> list[nn.Module]:
    weights, bias = _weights_of(operator, graph)
    window = layer.window
    if window is None:
        raise ModelError(f"{graph.name}: operator {operator.index} ({operator.kind}) has no strides")
    top, bottom, left, right = window.pads
    even = (top, left) == (bottom, right)
    outputs, depth = weights.shape[:2]
    groups = graph.tensors[operator.inputs[0]].shape[3] // depth
    convolution = nn.Conv2d(
        depth * groups,
        outputs,
        window.kernel,
        window.stride,
        (top, left) if even else 0,
        window.dilation,
        groups,
        bias=not batch_norm,
    )
    modules: list[nn.Module] = [] if even else [nn.ZeroPad2d((left, right, top, bottom))]
    modules.append(convolution)
    holder: Any = convolution
    if batch_norm:
        holder = nn.BatchNorm2d(outputs, eps=1e-3)  # TensorFlow's
        modules.append(holder)
    with torch.no_grad():
        convolution.weight.copy_(torch.from_numpy(weights))
        holder.bias.copy_(torch.from_numpy(bias))
        if batch_norm:
            holder.running_var.fill_(1 - holder.eps)
    return modules


def _linear(operator: Operator, graph: Graph) -> nn.Linear:
    weights, bias = _weights_of(operator, graph)
    producer = next((o for o in graph.operators if operator.inputs[0] in o.outputs), None)
    if producer is not None and producer.kind == "RESHAPE":
        image = graph.tensors[producer.inputs[0]].shape
        if len(image) == 4:
            _, height, width, channels = image
            weights = weights.reshape(-1, height, width, channels).transpose(0, 3, 1, 2).reshape(len(weights), -1)
    linear = nn.Linear(weights.shape[1], weights.shape[0])
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weights))
        linear.bias.copy_(torch.from_numpy(bias))
    return linear


def _pool(operator: Operator, layer: Layer, window: Window) -> list[nn.Module]:
    top, bottom, left, right = window.pads
    if operator.kind == "PAD":
        return [nn.ZeroPad2d((left, right, top, bottom))]
    if (top, left) != (bottom, right):
        raise ModelError(f"{layer.place}: a pool with {list(window.pads)} pixels around the image has no module")
    if operator.kind == "MAX_POOL_2D":
        return [nn.MaxPool2d(window.kernel, window.stride, (top, left))]
    return [nn.AvgPool2d(window.kernel, window.stride, (top, left), count_include_pad=False)]


def _weights_of(operator: Operator, graph: Graph) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Float weights as torch lays them, and the bias."""
    tensor = graph.tensors[operator.inputs[1]]
    if tensor.data is None or tensor.dtype != np.float32:
        raise ModelError(f"{graph.name}: operator {operator.index} ({operator.kind}): expected constant float weights")
    weights = _torch_weights(operator.kind, tensor.data)
    bias = graph.tensors[operator.inputs[2]].data if len(operator.inputs) > 2 and operator.inputs[2] >= 0 else None
    return weights, np.zeros(len(weights), np.float32) if bias is None else bias


def _torch_weights(kind: str, weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Weights as torch lays them: (outputs, inputs of a group, rows, columns) or (outputs, inputs)."""
    if kind == "FULLY_CONNECTED":
        return weights
    return weights.transpose(3, 0, 1, 2) if kind == "DEPTHWISE_CONV_2D" else weights.transpose(0, 3, 1, 2)


def _channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], shape[3], shape[1], shape[2]) if len(shape) == 4 else shape


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


def _to_channels_first(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x
