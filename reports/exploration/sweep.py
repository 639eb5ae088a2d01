"""A sweep: every point's figures, those that nothing beats, and a journal that lets it go on where it was cut off."""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from ...golden.numerics import Profile
from ...sim.errors import SettingError, SimulatorError
from ...sim.job import Outcome
from ...sim.pools import in_processes, on_cluster
from ...sim.rtl import DEFAULT_LATENCY
from ..energy import DEFAULT_TABLE, TABLES, EnergyTable
from .area import Area, area_of
from .evaluation import Evaluation, Figures, Network
from .luts import lut_fit
from .space import Point, Skipped, Space

FORMAT = "eightfold-exploration/1"
"""Names the JSON form; the number changes when a reader of the old form would be misled."""

JOURNAL = "points.jsonl"
"""The file in which finished points are kept: a line of JSON for each."""


@dataclass(frozen=True)
class Visited:
    """A point and what it costs.

    Parameters
    ----------
    point
        The machine.
    figures
        Of each network, in order.
    """

    point: Point
    figures: tuple[Figures, ...]

    @property
    def name(self) -> str:
        """The point's."""
        return self.point.name

    @cached_property
    def area(self) -> Area:
        """Of the machine."""
        return area_of(self.point.config)

    @property
    def luts(self) -> int:
        """Lookup tables of an ECP5 that the machine takes, estimated."""
        return lut_fit().luts(self.area.multipliers, self.area.lanes)

    @cached_property
    def cycles(self) -> float:
        """The geometric mean of all networks'."""
        return _mean([figures.cycles for figures in self.figures])

    @cached_property
    def energy(self) -> float:
        """The geometric mean of all networks' picojoules."""
        return _mean([figures.energy for figures in self.figures])

    @property
    def dram_bytes(self) -> int:
        """Of all networks together."""
        return sum(figures.dram_bytes for figures in self.figures)

    @property
    def costs(self) -> tuple[float, float, float]:
        """What should be small: cycles, energy, square millimetres."""
        return self.cycles, self.energy, self.area.square_millimetres


def _mean(values: Sequence[float]) -> float:
    """The geometric mean; 0 if a value is."""
    return math.exp(sum(map(math.log, values)) / len(values)) if all(values) else 0.0


