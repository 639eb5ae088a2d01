"""A study's figures. Each is a function from a `Study` to a matplotlib figure, or None where it has nothing to show.

Figures are drawn narrow, so that a page can put them side by side on a screen and one below the other on a telephone.
Colours are those of `Palette`, each one of a kind, so that a page can replace them by its own for a dark screen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from ..hw.config import KIB
from .actions import Traffic
from .causes import LABELS
from .distribution import LEVELS, Distribution
from .energy import COMPONENTS, Energy
from .study import Study


class Palette:
    """Hexadecimal colours; `PALETTE` lists them."""

    INK = "#1c2b33"
    MUTED = "#5b6b74"
    GRID = "#d9e0e4"
    BLUE = "#2b6f9b"
    TEAL = "#3ba58f"
    AMBER = "#dfa12b"
    RED = "#c9543c"
    VIOLET = "#7c6ab1"
    GREY = "#a7b3ba"


PALETTE = {name.lower(): value for name, value in vars(Palette).items() if name.isupper()}
"""Every colour that figures use, by name."""

_CAUSES = dict(
    zip(
        LABELS,
        (Palette.BLUE, Palette.TEAL, Palette.AMBER, Palette.RED, Palette.VIOLET, Palette.GREY),
        strict=True,
    )
)
_ENERGY = dict(
    zip(
        COMPONENTS,
        (Palette.BLUE, Palette.TEAL, Palette.VIOLET, Palette.AMBER, Palette.GREY, Palette.RED),
        strict=True,
    )
)
_TRAFFIC = {
    "weights": ("weights", Palette.BLUE),
    "activations_read": ("activations in", Palette.TEAL),
    "activations_written": ("activations out", Palette.AMBER),
    "commands": ("commands", Palette.GREY),
}
BEYOND_WIDTH = 4.2
"""How many times the bytes of int8 is more than the width of an element and whole beats can make."""

_WIDTH = 4.7
_ROW = 0.17
_SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.4,
    "text.color": Palette.INK,
    "axes.edgecolor": Palette.GREY,
    "axes.labelcolor": Palette.MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid.axis": "x",
    "grid.color": Palette.GRID,
    "grid.linewidth": 0.6,
    "xtick.color": Palette.MUTED,
    "ytick.color": Palette.MUTED,
    "xtick.labelcolor": Palette.MUTED,
    "ytick.labelcolor": Palette.INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "legend.handlelength": 0.9,
    "legend.handleheight": 0.9,
    "legend.columnspacing": 1.2,
    "legend.handletextpad": 0.45,
    "svg.fonttype": "none",
    "svg.hashsalt": "eightfold",
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Chart:
    """A kind of figure.

    Parameters
    ----------
    name
        Of its file.
    title
        Above it.
    draw
        Gives the figure; None where the study has nothing for it.
    """

    name: str
    title: str
    draw: Callable[[Study], Figure | None]


def svg(chart: Chart, study: Study) -> str | None:
    """A figure as SVG text, the same for the same study; None where there is nothing to show."""
    with rc_context(_SETTINGS):
        figure = chart.draw(study)
        if figure is None:
            return None
        target = StringIO()
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return target.getvalue()


def short(op: str) -> str:
    """An operator's kind as figures call it."""
    names = {"CONV_2D": "conv", "DEPTHWISE_CONV_2D": "depthwise", "FULLY_CONNECTED": "dense"}
    return names.get(op, op.lower().replace("_2d", "").replace("_", " "))


