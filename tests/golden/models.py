"""Small graphs for tests: one operator, random tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from eightfold.golden.graph import Graph, Operator, Quantization, Subgraph, Tensor

Array = npt.NDArray[Any]


class Builder:
    """Collects tensors and operators of a main subgraph.

    `activation` and `constant` return tensor indices; `graph()` gives the whole. Outputs are what nothing reads.
    """

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.inputs: list[int] = []

    def tensor(
        self,
        shape: Sequence[int],
        dtype: npt.DTypeLike = np.int8,
        scale: float | Sequence[float] | Array | None = None,
        zero_point: int | Sequence[int] = 0,
        *,
        axis: int = 0,
        data: Array | None = None,
        variable: bool = False,
    ) -> int:
        quantization = None
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, np.float32))
            zeros = np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape).copy()
            quantization = Quantization(scales, zeros, axis)
        index = len(self.tensors)
        self.tensors.append(
            Tensor(index, f"t{index}", tuple(shape), np.dtype(dtype), quantization, data=data, variable=variable)
        )
        return index

    def input(self, *arguments: Any, **options: Any) -> int:
        index = self.tensor(*arguments, **options)
        self.inputs.append(index)
        return index

    def constant(self, data: Array, scale: Any = None, zero_point: Any = 0, *, axis: int = 0) -> int:
        return self.tensor(data.shape, data.dtype, scale, zero_point, axis=axis, data=data)

    def random(
        self, shape: Sequence[int], dtype: npt.DTypeLike, scale: Any, zero_point: Any = 0, *, axis: int = 0
    ) -> int:
        return self.constant(random_array(self.rng, shape, dtype), scale, zero_point, axis=axis)

    def operator(self, kind: str, inputs: Sequence[int], outputs: Sequence[int], **options: Any) -> None:
        self.operators.append(
            Operator(len(self.operators), kind, tuple(inputs), tuple(outputs), MappingProxyType(dict(options)))
        )

    def graph(self, name: str = "test") -> Graph:
        read = {i for operator in self.operators for i in operator.inputs}
        written = [i for operator in self.operators for i in operator.outputs]
        outputs = tuple(i for i in written if i not in read)
        main = Subgraph("main", tuple(self.tensors), tuple(self.operators), tuple(self.inputs), outputs)
        return Graph(name, (main,))

    def scale(self, low: float = 0.005, high: float = 0.1) -> float:
        return float(np.float32(math.exp(self.rng.uniform(math.log(low), math.log(high)))))

    def zero_point(self, dtype: npt.DTypeLike) -> int:
        """Random; 0 for the types that are quantized symmetrically."""
        if np.dtype(dtype) not in (np.dtype(np.int8), np.dtype(np.uint8)):
            return 0
        limits = np.iinfo(np.dtype(dtype))
        return int(self.rng.choice([limits.min, limits.max, self.rng.integers(limits.min, limits.max + 1)]))


def random_array(rng: np.random.Generator, shape: Sequence[int], dtype: npt.DTypeLike) -> Array:
    """Values over the type's whole range, its ends more often; floats in [-8, 8]."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.uniform(-8, 8, shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind not in "iu":
        return np.zeros(shape, dtype)
    limits = np.iinfo(dtype)
    values = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    ends = rng.random(shape)
    values[ends < 0.03] = limits.min
    values[ends > 0.97] = limits.max
    return values


def random_inputs(graph: Graph, rng: np.random.Generator) -> list[Array]:
    return [random_array(rng, tensor.shape, tensor.dtype) for tensor in graph.inputs]
