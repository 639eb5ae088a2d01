"""Small networks with random numbers, and whole programs run by the interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from eightfold.compiler import MachineStep, Program, from_machine, to_machine
from eightfold.golden.graph import Graph, Operator, Quantization, Subgraph, Tensor
from eightfold.golden.runtime import run
from eightfold.sim.interpreter import Interpreter

from .checker import violations

Array = npt.NDArray[Any]


class Builder:
    """Makes a graph, operator by operator; every number that does not matter to the shape is random."""

    def __init__(self, shape: Sequence[int], *, dtype: str = "int8", seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.last = self.input = self._activation(tuple(shape))

    def _add(self, shape: tuple[int, ...], dtype: Any, quantization: Quantization | None, data: Array | None) -> int:
        index = len(self.tensors)
        self.tensors.append(Tensor(index, f"tensor_{index}", shape, np.dtype(dtype), quantization, data))
        return index

    def _quantization(self, scales: int = 1, zero_point: int = 0) -> Quantization:
        scale = self.random.uniform(0.01, 0.1, scales).astype(np.float32)
        return Quantization(scale, np.full(scales, zero_point, np.int64))

    def _activation(self, shape: tuple[int, ...]) -> int:
        low, high = np.iinfo(self.dtype).min, np.iinfo(self.dtype).max
        return self._add(shape, self.dtype, self._quantization(1, int(self.random.integers(low, high + 1))), None)

    def _product(self, kind: str, weights_shape: tuple[int, ...], shape: tuple[int, ...], options: Any) -> int:
        low, high = np.iinfo(self.dtype).min, np.iinfo(self.dtype).max
        legacy = self.dtype == np.uint8
        depthwise = kind == "DEPTHWISE_CONV_2D"
        per_axis = not legacy and kind != "FULLY_CONNECTED"
        channels = weights_shape[3 if depthwise else 0]
        x = self.tensors[self.last].quantization
        assert x is not None
        taps = int(np.prod(weights_shape)) // channels
        # The output's scale lets some results saturate and most not, so that rounding and clamping show. Where it is
        # fine enough, the bounds of RELU6 and its like are far apart too. A zero point of the weights that is far off
        # their mean would drive all results to one side.
        output_scale = self.random.uniform(0.01, 0.04)
        largest = output_scale / (float(x.scale[0]) * np.sqrt(taps) * 60)
        scales = (largest * self.random.uniform(0.1, 1, channels if per_axis else 1)).astype(np.float32)
        zero_point = int(self.random.integers(108, 149)) if legacy else 0
        weights = self._add(
            weights_shape,
            self.dtype,
            Quantization(scales, np.full(scales.size, zero_point, np.int64), 3 if depthwise else 0),
            self.random.integers(low, high + 1, weights_shape).astype(self.dtype),
        )
        bias = self._add((channels,), np.int32, None, self.random.integers(-5000, 5000, channels).astype(np.int32))
        output = self._activation(shape)
        quantization = self.tensors[output].quantization
        assert quantization is not None
        scale = np.array([output_scale], np.float32)
        self.tensors[output] = Tensor(
            output, f"tensor_{output}", shape, self.dtype, Quantization(scale, quantization.zero_point)
        )
        inputs = (self.last, weights, bias if self.random.random() < 0.8 else -1)
        activation = str(self.random.choice(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]))
        self.operators.append(
            Operator(len(self.operators), kind, inputs, (output,), {"fused_activation_function": activation, **options})
        )
        self.last = output
        return output

    def convolution(
        self,
        outputs: int,
        kernel: tuple[int, int],
        *,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        padding: str = "SAME",
        source: int | None = None,
        depthwise: bool = False,
        multiplier: int = 1,
        groups: int = 1,
    ) -> Builder:
        """Adds a CONV_2D or DEPTHWISE_CONV_2D, on the last output or on tensor `source`.

        A depthwise one has `multiplier` outputs for each channel of its input.
        """
        self.last = self.last if source is None else source
        batch, height, width, channels = self.tensors[self.last].shape

        def size(pixels: int, axis: int) -> int:
            reach = (kernel[axis] - 1) * dilation[axis] + 1
            return -(-pixels // stride[axis]) if padding == "SAME" else (pixels - reach) // stride[axis] + 1

        outputs = channels * multiplier if depthwise else outputs
        self._product(
            "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
            (1, *kernel, outputs) if depthwise else (outputs, *kernel, channels // groups),
            (batch, size(height, 0), size(width, 1), outputs),
            {
                "padding": padding,
                "stride_h": stride[0],
                "stride_w": stride[1],
                "dilation_h_factor": dilation[0],
                "dilation_w_factor": dilation[1],
                **({"depth_multiplier": multiplier} if depthwise else {}),
            },
        )
        return self

    def dense(self, outputs: int) -> Builder:
        """Adds a FULLY_CONNECTED on all that a row of the last output holds."""
        shape = self.tensors[self.last].shape
        self._product(
            "FULLY_CONNECTED",
            (outputs, int(np.prod(shape[1:]))),
            (shape[0], outputs),
            {"keep_num_dims": False, "weights_format": "DEFAULT"},
        )
        return self

    def constant(self, values: Array, quantization: Quantization | None = None) -> int:
        """Adds a constant tensor; returns its index."""
        return self._add(values.shape, values.dtype, quantization, values)

    def number(self) -> int:
        """Adds a constant of one quantized element."""
        low, high = np.iinfo(self.dtype).min, np.iinfo(self.dtype).max
        value = self.random.integers(low, high + 1, ()).astype(self.dtype)
        return self.constant(value, self._quantization(1, int(self.random.integers(low, high + 1))))

    def apply(
        self,
        kind: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        options: dict[str, Any] | None = None,
        *,
        like: int | None = None,
    ) -> Builder:
        """Adds any operator; its output is quantized as tensor `like` is, or at random."""
        output = self._activation(tuple(shape))
        if like is not None:
            quantization = self.tensors[like].quantization
            self.tensors[output] = Tensor(output, f"tensor_{output}", tuple(shape), self.dtype, quantization)
        self.operators.append(Operator(len(self.operators), kind, tuple(inputs), (output,), options or {}))
        self.last = output
        return self

    def pool(
        self, kind: str, window: tuple[int, int], *, stride: tuple[int, int] = (1, 1), padding: str = "SAME"
    ) -> Builder:
        """Adds an AVERAGE_POOL_2D or a MAX_POOL_2D."""
        batch, height, width, channels = self.tensors[self.last].shape
        size = [
            -(-pixels // step) if padding == "SAME" else (pixels - reach) // step + 1
            for pixels, reach, step in zip((height, width), window, stride, strict=True)
        ]
        options = {
            "padding": padding,
            "stride_h": stride[0],
            "stride_w": stride[1],
            "filter_height": window[0],
            "filter_width": window[1],
            "fused_activation_function": str(self.random.choice(["NONE", "RELU", "RELU6"])),
        }
        return self.apply(kind, (self.last,), (batch, *size, channels), options, like=self.last)

    def graph(self, *outputs: int) -> Graph:
        """The network; without `outputs`, its output is the last one."""
        main = Subgraph("main", tuple(self.tensors), tuple(self.operators), (self.input,), outputs or (self.last,))
        return Graph("network", (main,))

    def image(self) -> Array:
        """A random input."""
        tensor = self.tensors[self.input]
        information = np.iinfo(tensor.dtype)
        return self.random.integers(information.min, information.max + 1, tensor.shape).astype(tensor.dtype)


def interpret(program: Program, inputs: Sequence[Array], order: Random | None = None) -> dict[int, tuple[Array, Array]]:
    """Runs every machine step on golden's tensors.

    Returns
    -------
    For each tensor that a step computes, what the machine stored and what golden computed.
    """
    golden = run(program.graph, inputs, program.profile).tensors
    dram = program.image()
    results = {}
    for step in program.steps:
        if not isinstance(step, MachineStep):
            continue
        for tensor in step.inputs:
            region = program.region(tensor)
            dram[region.offset : region.offset + region.size] = to_machine(golden[tensor])
        for tensor in step.outputs:
            region = program.region(tensor)
            dram[region.offset : region.offset + region.size] = 0xA5
        Interpreter(program.config, dram).run(step.commands, order=order)
        for tensor in step.outputs:
            region = program.region(tensor)
            data = dram[region.offset : region.offset + region.size]
            results[tensor] = from_machine(data, program.graph.tensors[tensor]), golden[tensor]
    return results


def mismatches(program: Program, inputs: Sequence[Array], order: Random | None = None) -> dict[int, int]:
    """How many elements differ from golden, for each tensor that the machine stores."""
    return {
        tensor: int(np.count_nonzero(ours != golden))
        for tensor, (ours, golden) in interpret(program, inputs, order).items()
    }


def check(program: Program, image: Array, *orders: Random | None) -> list[Mapping[int, int]]:
    """Every dependency is guarded, and no byte differs from golden, in whichever order the engines take turns.

    Returns the mismatches of each order, by tensor: there are none, but they tell which tensors were compared.
    """
    for step in program.steps:
        if isinstance(step, MachineStep):
            assert violations(step.commands, program.config, program.memory.dram_bytes) == []
    found = [mismatches(program, [image], order) for order in orders]
    for wrong in found:
        assert not any(wrong.values()), wrong
    return found