def _new(rows: int | None = None, height: float = 2.7) -> tuple[Figure, Axes]:
    """A figure; `rows` makes it as high as so many bars need."""
    figure = Figure(figsize=(_WIDTH, height if rows is None else 0.95 + _ROW * max(rows, 3)), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _label_layers(axes: Axes, study: Study, operators: Sequence[int]) -> None:
    labels = [f"{short(study.layers[i].op)} {study.layers[i].index}" for i in operators]
    axes.set_yticks(range(len(operators)), labels)
    axes.set_ylim(len(operators) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)


def _stacked(
    axes: Axes, rows: Sequence[dict[str, float]], style: dict[str, tuple[str, str]], *, legend: bool = True
) -> None:
    left = np.zeros(len(rows))
    for key, (label, color) in style.items():
        values = np.array([row[key] for row in rows])
        if values.sum() > 0.001 * max(1e-30, sum(sum(row.values()) for row in rows)):
            axes.barh(range(len(rows)), values, left=left, height=0.74, color=color, label=label, linewidth=0)
        left += values
    axes.set_xlim(0, 1.04 * max(left.max(), 1e-30))
    axes.grid(True)
    axes.spines["bottom"].set_visible(False)
    if legend:
        _legend(axes)


def _legend(axes: Axes) -> None:
    figure = axes.figure
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3)


def _number(value: float, _: Any = None) -> str:
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:g}{unit}"
    return f"{value:g}"


def _bytes(value: float, _: Any = None) -> str:
    for factor, unit in ((KIB * KIB, " MiB"), (KIB, " KiB")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g} B"


def _ticks(axes: Axes, label: str, form: Callable[..., str]) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: form(value, place) if value else "0"))
    axes.set_xlabel(label)


def cycles(study: Study) -> Figure | None:
    """Cycles of each layer, by cause."""
    operators = study.on_machine
    if not operators:
        return None
    figure, axes = _new(len(operators))
    style = {name: (label, _CAUSES[name]) for name, label in LABELS.items()}
    _stacked(axes, [study.causes[i].shares for i in operators], style)
    _label_layers(axes, study, operators)
    _ticks(axes, "cycles", _number)
    return figure


def utilization(study: Study) -> Figure | None:
    """The share of the array that works, layer by layer."""
    operators = study.on_machine
    if not operators:
        return None
    figure, axes = _new(len(operators))
    shares = [100 * (study.layers[i].utilization or 0) for i in operators]
    places = range(len(operators))
    axes.barh(places, [100] * len(operators), height=0.74, color=Palette.GRID, linewidth=0)
    axes.barh(places, shares, height=0.74, color=Palette.BLUE, linewidth=0, label="of the array in each layer")
    whole = study.profile.utilization
    if whole is not None:
        axes.axvline(100 * whole, color=Palette.RED, linewidth=1, label=f"of the array in all, {whole:.1%}")
    _label_layers(axes, study, operators)
    axes.set_xlim(0, 100)
    axes.spines["bottom"].set_visible(False)
    _ticks(axes, "products, % of what the array could compute", lambda value, _: f"{value:.0f}")
    _legend(axes)
    return figure


def roofline(study: Study) -> Figure | None:
    """Each layer's speed over its products per byte, under what array and bus allow."""
    config = study.program.config
    points = []
    for i in study.on_machine:
        layer, moved = study.layers[i], study.traffic[i]
        busier = max(moved.read, moved.activations_written)
        if layer.cycles and layer.macs and busier:
            points.append((layer.macs / busier, layer.macs / layer.cycles, layer.op, layer.cycles, layer.index))
    if not points:
        return None
    figure, axes = _new(height=3.4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    low = min(0.5, min(p[0] for p in points) / 2)
    high = max(4 * config.multipliers / config.bus_bytes, 2 * max(p[0] for p in points))
    xs = np.geomspace(low, high, 200)
    axes.plot(xs, np.minimum(xs * config.bus_bytes, config.multipliers), color=Palette.MUTED, linewidth=1.1)
    kinds = {"DEPTHWISE_CONV_2D": Palette.AMBER, "FULLY_CONNECTED": Palette.RED, "CONV_2D": Palette.BLUE}
    most = max(p[3] for p in points)
    seen = set()
    for x, y, op, took, _ in sorted(points, key=lambda p: -p[3]):
        label = None if op in seen else short(op)
        seen.add(op)
        size = 12 + 130 * took / most
        axes.scatter(x, y, s=size, color=kinds.get(op, Palette.TEAL), alpha=0.8, linewidth=0, label=label)
    for (x, y), indices in _clusters([(p[0], p[1], p[4]) for p in sorted(points, key=lambda p: -p[3])[:5]]):
        text = ", ".join(map(str, sorted(indices)))
        axes.annotate(text, (x, y), (0, -13), textcoords="offset points", ha="center", fontsize=7, color=Palette.INK)
    axes.set_xlim(low, high)
    axes.set_ylim(min(0.5 * min(p[1] for p in points), config.multipliers / 64), 1.6 * config.multipliers)
    axes.set_xlabel("products per byte on the bus, in the busier direction")
    axes.set_ylabel("products per cycle")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_number))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(True, axis="both")
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside upper left", ncols=4)
    for handle in legend.legend_handles:
        handle.set_sizes([30])  # type: ignore[union-attr]
    return figure


