"""A comparison of two computations as a table for the terminal, and as plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ..golden.compare import Comparison
from .table import NOT_MEASURED, count, new_table

FORMAT = "eightfold-compare/1"


def comparison_json(model: str, comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain values."""
    return {
        "format": FORMAT,
        "model": model,
        "left": comparison.left,
        "right": comparison.right,
        "equal": comparison.equal,
        "layers": [asdict(layer) for layer in comparison.layers],
        "first": None if comparison.first is None else asdict(comparison.first),
    }


def comparison_report(model: str, comparison: Comparison) -> RenderableType:
    """A line per layer: how many elements differ, by how much at most, and how many by the layer's own doing."""
    table = new_table(
        f"{model}: {comparison.left} and {comparison.right}",
        ("#", ">"),
        ("operator", "<"),
        ("elements", ">"),
        ("differ", ">"),
        ("by at most", ">"),
        ("alone", ">"),
    )
    for layer in comparison.layers:
        table.add_row(
            str(layer.index),
            layer.op,
            count(layer.elements),
            Text(count(layer.mismatches), style="bold red" if layer.mismatches else "green"),
            f"{layer.largest:g}" if layer.mismatches else NOT_MEASURED,
            count(layer.alone),
        )
    wrong = sum(layer.mismatches > 0 for layer in comparison.layers)
    if comparison.first is None:
        return Group(table, Text(f"{len(comparison.layers)} outputs, all equal", style="green"))
    text = Text(f"{wrong} of {len(comparison.layers)} outputs differ; alone: from equal inputs\n")
    return Group(table, text.append(f"first: {comparison.first}"))
