"""Accuracy against cost: the table of the 16 MobileNet v1."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from eightfold.hw.config import Config
from eightfold.reports.energy import EnergyTable
from eightfold.table1 import POINT, accuracy_cells, cost, findings, main, pareto
from eightfold.training.table1 import (
    IMAGENET,
    RESOLUTIONS,
    WIDTHS,
    Gains,
    Result,
    by_variant,
    load_results,
    save_results,
)

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
    assert load_results(path) == (RESULT,)
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_the_command_puts_accuracy_beside_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_results([RESULT], tmp_path / "r.json")
    options = ["--results", str(tmp_path / "r.json"), "--out", str(tmp_path / "out"), "--config", "8x8"]
    main([*options, "--widths", "0.25", "--resolutions", "128", "160"])
    shown = capsys.readouterr().out
    (line,) = [line for line in shown.splitlines() if "12,726,784" in line]
    assert line.split()[:6] == ["0.25", "128", "1", "96.00", "97.00", "95.00"]
    assert "not trained: 0.25 at 160" in shown
    report = json.loads((tmp_path / "out" / "table1.json").read_text())
    first, second = report["variants"]
    assert [seed["trained_accuracy"] for seed in first["digits"]["seeds"]] == [0.97]
    assert first["imagenet"]["fixed"] == 0.399
    assert first["imagenet"]["cost"]["cycles"] > first["digits"]["cost"]["cycles"]
    assert second["digits"]["seeds"] == []
    assert "| 0.25 | 128 | 96.00 | 97.00 | 95.00 |" in (tmp_path / "out" / "table1.md").read_text()
    assert (tmp_path / "out" / "table1.png").read_bytes().startswith(b"\x89PNG")


def seeds(*accuracies: tuple[float, float, float], width: float = 0.25) -> list[Result]:
    """A variant's results: in float, trained, calibrated."""
    return [
        replace(RESULT, width=width, seed=seed, float_accuracy=f, trained_accuracy=t, calibrated_accuracy=c)
        for seed, (f, t, c) in enumerate(accuracies)
    ]


def test_several_seeds_are_shown_by_mean_and_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third = seeds((0.96, 0.97, 0.95), (0.98, 0.97, 0.95), (0.97, 0.955, 0.98))
    folder = tmp_path / "second"
    folder.mkdir()
    save_results([second, third], folder / "results.json")
    save_results([first], tmp_path / "first.json")
    options = ["--results", str(tmp_path / "first.json"), str(folder), "--out", str(tmp_path / "out")]
    main([*options, "--config", "8x8", "--widths", "0.25", "--resolutions", "128"])
    shown = capsys.readouterr().out
    (line,) = [line for line in shown.splitlines() if "12,726,784" in line]
    assert "3  97.00 (96.00 to 98.00)  96.50 (95.50 to 97.00)  96.00 (95.00 to 98.00)" in line
    assert "more than a point below float: none of the variants; with single seeds 0.25 at 128 (-1.50)" in shown
    report = json.loads((tmp_path / "out" / "table1.json").read_text())
    assert [seed["seed"] for seed in report["variants"][0]["digits"]["seeds"]] == [0, 1, 2]


def test_one_seed_has_no_range_and_none_has_no_figure() -> None:
    assert accuracy_cells([RESULT]) == ("96.00", "97.00", "95.00")
    assert accuracy_cells([]) == ("-", "-", "-")
    assert findings({}) == []


def test_the_noise_is_that_between_seeds() -> None:
    results = by_variant(
        [*seeds((0.9, 0.91, 0.9), (0.9, 0.93, 0.9)), *seeds((0.9, 0.90, 0.9), (0.9, 0.94, 0.9), width=1.0)]
    )
    gains = Gains.of(results, "float")
    assert gains.gains[0.25, 128] == pytest.approx((0.01, 0.03))
    assert gains.means == pytest.approx({(0.25, 128): 0.02, (1.0, 128): 0.02})
    # Distances from the means: twice 0.01 and twice 0.02; four of them less two means.
    assert gains.deviation == pytest.approx(((2 * 0.01**2 + 2 * 0.02**2) / 2) ** 0.5)
    assert gains.noise((0.25, 128)) == pytest.approx(2 * gains.deviation / 2**0.5)
    alone = Gains.of(by_variant([RESULT]), "calibrated")
    assert alone.deviation is alone.noise((0.25, 128)) is None


def test_what_training_in_8_bits_costs_is_said_of_each_variant() -> None:
    near, far = seeds((0.96, 0.95, 0.95), (0.96, 0.95, 0.95)), seeds((0.96, 0.94, 0.97), (0.96, 0.94, 0.97), width=1.0)
    lines = findings(by_variant([*near, *far]))
    assert lines[0].endswith("against float: -2.00 points (1 at 128) to -1.00 (0.25 at 128), -1.50 on average")
    # Exactly a point is not more than one.
    assert lines[1] == "more than a point below float: 1 at 128; with single seeds 1 at 128 (-2.00), 1 at 128 (-2.00)"
    assert lines[3].endswith("more than noise, two standard errors of a variant's mean: 1 at 128 (-3.00, noise 0.00)")


def test_a_seed_counts_once() -> None:
    with pytest.raises(ValueError, match=r"0\.25 at 128 has two results of the seed 0"):
        by_variant([RESULT, RESULT])


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
    results = by_variant(load_results(docs / "table1.json"))
    assert results
    rows = [line.strip("| ").split(" | ") for line in (docs / "training.md").read_text().splitlines()]
    shown = {(float(row[0]), int(row[1])): row[2:5] for row in rows if len(row) == 13 and row[1].isdigit()}
    assert set(shown) == set(IMAGENET)
    for variant, cells in shown.items():
        assert tuple(cells) == accuracy_cells(results.get(variant, ()))
    # In 8 bits within a point of float, and not below calibration alone by more than noise.
    against_float, against_calibration = (Gains.of(results, base) for base in ("float", "calibrated"))
    assert min(against_float.means.values()) >= -POINT
    assert all(mean >= -(against_calibration.noise(v) or POINT) for v, mean in against_calibration.means.items())
