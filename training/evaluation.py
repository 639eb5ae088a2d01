"""Computes a float network in numpy: what calibration watches and what accuracy in float is measured on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ..golden.graph import Graph, ModelError, Operator, Tensor

Floats = npt.NDArray[np.float32]
Kernel = Callable[[Operator, tuple[Tensor, ...], list[Floats]], Floats]


def evaluate(graph: Graph, inputs: npt.ArrayLike) -> Mapping[int, Floats]:
    """Every activation of a float network of one input.

    Parameters
    ----------
    inputs
        float32, the input's shape with any number of samples as the first dimension.

    Returns
    -------
    By tensor index, in order of computation; the samples are the first dimension.

    Raises
    ------
    ModelError
        The network has an operator that this module does not compute.
    """
    values: dict[int, Floats] = {graph.inputs[0].index: np.asarray(inputs, np.float32)}
    for operator in graph.operators:
        if operator.kind not in _KERNELS:
            raise ModelError(f"{graph.name}: operator {operator.index} ({operator.kind}) has no float kernel")
        arrays = [values[i] if i in values else graph.tensors[i].data for i in operator.inputs if i >= 0]
        outputs = tuple(graph.tensors[i] for i in operator.outputs)
        values[operator.outputs[0]] = _KERNELS[operator.kind](operator, outputs, [a for a in arrays if a is not None])
    return MappingProxyType(values)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Rows (or columns) that SAME adds before and after: what is odd goes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _convolution(operator: Operator, outputs: tuple[Tensor, ...], arrays: list[Floats]) -> Floats:
    x, weights, bias = arrays
    options = operator.options
    if options["dilation_h_factor"] != 1 or options["dilation_w_factor"] != 1:
        raise ModelError(f"operator {operator.index} (CONV_2D): dilation has no float kernel")
    strides = options["stride_h"], options["stride_w"]
    kernel = weights.shape[1:3]
    if options["padding"] == "SAME":
        padding = [same_padding(n, k, s) for n, k, s in zip(x.shape[1:3], kernel, strides, strict=True)]
        x = np.pad(x, ((0, 0), *padding, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, (1, 2))[:, :: strides[0], :: strides[1]]
    # (samples, y, x, channels, ky, kx) against (outputs, ky, kx, channels)
    return _activate(np.tensordot(windows, weights, ((3, 4, 5), (3, 1, 2))) + bias, operator)


def _dense(operator: Operator, outputs: tuple[Tensor, ...], arrays: list[Floats]) -> Floats:
    x, weights, bias = arrays
    return _activate(x.reshape(-1, weights.shape[1]) @ weights.T + bias, operator)


def _reshape(operator: Operator, outputs: tuple[Tensor, ...], arrays: list[Floats]) -> Floats:
    return arrays[0].reshape(-1, *outputs[0].shape[1:])


def _softmax(operator: Operator, outputs: tuple[Tensor, ...], arrays: list[Floats]) -> Floats:
    x = arrays[0] * np.float32(operator.options["beta"])
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def _activate(x: Floats, operator: Operator) -> Floats:
    low, high = _BOUNDS[operator.options["fused_activation_function"]]
    return np.clip(x, np.float32(low), np.float32(high))


_BOUNDS = {"NONE": (-np.inf, np.inf), "RELU": (0, np.inf), "RELU6": (0, 6), "RELU_N1_TO_1": (-1, 1)}

_KERNELS: Mapping[str, Kernel] = {
    "CONV_2D": _convolution,
    "FULLY_CONNECTED": _dense,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
}
