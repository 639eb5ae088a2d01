"""Data that a float network is calibrated or measured on: one entry per sample, and perhaps what it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ..golden.graph import Graph, ModelError, Tensor

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs of a network.

    Parameters
    ----------
    inputs
        One float32 array per input of the network: the samples, then a sample's own dimensions. A network whose first
        dimension is 1 takes samples with or without it.
    labels
        The right class of each sample, integers `(n,)`; None where nothing is known.
    """

    inputs: tuple[Floats, ...]
    labels: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def first(self, count: int) -> Samples:
        """The first `count` of them, or all if there are fewer."""
        labels = None if self.labels is None else self.labels[:count]
        return Samples(tuple(array[:count] for array in self.inputs), labels)

    def feeds(self, graph: Graph) -> Iterator[list[Floats]]:
        """Each sample as the network's inputs: arrays of the shapes that it states."""
        shapes = [tensor.shape for tensor in graph.inputs]
        for values in zip(*self.inputs, strict=True):
            yield [value.reshape(shape) for value, shape in zip(values, shapes, strict=True)]


def samples_of(graph: Graph, arrays: Mapping[str, npt.NDArray[Any]], source: str = "the data") -> Samples:
    """Samples from named arrays, such as those of an .npz file.

    Parameters
    ----------
    graph
        The float network that they are for.
    arrays
        For each input of the network an array under the input's name; `inputs` will do where the network has one input.
        `labels`, where it is there, holds the right class of each sample.
    source
        What messages call the data.

    Raises
    ------
    ModelError
        An array is missing, empty, of integers, of another shape than the network's input, or not finite; the arrays
        have different numbers of samples; or there are labels that the network cannot give.
    """
    inputs = tuple(_input(tensor, _find(graph, tensor, arrays, source), source) for tensor in graph.inputs)
    if not inputs:
        raise ModelError(f"{graph.name}: the network has no inputs")
    counts = {len(array) for array in inputs}
    labels = arrays.get("labels")
    if labels is not None:
        labels = np.asarray(labels)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ModelError(
                f"{source}: labels are {labels.dtype}{list(labels.shape)}; expected one integer per sample"
            )
        classes = prod(graph.outputs[0].shape)
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            raise ModelError(
                f"{source}: labels are {labels.min()} to {labels.max()}; expected 0 to {classes - 1}, "
                f"as the network's first output has {classes} elements"
            )
        counts.add(len(labels))
    if len(counts) > 1:
        raise ModelError(
            f"{source}: arrays of {' and '.join(map(str, sorted(counts)))} samples; expected equal numbers"
        )
    if counts == {0}:
        raise ModelError(f"{source}: there are no samples")
    return Samples(inputs, None if labels is None else labels.astype(np.int64))


def _find(graph: Graph, tensor: Tensor, arrays: Mapping[str, npt.NDArray[Any]], source: str) -> npt.NDArray[Any]:
    names = [tensor.name, *(["inputs"] if len(graph.inputs) == 1 else [])]
    for name in names:
        if name in arrays:
            return arrays[name]
    wanted = " or ".join(repr(name) for name in names)
    raise ModelError(f"{source}: no array {wanted} for an input of {graph.name}; there are: {', '.join(arrays) or '-'}")


def _input(tensor: Tensor, array: npt.NDArray[Any], source: str) -> Floats:
    if array.dtype.kind != "f":
        raise ModelError(
            f"{source}: input {tensor.name} is {array.dtype}; "
            "real numbers were expected, such as the float network was trained on"
        )
    whole = tensor.shape
    shapes = [whole, *([whole[1:]] if whole[:1] == (1,) else [])]
    if array.shape[1:] not in shapes or not array.ndim:
        raise ModelError(
            f"{source}: input {tensor.name} is {list(array.shape)}; "
            f"expected samples of {' or '.join(str(list(shape)) for shape in shapes)}"
        )
    with np.errstate(over="ignore"):
        floats = array.astype(np.float32)
    finite = np.isfinite(floats.reshape(len(floats), -1)).all(axis=1) if array.size else np.ones(len(array), bool)
    if not finite.all():
        raise ModelError(f"{source}: input {tensor.name} is not finite in float32 in sample {int(np.argmin(finite))}")
    return floats
