"""Which machines a sweep visits: values by parameter, all their combinations or some of them, and single points."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...golden.numerics import Rounding
from ...hw.config import FIXED_POINT, KIB, Config, ConfigError

FUSE = "fuse"
"""The one axis that is a parameter of the compiler, and not of the machine."""

AXES = (*(f.name for f in dataclasses.fields(Config) if f.name != "name"), FUSE)
"""What can be swept."""

DEFAULT_AXES: Mapping[str, Sequence[Any]] = {
    "rows": (8, 16, 32),
    "columns": (8, 16, 32),
    "scratchpad_bytes": (64 * KIB, 128 * KIB, 256 * KIB),
    "bus_bytes": (4, 8, 16),
}
"""What is swept where nothing is said."""

MOST_POINTS = 100_000
"""Of one sweep."""


class SpaceError(ValueError):
    """A sweep that cannot be followed. The message names the entry, its value and what was expected."""


@dataclass(frozen=True)
class Point:
    """A machine, and how networks are compiled for it.

    Parameters
    ----------
    config
        The machine; its name says what it is.
    fuse
        As for `compile`.
    """

    config: Config
    fuse: bool = True

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.config.name


@dataclass(frozen=True)
class Skipped:
    """A point of the sweep without figures, and why."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Space:
    """The points of a sweep.

    Parameters
    ----------
    base
        The machine that has the parameters that nothing else names.
    axes
        Values by parameter; the points are their combinations, the last axis fastest.
    points
        Further points, each by the parameters in which it is not `base`.
    sample
        How many of the combinations to take at random, each at most once; None: all.
    seed
        Of that choice.

    Raises
    ------
    SpaceError
        There is no such axis, a value is of the wrong type, or there are more than `MOST_POINTS`.
    """

    base: Config
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    points: Sequence[Mapping[str, Any]] = ()
    sample: int | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        for table in (*(dict.fromkeys(self.axes),), *self.points):
            unknown = next((name for name in table if name not in AXES), None)
            if unknown is not None:
                raise SpaceError(f"nothing is called {unknown!r} in a sweep; there are {', '.join(AXES)}")
        empty = next((name for name, values in self.axes.items() if not values), None)
        if empty is not None:
            raise SpaceError(f"{empty} has no value; one or more were expected")
        if self.sample is not None and self.sample < 1:
            raise SpaceError(f"sample is {self.sample}; 1 or more was expected")
        if self.size > MOST_POINTS:
            raise SpaceError(f"the sweep has {self.size:,} points; at most {MOST_POINTS:,} were expected")

    @property
    def combinations(self) -> int:
        """Of the axes' values; 0 where there are no axes, but points."""
        return math.prod(len(values) for values in self.axes.values()) if self.axes or not self.points else 0

    @property
    def size(self) -> int:
        """Points, those that cannot be built included."""
        return min(self.combinations, self.sample or self.combinations) + len(self.points)

    def visit(self) -> Iterator[Point | Skipped]:
        """Every point once, always in the same order."""
        seen = set()
        for values in itertools.chain(self._chosen(), self.points):
            found = self._point(values)
            if found.name not in seen:
                seen.add(found.name)
                yield found

    def _chosen(self) -> Iterator[Mapping[str, Any]]:
        numbers: Sequence[int] = range(self.combinations)
        if self.sample is not None and self.sample < self.combinations:
            numbers = sorted(random.Random(self.seed).sample(numbers, self.sample))
        for number in numbers:
            values: dict[str, Any] = {}
            for name, choices in reversed(list(self.axes.items())):
                number, place = divmod(number, len(choices))
                values[name] = choices[place]
            yield values

    def _point(self, values: Mapping[str, Any]) -> Point | Skipped:
        values = {**values}
        fuse = values.pop(FUSE, True)
        parameters = {**dataclasses.asdict(self.base), **values}
        name = _name(parameters, fuse)
        if not isinstance(fuse, bool):
            return Skipped(name, f"fuse is {fuse!r}; true or false was expected")
        try:
            return Point(Config(**{**parameters, "name": name}), fuse)
        except ConfigError as error:
            return Skipped(name, str(error))

    @classmethod
    def from_toml(cls, path: str | Path) -> Space:
        """The sweep that a TOML file describes: `base`, `sample`, `seed`, a table `axes`, tables `[[point]]`.

        Raises
        ------
        SpaceError
            The file cannot be read, or an entry is unknown or of the wrong type.
        """
        path = Path(path)
        try:
            return cls(**_read(tomllib.loads(path.read_text(encoding="utf-8")), path.parent))
        except OSError as error:
            raise SpaceError(f"{path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SpaceError(f"{path}: not a TOML file: {error}") from None
        except (SpaceError, ConfigError) as error:
            raise SpaceError(f"{path}: {error}") from None


def _read(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    base = table.pop("base", "16x16")
    if not isinstance(base, str):
        raise SpaceError(f"base is {base!r}; the name of a configuration, or of a TOML file, was expected")
    config = Config.from_toml(folder / base) if base.endswith(".toml") else Config.named(base)
    found: dict[str, Any] = {"base": config, "axes": table.pop("axes", {}), "points": table.pop("point", [])}
    for name in ("sample", "seed"):
        if name in table:
            value = found[name] = table.pop(name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise SpaceError(f"{name} is {value!r}; an integer was expected")
    if table:
        raise SpaceError(f"unknown entry {next(iter(table))!r}; there are base, axes, point, sample, seed")
    if not isinstance(found["axes"], dict) or not all(isinstance(values, list) for values in found["axes"].values()):
        raise SpaceError("axes: a table of lists was expected, such as `rows = [8, 16]`")
    if not isinstance(found["points"], list) or not all(isinstance(point, dict) for point in found["points"]):
        raise SpaceError("point: tables [[point]] of parameters were expected")
    found["axes"] = {name: [_value(name, v) for v in values] for name, values in found["axes"].items()}
    found["points"] = [{name: _value(name, v) for name, v in point.items()} for point in found["points"]]
    return found


def _value(name: str, value: Any) -> Any:
    """A value as `Config` takes it; one that it refuses is left to it."""
    if name == "rounding" and isinstance(value, str):
        return {rounding.value: rounding for rounding in FIXED_POINT}.get(value, value)
    return value


_USUAL = Config()


def _name(parameters: Mapping[str, Any], fuse: Any) -> str:
    """Says all parameters that tell points apart; those seldom swept only where they are not as usual."""

    def size(value: Any) -> str:
        whole = isinstance(value, int) and value % KIB == 0
        return f"{value // KIB}" if whole else f"{value}B"

    p = parameters
    rounding = p["rounding"].value if isinstance(p["rounding"], Rounding) else p["rounding"]
    parts = [
        f"{p['rows']}x{p['columns']}",
        f"s{size(p['scratchpad_bytes'])}",
        f"w{size(p['weight_bytes'])}",
        f"a{size(p['accumulator_bytes'])}",
        f"b{p['bus_bytes']}",
    ]
    marks = {"burst_beats": "burst", "outstanding_bursts": "under-way", "multiplier_stages": "stages"}
    if p["lanes"]:
        parts.append(f"l{p['lanes']}")
    parts += [f"{mark}{p[key]}" for key, mark in marks.items() if p[key] != getattr(_USUAL, key)]
    if rounding != _USUAL.rounding.value:
        parts.append(str(rounding))
    if fuse is not True:
        parts.append("unfused" if fuse is False else f"fuse={fuse}")
    return "-".join(parts)
