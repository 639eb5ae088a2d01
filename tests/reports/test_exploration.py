"""Sweeps of machines: which points they visit, what they find, and that nothing is lost or done twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from eightfold.compiler import compile
from eightfold.exploring import files_of
from eightfold.golden.reader import read
from eightfold.hw.config import KIB, Config
from eightfold.reports.energy import energy
from eightfold.reports.exploration.area import area_of
from eightfold.reports.exploration.evaluation import Evaluation, Figures, Network
from eightfold.reports.exploration.figure import draw
from eightfold.reports.exploration.space import Point, Skipped, Space, SpaceError
from eightfold.reports.exploration.sweep import JOURNAL, Exploration, Visited, explore
from eightfold.reports.exploration.tables import figures_csv, skipped_csv
from eightfold.sim import pools
from eightfold.sim.errors import SettingError, SimulatorError
from eightfold.sim.job import Outcome
from eightfold.sim.model import profile

DIGITS = Path(__file__).parents[2] / "models" / "digits.tflite"
BASE = Config.named("8x8")
SPACE = Space(base=BASE, axes={"rows": (4, 8, 3), "columns": (4, 8)})


@pytest.fixture
def networks() -> list[Network]:
    return [Network("digits", DIGITS.read_bytes())]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Points are evaluated in this process; their names."""
    performed: list[str] = []

    def perform(self: object, task: Evaluation) -> Outcome:
        performed.append(task.name)
        return task.perform()

    monkeypatch.setattr(pools._Workers, "perform", perform)
    return performed


def names(space: Space) -> list[str]:
    return [point.name for point in space.visit()]


def test_a_grid_has_every_combination_once_the_last_axis_fastest() -> None:
    visited = list(SPACE.visit())
    assert [(p.config.rows, p.config.columns) for p in visited if isinstance(p, Point)] == [
        (4, 4),
        (4, 8),
        (8, 4),
        (8, 8),
    ]
    assert [(p.name[:3], p.reason) for p in visited if isinstance(p, Skipped)] == [
        ("3x4", "rows is 3; 4 to 64 was expected"),
        ("3x8", "rows is 3; 4 to 64 was expected"),
    ]


def test_a_sample_is_part_of_the_grid_and_the_seeds() -> None:
    wide = Space(base=BASE, axes={"rows": range(4, 20), "columns": range(4, 20), "fuse": (True, False)})
    few = replace(wide, sample=30)
    assert len(names(few)) == 30
    assert set(names(few)) < set(names(wide))
    assert names(few) == names(few)
    assert names(few) != names(replace(few, seed=2))
    assert names(replace(SPACE, sample=100)) == names(SPACE)


def test_names_tell_all_points_apart() -> None:
    axes = {"rows": (4, 8), "weight_bytes": (4096, 4104), "burst_beats": (16, 64), "multiplier_stages": (1, 2)}
    space = Space(base=BASE, axes={**axes, "rounding": ("double", "single"), "fuse": (True, False)})
    assert len(names(space)) == 64
    assert len(names(replace(space, axes={**space.axes, "lanes": (0, 2)}))) == 128


def test_a_sweep_from_toml(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(
        'base = "8x8"\nsample = 2\nseed = 3\n'
        '[axes]\nrows = [4, 8]\nrounding = ["single", "double"]\n[[point]]\nrows = 6\n'
    )
    space = Space.from_toml(tmp_path / "sweep.toml")
    assert (space.size, space.sample, space.seed) == (3, 2, 3)
    assert [point.config.rows for point in space.visit() if isinstance(point, Point)][-1] == 6
    assert all(isinstance(point, Point) for point in space.visit())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[axes]\nrow = [4]", "nothing is called 'row'"),
        ("[axes]\nrows = 4", "a table of lists"),
        ("[axes]\nrows = []", "rows has no value"),
        ("sample = 0", "sample is 0"),
        ("sample = true", "sample is True"),
        ('base = "7x7"', "no configuration is named '7x7'"),
        ("base = 7", "base is 7"),
        ("points = 1", "unknown entry 'points'"),
        ("point = [1]", "tables [[point]]"),
        ("=", "not a TOML file"),
        (f"[axes]\nrows = {list(range(400))}\ncolumns = {list(range(400))}", "160,000 points"),
    ],
)
def test_bad_sweeps_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(SpaceError) as caught:
        Space.from_toml(tmp_path / "bad.toml")
    assert message in str(caught.value)
    assert "bad.toml" in str(caught.value)


def test_values_of_wrong_types_are_skipped_with_the_reason() -> None:
    space = Space(base=BASE, axes={"rows": ("x", 4), "fuse": (True, 1), "rounding": ("odd",)})
    assert all(isinstance(point, Skipped) for point in space.visit())


def test_figures_are_those_of_profile_and_energy(networks: list[Network], here: list[str], tmp_path: Path) -> None:
    found = explore(networks, SPACE, out=tmp_path, jobs=1)
    assert here == [visited.name for visited in found.visited]
    assert [skipped.reason for skipped in found.skipped] == ["rows is 3; 4 to 64 was expected"] * 2
    for visited in found.visited:
        cost = profile(compile(read(DIGITS), visited.point.config))
        (figures,) = visited.figures
        assert figures.cycles == cost.cycles
        assert figures.dram_bytes == sum(layer.dram_read_bytes + layer.dram_write_bytes for layer in cost.layers)
        assert figures.energy == pytest.approx(energy(cost).total.middle)


