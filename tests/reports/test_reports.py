"""Tables and figures show what a result holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from eightfold.golden.reader import read
from eightfold.reports.figure import layer_figure, save_figure
from eightfold.reports.inspection import inspect, inspection_report
from eightfold.reports.table import run_report
from eightfold.sim.result import RunResult

from ..sim.test_result import result

MODELS = Path(__file__).parents[2] / "models"


def text(report: RenderableType, width: int = 120) -> str:
    console = Console(width=width, no_color=True, highlight=False)
    with console.capture() as capture:
        console.print(report)
    return capture.get()


def line(report: str, start: str) -> list[str]:
    (found,) = [row.split() for row in report.splitlines() if row.strip().startswith(f"{start} ")]
    return found


def test_a_layer_s_line_has_its_figures() -> None:
    report = text(run_report(result()))
    assert line(report, "0") == ["0", "CONV_2D", "array", "12,800", "100", "50.0%", "304", "exact"]
    assert line(report, "1") == ["1", "DEPTHWISE_CONV_2D", "host", "1,000", "-", "-", "-", "exact"]
    assert line(report, "total") == ["total", "1", "of", "2", "13,800", "100", "50.0%", "304", "exact"]
    assert "on the host, as of this: DEPTHWISE_CONV_2D 1" in report


def test_the_table_fits_a_narrow_terminal() -> None:
    assert all(len(row) <= 80 for row in text(run_report(result()), 80).splitlines())
    assert "…" not in text(run_report(result()), 80)


@pytest.mark.parametrize(("mismatches", "words"), [(5, "5 of 64 differ"), (None, "not seen")])
def test_a_run_that_is_not_exact_says_so(mismatches: int | None, words: str) -> None:
    report = text(run_report(result(mismatches=mismatches)))
    assert " ".join(line(report, "0")).endswith(words)
    assert " ".join(line(report, "total")).endswith("not exact")


def test_what_was_not_measured_is_a_dash() -> None:
    report = text(run_report(result(timed=False)))
    assert line(report, "0") == ["0", "CONV_2D", "array", "12,800", "-", "-", "-", "exact"]


def test_the_figure_has_a_bar_for_every_layer_on_the_array(tmp_path: Path) -> None:
    figure = layer_figure(result())
    cycles, shares = figure.axes
    assert [bar.get_width() for bar in cycles.patches] == [100]  # type: ignore[attr-defined]
    assert [bar.get_width() for bar in shares.patches] == [100, 50]  # type: ignore[attr-defined]
    for name in ("layers.png", "layers.svg"):
        save_figure(result(), tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000


def test_there_is_no_figure_without_cycles() -> None:
    with pytest.raises(ValueError, match="golden has no cycles to draw"):
        layer_figure(result(timed=False))
    host: RunResult = dataclasses.replace(result(), layers=result().layers[1:])
    with pytest.raises(ValueError, match="no cycles to draw"):
        layer_figure(host)


def test_an_inspection_counts_products_and_bytes() -> None:
    inspection = inspect(read(MODELS / "digits.tflite"))
    assert inspection.macs == 333_376
    first, dense = inspection.operators[0], inspection.operators[5]
    assert (first.op, first.macs, first.weight_bytes) == ("CONV_2D", 8 * 8 * 9 * 16, 9 * 16 + 4 * 16)
    assert (dense.op, dense.macs, dense.weight_bytes) == ("FULLY_CONNECTED", 1600, 1600 + 40)
    weights = inspection.tensors[first.inputs[1]]
    assert (weights.role, weights.shape, len(weights.scales), weights.axis) == ("constant", (16, 3, 3, 1), 16, 0)
    assert [t.role for t in inspection.tensors if t.role in ("input", "output")] == ["input", "output"]


def test_an_inspection_is_shown_with_types_and_quantization() -> None:
    report = text(inspection_report(inspect(read(MODELS / "digits.tflite"))))
    assert "int8[1, 8, 8, 16]" in report
    assert "(16 along axis 0)" in report
    assert "fused_activation_function RELU" in report
    assert "333,376 MACs" in report
