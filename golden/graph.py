"""The graph of a quantized network: tensors, operators and how they connect.

The nouns are those of the TensorFlow Lite schema, as frozen dataclasses. A graph is data: it computes nothing
(`runtime` does) and knows no file format (`reader` and `writer` do).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import index
from types import MappingProxyType
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt


class ModelError(ValueError):
    """A model, or an input to it, that cannot be used. The message names the file, the operator and the field."""


def _integers(values: Iterable[SupportsIndex], what: str) -> tuple[int, ...]:
    """The same as Python's integers, which do not overflow as numpy's do, nor make numpy's of what they meet."""
    try:
        return tuple(map(index, values))
    except TypeError:
        raise TypeError(f"{what} is {values!r}; integers were expected") from None


@dataclass(frozen=True, eq=False)
class Quantization:
    """Affine quantization of a tensor: `real = scale * (quantized - zero_point)`.

    Parameters
    ----------
    scale
        float32, shape `(n,)`: one per tensor, or one per slice along `axis`.
    zero_point
        int64, shape `(n,)`.
    axis
        The quantized dimension; meaningful where `n > 1`.
    """

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int64]
    axis: int = 0

    @property
    def per_axis(self) -> bool:
        """Whether each slice along `axis` has a scale of its own."""
        return self.scale.size > 1


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of a subgraph.

    Parameters
    ----------
    index
        Its number in the file's subgraph.
    shape
        Its dimensions as the file states them.
    dtype
        The element type: `int8`, `uint8`, `int16`, `int32`, `int64`, `float32`, `bool`, ...
    quantization
        None where the file gives no scale.
    data
        The constant's value, read-only; None for an activation.
    variable
        Whether it keeps its value between calls.
    shape_signature
        The dimensions with -1 where an input may choose another one (a batch); None where all are fixed.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    quantization: Quantization | None = None
    data: npt.NDArray[Any] | None = None
    variable: bool = False
    shape_signature: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _integers(self.shape, f"tensor {self.index}: shape"))

    @property
    def constant(self) -> bool:
        """Whether the file holds its value."""
        return self.data is not None


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator: `outputs = kind(inputs)`.

    Parameters
    ----------
    index
        Its position in execution order.
    kind
        The schema's name, for example `CONV_2D`.
    inputs, outputs
        Tensor indices; -1 for an optional input that is absent.
    options
        The schema's option table under its own names in snake case, for example `stride_h`, `padding` ("SAME" or
        "VALID"), `fused_activation_function` ("NONE", "RELU", "RELU6", "RELU_N1_TO_1"). Enumerations are their names.
    intermediates
        Indices of tensors that hold the quantization of values inside the operator (UNIDIRECTIONAL_SEQUENCE_LSTM).
    """

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    intermediates: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs"):
            object.__setattr__(self, name, _integers(getattr(self, name), f"operator {self.index}: {name}"))
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in self.options.items()}
        object.__setattr__(self, "options", MappingProxyType(plain))

    def __reduce__(self) -> tuple[Any, ...]:
        # Options that cannot be changed cannot be pickled either.
        return Operator, (self.index, self.kind, self.inputs, self.outputs, dict(self.options), self.intermediates)


@dataclass(frozen=True, eq=False)
class Subgraph:
    """Tensors, and the operators that connect them, in execution order."""

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """A network: its main subgraph, and those that it calls.

    Parameters
    ----------
    name
        What reports call it: the file's name without its ending.
    subgraphs
        The main one first.
    description
        The file's description, for people.
    first
        Of a part of another network (see `part`): the place of its first operator there.
    """

    name: str
    subgraphs: tuple[Subgraph, ...]
    description: str = ""
    first: int = 0

    @property
    def main(self) -> Subgraph:
        """The subgraph that a run computes."""
        return self.subgraphs[0]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors of the main subgraph."""
        return self.main.tensors

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The operators of the main subgraph, in execution order."""
        return self.main.operators

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The main subgraph's inputs."""
        return tuple(self.tensors[i] for i in self.main.inputs)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The main subgraph's outputs."""
        return tuple(self.tensors[i] for i in self.main.outputs)

    def part(self, first: int, stop: int) -> Graph:
        """The operators `first` to `stop - 1` as a network of their own; see `eightfold.golden.part`.

        Raises
        ------
        ModelError
            There are no such operators, or they cannot be taken apart from those before them.
        """
        from .part import part

        return part(self, first, stop)

    def __repr__(self) -> str:
        def describe(tensor: Tensor) -> str:
            return f"{tensor.dtype}{list(tensor.shape)}"

        arrow = f"{', '.join(map(describe, self.inputs))} -> {', '.join(map(describe, self.outputs))}"
        return f"<Graph {self.name}: {len(self.operators)} operators, {arrow}>"
