"""A sweep as tables: for the terminal, and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from io import StringIO
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ..energy import Energy
from ..table import new_table
from .sweep import Exploration

_ROWS = 20


def exploration_report(exploration: Exploration) -> RenderableType:
    """The machines that none beats, the fastest first, and how many others there are."""
    networks = exploration.networks
    several = len(networks) > 1
    table = new_table(
        "machines that none beats in cycles, energy and area at once",
        ("point", "<"),
        ("cycles", ">"),
        ("DRAM bytes", ">"),
        ("energy", ">"),
        ("multipliers", ">"),
        ("SRAM KiB", ">"),
        ("mm²", ">"),
        ("LUTs", ">"),
    )
    for visited in exploration.front[:_ROWS]:
        table.add_row(
            visited.name,
            f"{visited.cycles:,.0f}",
            f"{visited.dram_bytes:,}",
            Energy.of(visited.energy).text(),
            f"{visited.area.multipliers:,}",
            f"{visited.point.config.sram_bytes / 1024:,g}",
            f"{visited.area.square_millimetres:.2f}",
            f"{visited.luts:,}",
        )
    lines = []
    if len(exploration.front) > _ROWS:
        lines.append(f"and {len(exploration.front) - _ROWS:,} more of them")
    if several:
        lines.append(f"cycles and energy: geometric means of {', '.join(networks)}; DRAM bytes: of all together")
    machines = f"{len(exploration.visited):,} machine{'s' if len(exploration.visited) != 1 else ''}"
    lines.append(f"{machines}; estimated: mm² at 45 nm, LUTs of an ECP5; energy by {exploration.table.name}")
    if exploration.skipped:
        lines.append(f"{len(exploration.skipped):,} point{'s' if len(exploration.skipped) != 1 else ''} skipped:")
        lines += [f"  {skipped.name}: {skipped.reason}" for skipped in exploration.skipped[:_ROWS]]
        if len(exploration.skipped) > _ROWS:
            lines.append(f"  and {len(exploration.skipped) - _ROWS:,} more")
    return Group(table, *map(Text, lines))


def figures_csv(exploration: Exploration) -> str:
    """A line for every network at every point."""
    return _csv(list(exploration.rows()))


def skipped_csv(exploration: Exploration) -> str:
    """A line for every point without figures."""
    return _csv([{"point": skipped.name, "reason": skipped.reason} for skipped in exploration.skipped])


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    rows = list(rows)
    if not rows:
        return ""
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
