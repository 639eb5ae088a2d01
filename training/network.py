"""Builds a float network layer by layer, as a `Graph` of float32 tensors.

The operators are those of TensorFlow Lite, so what quantizes these graphs will quantize any float `.tflite` file.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..golden.graph import Graph, Operator, Subgraph, Tensor

Floats = npt.NDArray[np.float32]


class NetworkBuilder:
    """A chain of layers: each method adds one to the output of the last.

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

    def convolution(
        self, weights: Floats, bias: Floats, *, stride: int = 1, padding: str = "SAME", activation: str = "RELU"
    ) -> None:
        """Adds CONV_2D.

        Parameters
        ----------
        weights
            `(output channels, height, width, input channels)`, as TensorFlow Lite lays them.
        bias
            `(output channels,)`.
        padding
            "SAME" or "VALID".

        Raises
        ------
        ValueError
            The weights do not fit the input's channels, or an image smaller than the kernel is not padded.
        """
        _, *size, channels = self._last.shape
        outputs, *kernel, depth = weights.shape
        if depth != channels:
            raise ValueError(f"weights have shape {weights.shape}, expected {channels} input channels")
        if padding == "SAME":
            extent = [-(-n // stride) for n in size]
        else:
            extent = [(n - k) // stride + 1 for n, k in zip(size, kernel, strict=True)]
        if min(extent) < 1:
            raise ValueError(f"a kernel of {kernel} does not fit an image of {size}")
        self._layer(
            "CONV_2D",
            (1, *extent, outputs),
            {
                "padding": padding,
                "stride_w": stride,
                "stride_h": stride,
                "fused_activation_function": activation,
                "dilation_w_factor": 1,
                "dilation_h_factor": 1,
            },
            {"weights": weights, "bias": bias},
        )

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

    def flatten(self) -> None:
        """Adds RESHAPE to `(1, elements)`."""
        shape = (1, int(np.prod(self._last.shape)))
        self._layer("RESHAPE", shape, {"new_shape": shape}, {"shape": np.array(shape, np.int32)})

    def softmax(self) -> None:
        """Adds SOFTMAX over the last dimension."""
        self._layer("SOFTMAX", self._last.shape, {"beta": 1.0}, {})

    def build(self) -> Graph:
        """The network so far."""
        main = Subgraph("main", tuple(self._tensors), tuple(self._operators), (0,), (self._last.index,))
        return Graph(self._name, (main,))

    def _layer(
        self, kind: str, shape: tuple[int, ...], options: Mapping[str, Any], constants: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        name = f"{kind.lower()}_{len(self._operators)}"
        inputs = [self._last, *(self._tensor(f"{name}/{k}", v.shape, v) for k, v in constants.items())]
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