def _clusters(points: Sequence[tuple[float, float, int]]) -> list[tuple[tuple[float, float], list[int]]]:
    """Points that would hide each other's names in a logarithmic figure, together."""
    found: list[tuple[tuple[float, float], list[int]]] = []
    for x, y, index in points:
        near = (c for c in found if abs(math.log10(c[0][0] / x)) < 0.15 and abs(math.log10(c[0][1] / y)) < 0.15)
        cluster = next(near, None)
        if cluster is None:
            found.append(((x, y), [index]))
        else:
            cluster[1].append(index)
    return found


def traffic(study: Study) -> Figure | None:
    """Bytes on the bus, layer by layer and by kind."""
    operators = study.on_machine
    if not operators or not study.total_traffic.total:
        return None
    figure, axes = _new(len(operators))
    _stacked(axes, [_kinds(study.traffic[i]) for i in operators], _TRAFFIC)
    _label_layers(axes, study, operators)
    _ticks(axes, "bytes between the machine and DRAM", _bytes_decimal)
    return figure


def _kinds(moved: Traffic) -> dict[str, float]:
    return {name: float(getattr(moved, name)) for name in _TRAFFIC}


def saving(study: Study) -> Figure | None:
    """Bytes of each layer in int8 and in float32."""
    if study.wide is None:
        return None
    rows = [
        (i, study.plain_traffic[i].total, study.wide.layers[i].actions.traffic.total)
        for i in study.on_machine
        if i in study.wide.layers and i in study.plain_traffic and study.plain_traffic[i].total
    ]
    if not rows:
        return None
    figure, axes = _new(len(rows))
    axes.set_xscale("log")
    for place, (_, narrow, wide) in enumerate(rows):
        beyond = wide / narrow > BEYOND_WIDTH
        color = Palette.RED if beyond else Palette.GREY
        axes.plot([narrow, wide], [place, place], color=color, linewidth=1.6, zorder=1)
        text = f"{wide / narrow:.1f}"
        axes.annotate(
            text,
            (wide, place),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color=Palette.RED if beyond else Palette.MUTED,
        )
    places = range(len(rows))
    axes.scatter([r[1] for r in rows], places, s=18, color=Palette.BLUE, label="int8", linewidth=0, zorder=2)
    axes.scatter([r[2] for r in rows], places, s=18, color=Palette.RED, label="float32, and how many times as much")
    if study.fused:
        moved = [study.traffic[r[0]].total or math.nan for r in rows]
        axes.scatter(moved, places, s=9, color=Palette.AMBER, label="int8, fused", linewidth=0, zorder=3)
    _label_layers(axes, study, [r[0] for r in rows])
    least = min(min(r[1], study.traffic[r[0]].total or r[1]) for r in rows)
    axes.set_xlim(least / 1.5, max(r[2] for r in rows) * 2.2)
    axes.xaxis.set_major_formatter(FuncFormatter(_bytes_decimal))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("bytes between the machine and DRAM")
    axes.grid(True)
    axes.spines["bottom"].set_visible(False)
    _legend(axes)
    return figure


