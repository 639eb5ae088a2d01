"""A sweep as a figure: what each machine costs in time, energy and area, and those that nothing beats."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..charts import Palette
from .sweep import Exploration, Visited

_SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": Palette.INK,
    "axes.edgecolor": Palette.GREY,
    "axes.labelcolor": Palette.INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": Palette.GRID,
    "grid.linewidth": 0.6,
    "xtick.color": Palette.MUTED,
    "ytick.color": Palette.MUTED,
    "svg.hashsalt": "eightfold",
    "svg.fonttype": "none",
    "text.parse_math": False,
}
_COLOURS = LinearSegmentedColormap.from_list("multipliers", [Palette.AMBER, Palette.TEAL, Palette.BLUE, Palette.VIOLET])
_LABELS = 3
_TICKS = 7


def draw(exploration: Exploration, suffix: str) -> bytes:
    """The figure as `png` or `svg`, the same bytes for the same sweep.

    Raises
    ------
    ValueError
        No point has figures.
    """
    if not exploration.visited:
        raise ValueError("no point of the sweep has figures to draw")
    with rc_context(_SETTINGS):
        figure = _figure(exploration)
        target = BytesIO()
        metadata = {"Date": None, "Creator": None} if suffix == "svg" else {"Software": None}
        figure.savefig(target, format=suffix, dpi=130, metadata=metadata)
    return target.getvalue()


def _figure(exploration: Exploration) -> Figure:
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    mean = "" if len(exploration.networks) == 1 else ", geometric mean"
    sizes = [visited.area.multipliers for visited in exploration.visited]
    norm = LogNorm(min(sizes), max(max(sizes), min(sizes) * 1.01))
    for axes, place in ((left, 2), (right, 1)):
        _scatter(axes, exploration, place, norm)
        axes.set_xlabel(f"cycles per inference{mean}")
    left.set_ylabel("square millimetres at 45 nm, estimated")
    right.set_ylabel(f"microjoules per inference{mean}, by {exploration.table.name}")
    colours = figure.colorbar(right.collections[0], ax=[left, right], label="multipliers", ticks=_few(sizes), pad=0.01)
    colours.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    colours.ax.yaxis.set_minor_formatter(NullFormatter())
    colours.minorticks_off()
    colours.outline.set_visible(False)
    names = (
        ", ".join(exploration.networks) if len(exploration.networks) < 5 else f"{len(exploration.networks)} networks"
    )
    count = len(exploration.visited)
    figure.suptitle(
        f"{names}\n{count:,} machine{'s' if count > 1 else ''}; "
        f"ringed: the {len(exploration.front):,} that none beats in cycles, energy and area at once",
        fontsize=10,
    )
    return figure


def _few(sizes: Sequence[int]) -> list[int]:
    """Some of the sizes, the largest among them."""
    distinct = sorted(set(sizes), reverse=True)
    return distinct[:: -(-len(distinct) // _TICKS)]


def _scatter(axes: Axes, exploration: Exploration, place: int, norm: LogNorm) -> None:
    """Cycles against another of the costs, and the staircase of those that none beats in these two."""

    def spots(some: Sequence[Visited]) -> tuple[list[float], list[float]]:
        factor = 1e-6 if place == 1 else 1.0  # picojoules to microjoules
        return [v.costs[0] for v in some], [v.costs[place] * factor for v in some]

    colours = [visited.area.multipliers for visited in exploration.visited]
    axes.scatter(*spots(exploration.visited), c=colours, cmap=_COLOURS, norm=norm, s=16, alpha=0.8, linewidths=0)
    axes.scatter(*spots(exploration.front), s=42, facecolors="none", edgecolors=Palette.INK, linewidths=0.9)
    stairs: list[Visited] = []
    for visited in exploration.front:
        if not stairs or visited.costs[place] < stairs[-1].costs[place]:
            stairs.append(visited)
    axes.step(*spots(stairs), where="post", color=Palette.INK, linewidth=0.9, alpha=0.6, zorder=0.9)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axis.set_minor_formatter(NullFormatter())
    for step in sorted({n * (len(stairs) - 1) // (_LABELS - 1) for n in range(_LABELS)}):
        (x,), (y,) = spots([stairs[step]])
        config = stairs[step].point.config
        text = f"{config.rows}x{config.columns}, {config.sram_bytes >> 10} KiB"
        axes.annotate(text, (x, y), (7, 6), textcoords="offset points", fontsize=8, color=Palette.INK)
    axes.margins(x=0.12, y=0.1)
