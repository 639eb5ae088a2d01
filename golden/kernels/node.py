"""What a kernel is given (`Node`), what it gives back (`Evaluate`), and the registry of kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..graph import Graph, ModelError, Operator, Quantization, Subgraph, Tensor
from ..numerics import Profile, activation_bounds
from ..option_tables import option_fields, option_table

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

MEMORY_LIMIT = 2**28
"""Bytes that activations may take at a time: what a damaged file asks for can exceed any memory."""

Evaluate = Callable[..., tuple[Array, ...]]
"""From one array per input (None for an optional input that is absent) to one array per output."""


class Context(Protocol):
    """What operators with state may do to the session that runs them."""

    variables: dict[str, Array]

    def call_once(self, subgraph: int) -> None:
        """Run a subgraph now unless this session has run it."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operator with the tensors that it connects.

    Parameters
    ----------
    operator
        The operator.
    inputs, outputs
        Its tensors, in its order; None for an optional input that is absent. Where a run resizes the graph's inputs,
        the shapes of `inputs` are the actual ones.
    profile
        Whose arithmetic to follow.
    where
        What error messages call it.
    resized
        Whether shapes may differ from those that the file states.
    intermediates
        Tensors that hold the quantization of values inside the operator.
    context
        The session; None where a single operator runs.
    """

    operator: Operator
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    profile: Profile
    where: str
    resized: bool = False
    intermediates: tuple[Tensor | None, ...] = ()
    context: Context | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        operator: Operator,
        graph: Graph | Subgraph,
        profile: Profile = Profile.TFLM,
        *,
        shapes: Sequence[Shape | None] | None = None,
        context: Context | None = None,
        name: str | None = None,
    ) -> Node:
        """The node of an operator of a graph.

        Parameters
        ----------
        shapes
            The actual shapes of its inputs, where they may differ from the stated ones.
        context
            The session that runs it.
        name
            What error messages call the network.
        """

        def tensor(index: int) -> Tensor | None:
            return None if index < 0 else graph.tensors[index]

        where = f"{name or graph.name}: operator {operator.index} ({operator.kind})"
        stated = tuple(map(tensor, operator.inputs))
        inputs = stated
        if shapes is not None:
            inputs = tuple(
                t if t is None or shape is None or t.shape == shape else replace(t, shape=shape)
                for t, shape in zip(stated, shapes, strict=True)
            )
        return cls(
            operator=operator,
            inputs=inputs,
            outputs=tuple(graph.tensors[i] for i in operator.outputs),
            profile=profile,
            where=where,
            resized=any(a is not b for a, b in zip(stated, inputs, strict=True)),
            intermediates=tuple(map(tensor, operator.intermediates)),
            context=context,
        )

    def fail(self, problem: str) -> ModelError:
        """The error to raise about this operator."""
        return ModelError(f"{self.where}: {problem}")

    def optional(self, position: int) -> Tensor | None:
        """The input at a position, None where it is absent."""
        return self.inputs[position] if position < len(self.inputs) else None

    def input(self, position: int = 0) -> Tensor:
        """The input at a position, which must be present."""
        tensor = self.optional(position)
        if tensor is None:
            raise self.fail(f"input {position} is absent")
        return tensor

    def expect_integers(self, *positions: int) -> None:
        """Refuse inputs that are absent or no int32 or int64 numbers: sizes, axes, indices."""
        for position in positions:
            self.expect_type(self.input(position), "int32", "int64")

    @property
    def output(self) -> Tensor:
        """The first output."""
        if not self.outputs:
            raise self.fail("it has no output")
        return self.outputs[0]

    def option(self, name: str) -> Any:
        """The value of an option; where the file leaves it out, the schema's default."""
        if name in self.operator.options:
            return self.operator.options[name]
        table = option_table(self.operator.kind)
        return None if table is None else option_fields(table)[name].default

    def constant(self, position: int) -> Array:
        """The value of an input that must be a constant."""
        data = self.input(position).data
        if data is None:
            raise self.fail(f"input {position} is computed at run time; only a constant is supported")
        return data

    def scalar(self, position: int) -> int:
        """The value of an input that must be a constant integer."""
        data = self.constant(position)
        if data.size != 1 or data.dtype.kind not in "iu":
            raise self.fail(f"input {position} is {data.dtype}{list(data.shape)}; expected one integer")
        return int(data.reshape(-1)[0])

    def integers(self, position: int) -> tuple[int, ...]:
        """The values of an input that must be a constant list of integers."""
        data = self.constant(position)
        if data.ndim > 1 or data.dtype.kind not in "iu":
            raise self.fail(f"input {position} is {data.dtype}{list(data.shape)}; expected a list of integers")
        return tuple(data.reshape(-1).tolist())

    def axis(self, number: int, rank: int) -> int:
        """An axis that may be counted from the end, counted from the start."""
        if not -rank <= number < rank:
            raise self.fail(f"the axis is {number}; there are {rank} dimensions")
        return number % rank

    def expect_same_type(self, *tensors: Tensor) -> None:
        """Refuse tensors of different types, for operators that only move data."""
        for tensor in tensors[1:]:
            self.expect_type(tensor, tensors[0].dtype.name)

    def expect_same_quantization(self, *tensors: Tensor) -> None:
        """Refuse tensors that are quantized differently, where the runtimes do."""
        first, *others = tensors
        for other in others:
            self.expect_type(other, first.dtype.name)
            if first.dtype.kind not in "iu" or first.quantization is None or other.quantization is None:
                continue
            if self.quantization(first) != self.quantization(other):
                raise self.fail(f"tensors {first.index} and {other.index} are quantized differently")

    def expect_type(self, tensor: Tensor, *names: str) -> None:
        """Refuse a tensor that has none of these types."""
        if tensor.dtype.name not in names:
            raise self.fail(f"tensor {tensor.index} ({tensor.name}) is {tensor.dtype}; supported: {', '.join(names)}")

    def expect_shape(self, shape: Sequence[int], position: int = 0) -> None:
        """Refuse an output whose stated shape is not the one that the operator computes, or that no memory holds."""
        tensor = self.outputs[position]
        if math.prod(shape) * tensor.dtype.itemsize > MEMORY_LIMIT:
            raise self.fail(f"output {position} computes as {list(shape)}, more than {MEMORY_LIMIT} bytes")
        if self.resized or tensor.shape == tuple(shape) or not tensor.shape or tensor.shape_signature is not None:
            return
        raise self.fail(f"output {position} is stated as {list(tensor.shape)} and computes as {list(shape)}")

    def broadcast_shape(self) -> Shape:
        """The shape of the output of an operator on pairs, which is checked."""
        a, b = self.input(0), self.input(1)
        try:
            shape = np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            raise self.fail(f"the shapes {list(a.shape)} and {list(b.shape)} do not broadcast") from None
        self.expect_shape(shape)
        return shape

    def quantization(self, tensor: Tensor) -> tuple[np.float32, int]:
        """The scale and the zero point of a tensor that must be quantized as a whole."""
        parameters = self.affine(tensor)
        if parameters.scale.size != 1:
            raise self.fail(f"tensor {tensor.index} ({tensor.name}) has {parameters.scale.size} scales; expected one")
        return parameters.scale[0], int(parameters.zero_point[0])

    def affine(self, tensor: Tensor) -> Quantization:
        """The quantization of a tensor that must have one."""
        if tensor.quantization is None:
            raise self.fail(f"tensor {tensor.index} ({tensor.name}) is not quantized")
        return tensor.quantization

    def float_bounds(self) -> tuple[np.float32, np.float32]:
        """The range of a float32 output under the fused activation."""
        activation = self.option("fused_activation_function") or "NONE"
        ranges = {"NONE": (-np.inf, np.inf), "RELU": (0, np.inf), "RELU6": (0, 6), "RELU_N1_TO_1": (-1, 1)}
        if activation not in ranges:
            raise self.fail(f"the fused activation {activation} is not supported")
        low, high = ranges[activation]
        return np.float32(low), np.float32(high)

    def bounds(self) -> tuple[int, int]:
        """The range of the output under the fused activation."""
        scale, zero_point = self.quantization(self.output)
        activation = self.option("fused_activation_function") or "NONE"
        try:
            return activation_bounds(activation, scale, zero_point, self.output.dtype)
        except ValueError as error:
            raise self.fail(str(error)) from None


Kernel = Callable[[Node], Evaluate]

KERNELS: dict[str, Kernel] = {}
"""Every kernel by the operator that it computes."""


def kernel(*kinds: str) -> Callable[[Kernel], Kernel]:
    """Register a function as the kernel of these operators."""

    def register(function: Kernel) -> Kernel:
        for kind in kinds:
            KERNELS[kind] = function
        return function

    return register
