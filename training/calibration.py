"""Watches a float network on samples: the range of each activation, from which its quantization follows.

Three ways to choose a range:

- `minmax`: from the smallest value to the largest. Nothing saturates, and one outlier makes every step coarse.
- `percentile`: as far as all but a given share of the values reach, at each end.
- `mse`: the part of the range whose 256 steps give the least mean squared error, saturation included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ..golden import affine
from ..golden.graph import Graph
from .evaluation import activations
from .samples import Floats, Samples

Range = tuple[float, float]
Method = Literal["minmax", "percentile", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)

Progress = Callable[[], None]
"""Called after each sample."""

_BINS = 8192
_FRACTIONS = np.linspace(1.0, 0.1, 91)
"""Of the whole range, that the search for the least error tries."""


def calibrate(
    graph: Graph,
    samples: Samples,
    method: Method = "minmax",
    *,
    percentile: float = 99.99,
    progress: Progress = lambda: None,
) -> Mapping[int, Range]:
    """The range of each activation over all samples.

    Parameters
    ----------
    graph
        A float network.
    method
        How ranges are chosen. All but `minmax` run the network twice per sample.
    percentile
        Of the method `percentile`: how many percent of the values a range covers at each end.

    Returns
    -------
    By tensor index, inputs included.

    Raises
    ------
    ValueError
        There are no samples, the method is unknown, or the percentile is not above 50 and at most 100.
    ModelError
        An operator is not supported, or computes what is not finite.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; one of {', '.join(METHODS)} was expected")
    if not 50 < percentile <= 100:
        raise ValueError(f"percentile is {percentile}; expected above 50 and at most 100")
    ranges: dict[int, Range] = {}
    for values in activations(graph, samples):
        for index, value in values.items():
            low, high = ranges.get(index, (np.inf, -np.inf))
            ranges[index] = min(low, float(value.min())), max(high, float(value.max()))
        progress()
    if not ranges:
        raise ValueError("there are no samples to calibrate on")
    if method != "minmax":
        histograms = _histograms(graph, samples, ranges, progress)
        for index, counts in histograms.items():
            edges = np.linspace(*ranges[index], _BINS + 1)
            chosen = _percentile(counts, edges, percentile) if method == "percentile" else _least_error(counts, edges)
            ranges[index] = chosen
    return MappingProxyType(ranges)


def passes(method: Method) -> int:
    """How many times `calibrate` runs the network on each sample."""
    return 1 if method == "minmax" else 2


def _histograms(
    graph: Graph, samples: Samples, ranges: Mapping[int, Range], progress: Progress
) -> dict[int, npt.NDArray[np.int64]]:
    """Counts in equal bins from the least to the greatest value of each activation that is not constant."""
    counts = {index: np.zeros(_BINS, np.int64) for index, (low, high) in ranges.items() if low < high}
    for values in activations(graph, samples):
        for index, histogram in counts.items():
            histogram += _histogram(values[index], ranges[index])
        progress()
    return counts


def _histogram(value: Floats, span: Range) -> npt.NDArray[np.int64]:
    low, high = span
    places = ((value.reshape(-1).astype(np.float64) - low) * (_BINS / (high - low))).astype(np.int64)
    return np.bincount(np.clip(places, 0, _BINS - 1), minlength=_BINS)


def _percentile(counts: npt.NDArray[np.int64], edges: npt.NDArray[np.float64], percentile: float) -> Range:
    """The ends of the bins beyond which less than the rest of the values lie."""
    cumulative = np.cumsum(counts) / counts.sum()
    share = 1 - percentile / 100
    low = int(np.searchsorted(cumulative, share, side="right"))
    high = int(np.searchsorted(cumulative, 1 - share, side="left"))
    return float(edges[min(low, _BINS - 1)]), float(edges[min(high, _BINS - 1) + 1])


def _least_error(counts: npt.NDArray[np.int64], edges: npt.NDArray[np.float64]) -> Range:
    """The fraction of the whole range at which quantizing the histogram costs least."""
    centers = (edges[:-1] + edges[1:]) / 2
    best: tuple[float, Range] = np.inf, (float(edges[0]), float(edges[-1]))
    for fraction in _FRACTIONS:
        low, high = float(edges[0] * fraction), float(edges[-1] * fraction)
        quantization = affine.asymmetric(min(low, high), max(low, high))
        rounded = affine.dequantize(affine.quantize(centers, quantization), quantization)
        error = float(np.sum(counts * (rounded - centers) ** 2))
        if error < best[0]:
            best = error, (min(low, high), max(low, high))
    return best[1]
