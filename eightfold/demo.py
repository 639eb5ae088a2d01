"""The demonstration: the project's digits network recognises test images on the RTL."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.text import Text

from .compiler.compilation import compile
from .compiler.program import Program
from .golden.reader import read
from .hw.config import Config
from .reports.table import run_report
from .sim.errors import SettingError
from .sim.result import RunResult
from .sim.simulation import Progress, Report, Simulation

MODELS = Path(__file__).parent / "models"
FORMAT = "eightfold-demo/1"
_SHADES = " ░▒▓█"


@dataclass(frozen=True, eq=False)
class Demonstration:
    """What became of the test images.

    Parameters
    ----------
    pixels
        0 to 16, shape `(images, 8, 8)`.
    labels
        The digits that people saw in them.
    results
        One run per image.
    """

    pixels: npt.NDArray[Any]
    labels: tuple[int, ...]
    results: tuple[RunResult, ...]

    @property
    def recognised(self) -> tuple[int, ...]:
        """The digits that the network saw."""
        return tuple(int(np.argmax(result.outputs[0])) for result in self.results)

    def report(self) -> RenderableType:
        """The first run's layers, then every image and its digit."""
        return Group(run_report(self.results[0]), Text(), self._gallery(), self._verdict())

    def _gallery(self) -> Columns:
        tiles = []
        for pixels, label, digit in zip(self.pixels, self.labels, self.recognised, strict=True):
            shades = np.minimum(pixels.reshape(8, 8).astype(int) * len(_SHADES) // 17, len(_SHADES) - 1)
            lines = ["".join(2 * _SHADES[shade] for shade in row) for row in shades]
            tile = Text("\n".join(lines), style="cyan")
            tile.append(f"\nseen as {digit}", style="bold green" if digit == label else "bold red")
            tile.append("" if digit == label else f", is {label}")
            tiles.append(tile)
        return Columns(tiles, padding=(0, 3))

    def _verdict(self) -> Text:
        count = len(self.results)
        right = sum(digit == label for digit, label in zip(self.recognised, self.labels, strict=True))
        exact = sum(bool(result.bit_exact) for result in self.results)
        cycles = sum(result.cycles or 0 for result in self.results)
        return Text(
            f"{right} of {count} digits recognised; {exact} of {count} runs exact to the bit in every layer; "
            f"{cycles:,} cycles simulated"
        )

    def to_json(self) -> dict[str, Any]:
        """The demonstration as plain values: every run, and every digit."""
        return {
            "format": FORMAT,
            "digits": [
                {"label": label, "recognised": digit} for label, digit in zip(self.labels, self.recognised, strict=True)
            ],
            "runs": [result.to_json() for result in self.results],
        }


def demonstrate(config: Config, count: int, report: Report | None = None) -> Demonstration:
    """Runs the digits network on the first `count` test images.

    Raises
    ------
    SettingError
        There are not so many images.
    """
    with np.load(MODELS / "digits.npz") as file:
        images, pixels, labels = file["images"], file["pixels"], file["labels"]
    if not 1 <= count <= len(images):
        raise SettingError(f"{count} images were asked for; 1 to {len(images)} was expected")
    program = compile(read(MODELS / "digits.tflite"), config)
    results = _run_all(program, images[:count], report)
    return Demonstration(pixels[:count], tuple(int(label) for label in labels[:count]), results)


def _run_all(program: Program, images: npt.NDArray[Any], report: Report | None) -> tuple[RunResult, ...]:
    """One run per image, on as many simulations at once as there are processors."""
    workers = min(len(images), os.cpu_count() or 1)
    meter = _Sum(len(images), report)
    results: dict[int, RunResult] = {}

    def work(worker: int) -> None:
        with Simulation(program) as simulation:
            for i in range(worker, len(images), workers):
                results[i] = simulation.run(images[i].reshape(program.graph.inputs[0].shape), progress=meter.part(i))

    with ThreadPoolExecutor(workers) as pool:
        try:
            for future in [pool.submit(work, worker) for worker in range(workers)]:
                future.result()
        except BaseException:
            meter.stop()
            raise
    return tuple(results[i] for i in range(len(images)))


class _StoppedError(Exception):
    """Another run has failed, or was interrupted."""


class _Sum:
    """Several runs' progress as one, and the means to end them all."""

    def __init__(self, count: int, report: Report | None) -> None:
        self._states = [Progress(0.0, 0, 0)] * count
        self._report = report
        self._lock = Lock()
        self._stopped = False

    def stop(self) -> None:
        """Ends every run when it next reports."""
        self._stopped = True

    def part(self, index: int) -> Report:
        """What one of the runs calls."""

        def update(state: Progress) -> None:
            with self._lock:
                if self._stopped:
                    raise _StoppedError
                self._states[index] = state
                if self._report is not None:
                    fraction = sum(state.fraction for state in self._states) / len(self._states)
                    self._report(Progress(fraction, sum(state.cycles for state in self._states), state.operator))

        return update
