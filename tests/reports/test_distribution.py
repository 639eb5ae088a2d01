"""Histograms, saturation and quantization noise of tensors with known values."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from eightfold.golden.graph import Graph, Quantization
from eightfold.reports.distribution import Distribution, distributions

from ..compiler.networks import Array, Builder


def network() -> tuple[Graph, Builder]:
    builder = Builder((1, 4, 4, 2)).convolution(3, (1, 1))
    return builder.graph(), builder


def of(weights: Array, scales: list[float]) -> Distribution:
    """The distribution of a convolution's weights, shape (outputs, 1, 1, 2)."""
    graph, builder = network()
    index = builder.operators[0].inputs[1]
    quantization = Quantization(np.array(scales, np.float32), np.zeros(len(scales), np.int64), 0)
    tensors = list(graph.tensors)
    tensors[index] = dataclasses.replace(tensors[index], data=weights, quantization=quantization)
    main = dataclasses.replace(graph.main, tensors=tuple(tensors))
    found = {d.kind: d for d in distributions(Graph("network", (main,)), {})}
    return found["weights"]


def test_counts_are_by_value_from_the_type_s_lowest() -> None:
    weights = np.array([-128, 127, 0, 0, 3, -128], np.int8).reshape(3, 1, 1, 2)
    found = of(weights, [1, 1, 1])
    assert (found.counts[0], found.counts[128], found.counts[131], found.counts[255]) == (2, 2, 1, 1)
    assert (found.counts.sum(), found.levels) == (6, 4)
    assert found.saturated == 3 / 6


def test_noise_is_a_twelfth_of_a_step_squared() -> None:
    weights = np.full((3, 1, 1, 2), 10, np.int8)
    assert of(weights, [0.5, 0.5, 0.5]).sqnr == pytest.approx(10 * math.log10(100 * 12))


def test_each_channel_has_its_own_step() -> None:
    weights = np.array([[10, 10], [0, 0], [0, 0]], np.int8).reshape(3, 1, 1, 2)
    # The signal is the first channel's alone; the noise is everyone's.
    expected = 10 * math.log10(2 * 100 * 4 / (2 * (4 + 1 + 1) / 12))
    assert of(weights, [2, 1, 1]).sqnr == pytest.approx(expected)


def test_zeros_have_no_signal() -> None:
    assert of(np.zeros((3, 1, 1, 2), np.int8), [1, 1, 1]).sqnr is None


def test_an_end_of_the_range_that_stands_for_zero_is_not_saturation() -> None:
    graph, builder = network()
    index = builder.last
    tensors = list(graph.tensors)
    tensors[index] = dataclasses.replace(
        tensors[index], quantization=Quantization(np.array([1], np.float32), np.array([-128]))
    )
    main = dataclasses.replace(graph.main, tensors=tuple(tensors))
    value = np.full((1, 4, 4, 3), -128, np.int8)
    value[0, 0, 0] = 127
    found = {d.kind: d for d in distributions(Graph("network", (main,)), {index: value})}
    assert found["activations"].saturated == 3 / 48
