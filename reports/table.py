"""A run as a table for the terminal: a line per layer, then the totals."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..sim.model import LayerCost
from ..sim.result import LayerResult, RunResult

NOT_MEASURED = "-"

LAYER_COLUMNS = (("#", ">"), ("operator", "<"), ("on", "<"), ("MACs", ">"), ("cycles", ">"))
"""Of `layer_cells`, each with its alignment."""


def new_table(title: str, *columns: tuple[str, str]) -> Table:
    """An empty table; each column has a name and an alignment, `<` or `>`."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for name, alignment in columns:
        table.add_column(name, justify="right" if alignment == ">" else "left", no_wrap=True)
    return table


def run_report(result: RunResult) -> RenderableType:
    """Every layer of a run, and the run as a whole, as rich shows them."""
    return Group(layer_table(result), totals(result))


def layer_table(result: RunResult) -> Table:
    """A line per layer: where it ran, what it cost, whether it agrees with the golden runtime."""
    table = new_table(
        f"{result.model} on {result.config.name}, backend {result.backend}, profile {result.profile.value}",
        *LAYER_COLUMNS,
        ("utilization", ">"),
        ("DRAM bytes", ">"),
        ("agreement", "<"),
    )
    for layer in result.layers:
        moved = total(layer.dram_read_bytes, layer.dram_write_bytes) if layer.where == "array" else None
        table.add_row(*layer_cells(layer), percent(layer.utilization), count(moved), agreement(layer))
    table.add_section()
    table.add_row(
        *total_cells(result.layers, result.cycles),
        percent(result.utilization),
        count(total(result.dram_read_bytes, result.dram_write_bytes)),
        {True: "exact", False: "not exact", None: "not seen"}[result.bit_exact],
        style="bold",
    )
    return table


def layer_cells(layer: LayerResult | LayerCost) -> tuple[RenderableType, ...]:
    """What every table of layers begins with: number, operator, where it runs, MACs, cycles."""
    on_array = layer.where == "array"
    where = Text(layer.where, style="bold" if on_array else "dim")
    return str(layer.index), layer.op, where, count(layer.macs), count(layer.cycles if on_array else None)


def total_cells(layers: Sequence[LayerResult | LayerCost], cycles: int | None) -> tuple[RenderableType, ...]:
    """The same of all layers together."""
    on_array = sum(layer.where == "array" for layer in layers)
    return "", "total", f"{on_array} of {len(layers)}", count(sum(layer.macs for layer in layers)), count(cycles)


def totals(result: RunResult) -> Text:
    """The run in a few lines."""
    text = Text()
    if result.cycles is not None and result.latency is not None:
        memory = f"memory latency {result.latency} cycles" + (f", stalls {result.stalls:.0%}" if result.stalls else "")
        alone = "each layer alone, " if result.jobs is not None else ""
        alone += "all weights on the chip before, " if result.resident else ""
        text.append(f"{result.cycles:,} cycles by the machine's own count ({alone}{memory}); ")
    text.append(f"{result.array_macs:,} of {result.macs:,} MACs on the array")
    if result.utilization is not None:
        text.append(f", {result.utilization:.1%} of what it could do in that time")
    if result.dram_read_bytes is not None and result.dram_write_bytes is not None:
        text.append(f"; {result.dram_read_bytes:,} bytes read from DRAM, {result.dram_write_bytes:,} written")
    reasons: dict[str, dict[str, list[str]]] = {}
    for layer in result.layers:
        if layer.reason is not None:
            reasons.setdefault(layer.reason, {}).setdefault(layer.op, []).append(str(layer.index))
    for reason, layers in reasons.items():
        named = "; ".join(f"{op} {', '.join(indices)}" for op, indices in layers.items())
        text.append(f"\non the host, as {reason}: {named}")
    return text


def agreement(layer: LayerResult) -> Text:
    """How a layer compares with the golden runtime."""
    if layer.mismatches is None:
        return Text("not seen", style="yellow")
    if layer.mismatches == 0:
        return Text("exact", style="green")
    return Text(f"{layer.mismatches:,} of {layer.elements:,} differ", style="bold red")


def count(value: int | None) -> str:
    """A number with separators."""
    return NOT_MEASURED if value is None else f"{value:,}"


def total(read: int | None, written: int | None) -> int | None:
    """Bytes in both directions."""
    return None if read is None or written is None else read + written


def percent(value: float | None) -> str:
    """A ratio in percent."""
    return NOT_MEASURED if value is None else f"{value:.1%}"
