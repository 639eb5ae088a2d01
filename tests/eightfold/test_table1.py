"""Accuracy against cost: the table of the 16 MobileNet v1."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eightfold.hw.config import Config
from eightfold.reports.energy import EnergyTable
from eightfold.table1 import cost, main, pareto
from eightfold.training.table1 import IMAGENET, RESOLUTIONS, WIDTHS, Result, load_results, save_results

RESULT = Result(0.25, 128, 0, 0.96, 0.97, 0.95, 11488, 1072, 44.0, 6.0, 823868, 0)


def test_the_published_accuracies_are_of_all_variants() -> None:
    assert set(IMAGENET) == {(width, resolution) for width in WIDTHS for resolution in RESOLUTIONS}
    assert IMAGENET[0.25, 128] == (0.415, 0.399)
    assert IMAGENET[1.0, 128] == (0.652, 0.64)
    assert IMAGENET[1.0, 224] == (0.709, 0.697)
    assert all(fixed < floating for floating, fixed in IMAGENET.values())


def test_the_front_has_no_variant_that_another_beats() -> None:
    points = {
        (0.25, 1): (1.0, 0.4),
        (0.5, 1): (2.0, 0.3),
        (0.75, 1): (2.0, 0.6),
        (1.0, 1): (3.0, 0.6),
        (1.0, 2): (4.0, 0.7),
    }
    assert pareto(points) == [(0.25, 1), (0.75, 1), (1.0, 2)]
    assert pareto({}) == []


def test_a_cost_is_that_of_the_published_architecture() -> None:
    small = cost((0.25, 128), Config.named("16x16"), EnergyTable.named("45nm"))
    assert small.macs == 13_570_304  # mobilenet_v1_0.25_128_quant
    assert small.macs / 256 < small.cycles < 120_000
    assert 0 < small.energy.low <= small.energy.high
    # Weights are read once at least.
    assert small.dram_bytes > 470_000


def test_results_go_to_a_file_and_back(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    save_results([RESULT], path)
    assert load_results(path) == {(0.25, 128): RESULT}
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_the_command_puts_accuracy_beside_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_results([RESULT], tmp_path / "r.json")
    options = ["--results", str(tmp_path / "r.json"), "--out", str(tmp_path / "out"), "--config", "8x8"]
    main([*options, "--widths", "0.25", "--resolutions", "128", "160"])
    shown = capsys.readouterr().out
    (line,) = [line for line in shown.splitlines() if "12,726,784" in line]
    assert line.split()[:5] == ["0.25", "128", "96.0%", "97.0%", "95.0%"]
    assert "not trained: 0.25 at 160" in shown
    report = json.loads((tmp_path / "out" / "table1.json").read_text())
    first, second = report["variants"]
    assert first["digits"]["trained_accuracy"] == 0.97
    assert first["imagenet"]["fixed"] == 0.399
    assert first["imagenet"]["cost"]["cycles"] > first["digits"]["cost"]["cycles"]
    assert "trained_accuracy" not in second["digits"]
    assert (tmp_path / "out" / "table1.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--results", "no/such/file"], "No such file"),
        (["--config", "7x"], "7x"),
        (["--energy-table", "3nm"], "3nm"),
        (["--widths", "0.3"], "0.3"),
        (["--shrink", "0"], "--shrink is 0"),
    ],
)
def test_bad_options_are_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--out", str(tmp_path), *options])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    for text in ("{", '[{"width": 1}]', "[1]"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"r\.json: expected a list of results"):
            load_results(path)


def test_the_document_shows_the_results_that_are_committed() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    results = load_results(docs / "table1.json")
    assert results
    rows = [line.strip("| ").split(" | ") for line in (docs / "training.md").read_text().splitlines()]
    shown = {(float(row[0]), int(row[1])): row[2:5] for row in rows if len(row) == 13 and row[1].isdigit()}
    assert set(shown) == set(IMAGENET)
    for variant, cells in shown.items():
        result = results.get(variant)
        accuracies = (result.float_accuracy, result.trained_accuracy, result.calibrated_accuracy) if result else ()
        assert cells == ([f"{100 * accuracy:.2f}" for accuracy in accuracies] or ["-"] * 3)
        # In 8 bits within a point of float.
        assert result is None or result.trained_accuracy >= result.float_accuracy - 0.01
