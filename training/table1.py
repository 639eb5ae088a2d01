"""The 16 MobileNet v1 of Jacob et al. (2018): what they reach on ImageNet, and what ours reach on digits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

WIDTHS = (0.25, 0.5, 0.75, 1.0)
RESOLUTIONS = (128, 160, 192, 224)

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


def load_results(path: Path) -> dict[Variant, Result]:
    """Results by variant.

    Raises
    ------
    ValueError
        The file holds something else.
    OSError
        It cannot be read.
    """
    try:
        results = [Result(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (json.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{path}: expected a list of results, as `save_results` writes: {error}") from error
    return {(result.width, result.resolution): result for result in results}


def save_results(results: Iterable[Result], path: Path) -> None:
    """Writes results as JSON, sorted. The file appears whole or not at all."""
    entries = [asdict(result) for result in sorted(results, key=lambda result: (result.width, result.resolution))]
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)
