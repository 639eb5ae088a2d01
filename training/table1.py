"""The 16 MobileNet v1 of Jacob et al. (2018): what they reach on ImageNet, and what ours reach on digits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Literal

WIDTHS = (0.25, 0.5, 0.75, 1.0)
RESOLUTIONS = (128, 160, 192, 224)

RESULTS = "results.json"
"""What a training calls the file of its results."""

Variant = tuple[float, int]
"""Width multiplier and resolution."""

_TOP_1 = {
    128: ((0.415, 0.399), (0.563, 0.549), (0.621, 0.598), (0.652, 0.64)),
    160: ((0.455, 0.435), (0.591, 0.577), (0.653, 0.639), (0.68, 0.673)),
    192: ((0.477, 0.458), (0.617, 0.604), (0.672, 0.662), (0.7, 0.69)),
    224: ((0.498, 0.482), (0.633, 0.622), (0.684, 0.679), (0.709, 0.697)),
}

IMAGENET: Mapping[Variant, tuple[float, float]] = MappingProxyType(
    {
        (width, resolution): pair
        for resolution, pairs in _TOP_1.items()
        for width, pair in zip(WIDTHS, pairs, strict=True)
    }
)
"""Top-1 accuracy on ImageNet in float and in 8 bits, as TensorFlow's documents of fixed-point training give it."""


@dataclass(frozen=True)
class Result:
    """What became of one variant that was trained on the digits.

    Parameters
    ----------
    width, resolution, seed
        Which.
    float_accuracy, trained_accuracy, calibrated_accuracy
        Of the held-out images: in float; in int8 after quantization-aware training; in int8 after calibration alone.
    float_images, trained_images
        That the training saw in the two stages.
    float_seconds, trained_seconds
        Processor time of the two stages.
    elements, differing
        Elements of all tensors of some images, and how many of them the eval graph has other than the integer runtime.
    """

    width: float
    resolution: int
    seed: int
    float_accuracy: float
    trained_accuracy: float
    calibrated_accuracy: float
    float_images: int
    trained_images: int
    float_seconds: float
    trained_seconds: float
    elements: int
    differing: int


def load_results(path: Path) -> tuple[Result, ...]:
    """What `save_results` wrote.

    Raises
    ------
    ValueError
        The file holds something else.
    OSError
        It cannot be read.
    """
    try:
        return tuple(Result(**entry) for entry in json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise ValueError(f"{path}: expected a list of results, as `save_results` writes: {error}") from error


def save_results(results: Iterable[Result], path: Path) -> None:
    """Writes results as JSON, sorted. The file appears whole or not at all."""
    entries = [asdict(result) for result in sorted(results, key=_order)]
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


def by_variant(results: Iterable[Result]) -> dict[Variant, tuple[Result, ...]]:
    """The results of each variant, by ascending seeds.

    Raises
    ------
    ValueError
        A variant has two results of one seed.
    """
    found: dict[Variant, tuple[Result, ...]] = {}
    for result in sorted(results, key=_order):
        variant = result.width, result.resolution
        earlier = found.get(variant, ())
        if earlier and earlier[-1].seed == result.seed:
            raise ValueError(f"{result.width:g} at {result.resolution} has two results of the seed {result.seed}")
        found[variant] = (*earlier, result)
    return found


def _order(result: Result) -> tuple[float, int, int]:
    return result.width, result.resolution, result.seed


@dataclass(frozen=True)
class Gains:
    """By how much one kind of accuracy is above another, for each variant and seed.

    Parameters
    ----------
    gains
        One for each seed of a variant; 0.01 is a point.
    """

    gains: Mapping[Variant, tuple[float, ...]]

    @classmethod
    def of(cls, results: Mapping[Variant, Sequence[Result]], base: Literal["float", "calibrated"]) -> Gains:
        """Of training in 8 bits, above the float network or above calibration alone."""

        def gain(result: Result) -> float:
            below = result.float_accuracy if base == "float" else result.calibrated_accuracy
            return result.trained_accuracy - below

        return cls({variant: tuple(gain(r) for r in seeds) for variant, seeds in results.items()})

    @property
    def means(self) -> dict[Variant, float]:
        """Over the seeds of each variant."""
        return {variant: fmean(gains) for variant, gains in self.gains.items()}

    @property
    def deviation(self) -> float | None:
        """The standard deviation between seeds, taken to be the same for all variants; None where each has one seed.

        The pooled estimate: the squares of all distances from the variants' means, by the number of distances less
        the number of means.
        """
        freedom = sum(len(gains) - 1 for gains in self.gains.values())
        if not freedom:
            return None
        means = self.means
        squares = sum((gain - means[variant]) ** 2 for variant, gains in self.gains.items() for gain in gains)
        return sqrt(squares / freedom)

    def noise(self, variant: Variant) -> float | None:
        """Twice the standard error of a variant's mean: what lies within it may be chance."""
        deviation = self.deviation
        return None if deviation is None else 2 * deviation / sqrt(len(self.gains[variant]))
