"""How the array works, step by step: drawn from what its simulation holds, cycle by cycle.

python -m eightfold.reports.array_steps docs/array.svg
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from amaranth.sim import Simulator
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from ..hw.array import WEIGHT_BITS, SystolicArray

SIZE = 4
"""Rows and columns of the array in the figure."""

PIXELS = (5, 4)
"""Of the two passes, each with its own tile of weights."""

_SUM_BITS = 18
_INK, _MUTED, _EMPTY = "#1c2b33", "#5b6b74", "#eef2f4"
_TILES = {0: _EMPTY, 1: "#a9cbe2", 2: "#f3d79b"}
_WAYS = {1: "#2b6f9b", 2: "#b57a0e"}

Cycle = dict[str, int]
"""The registers after a cycle, by name: `weight_r_c`, `west_r_c`, `north_r_c`."""


def simulate() -> list[Cycle]:
    """Two passes that follow each other without a gap.

    Every weight of the first tile is 1, of the second 2; all operands of pixel n are n, counted from 1.
    """
    array = SystolicArray(rows=SIZE, columns=SIZE, sum_bits=_SUM_BITS, multiplier_stages=0)
    # Weights enter in the R steps before the pass that uses them.
    steps = SIZE + sum(PIXELS) + 2 * SIZE
    first, second = SIZE, SIZE + PIXELS[0]

    async def bench(context: Any) -> None:
        for step in range(steps):
            weight = 2 if second - SIZE <= step < second else 1 if step < SIZE else 0
            pixel = step - first + 1 if first <= step < first + sum(PIXELS) else 0
            context.set(array.north, sum(weight << (WEIGHT_BITS * c) for c in range(SIZE)))
            context.set(array.west, sum(pixel << (8 * r) for r in range(SIZE)))
            context.set(array.swap, int(step in (first, second)))
            await context.tick()

    simulator = Simulator(array)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "array.vcd"
        with simulator.write_vcd(str(path)):
            simulator.run()
        return _cycles(path.read_text(encoding="utf-8"), steps)


def _cycles(vcd: str, steps: int) -> list[Cycle]:
    """The registers' values after each rising edge of the clock, from a file of waveforms."""
    names = dict(re.findall(r"\$var \w+ \d+ (\S+) (\w+)[ \[]", vcd))
    body = vcd[vcd.index("$enddefinitions") :]
    values: Cycle = {}
    found: list[Cycle] = []
    for line in body.splitlines():
        if match := re.fullmatch(r"b?([01]+) ?(\S+)", line):
            values[names.get(match[2], "")] = int(match[1], 2)
        elif line.startswith("#") and values.get("clk"):
            found.append(dict(values))
    # A time passes at each edge; of the two in a cycle one has the clock high.
    return found[:steps]


def draw(cycles: Sequence[Cycle], shown: Sequence[int]) -> Figure:
    """A frame for each of some cycles: tiles by colour, the pixel that each element works on, weights on their way."""
    columns = 4
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(2.1 * columns, 2.25 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for place, number in enumerate(shown):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.set_title(f"cycle {number}", fontsize=9, color=_INK)
        axes.set_xlim(-0.1, SIZE + 0.1)
        axes.set_ylim(SIZE + 0.1, -0.1)
        axes.set_aspect("equal")
        axes.axis("off")
        for r in range(SIZE):
            for c in range(SIZE):
                held, moving, pixel = (cycles[number].get(f"{what}_{r}_{c}", 0) for what in ("weight", "north", "west"))
                axes.add_patch(Rectangle((c, r), 0.94, 0.94, facecolor=_TILES[held], edgecolor="none"))
                if pixel:
                    axes.text(c + 0.47, r + 0.52, str(pixel), ha="center", va="center", fontsize=10, color=_INK)
                if moving:
                    axes.add_patch(Circle((c + 0.78, r + 0.18), 0.1, facecolor=_WAYS[moving], edgecolor="none"))
    return figure


def svg(figure: Figure) -> str:
    """The figure as text, the same for the same figure."""
    target = StringIO()
    with rc_context({"svg.hashsalt": "eightfold", "svg.fonttype": "none"}):
        figure.savefig(target, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in target.getvalue().splitlines()) + "\n"


def steps() -> str:
    """The figure of docs/array.md."""
    return svg(draw(simulate(), (2, 4, 6, 8, 9, 11, 13, 15)))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(steps(), encoding="utf-8")
