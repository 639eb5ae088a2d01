"""The training graph: an ordinary module, rewritten to round where the integer network will round."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..quantization import INT8, Scheme
from .ranges import Activation, rounded_weights
from .tracing import WEIGHTED, Layer, Window, trace

_SHARING = ("AVERAGE_POOL_2D", "MAX_POOL_2D", "PAD", "RESHAPE", "CONCATENATION")
"""Kinds whose output has the quantization of their inputs."""


class Weighted(nn.Module):
    """A convolution or linear layer with its batch normalization, on rounded weights.

    The integer network has batch normalization folded into the weights, and rounds these:

        w' = round(w * f),    f = gamma / sqrt(running variance + epsilon)                                   (1)

    with the moving averages that it will be folded with, for the statistics of one batch would shake the rounding
    (Jacob et al. 2018, section 3.2, fold with those; Krishnamoorthi 2018, section 3.2.2, corrects for the difference).
    Training normalizes with the statistics of the batch, so what was multiplied by `f` is divided by it again. As a
    convolution is linear, this is done to the weights: `w' / f` is convolved once, then normalized as in float. Frozen
    (`freeze_batch_norm`), normalization uses the moving averages too, and what is computed is the folded convolution.
    """

    def __init__(self, layer: Layer, scheme: Scheme) -> None:
        super().__init__()
        self.place = layer.place
        self.scheme = scheme
        self.window = layer.window
        self.module: Any = layer.module
        self.norm: Any = layer.norm
        self.frozen = False

    def forward(self, x: torch.Tensor, rounding: bool = True) -> torch.Tensor:
        """What the layer and its batch normalization give, without rounding if so asked."""
        weights, norm = self.module.weight, self.norm
        if rounding:
            factor = None if norm is None else self.factor()
            weights = rounded_weights(weights, factor, self.scheme, self.place)
        y = self.linear(x, weights)
        if norm is None:
            return y
        if not self.training or self.frozen:
            return nn.functional.batch_norm(
                y, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        norm.num_batches_tracked += 1
        momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        return nn.functional.batch_norm(
            y, norm.running_mean, norm.running_var, norm.weight, norm.bias, True, momentum, norm.eps
        )

    def factor(self) -> torch.Tensor:
        """`f` of equation (1), `(output channels,)`, without a gradient: in float it cancels.

        Where gamma is next to nothing a tiny number stands for it, by which can be divided.
        """
        norm = self.norm
        with torch.no_grad():
            factor = torch.rsqrt(norm.running_var + norm.eps)
            if norm.weight is not None:
                factor = factor * norm.weight
            return torch.where(factor.abs() < 1e-12, torch.full_like(factor, 1e-12), factor)

    def linear(self, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        if self.window is None:
            return nn.functional.linear(x, weights, self.module.bias)
        return convolve(x, weights, self.module.bias, self.window, self.module.groups)


def convolve(
    x: torch.Tensor, weights: torch.Tensor, bias: torch.Tensor | None, window: Window, groups: int
) -> torch.Tensor:
    """A convolution with any pixels of zeros around the image."""
    top, bottom, left, right = window.pads
    if (top, left) == (bottom, right):
        return nn.functional.conv2d(x, weights, bias, window.stride, (top, left), window.dilation, groups)
    x = nn.functional.pad(x, (left, right, top, bottom))
    return nn.functional.conv2d(x, weights, bias, window.stride, 0, window.dilation, groups)


class TrainingGraph(nn.Module):
    """What `training_graph` returns: as the module it was made of, with rounding in it.

    Parameters
    ----------
    name
        The network's.
    layers
        Its layers, in order of computation; they refer to its own modules.
    scheme, delay, momentum
        As for `training_graph`; the delay is `quant_delay`.
    """

    batches: torch.Tensor

    def __init__(self, name: str, layers: tuple[Layer, ...], scheme: Scheme, delay: int, momentum: float) -> None:
        super().__init__()
        self.name = name
        self.layers = layers
        self.scheme = scheme
        self.delay = delay
        self.input_shape = layers[0].shape
        self.weighted = nn.ModuleDict()
        self.activations = nn.ModuleDict()
        for number, layer in enumerate(layers):
            key = self.key(number)
            if layer.kind in WEIGHTED:
                self.weighted[key] = Weighted(layer, scheme)
            if layer.kind not in _SHARING and layer.kind != "SOFTMAX":
                function = layer.kind if layer.kind in ("RELU", "RELU6") else layer.activation
                self.activations[key] = Activation(layer.place, function=function, momentum=momentum, scheme=scheme)
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self._share()
        self._last_readers = {i: n for n, layer in enumerate(layers) for i in layer.inputs}

    def key(self, number: int) -> str:
        """The name of a layer in the state of the module."""
        return f"{number}_{self.layers[number].place.replace('.', '_')}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A batch of inputs as the original module takes them.

        Raises
        ------
        ModelError
            Activations or weights that are not finite, with their place.
        ValueError
            The input has another shape.
        """
        if x.shape[1:] != self.input_shape:
            raise ValueError(
                f"the input has the shape {list(x.shape)}; expected {list(self.input_shape)} after the batch"
            )
        if self.training:
            self.batches += 1
        rounding = int(self.batches) > self.delay
        values: dict[int, torch.Tensor] = {}
        for number, layer in enumerate(self.layers):
            values[number] = self.compute(number, layer, [values[i] for i in layer.inputs] or [x], rounding)
            for i in set(layer.inputs):
                if self._last_readers[i] == number:
                    del values[i]
        return values[len(self.layers) - 1]

    def compute(self, number: int, layer: Layer, inputs: list[torch.Tensor], rounding: bool) -> torch.Tensor:
        """The output of one layer."""
        key, x = self.key(number), inputs[0]
        match layer.kind:
            case "CONV_2D" | "DEPTHWISE_CONV_2D" | "FULLY_CONNECTED":
                x = self.weighted[key](x, rounding)
            case "ADD":
                x = inputs[0] + inputs[1]
            case "CONCATENATION":
                return torch.cat(inputs, 1)
            case "RESHAPE":
                return x.flatten(1)
            case "SOFTMAX":
                return torch.softmax(x, 1)
            case "PAD" | "MAX_POOL_2D":
                return slide(x, layer)
            case "AVERAGE_POOL_2D":
                # A mean of integers is rounded again.
                return self.source(number).round(slide(x, layer)) if rounding else slide(x, layer)
        return self.activations[key](x, rounding)

    def source(self, number: int) -> Activation:
        """The activation whose range a layer has."""
        while self.layers[number].kind in _SHARING:
            number = self.layers[number].inputs[0]
        activation: Activation = self.activations[self.key(number)]
        return activation

    def ranges(self) -> Iterator[tuple[int, tuple[float, float]]]:
        """The number of each layer whose output has a range, and this range.

        Raises
        ------
        ModelError
            No batch was seen in training mode.
        """
        for number, layer in enumerate(self.layers):
            if layer.kind != "SOFTMAX":
                yield number, self.source(number).range()

    def _share(self) -> None:
        """Gives what is concatenated one range."""
        for layer in self.layers:
            if layer.kind == "CONCATENATION":
                members = {member: None for i in layer.inputs for member in self.source(i).group}
                for member in members:
                    member.group = tuple(members)


