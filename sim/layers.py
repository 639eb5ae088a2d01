"""Layers of a network to run alone, from the golden runtime's tensors: any layer of a large one in seconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from ..golden.graph import Graph
from ..golden.numerics import Profile
from ..golden.runtime import run
from .errors import SettingError

Array = npt.NDArray[Any]

Layers = int | slice
"""Operators by their index, as Python takes items of a list: negative indices count from the end."""


def parse_layers(text: str) -> Layers:
    """Layers as the command line names them: `A:B` for A to B - 1, either end left out, or `A` alone.

    Raises
    ------
    SettingError
        It is neither.
    """
    found = re.fullmatch(r"\s*(-?\d{1,9})?\s*(:)?\s*(-?\d{1,9})?\s*", text, re.ASCII)
    if found is None or not (found[1] or found[2]) or (found[3] and not found[2]):
        raise SettingError(f"layers is {text!r}; A:B (A to B - 1) or A was expected, as in 12:15")
    start, stop = (None if number is None else int(number) for number in (found[1], found[3]))
    return slice(start, stop) if found[2] else int(found[1])


def layers_of(graph: Graph, layers: Layers) -> Graph:
    """The part of a network with these layers.

    Raises
    ------
    SettingError
        There are none such.
    ModelError
        They cannot be taken apart from those before them.
    """
    count = len(graph.operators)
    if isinstance(layers, int):
        first = layers + count if layers < 0 else layers
        stop = first + 1
    elif layers.step not in (None, 1):
        raise SettingError(f"layers is {layers}; neighbouring layers were expected")
    else:
        first = _bound(layers.start, 0, count)
        stop = _bound(layers.stop, count, count)
    if not 0 <= first < stop <= count:
        said = layers if isinstance(layers, int) else ":".join(_text(end) for end in (layers.start, layers.stop))
        raise SettingError(f"layers is {said}; {graph.name} has the layers 0:{count} (0 to {count - 1})")
    return graph.part(first, stop)


def inputs_of(part: Graph, graph: Graph, inputs: Sequence[npt.ArrayLike], profile: Profile) -> list[Array]:
    """What a part of a network reads in a run of the whole.

    Parameters
    ----------
    part, graph
        The part and the whole, with the same indices of tensors.
    inputs
        The whole network's.
    profile
        Whose arithmetic to follow.
    """
    tensors = run(graph, inputs, profile).tensors
    return [tensors[tensor.index] for tensor in part.inputs]


def _bound(end: int | None, missing: int, count: int) -> int:
    if end is None:
        return missing
    return end + count if end < 0 else end


def _text(end: int | None) -> str:
    return "" if end is None else str(end)
