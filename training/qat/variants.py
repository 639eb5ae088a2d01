"""Trains the 16 MobileNet v1 of `training.table1` on the handwritten digits, in float and in 8 bits.

Width by width, each at four resolutions. Weights do not depend on the resolution, so a width is trained from scratch at
the smallest, and what it learned is where the next resolution starts; quantization-aware training starts from the float
network of the same resolution. Every stage has a seed of its own: what was interrupted goes on with the stage that was
interrupted, and comes to the same results.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import process_time

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn

from ...golden.writer import save
from ..architectures import mobilenet_v1, random_parameters
from ..calibration import calibrate
from ..digits import Digits
from ..quantization import quantize
from ..samples import Samples
from ..table1 import RESULTS, Result, Variant, load_results, save_results
from .agreement import compare
from .conversion import convert, eval_graph, float_graph
from .fitting import Regime, enlarged, fit, held_out_accuracy
from .graphs import training_graph
from .modules import Network, Simulation

EPOCH = 1437
"""Images to train on."""

SCRATCH = Regime(images=8 * EPOCH, rate=1e-2, batch=16)
LARGER = Regime(images=3 * EPOCH // 4, rate=4e-3, batch=16)
QUANTIZED = Regime(images=3 * EPOCH // 4, rate=3e-4, batch=16)

CALIBRATION_IMAGES = 64
COMPARED_IMAGES = 2


class Trainer:
    """Trains variants, keeping what is done in a folder.

    Parameters
    ----------
    out
        The folder: `results.json`, the int8 networks, the log, and `weights/` to go on from.
    seed
        Of everything random.
    shrink
        Divides the images of every stage, for a trial.
    """

    def __init__(
        self, out: Path, *, seed: int = 0, shrink: int = 1, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.out = out
        self.seed = seed
        self.shrink = shrink
        self.say = say
        self.digits = Digits.load(seed)
        self.results: dict[Variant, Result] = {}
        (out / "weights").mkdir(parents=True, exist_ok=True)

    @property
    def path(self) -> Path:
        """Of the results."""
        return self.out / RESULTS

    def load(self) -> None:
        """Takes what an earlier call has done.

        Raises
        ------
        ValueError
            It was done with another seed.
        """
        if not self.path.exists():
            return
        results = load_results(self.path)
        for result in results:
            if result.seed != self.seed:
                raise ValueError(f"{self.path} was made with the seed {result.seed}, not {self.seed}")
        self.results = {(result.width, result.resolution): result for result in results}

    def train(self, width: float, resolutions: Sequence[int]) -> None:
        """One width at each of the resolutions, in ascending order."""
        weights: Mapping[str, torch.Tensor] | None = None
        for resolution in sorted(resolutions):
            name = f"mobilenet_v1_{width:g}_{resolution}"
            path = self.out / "weights" / f"{name}.pt"
            if path.exists() and (width, resolution) in self.results:
                weights = torch.load(path, weights_only=True)["weights"]
                continue
            weights = self._variant(width, resolution, weights, path)

    def _variant(
        self, width: float, resolution: int, start: Mapping[str, torch.Tensor] | None, path: Path
    ) -> Mapping[str, torch.Tensor]:
        seed = 10_000 * self.seed + 10 * resolution + round(width * 4)
        graph = mobilenet_v1(width, resolution, 10, channels=1, parameters=random_parameters(seed))
        model = Network(graph)
        if path.exists():
            done = torch.load(path, weights_only=True)
            model.load_state_dict(done["weights"])
            images, seconds = int(done["images"]), float(done["seconds"])
        else:
            if start is not None:
                model.load_state_dict(start)
            regime = self._regime(SCRATCH if start is None else LARGER)
            images, seconds = (
                regime.steps * regime.batch,
                self._fit(model, resolution, regime, seed, graph.name, "float"),
            )
            state = {"weights": model.state_dict(), "images": images, "seconds": seconds}
            torch.save(state, path.with_suffix(".part"))
            os.replace(path.with_suffix(".part"), path)
        in_float = held_out_accuracy(model, self.digits, resolution)
        self.say(f"{graph.name}  float       {in_float:.2%}  {images} images, {seconds:.0f} s")

        trained = training_graph(model, momentum=0.1)
        regime = self._regime(QUANTIZED)
        trained_seconds = self._fit(trained, resolution, regime, seed + 1, graph.name, "8 bits")
        simulation = eval_graph(trained, softmax=True)
        save(convert(simulation), self.out / f"{graph.name}.tflite")
        accuracy = held_out_accuracy(simulation, self.digits, resolution)
        elements, differing = self._compare(simulation, resolution)
        self.say(
            f"{graph.name}  trained     {accuracy:.2%}  {regime.steps * regime.batch} images, {trained_seconds:.0f} s, "
            f"{differing} of {elements} elements differ from the integer runtime"
        )
        calibrated = held_out_accuracy(self._calibrated(model, resolution), self.digits, resolution)
        self.say(f"{graph.name}  calibrated  {calibrated:.2%}")
        self.results[width, resolution] = Result(
            width=width,
            resolution=resolution,
            seed=self.seed,
            float_accuracy=in_float,
            trained_accuracy=accuracy,
            calibrated_accuracy=calibrated,
            float_images=images,
            trained_images=regime.steps * regime.batch,
            float_seconds=round(seconds, 1),
            trained_seconds=round(trained_seconds, 1),
            elements=elements,
            differing=differing,
        )
        save_results(self.results.values(), self.path)
        state_dict: Mapping[str, torch.Tensor] = model.state_dict()
        return state_dict

    def _regime(self, regime: Regime) -> Regime:
        return Regime(max(1, regime.images // self.shrink), regime.rate, regime.batch, regime.frozen)

    def _fit(self, model: nn.Module, resolution: int, regime: Regime, seed: int, name: str, stage: str) -> float:
        start = process_time()
        with _bar(f"{name} {stage}", regime.steps * regime.batch) as step:
            fit(model, self.digits, resolution, regime, seed=seed, progress=step)
        return process_time() - start

    def _calibrated(self, model: nn.Module, resolution: int) -> Simulation:
        graph = float_graph(model.eval(), softmax=True)
        images = enlarged(self.digits.train_pixels[:CALIBRATION_IMAGES], resolution).permute(0, 2, 3, 1).numpy()
        return Simulation(quantize(graph, calibrate(graph, Samples((images,)))))

    def _compare(self, simulation: Simulation, resolution: int) -> tuple[int, int]:
        images = enlarged(self.digits.test_pixels[:COMPARED_IMAGES], resolution).numpy()
        layers = compare(simulation, images)
        return sum(layer.elements for layer in layers), sum(layer.mismatches for layer in layers)


@contextmanager
def _bar(title: str, images: int) -> Iterator[Callable[[int, float], None]]:
    """A progress bar where there is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=images, loss="-")

        def step(count: int, loss: float) -> None:
            bar.update(task, advance=count, loss=f"{loss:.2f}")

        yield step