def test_the_same_sweep_gives_the_same_bytes_and_goes_on(
    networks: list[Network], here: list[str], tmp_path: Path
) -> None:
    first = explore(networks, SPACE, out=tmp_path / "a", jobs=2)
    assert len(here) == 4
    journal = tmp_path / "a" / JOURNAL
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:2]) + "not JSON\n" + '{"key": "x", "figures": [1]}\n' + lines[3][:20])
    told: list[tuple[int, int]] = []
    again = explore(networks, SPACE, out=tmp_path / "a", jobs=1, told=lambda *state: told.append(state))
    assert (told[0], told[-1], len(here)) == ((2, 4), (4, 4), 6)
    assert figures_csv(again) == figures_csv(first)
    assert again.to_json() == first.to_json()
    assert [draw(again, kind) for kind in ("png", "svg")] == [draw(first, kind) for kind in ("png", "svg")]
    explore(networks, SPACE, out=tmp_path / "a")
    assert len(here) == 6
    explore(networks, SPACE, out=tmp_path / "a", latency=64)
    assert len(here) == 10


def test_what_breaks_off_is_named_and_the_rest_kept(
    networks: list[Network], here: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform, odd = Evaluation.perform, names(SPACE)[2]
    monkeypatch.setattr(Evaluation, "perform", lambda task: Outcome(error="odd") if task.name == odd else perform(task))
    with pytest.raises(SimulatorError, match=rf"{odd}: odd"):
        explore(networks, SPACE, out=tmp_path, jobs=1)
    monkeypatch.undo()
    assert len((tmp_path / JOURNAL).read_text().splitlines()) == 3


def test_a_point_that_no_network_fits_is_skipped(networks: list[Network], here: list[str], tmp_path: Path) -> None:
    space = Space(base=BASE, axes={"scratchpad_bytes": (128, 40 * KIB)})
    found = explore(networks, space, out=tmp_path, jobs=1)
    assert len(found.visited) == 1
    (skipped,) = found.skipped
    assert "digits" in skipped.reason
    assert skipped.name in skipped_csv(found)


def test_points_that_leave_more_to_the_host_are_not_compared(
    networks: list[Network], here: list[str], tmp_path: Path
) -> None:
    from eightfold.golden.numerics import Profile, Rounding

    space = Space(base=BASE, axes={"rounding": (Rounding.DOUBLE, Rounding.SINGLE)})
    found = explore(networks, space, out=tmp_path / "a", jobs=1, profile=Profile.TFLM)
    assert [skipped.reason for skipped in found.skipped] == [
        "digits: 5 of 7 operators are left to the host that other machines compute"
    ]
    assert len(explore(networks, space, out=tmp_path / "b", jobs=1).visited) == 2


def test_in_other_processes(networks: list[Network], tmp_path: Path) -> None:
    found = explore(networks, replace(SPACE, sample=2), out=tmp_path, jobs=2)
    assert len(found.visited) + len(found.skipped) == 2


@pytest.mark.parametrize(("settings", "message"), [({"jobs": 0}, "jobs is 0"), ({"latency": 0}, "latency is 0")])
def test_bad_settings_are_refused(
    networks: list[Network], tmp_path: Path, settings: dict[str, int], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        explore(networks, SPACE, out=tmp_path, **settings)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="no network"):
        explore([], SPACE, out=tmp_path)


def test_one_sweep_at_a_time_in_a_folder(networks: list[Network], here: list[str], tmp_path: Path) -> None:
    def told(done: int, total: int) -> None:
        with pytest.raises(SimulatorError, match="another exploration"):
            explore(networks, SPACE, out=tmp_path)

    explore(networks, SPACE, out=tmp_path, jobs=1, told=told)


def test_the_front_is_what_nothing_beats() -> None:
    def visited(rows: int, cycles: int, spent: float) -> Visited:
        figures = Figures(
            cycles=cycles, utilization=0.5, dram_bytes=1, energy_low=spent, energy_high=spent, on_machine=1, operators=1
        )
        return Visited(Point(replace(BASE, name=str(rows), rows=rows)), (figures,))

    points = [visited(8, 100, 5), visited(8, 100, 5), visited(4, 200, 5), visited(4, 150, 9), visited(16, 100, 6)]
    found = Exploration(("n",), 20, None, tuple(points), ())  # type: ignore[arg-type]
    assert list(found.front) == [points[0], points[3], points[2]]
    assert found.find("fastest") is points[0]
    assert found.find("smallest") is points[3] or found.find("smallest") is points[2]
    with pytest.raises(SettingError, match="no point"):
        found.find("none")


def test_the_area_is_a_sum() -> None:
    area = area_of(Config.named("16x16"))
    assert (area.multipliers, area.lanes, area.ram_bits) == (256, 16, 8 * 384 * KIB)
    parts = 256 * (282 + 137) + 16 * (3495 + 4 * 137) + 8 * 384 * KIB * 0.74
    assert area.square_millimetres == pytest.approx(parts * 1e-6)


def test_the_json_is_plain(networks: list[Network], here: list[str], tmp_path: Path) -> None:
    found = explore(networks, SPACE, out=tmp_path, jobs=1).to_json()
    assert json.loads(json.dumps(found)) == found
    assert {row["point"] for row in found["figures"]} >= set(found["front"])


def test_networks_of_which_nothing_runs_on_the_machine_are_told_and_drawn_nowhere(
    here: list[str], tmp_path: Path
) -> None:
    content = DIGITS.with_name("digits_float.tflite").read_bytes()
    found = explore([Network("float", content)], Space(base=BASE), out=tmp_path)
    assert [(s.name, s.reason) for s in found.skipped] == [(here[0], "float: no operator runs on the machine")]
    assert set(files_of(found, [])) == {"explore.json", "skipped.csv"}
