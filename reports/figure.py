"""A run as a figure: cycles and utilization per layer."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..sim.result import RunResult

_ARRAY = "#2a6f97"
_REST = "#dfe7ec"
_TEXT = "#24323a"


def layer_figure(result: RunResult) -> Figure:
    """Two charts side by side, a bar per layer on the array: its cycles, and the share of the array that it used.

    Raises
    ------
    ValueError
        The result has no cycles.
    """
    layers = [layer for layer in result.layers if layer.where == "array" and layer.cycles is not None]
    if not layers or result.cycles is None:
        raise ValueError(f"the run on {result.backend} has no cycles to draw")
    figure = Figure(figsize=(9, 1.6 + 0.32 * len(layers)), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    places = range(len(layers))
    cycles = [layer.cycles or 0 for layer in layers]
    shares = [100 * (layer.utilization or 0) for layer in layers]
    left.barh(places, cycles, color=_ARRAY)
    right.barh(places, [100] * len(layers), color=_REST)
    right.barh(places, shares, color=_ARRAY)
    for place, number, share in zip(places, cycles, shares, strict=True):
        left.annotate(f"{number:,}", (number, place), (4, 0), textcoords="offset points", va="center", color=_TEXT)
        inside = share > 80
        right.annotate(
            f"{share:.1f} %",
            (share, place),
            (-4 if inside else 4, 0),
            textcoords="offset points",
            ha="right" if inside else "left",
            va="center",
            color="white" if inside else _TEXT,
        )
    left.set_yticks(places, [f"{layer.op} {layer.index}" for layer in layers])
    left.invert_yaxis()
    left.set_xlim(0, 1.18 * max(cycles))
    right.set_xlim(0, 100)
    left.set_xlabel("cycles")
    right.set_xlabel("MACs per cycle, % of the array")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    left.xaxis.set_major_locator(_few_ticks())
    left.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    utilization = f", {result.utilization:.1%} of the array" if result.utilization is not None else ""
    figure.suptitle(f"{result.model} on {result.config.name}: {result.cycles:,} cycles{utilization}", fontsize=11)
    return figure


def save_figure(result: RunResult, path: Path) -> None:
    """Writes the figure in the format that the file's ending names."""
    layer_figure(result).savefig(path, dpi=150)


def _few_ticks() -> MaxNLocator:
    return MaxNLocator(nbins=5, integer=True)
