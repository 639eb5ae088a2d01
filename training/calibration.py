"""Watches a float network on sample inputs: the range of each activation, from which its quantization follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ..golden.graph import Graph
from .evaluation import evaluate

Range = tuple[float, float]


def calibrate(graph: Graph, batches: Iterable[npt.NDArray[np.float32]]) -> Mapping[int, Range]:
    """The smallest and the largest value of each activation over all batches.

    Parameters
    ----------
    graph
        A float network.
    batches
        Inputs, each with any number of samples as its first dimension.

    Returns
    -------
    By tensor index.

    Raises
    ------
    ValueError
        There are no batches.
    """
    ranges: dict[int, Range] = {}
    for batch in batches:
        for index, value in evaluate(graph, batch).items():
            low, high = ranges.get(index, (np.inf, -np.inf))
            ranges[index] = min(low, float(value.min())), max(high, float(value.max()))
    if not ranges:
        raise ValueError("there are no batches to calibrate on")
    return MappingProxyType(ranges)
