"""Ranges of activations."""

from __future__ import annotations

import numpy as np
import pytest

from eightfold.golden import affine
from eightfold.golden.graph import Graph, ModelError
from eightfold.training.calibration import METHODS, calibrate, passes
from eightfold.training.evaluation import activations
from eightfold.training.network import NetworkBuilder
from eightfold.training.samples import Samples

from .networks import chain, samples


def identity() -> Graph:
    builder = NetworkBuilder("identity", (1, 10, 10, 1))
    builder.pad((0, 0), (0, 0))
    return builder.build()


def test_minmax_takes_the_extremes_of_all_samples() -> None:
    graph = chain()
    data = samples(graph, 5)
    ranges = calibrate(graph, data)
    everything = list(activations(graph, data))
    assert ranges.keys() == everything[0].keys()
    for index, (low, high) in ranges.items():
        assert low == min(values[index].min() for values in everything)
        assert high == max(values[index].max() for values in everything)


def test_a_percentile_leaves_out_outliers_at_both_ends() -> None:
    random = np.random.default_rng(0)
    values = random.uniform(-1, 3, (100, 10, 10, 1)).astype(np.float32)
    values[0, 0, 0, 0], values[1, 0, 0, 0] = -40, 60
    data = Samples((values,))
    assert calibrate(identity(), data)[0] == (-40, 60)
    low, high = calibrate(identity(), data, "percentile", percentile=99.9)[0]
    bin_width = 100 / 8192
    assert low == pytest.approx(np.quantile(values, 0.001), abs=2 * bin_width)
    assert high == pytest.approx(np.quantile(values, 0.999), abs=2 * bin_width)
    assert calibrate(identity(), data, "percentile", percentile=100)[0] == pytest.approx((-40, 60))


def test_the_least_error_has_less_error_than_the_extremes_and_saturates_outliers() -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=(100, 10, 10, 1)).astype(np.float32)
    values[0, 0, 0, 0] = 12
    data = Samples((values,))

    def error(span: tuple[float, float]) -> float:
        quantization = affine.asymmetric(*span)
        rounded = affine.dequantize(affine.quantize(values, quantization), quantization)
        return float(np.sum((rounded.astype(np.float64) - values) ** 2))

    whole, least = (calibrate(identity(), data, method)[0] for method in ("minmax", "mse"))
    assert error(least) < error(whole)
    assert least[1] < whole[1]


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_has_a_range_of_one_point(method: str) -> None:
    data = Samples((np.full((2, 10, 10, 1), 3.5, np.float32),))
    assert calibrate(identity(), data, method)[0] == (3.5, 3.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_each_run_is_reported(method: str) -> None:
    seen: list[None] = []
    graph = identity()
    calibrate(graph, samples(graph, 3), method, progress=lambda: seen.append(None))  # type: ignore[arg-type]
    assert len(seen) == 3 * passes(method)  # type: ignore[arg-type]


def test_bad_requests_are_refused() -> None:
    graph = identity()
    with pytest.raises(ValueError, match="no samples to calibrate on"):
        calibrate(graph, Samples((np.zeros((0, 10, 10, 1), np.float32),)))
    with pytest.raises(ValueError, match="method is 'median'; one of minmax, percentile, mse"):
        calibrate(graph, samples(graph), "median")  # type: ignore[arg-type]
    for percentile in (50, 101, float("nan")):
        with pytest.raises(ValueError, match="expected above 50 and at most 100"):
            calibrate(graph, samples(graph), "percentile", percentile=percentile)


def test_what_is_not_finite_is_named_with_its_operator_and_sample() -> None:
    builder = NetworkBuilder("overflow", (1, 1))
    builder.dense(np.full((1, 1), 3e38, np.float32), np.zeros(1, np.float32))
    graph = builder.build()
    data = Samples((np.array([[1], [1], [10]], np.float32),))
    with pytest.raises(ModelError, match=r"operator 0 \(FULLY_CONNECTED\) .* not finite in tensor 3 .* for sample 2"):
        calibrate(graph, data)
