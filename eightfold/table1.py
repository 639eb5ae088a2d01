"""Accuracy against cost: the 16 MobileNet v1 of Jacob et al. (2018), `python -m eightfold.table1`.

Trains them on the handwritten digits in float and in 8 bits (which needs the extra `train`), or takes the results of
earlier trainings, of one seed or several, and puts cycles, DRAM traffic and energy on a machine beside the accuracies.
Beside them the same architectures with 1,001 classes, whose accuracies on ImageNet are published: what a network costs
depends on its shapes, not on its weights.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from rich.console import Console
from rich.table import Table

from .compiler.compilation import compile
from .golden.macs import macs
from .hw.config import Config
from .reports.energy import Energy, EnergyTable, energy
from .reports.table import NOT_MEASURED, count, new_table
from .sim.model import profile
from .training.architectures import mobilenet_v1
from .training.quantization import quantize
from .training.table1 import IMAGENET, RESOLUTIONS, RESULTS, WIDTHS, Gains, Result, Variant, by_variant, load_results

FORMAT = "eightfold-table1/2"

Results = Mapping[Variant, Sequence[Result]]
"""Of each variant that was trained, one for each seed."""

POINT = 0.01 + 1e-9
"""What 8 bits may cost; a little more than an exact point, as shares of images are not exact."""

WIDTH = 190
"""Columns of text that the tables need."""

_COLOURS = {0.25: "#8cb8d0", 0.5: "#4f8fb5", 0.75: "#2a6f97", 1.0: "#173f5a"}
_FRONT = "#c8553d"


@dataclass(frozen=True)
class Cost:
    """One inference of a network on a machine.

    Parameters
    ----------
    macs, cycles
        Of all layers.
    dram_bytes
        Read and written.
    energy
        In picojoules.
    """

    macs: int
    cycles: int
    dram_bytes: int
    energy: Energy


def cost(variant: Variant, config: Config, table: EnergyTable, *, classes: int = 1001, channels: int = 3) -> Cost:
    """What one of the variants costs, by the cycle model."""
    width, resolution = variant
    graph = mobilenet_v1(width, resolution, classes, channels=channels)
    # Costs do not depend on values: any range will do.
    network = quantize(graph, dict.fromkeys(range(len(graph.tensors)), (0.0, 6.0)))
    modelled = profile(compile(network, config))
    return Cost(
        macs=sum(macs(operator, network) for operator in network.operators),
        cycles=modelled.cycles,
        dram_bytes=sum(layer.dram_read_bytes + layer.dram_write_bytes for layer in modelled.layers),
        energy=energy(modelled, table).total,
    )


def pareto(points: Mapping[Variant, tuple[float, float]]) -> list[Variant]:
    """The variants than which no other costs at most as much and is more accurate, cheapest first.

    Parameters
    ----------
    points
        Cost and accuracy.
    """
    front: list[Variant] = []
    for variant in sorted(points, key=lambda v: (points[v][0], -points[v][1])):
        if not front or points[variant][1] > points[front[-1]][1]:
            front.append(variant)
    return front


def digits_table(results: Results, costs: Mapping[Variant, Cost], machine: str) -> Table:
    """Accuracies on the digits beside costs, a line per variant; of those that were not trained, costs alone.

    An accuracy is the mean of the seeds, with the least and the greatest where there are several.
    """
    table = new_table(
        f"handwritten digits, {machine}",
        ("width", ">"),
        ("pixels", ">"),
        ("seeds", ">"),
        ("float, %", ">"),
        ("8 bits, trained", ">"),
        ("8 bits, calibrated", ">"),
        *_COST_COLUMNS,
    )
    for variant in sorted(costs):
        seeds = results.get(variant, ())
        table.add_row(*_names(variant), str(len(seeds)), *accuracy_cells(seeds), *_cost_cells(costs[variant]))
    return table


def accuracy_cells(seeds: Sequence[Result]) -> tuple[str, str, str]:
    """In float, trained in 8 bits, calibrated, in percent: the mean of the seeds, with the least and the greatest."""

    def cell(values: list[float]) -> str:
        if not values:
            return NOT_MEASURED
        low, high = 100 * min(values), 100 * max(values)
        mean = f"{100 * fmean(values):.2f}"
        return mean if low == high else f"{mean} ({low:.2f} to {high:.2f})"

    return (
        cell([result.float_accuracy for result in seeds]),
        cell([result.trained_accuracy for result in seeds]),
        cell([result.calibrated_accuracy for result in seeds]),
    )


def findings(results: Results) -> list[str]:
    """What the accuracies say of training in 8 bits, a sentence each, in points of a hundred."""
    if not results:
        return []
    lines = []
    for base, name in (("float", "float"), ("calibrated", "calibration alone")):
        gains = Gains.of(results, "float" if base == "float" else "calibrated")
        means = gains.means
        worst = min(means, key=lambda v: means[v])
        best = max(means, key=lambda v: means[v])
        lines.append(
            f"trained in 8 bits against {name}: {100 * means[worst]:+.2f} points ({_called(worst)}) to "
            f"{100 * means[best]:+.2f} ({_called(best)}), {100 * fmean(means.values()):+.2f} on average"
        )
        if base == "float":
            lines.append(_beyond_a_point(gains))
        elif gains.deviation is not None:
            lines.append(_beyond_noise(gains, gains.deviation))
    return lines


def _beyond_a_point(gains: Gains) -> str:
    far = [_called(v) for v, mean in gains.means.items() if mean < -POINT]
    single = [
        f"{_called(variant)} ({100 * gain:+.2f})"
        for variant, seeds in gains.gains.items()
        for gain in seeds
        if gain < -POINT and len(seeds) > 1
    ]
    text = f"more than a point below float: {', '.join(far) or 'none of the variants'}"
    return text + (f"; with single seeds {', '.join(single)}" if single else "")


def _beyond_noise(gains: Gains, deviation: float) -> str:
    noise = {variant: gains.noise(variant) or 0.0 for variant in gains.gains}
    worse = [
        f"{_called(v)} ({100 * mean:+.2f}, noise {100 * noise[v]:.2f})"
        for v, mean in gains.means.items()
        if mean < -noise[v]
    ]
    return (
        f"between seeds that difference has a standard deviation of {100 * deviation:.2f} points; below calibration by "
        f"more than noise, two standard errors of a variant's mean: {', '.join(worse) or 'none of the variants'}"
    )


def _called(variant: Variant) -> str:
    return f"{variant[0]:g} at {variant[1]}"


def imagenet_table(costs: Mapping[Variant, Cost], machine: str) -> Table:
    """Published accuracies on ImageNet beside costs, a line per variant; * is on the Pareto front of the cycles."""
    table = new_table(
        f"ImageNet (accuracies as published), {machine}",
        ("width", ">"),
        ("pixels", ">"),
        ("float, %", ">"),
        ("8 bits", ">"),
        *_COST_COLUMNS,
        ("", "<"),
    )
    front = pareto({v: (c.cycles, IMAGENET[v][1]) for v, c in costs.items()})
    for variant in sorted(costs):
        accuracies = (f"{100 * accuracy:.1f}" for accuracy in IMAGENET[variant])
        table.add_row(*_names(variant), *accuracies, *_cost_cells(costs[variant]), "*" if variant in front else "")
    return table


_COST_COLUMNS = (("MACs", ">"), ("cycles", ">"), ("DRAM bytes", ">"), ("energy", ">"))


def _names(variant: Variant) -> tuple[str, str]:
    return f"{variant[0]:g}", str(variant[1])


def _cost_cells(cost: Cost) -> tuple[str, ...]:
    return count(cost.macs), count(cost.cycles), count(cost.dram_bytes), str(cost.energy)


def pareto_figure(costs: Mapping[Variant, Cost], machine: str) -> Figure:
    """Published accuracy against cycles, DRAM traffic and energy: a line per width, the Pareto front marked."""
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    measures: tuple[tuple[str, Callable[[Cost], float]], ...] = (
        ("million cycles", lambda cost: cost.cycles / 1e6),
        ("DRAM, MB", lambda cost: cost.dram_bytes / 1e6),
        ("energy, mJ (middle of the range)", lambda cost: cost.energy.middle / 1e9),
    )
    for axes, (label, measure) in zip(figure.subplots(1, 3, sharey=True), measures, strict=True):
        points = {v: (measure(c), 100 * IMAGENET[v][1]) for v, c in costs.items()}
        front = pareto(points)
        axes.plot(*zip(*(points[v] for v in front), strict=True), color=_FRONT, lw=1, ls=":", zorder=1, label="best")
        for width in WIDTHS:
            line = [points[v] for v in sorted(points) if v[0] == width]
            if line:
                axes.plot(*zip(*line, strict=True), color=_COLOURS[width], marker="o", ms=5, label=f"width {width:g}")
        for variant in front:
            axes.plot(*points[variant], color=_FRONT, marker="o", ms=9, mfc="none", mew=1.2)
        for (_, resolution), point in points.items():
            if resolution in (RESOLUTIONS[0], RESOLUTIONS[-1]):
                below = resolution == RESOLUTIONS[0]
                axes.annotate(
                    str(resolution),
                    point,
                    (0, -13 if below else 8),
                    textcoords="offset points",
                    fontsize=7,
                    ha="center",
                )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(label)
        axes.grid(alpha=0.25, which="both", lw=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("top-1 accuracy on ImageNet in 8 bits, %")
    figure.axes[0].set_ylim(36, 74)
    figure.axes[-1].legend(frameon=False, loc="lower right", fontsize=8)
    figure.suptitle(f"MobileNet v1 at 128 to 224 pixels, {machine}", fontsize=11)
    return figure


def to_markdown(results: Results, digits: Mapping[Variant, Cost], imagenet: Mapping[Variant, Cost]) -> str:
    """Both tables as one, for documents."""
    costs = ("cycles", "DRAM, MB", "energy")
    ours = ("width", "pixels", "float, %", "8 bits, trained", "8 bits, calibrated", *costs)
    titles = (*ours, "ImageNet float, %", "8 bits", *costs)
    lines: list[tuple[str, ...]] = [titles, ("---",) * len(titles)]
    for variant in sorted(imagenet):
        published = (f"{100 * accuracy:.1f}" for accuracy in IMAGENET[variant])
        accuracies = accuracy_cells(results.get(variant, ()))
        row = (*_names(variant), *accuracies, *_short(digits[variant]), *published, *_short(imagenet[variant]))
        lines.append(row)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _short(cost: Cost) -> tuple[str, str, str]:
    return count(cost.cycles), f"{cost.dram_bytes / 1e6:.2f}", str(cost.energy)


def to_json(
    results: Results, digits: Mapping[Variant, Cost], imagenet: Mapping[Variant, Cost], machine: str
) -> dict[str, Any]:
    """All of it, for programs."""

    def entry(variant: Variant) -> dict[str, Any]:
        floating, fixed = IMAGENET[variant]
        return {
            "width": variant[0],
            "resolution": variant[1],
            "digits": {
                "seeds": [asdict(result) for result in results.get(variant, ())],
                "cost": asdict(digits[variant]),
            },
            "imagenet": {"float": floating, "fixed": fixed, "cost": asdict(imagenet[variant])},
        }

    return {"format": FORMAT, "machine": machine, "variants": [entry(variant) for variant in sorted(imagenet)]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Accuracy against cost of the 16 MobileNet v1 of Jacob et al. (2018)."""
    parser = argparse.ArgumentParser(prog="python -m eightfold.table1", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/table1"), help="folder of everything (%(default)s)")
    parser.add_argument(
        "--results",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="take these accuracies and train nothing: files of results, or folders of earlier trainings",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the training that is in --out")
    parser.add_argument("--seed", type=int, default=0, help="of split, weights and batches (%(default)s)")
    parser.add_argument("--widths", type=float, nargs="+", choices=WIDTHS, default=WIDTHS, metavar="WIDTH")
    parser.add_argument(
        "--resolutions", type=int, nargs="+", choices=RESOLUTIONS, default=RESOLUTIONS, metavar="PIXELS"
    )
    parser.add_argument("--shrink", type=int, default=1, help="divide the images of each training stage, for a trial")
    parser.add_argument("--config", default="16x16", help="the machine (%(default)s)")
    parser.add_argument("--energy-table", default="45nm", help="(%(default)s)")
    options = parser.parse_args(arguments)
    if options.shrink < 1:
        parser.error(f"--shrink is {options.shrink}; expected at least 1")
    try:
        config, energies = Config.named(options.config), EnergyTable.named(options.energy_table)
        options.out.mkdir(parents=True, exist_ok=True)
        results = by_variant(_stored(options.results) if options.results else _train(options))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        parser.exit(130, f"\ninterrupted; --resume goes on with what is in {options.out}\n")
    variants = [(width, resolution) for width in options.widths for resolution in options.resolutions]
    digits = {v: cost(v, config, energies, classes=10, channels=1) for v in variants}
    imagenet = {v: cost(v, config, energies) for v in variants}
    machine = f"{config.name}, energy by the table {energies.name}"
    # As wide as the tables are, wherever they go.
    console = Console(width=WIDTH, soft_wrap=True, highlight=False)
    console.print(digits_table(results, digits, machine))
    console.print(imagenet_table(imagenet, machine))
    report = to_json(results, digits, imagenet, machine)
    (options.out / "table1.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (options.out / "table1.md").write_text(to_markdown(results, digits, imagenet), encoding="utf-8")
    pareto_figure(imagenet, machine).savefig(options.out / "table1.png", dpi=110)
    for line in findings({v: seeds for v, seeds in results.items() if v in variants}):
        console.print(line)
    missing = [v for v in variants if v not in results]
    if missing:
        console.print(f"not trained: {', '.join(map(_called, missing))}; {NOT_MEASURED} stands for them")
    console.print(f"{os.fspath(options.out)} holds the table as JSON and Markdown, and the figure")


def _stored(paths: Iterable[Path]) -> Iterator[Result]:
    """The results in files, and in the folders of earlier trainings."""
    for path in paths:
        yield from load_results(path / RESULTS if path.is_dir() else path)


def _train(options: argparse.Namespace) -> Iterable[Result]:
    try:
        import torch

        from .training.qat.variants import Trainer
    except ModuleNotFoundError as error:
        raise ValueError(f"training needs {error.name}: pip install 'eightfold[train]'") from error

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    console = Console(soft_wrap=True, highlight=False)

    def say(line: str) -> None:
        console.print(line)
        with (options.out / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")

    trainer = Trainer(options.out, seed=options.seed, shrink=options.shrink, say=say)
    if options.resume:
        trainer.load()
    elif trainer.path.exists() or any((options.out / "weights").iterdir()):
        raise ValueError(f"{options.out} has results; --resume goes on with them, another --out starts anew")
    for width in options.widths:
        trainer.train(width, options.resolutions)
    return trainer.results.values()


if __name__ == "__main__":
    main()