def _bytes_decimal(value: float, _: Any = None) -> str:
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    return next((f"{value / factor:g} {unit}" for factor, unit in units if value >= factor), f"{value:g} B")


def energy_of_layers(study: Study) -> Figure | None:
    """Energy of each layer by component."""
    layers = study.energy.layers
    if not layers:
        return None
    figure, axes = _new(len(layers))
    style = {name: (name, color) for name, color in _ENERGY.items()}
    rows = [{name: layer.components[name].middle for name in COMPONENTS} for layer in layers]
    _stacked(axes, rows, style)
    _label_layers(axes, study, study.on_machine)
    _ticks(axes, "energy" + (", middle of the range" if _ranges(study) else ""), lambda v, _: str(Energy.of(v)))
    return figure


def _ranges(study: Study) -> bool:
    total = study.energy.total
    return total.low < total.high


def energy_saved(study: Study) -> Figure | None:
    """Energy by component, in int8 and in float32."""
    if not study.energy.layers or study.wide_energy is None:
        return None
    names = {"int8": study.plain_energy, "float32": study.wide_energy}
    if study.fused:
        names = {"int8, fused": study.energy} | names
    reports = list(names.values())
    figure, axes = _new(height=1.05 + 0.35 * len(reports))
    style = {name: (name, color) for name, color in _ENERGY.items()}
    _stacked(axes, [{name: r.components[name].middle for name in COMPONENTS} for r in reports], style)
    for place, report in enumerate(reports):
        total = report.total
        if total.low < total.high:
            axes.plot([total.low, total.high], [place, place], color=Palette.INK, linewidth=1.2)
    axes.set_xlim(0, 1.04 * max(r.total.high for r in reports))
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    label = "energy of an inference" + (", and its range" if _ranges(study) else "")
    _ticks(axes, label, lambda v, _: str(Energy.of(v)))
    return figure


def memory(study: Study) -> Figure | None:
    """What lies where in the scratchpad, over time."""
    if not study.occupants:
        return None
    figure, axes = _new(height=3.1)
    whole = [o for o in study.occupants if o.tensor is not None]
    strips = [o for o in study.occupants if o.tensor is None and not o.weights]
    weights = [o for o in study.occupants if o.weights]
    kinds = (
        (whole, Palette.BLUE, "whole tensors"),
        (strips, Palette.AMBER, "strips"),
        (weights, Palette.VIOLET, "weights"),
    )
    longest = study.profile.cycles
    highest = max(o.address + o.size for o in study.occupants)
    room = min(study.program.config.scratchpad_bytes, 1 << (highest - 1).bit_length())
    for occupants, color, label in kinds:
        for number, o in enumerate(occupants):
            box = Rectangle(
                (o.start, o.address),
                o.end - o.start,
                o.size,
                facecolor=(*to_rgba(color)[:3],),
                alpha=0.55,
                edgecolor=color,
                linewidth=0.7,
                label=label if number == 0 else None,
            )
            axes.add_patch(box)
            if o.end - o.start > 0.06 * longest and o.size > 0.07 * room:
                index = study.layers[o.operator].index
                axes.text(
                    (o.start + o.end) / 2,
                    o.address + o.size / 2,
                    str(index),
                    ha="center",
                    va="center",
                    fontsize=7,
                    color=Palette.INK,
                )
    axes.set_xlim(0, longest)
    axes.set_ylim(0, room)
    axes.set_yticks([room * quarter / 4 for quarter in range(5)])
    axes.yaxis.set_major_formatter(FuncFormatter(_bytes))
    axes.set_ylabel("scratchpad address")
    _ticks(axes, "cycle", _number)
    _legend(axes)
    return figure


def weights(study: Study) -> Figure | None:
    """How weights use their eight bits."""
    return _heat(study, [d for d in study.distributions if d.kind == "weights"], Palette.BLUE)


def activations(study: Study) -> Figure | None:
    """How activations use their eight bits."""
    return _heat(study, [d for d in study.distributions if d.kind == "activations"], Palette.TEAL)