def slide(x: torch.Tensor, layer: Layer) -> torch.Tensor:
    """A pool, or the pixels that PAD adds."""
    window = layer.window
    if window is None:
        raise ValueError(f"{layer.place}: {layer.kind} has no window")
    top, bottom, left, right = window.pads
    match layer.kind:
        case "PAD":
            x = nn.functional.pad(x, (left, right, top, bottom))
        case "MAX_POOL_2D":
            x = nn.functional.pad(x, (left, right, top, bottom), value=-torch.inf)
            x = nn.functional.max_pool2d(x, window.kernel, window.stride)
        case "AVERAGE_POOL_2D":
            # SAME may want more pixels after the image than before it: sums and counts over the padded image.
            sums = nn.functional.avg_pool2d(
                nn.functional.pad(x, (left, right, top, bottom)), window.kernel, window.stride, divisor_override=1
            )
            inside = nn.functional.pad(torch.ones(1, 1, *x.shape[2:], dtype=x.dtype), (left, right, top, bottom))
            x = sums / nn.functional.avg_pool2d(inside, window.kernel, window.stride, divisor_override=1)
    return x


def training_graph(
    model: nn.Module,
    input_shape: tuple[int, ...] | None = None,
    *,
    quant_delay: int = 0,
    scheme: Scheme = INT8,
    momentum: float = 0.01,
) -> TrainingGraph:
    """A copy of a module that rounds where the integer network will round; to be trained as any other.

    Parameters
    ----------
    model
        An ordinary module of one input: trained in float, for fine-tuning, or fresh. It stays as it is.
    input_shape
        Of one sample: `(channels, rows, columns)`. None where the module has an attribute of this name.
    quant_delay
        Batches that the network trains in float before anything is rounded. Ranges are watched from the first.
    scheme
        int8 with weights per channel by default.
    momentum
        The share of a new batch in the moving averages of the ranges.

    Raises
    ------
    ModelError
        An operator that cannot be quantized, with its place; an input that does not fit.
    ValueError
        A negative delay, a momentum outside (0, 1], or no input shape.
    """
    if quant_delay < 0:
        raise ValueError(f"quant_delay is {quant_delay}; expected at least 0")
    if not 0 < momentum <= 1:
        raise ValueError(f"momentum is {momentum}; expected above 0 and at most 1")
    layers = trace(copy.deepcopy(model), input_shape)
    graph = TrainingGraph(identifier(model), layers, scheme, quant_delay, momentum)
    graph.train(model.training)
    return graph


def identifier(model: nn.Module) -> str:
    """What a network is called: its own name, or its class's."""
    given = getattr(model, "name", "")
    return str(given) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(model).__name__).lower()


def freeze_batch_norm(model: TrainingGraph, frozen: bool = True) -> None:
    """Lets batch normalization use its moving averages in training too, which then stay as they are.

    For the end of training: what is trained then is the folded network itself.
    """
    for module in model.weighted.values():
        module.frozen = frozen
