"""Accuracy against cost: the 16 MobileNet v1 of Jacob et al. (2018), `python -m eightfold.table1`.

Trains them on the handwritten digits in float and in 8 bits (which needs the extra `train`), or takes the results of an
earlier training, and puts cycles, DRAM traffic and energy on a machine beside the accuracies. Beside them the same
architectures with 1,001 classes, whose accuracies on ImageNet are published: what a network costs depends on its
shapes, not on its weights.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
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
from .reports.table import NOT_MEASURED, count, new_table, percent
from .sim.model import profile
from .training.architectures import mobilenet_v1
from .training.quantization import quantize
from .training.table1 import IMAGENET, RESOLUTIONS, WIDTHS, Result, Variant, load_results

FORMAT = "eightfold-table1/1"

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


def digits_table(results: Mapping[Variant, Result], costs: Mapping[Variant, Cost], machine: str) -> Table:
    """Accuracies on the digits beside costs, a line per variant; of those that were not trained, costs alone."""
    table = new_table(
        f"handwritten digits, {machine}",
        ("width", ">"),
        ("pixels", ">"),
        ("float", ">"),
        ("8 bits, trained", ">"),
        ("8 bits, calibrated", ">"),
        *_COST_COLUMNS,
    )
    for variant in sorted(costs):
        result = results.get(variant)
        accuracies = (
            (result.float_accuracy, result.trained_accuracy, result.calibrated_accuracy) if result else (None,) * 3
        )
        table.add_row(*_names(variant), *(percent(a) for a in accuracies), *_cost_cells(costs[variant]))
    return table


def imagenet_table(costs: Mapping[Variant, Cost], machine: str) -> Table:
    """Published accuracies on ImageNet beside costs, a line per variant; * is on the Pareto front of the cycles."""
    table = new_table(
        f"ImageNet (accuracies as published), {machine}",
        ("width", ">"),
        ("pixels", ">"),
        ("float", ">"),
        ("8 bits", ">"),
        *_COST_COLUMNS,
        ("", "<"),
    )
    front = pareto({v: (c.cycles, IMAGENET[v][1]) for v, c in costs.items()})
    for variant in sorted(costs):
        accuracies = (percent(a) for a in IMAGENET[variant])
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


def to_json(
    results: Mapping[Variant, Result], digits: Mapping[Variant, Cost], imagenet: Mapping[Variant, Cost], machine: str
) -> dict[str, Any]:
    """All of it, for programs."""

    def entry(variant: Variant) -> dict[str, Any]:
        floating, fixed = IMAGENET[variant]
        return {
            "width": variant[0],
            "resolution": variant[1],
            "digits": {**(asdict(results[variant]) if variant in results else {}), "cost": asdict(digits[variant])},
            "imagenet": {"float": floating, "fixed": fixed, "cost": asdict(imagenet[variant])},
        }

    return {"format": FORMAT, "machine": machine, "variants": [entry(variant) for variant in sorted(imagenet)]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Accuracy against cost of the 16 MobileNet v1 of Jacob et al. (2018)."""
    parser = argparse.ArgumentParser(prog="python -m eightfold.table1", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/table1"), help="folder of everything (%(default)s)")
    parser.add_argument("--results", type=Path, metavar="FILE", help="take these accuracies and train nothing")
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
        results = load_results(options.results) if options.results else _train(options)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        parser.exit(130, f"\ninterrupted; --resume goes on with what is in {options.out}\n")
    variants = [(width, resolution) for width in options.widths for resolution in options.resolutions]
    digits = {v: cost(v, config, energies, classes=10, channels=1) for v in variants}
    imagenet = {v: cost(v, config, energies) for v in variants}
    machine = f"{config.name}, energy by the table {energies.name}"
    # As wide as the tables are, wherever they go.
    console = Console(width=160)
    console.print(digits_table(results, digits, machine))
    console.print(imagenet_table(imagenet, machine))
    report = to_json(results, digits, imagenet, machine)
    (options.out / "table1.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    pareto_figure(imagenet, machine).savefig(options.out / "table1.png", dpi=110)
    missing = [v for v in variants if v not in results]
    if missing:
        console.print(f"not trained: {', '.join(f'{w:g} at {r}' for w, r in missing)}; {NOT_MEASURED} stands for them")
    console.print(f"{os.fspath(options.out)} holds the table as JSON and the figure")


def _train(options: argparse.Namespace) -> Mapping[Variant, Result]:
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
    elif trainer.path.exists():
        raise ValueError(f"{options.out} has results; --resume goes on with them, another --out starts anew")
    for width in options.widths:
        trainer.train(width, options.resolutions)
    return trainer.results


if __name__ == "__main__":
    main()