def _heat(study: Study, found: Sequence[Distribution], color: str) -> Figure | None:
    if not found:
        return None
    figure = Figure(figsize=(_WIDTH, 0.85 + _ROW * max(len(found), 4)), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    counts = np.array([d.counts for d in found], float)
    shade = np.log1p(1000 * counts / np.maximum(1, counts.max(axis=1, keepdims=True))) / math.log1p(1000)
    ramp = LinearSegmentedColormap.from_list("ramp", [(*to_rgba(color)[:3], 0.0), (*to_rgba(color)[:3], 1.0)])
    low = -LEVELS // 2
    left.imshow(
        shade,
        aspect="auto",
        cmap=ramp,
        vmin=0,
        vmax=1,
        interpolation="nearest",
        extent=(low - 0.5, low + LEVELS - 0.5, len(found) - 0.5, -0.5),
    )
    left.set_yticks(range(len(found)), [f"{short(d.op)} {study.layers[d.operator].index}" for d in found])
    left.set_xticks([low, low // 2, 0, -low // 2, -low - 1])
    left.set_xlabel("value, from the lowest of the type to the highest")
    left.spines["left"].set_visible(False)
    noise = [d.sqnr if d.sqnr is not None else math.nan for d in found]
    right.hlines(range(len(found)), 0, noise, color=Palette.GRID, linewidth=1)
    right.scatter(noise, range(len(found)), s=13, color=color, linewidth=0)
    right.set_xlabel("SQNR, dB")
    known = [value for value in noise if not math.isnan(value)]
    right.set_xlim(min([0, *known]), max([60, *known]) + 2)
    right.xaxis.set_major_locator(MaxNLocator(nbins=3))
    right.tick_params(axis="y", labelleft=False)
    right.spines["left"].set_visible(False)
    left.set_ylim(len(found) - 0.4, -0.6)
    return figure


def agreement(study: Study) -> Figure | None:
    """The share of each layer's outputs that other runtimes compute otherwise."""
    runtimes = [(runtime, counts) for runtime, counts in study.others.items() if any(counts.values())]
    operators = sorted({i for _, counts in runtimes for i in counts})
    if not operators:
        return None
    figure, axes = _new(len(operators))
    colors: Iterable[str] = (Palette.AMBER, Palette.RED, Palette.VIOLET, Palette.TEAL)
    height = 0.74 / len(runtimes)
    most = 0.0
    for number, ((runtime, counts), color) in enumerate(zip(runtimes, colors, strict=False)):
        shares = [100 * counts.get(i, 0) / max(1, _elements(study, i)) for i in operators]
        places = [place - 0.37 + height * (number + 0.5) for place in range(len(operators))]
        axes.barh(places, shares, height=height, color=color, linewidth=0, label=runtime.value)
        most = max(most, *shares)
    _label_layers(axes, study, operators)
    axes.set_xlim(0, 1.08 * most if most else 1)
    axes.grid(True)
    axes.spines["bottom"].set_visible(False)
    _ticks(axes, f"elements that differ from {study.program.profile.value}, %", lambda v, _: f"{v:g}")
    _legend(axes)
    return figure


def _elements(study: Study, operator: int) -> int:
    return math.prod(study.graph.tensors[study.graph.operators[operator].outputs[0]].shape)


CHARTS = (
    Chart("cycles", "Where the cycles go", cycles),
    Chart("utilization", "How much of the array works", utilization),
    Chart("roofline", "What limits each layer", roofline),
    Chart("memory", "What lies in the scratchpad", memory),
    Chart("traffic", "What crosses the bus", traffic),
    Chart("saving", "What int8 saves on the bus", saving),
    Chart("energy", "Where the energy goes", energy_of_layers),
    Chart("energy-saved", "What int8 saves in energy", energy_saved),
    Chart("weights", "How weights use eight bits", weights),
    Chart("activations", "How activations use eight bits", activations),
    Chart("agreement", "Where other runtimes differ", agreement),
)
"""The figures of a report, in its order."""
