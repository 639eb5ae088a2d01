"""The whole of quantization after training, measured: calibrate, equalize, quantize, correct biases, compare.

result = quantize_after_training(graph, samples, Settings(ranges="mse", bias_correction=True))
save(result.graph, "int8.tflite")
result.measurement.accuracy
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..golden.graph import Graph
from ..golden.writer import write
from .calibration import Method, Range, calibrate, passes
from .correction import correct_biases
from .equalization import Equalization, equalize
from .float16 import widened
from .measurement import Agreement, LayerQuality, measure
from .quantization import INT8, Scheme, check_float, quantize
from .samples import Samples

FORMAT = "eightfold-quantize/1"

Report = Callable[[int, int], None]
"""Told how many runs of the network are done, and how many there will be."""


@dataclass(frozen=True)
class Settings:
    """What quantization after training does.

    Parameters
    ----------
    scheme
        Of weights and activations.
    ranges, percentile
        How `calibrate` chooses ranges.
    equalize, bias_correction
        Whether to do these, too.
    """

    scheme: Scheme = INT8
    ranges: Method = "minmax"
    percentile: float = 99.99
    equalize: bool = False
    bias_correction: bool = False

    @property
    def plain(self) -> bool:
        """Whether nothing is done to the network but rounding."""
        return not (self.equalize or self.bias_correction)

    def __str__(self) -> str:
        ranges = f"percentile {self.percentile:g}" if self.ranges == "percentile" else self.ranges
        extras = ["equalized"] * self.equalize + ["biases corrected"] * self.bias_correction
        return ", ".join((str(self.scheme), f"ranges {ranges}", *extras))


@dataclass(frozen=True)
class Accuracy:
    """Shares of samples for which the largest output is the right one.

    Parameters
    ----------
    float32, quantized
        Of the two networks.
    plain
        Of the network quantized without equalization and bias correction; None where neither was asked for.
    """

    float32: float
    quantized: float
    plain: float | None


@dataclass(frozen=True)
class Measurement:
    """What quantization did to a network.

    Parameters
    ----------
    model
        The network's name.
    settings
        What was done.
    calibration_samples, measured_samples
        How many samples the ranges and the figures come from.
    equalized
        Pairs of operators between which factors moved.
    held
        Operators that equalization left alone, as their RELU6 acts on the data.
    layers
        One for each operator whose output is quantized, in order.
    plain_layers
        The same without equalization and bias correction; None where neither was asked for.
    agreement
        The share of samples for which both networks' first output is largest at the same place.
    accuracy
        None where the data have no labels.
    float_bytes, quantized_bytes
        Of the two files.
    """

    model: str
    settings: Settings
    calibration_samples: int
    measured_samples: int
    equalized: tuple[tuple[int, int], ...]
    held: tuple[int, ...]
    layers: tuple[LayerQuality, ...]
    plain_layers: tuple[LayerQuality, ...] | None
    agreement: float
    accuracy: Accuracy | None
    float_bytes: int
    quantized_bytes: int

    def to_json(self) -> dict[str, Any]:
        """The figures as plain values."""
        return {"format": FORMAT, **asdict(self)}


@dataclass(frozen=True, eq=False)
class QuantizationResult:
    """An integer network and what was measured on it."""

    graph: Graph
    measurement: Measurement


def quantize_after_training(
    graph: Graph,
    samples: Samples,
    settings: Settings | None = None,
    *,
    test: Samples | None = None,
    report: Report = lambda done, total: None,
) -> QuantizationResult:
    """Quantizes a float network and measures what it cost.

    Parameters
    ----------
    graph
        The float network; its weights may be float16.
    samples
        The calibration data.
    settings
        What to do; by default int8 per channel, with ranges from the least to the greatest value.
    test
        What to measure on; by default the calibration data.
    report
        Told of every run of the network.

    Raises
    ------
    ModelError
        As `quantize` and `calibrate`.
    """
    settings = settings or Settings()
    test = test or samples
    float_bytes = len(write(graph))
    graph = widened(graph)
    check_float(graph)
    calibrations = passes(settings.ranges) * (2 if settings.equalize else 1)
    measurements = 1 if settings.plain else 2
    step = _counter(
        len(samples) * (calibrations + settings.bias_correction) + len(test) * measurements,
        report,
    )

    def ranges_of(network: Graph) -> Mapping[int, Range]:
        return calibrate(network, samples, settings.ranges, percentile=settings.percentile, progress=step)

    ranges = ranges_of(graph)
    quantized = quantize(graph, ranges, settings.scheme)
    before = None if settings.plain else measure(graph, quantized, test, progress=step)
    moved = Equalization(graph, (), ())
    if settings.equalize:
        moved = equalize(graph, ranges)
        ranges = ranges_of(moved.graph)
        quantized = quantize(moved.graph, ranges, settings.scheme)
    if settings.bias_correction:
        corrected = correct_biases(moved.graph, quantized, samples, progress=step)
        quantized = quantize(corrected, ranges, settings.scheme)
    after = measure(moved.graph, quantized, test, progress=step)
    measurement = Measurement(
        model=graph.name,
        settings=settings,
        calibration_samples=len(samples),
        measured_samples=len(test),
        equalized=moved.pairs,
        held=moved.held,
        layers=after.layers,
        plain_layers=None if before is None else before.layers,
        agreement=float(np.mean(after.classes == after.float_classes)),
        accuracy=_accuracy(test, after, before),
        float_bytes=float_bytes,
        quantized_bytes=len(write(quantized)),
    )
    return QuantizationResult(quantized, measurement)


def _counter(total: int, report: Report) -> Callable[[], None]:
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        report(done, total)

    return step


def _accuracy(samples: Samples, after: Agreement, before: Agreement | None) -> Accuracy | None:
    labels = samples.labels
    if labels is None:
        return None
    return Accuracy(
        float32=float(np.mean(after.float_classes == labels)),
        quantized=float(np.mean(after.classes == labels)),
        plain=None if before is None else float(np.mean(before.classes == labels)),
    )
