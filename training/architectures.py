"""Well-known networks as float graphs, their batch normalization folded: MobileNet v1 and v2, ResNet-8, DS-CNN.

Each function takes `parameters`, a function that gives a layer its weights and bias; without one they are random, which
is enough for what a network costs.

    graph = mobilenet_v1(0.25, 128, classes=1001)
    graph = ds_cnn(parameters=lambda layer, shape: (trained[layer], biases[layer]))
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from ..golden.graph import Graph, Tensor
from .network import Floats, NetworkBuilder, Pair

Parameters = Callable[[str, tuple[int, ...]], tuple[Floats, Floats]]
"""From a layer's name (`conv_2d_0`: kind and position among all operators) and the shape of its weights, as TensorFlow
Lite lays them, to its weights and its bias."""

MOBILENET_V1_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)
"""Channels and stride of each pair of a depthwise and a pointwise convolution (Howard et al. 2017, table 1)."""

MOBILENET_V2_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, repetitions and first stride of each group of bottlenecks (Sandler et al. 2018, table 2)."""


def random_parameters(seed: int = 0) -> Parameters:
    """Normal weights that keep the variance of activations through ReLUs (He et al. 2015), and small biases."""
    generator = np.random.default_rng(seed)

    def parameters(layer: str, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
        depthwise = layer.startswith("depthwise")
        taps = prod(shape[1:3]) if depthwise else prod(shape[1:])
        weights = generator.normal(0, np.sqrt(2 / taps), shape).astype(np.float32)
        bias = generator.normal(0, 0.1, shape[3] if depthwise else shape[0]).astype(np.float32)
        return weights, bias

    return parameters


def mobilenet_v1(
    width: float = 1.0,
    resolution: int = 224,
    classes: int = 1001,
    *,
    channels: int = 3,
    parameters: Parameters | None = None,
) -> Graph:
    """MobileNet v1 (Howard et al. 2017): a convolution, 13 depthwise separable ones, a pool and a classifier.

    Parameters
    ----------
    width
        Multiplies all channels, of which at least 8 are left: 0.25, 0.5, 0.75 or 1.0 in the paper.
    resolution
        Rows and columns of the image.
    classes
        ImageNet's 1,000 and one for the background.
    channels
        Of the image.
    parameters
        The weights and bias of each layer; random if None.
    """
    layers = _Layers(f"mobilenet_v1_{width:g}_{resolution}", (1, resolution, resolution, channels), parameters)

    def scaled(count: int) -> int:
        return max(int(count * width), 8)

    layers.convolution(scaled(32), 3, stride=2, activation="RELU6")
    for count, stride in MOBILENET_V1_BLOCKS:
        layers.depthwise(3, stride=stride, activation="RELU6")
        layers.convolution(scaled(count), 1, activation="RELU6")
    layers.network.average_pool()
    layers.convolution(classes, 1, activation="NONE")
    layers.network.flatten()
    layers.network.softmax()
    return layers.network.build()


def mobilenet_v2(
    width: float = 1.0,
    resolution: int = 224,
    classes: int = 1001,
    *,
    channels: int = 3,
    parameters: Parameters | None = None,
) -> Graph:
    """MobileNet v2 (Sandler et al. 2018): inverted residuals with linear bottlenecks.

    Parameters are those of `mobilenet_v1`. Channels are rounded to multiples of 8; the last convolution keeps its 1,280
    below a width of 1.
    """
    layers = _Layers(f"mobilenet_v2_{width:g}_{resolution}", (1, resolution, resolution, channels), parameters)
    layers.convolution(_multiple_of_8(32 * width), 3, stride=2, activation="RELU6")
    for expansion, count, repetitions, first_stride in MOBILENET_V2_BLOCKS:
        for stride in (first_stride, *[1] * (repetitions - 1)):
            start = layers.last
            if expansion > 1:
                layers.convolution(start.shape[3] * expansion, 1, activation="RELU6")
            layers.depthwise(3, stride=stride, activation="RELU6")
            layers.convolution(_multiple_of_8(count * width), 1, activation="NONE")
            if start.shape == layers.last.shape:
                layers.network.add(start)
    layers.convolution(_multiple_of_8(1280 * max(width, 1.0)), 1, activation="RELU6")
    layers.classifier(classes)
    return layers.network.build()


def resnet_8(*, classes: int = 10, parameters: Parameters | None = None) -> Graph:
    """ResNet-8 for 32 x 32 color images, as MLPerf Tiny has it: three residual blocks of two convolutions."""
    layers = _Layers("resnet_8", (1, 32, 32, 3), parameters)
    layers.convolution(16, 3)
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        start = layers.last
        layers.convolution(channels, 3, stride=stride)
        layers.convolution(channels, 3, activation="NONE")
        branch = layers.last
        layers.network.continue_from(start)
        if start.shape != branch.shape:
            layers.convolution(channels, 1, stride=stride, activation="NONE")
        layers.network.add(branch, activation="RELU")
    layers.classifier(classes)
    return layers.network.build()


def ds_cnn(*, classes: int = 12, parameters: Parameters | None = None) -> Graph:
    """DS-CNN for spotting keywords in 49 x 10 spectrograms, as MLPerf Tiny has it (Zhang et al. 2017)."""
    layers = _Layers("ds_cnn", (1, 49, 10, 1), parameters)
    layers.convolution(64, (10, 4), stride=2)
    for _ in range(4):
        layers.depthwise(3)
        layers.convolution(64, 1)
    layers.classifier(classes)
    return layers.network.build()


class _Layers:
    """A builder that is told channels and kernels, and asks for weights and biases."""

    def __init__(self, name: str, input_shape: tuple[int, ...], parameters: Parameters | None) -> None:
        self.network = NetworkBuilder(name, input_shape)
        self._parameters = random_parameters() if parameters is None else parameters

    @property
    def last(self) -> Tensor:
        return self.network.last

    def convolution(self, channels: int, kernel: Pair, *, stride: Pair = 1, activation: str = "RELU") -> None:
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        weights, bias = self._given("CONV_2D", (channels, height, width, self.last.shape[3]))
        self.network.convolution(weights, bias, stride=stride, activation=activation)

    def depthwise(self, kernel: int, *, stride: Pair = 1, activation: str = "RELU") -> None:
        weights, bias = self._given("DEPTHWISE_CONV_2D", (1, kernel, kernel, self.last.shape[3]))
        self.network.depthwise(weights, bias, stride=stride, activation=activation)

    def classifier(self, classes: int) -> None:
        """A pool over the whole image, a dense layer and a softmax."""
        self.network.average_pool()
        self.network.flatten()
        weights, bias = self._given("FULLY_CONNECTED", (classes, self.last.shape[1]))
        self.network.dense(weights, bias)
        self.network.softmax()

    def _given(self, kind: str, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
        layer = self.network.next_name(kind)
        weights, bias = self._parameters(layer, shape)
        outputs = shape[3] if kind == "DEPTHWISE_CONV_2D" else shape[0]
        if weights.shape != shape or bias.shape != (outputs,):
            raise ValueError(
                f"{layer} was given weights {list(weights.shape)} and bias {list(bias.shape)}; "
                f"expected {list(shape)} and [{outputs}]"
            )
        return weights, bias


def _multiple_of_8(channels: float) -> int:
    """The nearest multiple of 8, but not below 8, and never less than nine tenths of what was asked for."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8