@dataclass(frozen=True, eq=False)
class Exploration:
    """What a sweep found.

    Parameters
    ----------
    networks
        Their names.
    latency, table
        As it was asked for.
    visited
        Every point with figures, in the order of the sweep.
    skipped
        Every other point.
    """

    networks: tuple[str, ...]
    latency: int
    table: EnergyTable
    visited: tuple[Visited, ...]
    skipped: tuple[Skipped, ...]

    @cached_property
    def front(self) -> tuple[Visited, ...]:
        """The points that no other beats in cycles, energy and area at once, the fastest first."""
        ordered = sorted(self.visited, key=lambda visited: (visited.costs, visited.name))
        front: list[Visited] = []
        for visited in ordered:
            # What beats a point comes before it; of equals the first stays.
            if not any(all(a <= b for a, b in zip(other.costs, visited.costs, strict=True)) for other in front):
                front.append(visited)
        return tuple(front)

    def find(self, name: str) -> Visited:
        """A point by its name, or the `fastest`, `smallest` or `frugal` (least energy) one of the front.

        Raises
        ------
        SettingError
            There is none.
        """
        places = {"fastest": 0, "frugal": 1, "smallest": 2}
        if name in places and self.front:
            return min(self.front, key=lambda visited: visited.costs[places[name]])
        found = next((visited for visited in self.visited if visited.name == name), None)
        if found is None:
            raise SettingError(f"no point of the sweep is called {name!r}; fastest, smallest and frugal always are")
        return found

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row of figures for every network at every point."""
        best = {visited.name for visited in self.front}
        for visited in self.visited:
            config = {key: value for key, value in visited.point.config.as_dict().items() if key != "name"}
            for network, figures in zip(self.networks, visited.figures, strict=True):
                yield {
                    "point": visited.name,
                    "network": network,
                    "front": int(visited.name in best),
                    "cycles": figures.cycles,
                    "utilization": figures.utilization,
                    "dram_bytes": figures.dram_bytes,
                    "energy_low_pj": figures.energy_low,
                    "energy_high_pj": figures.energy_high,
                    "multipliers": visited.area.multipliers,
                    "ram_bits": visited.area.ram_bits,
                    "square_millimetres": visited.area.square_millimetres,
                    "luts": visited.luts,
                    "on_machine": figures.on_machine,
                    "operators": figures.operators,
                    **config,
                    "fuse": int(visited.point.fuse),
                }

    def to_json(self) -> dict[str, Any]:
        """All figures as plain values; docs/exploration.md describes them."""
        return {
            "format": FORMAT,
            "networks": list(self.networks),
            "latency": self.latency,
            "energy_table": self.table.name,
            "front": [visited.name for visited in self.front],
            "figures": list(self.rows()),
            "skipped": [{"point": skipped.name, "reason": skipped.reason} for skipped in self.skipped],
        }


Told = Callable[[int, int], None]
"""Is called with the number of points that are done, and of all."""


def explore(
    networks: Sequence[Network],
    space: Space,
    *,
    out: str | Path,
    profile: Profile | None = None,
    latency: int = DEFAULT_LATENCY,
    table: EnergyTable = TABLES[DEFAULT_TABLE],
    jobs: int | None = None,
    scheduler: str | None = None,
    told: Told = lambda done, total: None,
) -> Exploration:
    """Finds out what networks cost on many machines.

    Parameters
    ----------
    networks
        What runs there.
    space
        The machines.
    out
        A folder for the journal of finished points: those that are there already are not computed again.
    profile
        Whose arithmetic; None: for each machine the one that its rounding suits.
    latency
        Of the memory, in cycles.
    table
        What actions cost in energy.
    jobs
        Processes on this computer; by default one per processor.
    scheduler
        The address of a Dask scheduler, for its workers to do it instead.
    told
        Is told how far it is.

    Raises
    ------
    SettingError
        A parameter is out of range.
    ModelError
        A network is not one.
    SimulatorError
        The folder cannot be written, another sweep is at work there, or a point broke off. Finished points are kept.
    """
    if not networks:
        raise SettingError("there is no network to explore; 1 or more was expected")
    if jobs is not None and jobs < 1:
        raise SettingError(f"jobs is {jobs}; 1 or more was expected")
    if latency < 1:
        raise SettingError(f"latency is {latency}; at least 1 cycle was expected")
    for network in networks:
        _ = network.graph  # what is no network is said at once
    found = list(space.visit())
    tasks = [Evaluation(point, networks, profile, latency, table) for point in found if isinstance(point, Point)]
    with _journal(Path(out)) as journal:
        known = _read(journal)
        results = {task.name: known[task.key] for task in tasks if task.key in known}
        todo = [task for task in tasks if task.name not in results]
        told(len(results), len(tasks))
        broken = []
        for task, outcome in _outcomes(todo, jobs, scheduler):
            if outcome.error:
                broken.append(f"{task.name}: {outcome.error}")
                continue
            results[task.name] = json.loads(outcome.result)
            _keep(journal, task.key, results[task.name])
            told(len(results), len(tasks))
        if broken:
            more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
            raise SimulatorError(f"{broken[0]}{more}; all other points are kept in {journal.name}")
    return _result(networks, latency, table, found, results)


def _outcomes(
    todo: Sequence[Evaluation], jobs: int | None, scheduler: str | None
) -> Iterator[tuple[Evaluation, Outcome]]:
    if not todo:
        return
    if scheduler is not None:
        outcomes = on_cluster(todo, scheduler)
    else:
        outcomes = in_processes(todo, min(jobs or os.cpu_count() or 1, len(todo)))
    for number, outcome in outcomes:
        yield todo[number], outcome


def _result(
    networks: Sequence[Network],
    latency: int,
    table: EnergyTable,
    found: Sequence[Point | Skipped],
    results: Mapping[str, list[dict[str, Any]]],
) -> Exploration:
    visited: list[Visited] = []
    skipped = []
    for point in found:
        if isinstance(point, Skipped):
            skipped.append(point)
            continue
        reasons = [figures["reason"] for figures in results[point.name] if "reason" in figures]
        if reasons:
            skipped.append(Skipped(point.name, "; ".join(reasons)))
        else:
            visited.append(Visited(point, tuple(Figures(**figures) for figures in results[point.name])))
    most = [max(column) for column in zip(*([f.on_machine for f in v.figures] for v in visited), strict=True)]
    kept = []
    for place in visited:
        # What the host computes costs no cycles here: such a point would look fast.
        less = [
            f"{network.name}: {count - figures.on_machine} of {figures.operators} operators are left to the host "
            "that other machines compute"
            for network, figures, count in zip(networks, place.figures, most, strict=True)
            if figures.on_machine < count
        ]
        less += [
            f"{network.name}: no operator runs on the machine"
            for network, figures, count in zip(networks, place.figures, most, strict=True)
            if figures.on_machine == count and not figures.cycles
        ]
        if less:
            skipped.append(Skipped(place.name, "; ".join(less)))
        else:
            kept.append(place)
    return Exploration(tuple(n.name for n in networks), latency, table, tuple(kept), tuple(skipped))


@contextmanager
def _journal(out: Path) -> Iterator[IO[str]]:
    """The journal, for this process alone."""
    path = out / JOURNAL
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8", errors="replace")
    except OSError as error:
        raise SimulatorError(f"{path} cannot be written: {error.strerror}") from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SimulatorError(f"another exploration is at work in {out}") from None
        yield file
    finally:
        with suppress(OSError):  # what a full disk did not take has been said by then
            file.close()


def _read(journal: IO[str]) -> dict[str, list[dict[str, Any]]]:
    """Finished points by their keys. A line that was cut off is none, and is ended, so that others can follow."""
    journal.seek(0)
    found = {}
    line = "\n"
    for line in journal:
        try:
            entry = json.loads(line)
            if isinstance(entry["figures"], list) and all(map(_sound, entry["figures"])):
                found[entry["key"]] = entry["figures"]
        except (ValueError, KeyError, TypeError):
            continue
    if not line.endswith("\n"):
        journal.write("\n")
    return found


_FIELDS = set(Figures.__dataclass_fields__)


def _sound(figures: Any) -> bool:
    return isinstance(figures, dict) and (set(figures) == _FIELDS or set(figures) == {"reason"})


def _keep(journal: IO[str], key: str, figures: list[dict[str, Any]]) -> None:
    try:
        journal.write(json.dumps({"key": key, "figures": figures}) + "\n")
        journal.flush()
    except OSError as error:
        raise SimulatorError(f"{journal.name} cannot be written: {error.strerror}") from None
