"""Builds a float network layer by layer, as a `Graph` of float32 tensors.

The operators are those of TensorFlow Lite, so what quantizes these graphs quantizes any float `.tflite` file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..golden.graph import Graph, Operator, Subgraph, Tensor

Floats = npt.NDArray[np.float32]
Pair = int | tuple[int, int]


class NetworkBuilder:
    """Each method adds a layer to the output of the last one.

    A network with branches remembers `last` where they part, and returns there by `continue_from`.

    Parameters
    ----------
    name
        The network's name.
    input_shape
        `(1, height, width, channels)`.
    """

    def __init__(self, name: str, input_shape: tuple[int, ...]) -> None:
        self._name = name
        self._tensors: list[Tensor] = []
        self._operators: list[Operator] = []
        self._last = self._tensor("input", input_shape)

    @property
    def last(self) -> Tensor:
        """The output of the last layer."""
        return self._last

    def next_name(self, kind: str) -> str:
        """The name that a layer of this kind would have if it were the next one."""
        return f"{kind.lower()}_{len(self._operators)}"

    def continue_from(self, tensor: Tensor) -> None:
        """Lets the next layer read `tensor`, which was `last` at some time."""
        self._last = self._tensors[tensor.index]

    def convolution(
        self,
        weights: Floats,
        bias: Floats,
        *,
        stride: Pair = 1,
        padding: str = "SAME",
        dilation: Pair = 1,
        activation: str = "RELU",
    ) -> None:
        """Adds CONV_2D.

        Parameters
        ----------
        weights
            `(output channels, height, width, input channels)`, as TensorFlow Lite lays them; fewer input channels than
            the image has are those of one group.
        bias
            `(output channels,)`.
        stride, dilation
            Of rows and columns; one number stands for both.
        padding
            "SAME" or "VALID".

        Raises
        ------
        ValueError
            The weights do not fit the input's channels, or an image smaller than the kernel is not padded.
        """
        groups, rest = divmod(self._last.shape[3], weights.shape[3])
        if rest or not groups or weights.shape[0] % groups:
            raise ValueError(
                f"weights have shape {weights.shape}, expected {self._last.shape[3]} input channels, or as many groups "
                "of them as divide the output channels"
            )
        shape = (1, *self._extent(weights.shape[1:3], stride, padding, dilation), weights.shape[0])
        options = {"fused_activation_function": activation, **_window(stride, padding), **_dilated(dilation)}
        self._layer("CONV_2D", shape, options, {"weights": weights, "bias": bias})

    def depthwise(
        self,
        weights: Floats,
        bias: Floats,
        *,
        stride: Pair = 1,
        padding: str = "SAME",
        dilation: Pair = 1,
        activation: str = "RELU",
    ) -> None:
        """Adds DEPTHWISE_CONV_2D; weights are `(1, height, width, channels)`, the rest as for `convolution`.

        The channels may be a multiple of the input's: then each of those has several in the output.
        """
        multiplier, rest = divmod(weights.shape[3], self._last.shape[3])
        if rest or not multiplier:
            raise ValueError(
                f"weights have shape {weights.shape}, expected a multiple of {self._last.shape[3]} channels"
            )
        shape = (1, *self._extent(weights.shape[1:3], stride, padding, dilation), weights.shape[3])
        options = {
            "fused_activation_function": activation,
            "depth_multiplier": multiplier,
            **_window(stride, padding),
            **_dilated(dilation),
        }
        self._layer("DEPTHWISE_CONV_2D", shape, options, {"weights": weights, "bias": bias})

    def dense(self, weights: Floats, bias: Floats, *, activation: str = "NONE") -> None:
        """Adds FULLY_CONNECTED; weights are `(outputs, inputs)`.

        Raises
        ------
        ValueError
            The weights do not fit the input.
        """
        if self._last.shape[-1] != weights.shape[1]:
            raise ValueError(f"weights have shape {weights.shape}, expected {self._last.shape[-1]} inputs")
        options = {"fused_activation_function": activation, "weights_format": "DEFAULT", "keep_num_dims": False}
        self._layer("FULLY_CONNECTED", (1, weights.shape[0]), options, {"weights": weights, "bias": bias})

    def add(self, other: Tensor, *, activation: str = "NONE") -> None:
        """Adds ADD of `other` and the last output, of which one may broadcast."""
        shape = np.broadcast_shapes(self._last.shape, other.shape)
        self._layer("ADD", shape, {"fused_activation_function": activation}, {}, others=[other])

    def multiply(self, other: Tensor, *, activation: str = "NONE") -> None:
        """Adds MUL of `other` and the last output, of which one may broadcast."""
        shape = np.broadcast_shapes(self._last.shape, other.shape)
        self._layer("MUL", shape, {"fused_activation_function": activation}, {}, others=[other])

    def concatenate(self, *others: Tensor) -> None:
        """Adds CONCATENATION of the channels of the last output and of `others`, in this order."""
        channels = sum(tensor.shape[-1] for tensor in (self._last, *others))
        options = {"axis": len(self._last.shape) - 1, "fused_activation_function": "NONE"}
        self._layer("CONCATENATION", (*self._last.shape[:-1], channels), options, {}, others=others)

    def average_pool(self, size: Pair | None = None, *, stride: Pair | None = None, padding: str = "VALID") -> None:
        """Adds AVERAGE_POOL_2D; without a size over the whole image. The stride is the size unless given."""
        self._pool("AVERAGE_POOL_2D", size, stride, padding)

    def max_pool(self, size: Pair, *, stride: Pair | None = None, padding: str = "VALID") -> None:
        """Adds MAX_POOL_2D. The stride is the size unless given."""
        self._pool("MAX_POOL_2D", size, stride, padding)

    def mean(self) -> None:
        """Adds MEAN over height and width: `(1, channels)` is left."""
        shape = (1, self._last.shape[-1])
        self._layer("MEAN", shape, {"keep_dims": False}, {"axes": np.array([1, 2], np.int32)})

    def pad(self, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        """Adds PAD: rows above and below, columns left and right, of zeros."""
        _, height, width, channels = self._last.shape
        shape = (1, height + sum(rows), width + sum(columns), channels)
        self._layer("PAD", shape, {}, {"paddings": np.array([(0, 0), rows, columns, (0, 0)], np.int32)})

    def flatten(self) -> None:
        """Adds RESHAPE to `(1, elements)`."""
        shape = (1, int(np.prod(self._last.shape)))
        self._layer("RESHAPE", shape, {"new_shape": shape}, {"shape": np.array(shape, np.int32)})

    def elementwise(self, kind: str) -> None:
        """Adds an operator of one input that keeps its shape and has no options: RELU, RELU6, LOGISTIC, TANH, ..."""
        self._layer(kind, self._last.shape, {}, {})

    def softmax(self) -> None:
        """Adds SOFTMAX over the last dimension."""
        self._layer("SOFTMAX", self._last.shape, {"beta": 1.0}, {})

    def build(self) -> Graph:
        """The network so far."""
        main = Subgraph("main", tuple(self._tensors), tuple(self._operators), (0,), (self._last.index,))
        return Graph(self._name, (main,))

    def _extent(self, kernel: Sequence[int], stride: Pair, padding: str, dilation: Pair = 1) -> tuple[int, int]:
        """Rows and columns that a window leaves."""
        size = self._last.shape[1:3]
        kernel = [(k - 1) * d + 1 for k, d in zip(kernel, _pair(dilation), strict=True)]
        axes = zip(size, kernel, _pair(stride), strict=True)
        rows, columns = (-(-n // s) if padding == "SAME" else (n - k) // s + 1 for n, k, s in axes)
        if min(rows, columns) < 1:
            raise ValueError(f"a kernel of {list(kernel)} does not fit an image of {list(size)}")
        return rows, columns

    def _pool(self, kind: str, size: Pair | None, stride: Pair | None, padding: str) -> None:
        height, width = self._last.shape[1:3] if size is None else _pair(size)
        stride = (height, width) if stride is None else stride
        shape = (1, *self._extent((height, width), stride, padding), self._last.shape[3])
        options = {"filter_width": width, "filter_height": height, "fused_activation_function": "NONE"}
        self._layer(kind, shape, {**_window(stride, padding), **options}, {})

    def _layer(
        self,
        kind: str,
        shape: tuple[int, ...],
        options: Mapping[str, Any],
        constants: Mapping[str, npt.NDArray[Any]],
        others: Sequence[Tensor] = (),
    ) -> None:
        name = self.next_name(kind)
        inputs = [self._last, *others, *(self._tensor(f"{name}/{k}", v.shape, v) for k, v in constants.items())]
        output = self._tensor(name, shape)
        numbers = tuple(t.index for t in inputs)
        self._operators.append(
            Operator(len(self._operators), kind, numbers, (output.index,), MappingProxyType(dict(options)))
        )
        self._last = output

    def _tensor(self, name: str, shape: tuple[int, ...], data: npt.NDArray[Any] | None = None) -> Tensor:
        dtype = np.dtype(np.float32) if data is None else data.dtype
        tensor = Tensor(len(self._tensors), name, tuple(shape), dtype, data=data)
        self._tensors.append(tensor)
        return tensor


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _dilated(dilation: Pair) -> dict[str, int]:
    rows, columns = _pair(dilation)
    return {"dilation_w_factor": columns, "dilation_h_factor": rows}


def _window(stride: Pair, padding: str) -> dict[str, Any]:
    rows, columns = _pair(stride)
    return {"padding": padding, "stride_w": columns, "stride_h": rows}
