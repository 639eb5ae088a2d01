"""What a Program costs, for the terminal: a line per layer, a line per engine."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..sim.model import CycleProfile
from .table import LAYER_COLUMNS, count, layer_cells, new_table, percent, total_cells


def profile_report(profile: CycleProfile) -> RenderableType:
    """Every layer and every engine, as rich shows them."""
    return Group(_layers(profile), Text(), _engines(profile), _totals(profile))


def _layers(profile: CycleProfile) -> Table:
    program = profile.program
    table = new_table(
        f"{program.graph.name} on {program.config.name}, memory latency {profile.latency} cycles",
        *LAYER_COLUMNS,
        ("share", ">"),
        ("utilization", ">"),
        ("DRAM read", ">"),
        ("written", ">"),
    )
    for layer in profile.layers:
        on_array = layer.where == "array"
        table.add_row(
            *layer_cells(layer),
            percent(layer.cycles / profile.cycles if on_array else None),
            percent(layer.utilization),
            count(layer.dram_read_bytes if on_array else None),
            count(layer.dram_write_bytes if on_array else None),
        )
    table.add_section()
    table.add_row(
        *total_cells(profile.layers, profile.cycles),
        "",
        percent(profile.utilization),
        count(sum(layer.dram_read_bytes for layer in profile.layers)),
        count(sum(layer.dram_write_bytes for layer in profile.layers)),
        style="bold",
    )
    return table


def _engines(profile: CycleProfile) -> Table:
    columns = ("commands", "busy", "of all", "waiting", "frozen")
    table = new_table("", ("engine", "<"), *((name, ">") for name in columns))
    counters = profile.counters
    for engine in ("load", "execute", "store"):
        busy = counters.get(f"{engine}_busy", 0)
        table.add_row(
            engine,
            count(counters.get(f"{engine}_commands", 0)),
            count(busy),
            percent(busy / profile.cycles if profile.cycles else None),
            count(counters.get(f"{engine}_wait", 0)),
            count(counters.get(f"{engine}_frozen")),
        )
    return table


def _totals(profile: CycleProfile) -> Text:
    text = Text(f"{profile.cycles:,} cycles by the cycle model, which equals the RTL")
    program = profile.program
    used = program.allocation
    text.append(
        f"\nscratchpad: {used.peak_bytes:,} bytes of whole tensors at the peak, in {used.extent_bytes:,} of "
        f"{program.config.scratchpad_bytes:,} ({used.fragmentation:.1%} fragmentation)"
    )
    if profile.preload_cycles is not None:
        text.append(
            f"\nall weights were on the chip before; to bring them takes {profile.preload_cycles:,} cycles, once"
        )
    if program.fusions:
        chains = "; ".join(", ".join(str(program.graph.first + o) for o in f.operators) for f in program.fusions)
        text.append(
            f"\nfused in strips: operators {chains}; that saves {program.saved_bytes:,} bytes of loads and stores"
        )
    for operator, size in program.staged.items():
        text.append(
            f"\nloaded ahead of time: {size:,} bytes of the weights of operator {program.graph.first + operator}"
        )
    return text
