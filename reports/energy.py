"""What a network costs in energy: how often a machine acts, times what an action costs by published figures.

Counted are the array's and the requantization lanes' arithmetic and the accesses of all memories. Not counted, since
the sources give no figure: registers, clock, control, leakage, and what the host does. So these are energies to compare
designs and networks by, and lower bounds of a chip's.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..hw.config import KIB, Config
from .actions import Actions, actions_of, steps_of

if TYPE_CHECKING:
    from ..sim.model import CycleProfile
    from ..sim.result import RunResult
    from .float_design import FloatDesign

COMPONENTS = ("array", "accumulators", "requantization", "scratchpad", "weight buffer", "DRAM")
"""What energy is spent in."""

ACCESS_BYTES = 8
"""What the sources' figures for memories are for: an access of 64 bits."""

REQUANTIZATION_ADDITIONS = 3
"""Of 32 bits, beside a multiplication of 32 by 32: the bias, the rounding, the zero point."""


class EnergyError(ValueError):
    """A table of energies that cannot be used. The message names the entry, its value and what was expected."""


@dataclass(frozen=True, slots=True)
class Energy:
    """Picojoules, from `low` to `high`: the source gives a range, or both are equal."""

    low: float
    high: float

    @classmethod
    def of(cls, value: float) -> Energy:
        """An energy without a range."""
        return cls(value, value)

    @property
    def middle(self) -> float:
        """Of the range: what figures draw."""
        return (self.low + self.high) / 2

    def __add__(self, other: Energy) -> Energy:
        return Energy(self.low + other.low, self.high + other.high)

    def __mul__(self, factor: float) -> Energy:
        return Energy(self.low * factor, self.high * factor)

    def text(self, unit: str = "J") -> str:
        """With a prefix to the unit that suits it, such as `1.2 to 2.4 mJ`."""
        factor, prefix = next((f, p) for f, p in _PREFIXES if self.high >= f or p == "p")
        low, high = f"{self.low / factor:.3g}", f"{self.high / factor:.3g}"
        return f"{low} {prefix}{unit}" if low == high else f"{low} to {high} {prefix}{unit}"

    def __str__(self) -> str:
        return self.text()


_PREFIXES = ((1e12, ""), (1e9, "m"), (1e6, "µ"), (1e3, "n"), (1.0, "p"))

NONE = Energy(0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class EnergyTable:
    """What actions cost, in picojoules.

    Parameters
    ----------
    name, source
        What reports call it, and where its figures come from.
    int8_multiply, int32_add, int32_multiply, float32_add, float32_multiply
        An operation.
    sram
        `(bytes, energy)` of an access of 64 bits to a memory of that capacity, rising.
    dram
        An access of 64 bits.
    """

    name: str
    source: str
    int8_multiply: Energy
    int32_add: Energy
    int32_multiply: Energy
    float32_add: Energy
    float32_multiply: Energy
    sram: tuple[tuple[int, Energy], ...]
    dram: Energy

    def access(self, capacity: int) -> Energy:
        """An access of 64 bits to a memory of so many bytes.

        Between the capacities of the table, energy is taken to be a power of the capacity, which is a straight line
        between logarithms; beyond them, the power of the last two goes on.
        """
        if len(self.sram) == 1:
            return self.sram[0][1]
        spans = list(pairwise(self.sram))
        (below, first), (above, last) = next((s for s in spans if capacity <= s[1][0]), spans[-1])
        place = math.log(capacity / below) / math.log(above / below)
        return Energy(
            first.low * (last.low / first.low) ** place,
            first.high * (last.high / first.high) ** place,
        )

    @classmethod
    def named(cls, name: str) -> EnergyTable:
        """The table of that name; see `TABLES`.

        Raises
        ------
        EnergyError
            There is none.
        """
        if name not in TABLES:
            raise EnergyError(f"no table of energies is named {name!r}; there are {', '.join(TABLES)}")
        return TABLES[name]

    @classmethod
    def from_toml(cls, path: str | Path) -> EnergyTable:
        """The table that a TOML file describes; docs/energy.md says how.

        Raises
        ------
        EnergyError
            The file cannot be read, or an entry is missing, unknown, or no energy.
        """
        path = Path(path)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise EnergyError(f"{path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise EnergyError(f"{path}: not a TOML file: {error}") from None
        try:
            return _table({"name": path.stem, "source": str(path), **values})
        except EnergyError as error:
            raise EnergyError(f"{path}: {error}") from None


_OPERATIONS = ("int8_multiply", "int32_add", "int32_multiply", "float32_add", "float32_multiply", "dram")


def _table(values: Mapping[str, Any]) -> EnergyTable:
    known = {"name", "source", "sram", *_OPERATIONS}
    unknown = sorted(set(values) - known)
    if unknown:
        raise EnergyError(f"unknown entry {unknown[0]!r}; there are {', '.join(sorted(known))}")
    missing = [name for name in (*_OPERATIONS, "sram") if name not in values]
    if missing:
        raise EnergyError(f"{missing[0]} is missing")
    for name in ("name", "source"):
        if not isinstance(values[name], str) or not values[name].isprintable():
            raise EnergyError(f"{name} is {values[name]!r}; a line of text was expected")
    energies = {name: _energy(name, values[name]) for name in _OPERATIONS}
    return EnergyTable(name=values["name"], source=values["source"], sram=_sram(values["sram"]), **energies)


def _energy(name: str, value: Any) -> Energy:
    pair = value if isinstance(value, list) else [value, value]
    numbers = [v for v in pair if isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < math.inf]
    if len(numbers) != 2 or len(pair) != 2 or numbers[0] > numbers[1]:
        raise EnergyError(f"{name} is {value!r}; picojoules above 0, or the two ends of a range, were expected")
    return Energy(float(numbers[0]), float(numbers[1]))


def _sram(entries: Any) -> tuple[tuple[int, Energy], ...]:
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise EnergyError("sram: one table [[sram]] or more, each with bytes and energy, were expected")
    points = []
    for entry in entries:
        if set(entry) != {"bytes", "energy"}:
            raise EnergyError(f"sram has {', '.join(sorted(entry)) or 'nothing'}; bytes and energy were expected")
        size = entry["bytes"]
        if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
            raise EnergyError(f"sram: bytes is {size!r}; an integer above 0 was expected")
        points.append((size, _energy("sram: energy", entry["energy"])))
    if any(a[0] >= b[0] for a, b in pairwise(points)):
        raise EnergyError("sram: rising capacities were expected")
    return tuple(points)


TABLES: Mapping[str, EnergyTable] = MappingProxyType(
    {
        "45nm": EnergyTable(
            name="45nm",
            source="M. Horowitz, Computing's energy problem (and what we can do about it), ISSCC 2014: 45 nm, 0.9 V",
            int8_multiply=Energy.of(0.2),
            int32_add=Energy.of(0.1),
            int32_multiply=Energy.of(3.1),
            float32_add=Energy.of(0.9),
            float32_multiply=Energy.of(3.7),
            sram=((8 * KIB, Energy.of(10)), (32 * KIB, Energy.of(20)), (1024 * KIB, Energy.of(100))),
            dram=Energy(1300, 2600),
        ),
        "7nm": EnergyTable(
            name="7nm",
            source="N. P. Jouppi et al., Ten lessons from three generations shaped Google's TPUv4i, ISCA 2021, "
            "table 2: 7 nm, with DDR3 or DDR4",
            int8_multiply=Energy.of(0.07),
            int32_add=Energy.of(0.03),
            int32_multiply=Energy.of(1.48),
            float32_add=Energy.of(0.38),
            float32_multiply=Energy.of(1.31),
            sram=((8 * KIB, Energy.of(7.5)), (32 * KIB, Energy.of(8.5)), (1024 * KIB, Energy.of(14))),
            dram=Energy.of(1300),
        ),
    }
)
"""The tables that the command line offers by name."""

DEFAULT_TABLE = "45nm"


@dataclass(frozen=True)
class LayerEnergy:
    """What one operator costs on the machine.

    Parameters
    ----------
    index, op
        The operator's place and kind.
    components
        Picojoules by component, in the order of `COMPONENTS`.
    """

    index: int
    op: str
    components: Mapping[str, Energy]

    @property
    def total(self) -> Energy:
        """Of all components."""
        return _sum(self.components.values())


@dataclass(frozen=True)
class EnergyReport:
    """What one inference costs on the machine.

    Parameters
    ----------
    table
        By whose figures.
    layers
        The operators that run there, in order.
    collisions
        Writes that the scratchpad repeats because a store came first; they belong to no layer.
    cycles
        Of the inference.
    """

    table: EnergyTable
    layers: tuple[LayerEnergy, ...]
    collisions: Energy
    cycles: int

    @property
    def components(self) -> dict[str, Energy]:
        """Picojoules by component, of the whole inference."""
        sums = {name: _sum(layer.components[name] for layer in self.layers) for name in COMPONENTS}
        return sums | {"scratchpad": sums["scratchpad"] + self.collisions}

    @property
    def total(self) -> Energy:
        """Picojoules of the whole inference."""
        return _sum(layer.total for layer in self.layers) + self.collisions

    def power(self, clock: float) -> Energy:
        """Average power in picowatts at a clock in hertz; zero where nothing runs."""
        return self.total * (clock / self.cycles) if self.cycles else NONE

    def to_json(self) -> dict[str, Any]:
        """The figures as plain values: picojoules, from low to high."""
        return {
            "table": self.table.name,
            "source": self.table.source,
            "cycles": self.cycles,
            "total": _pair(self.total),
            "components": {name: _pair(value) for name, value in self.components.items()},
            "collisions": _pair(self.collisions),
            "layers": [
                {
                    "index": layer.index,
                    "op": layer.op,
                    "total": _pair(layer.total),
                    "components": {name: _pair(value) for name, value in layer.components.items()},
                }
                for layer in self.layers
            ],
        }


def energy(cost: CycleProfile | RunResult, table: EnergyTable = TABLES[DEFAULT_TABLE]) -> EnergyReport:
    """What an inference costs in int8.

    Parameters
    ----------
    cost
        `eightfold.profile(program)`, or the result of a run in which time was simulated; both give the same energy.
    table
        What actions cost.

    Raises
    ------
    ValueError
        The result has no counters.
    """
    from ..sim.model import CycleProfile

    steps, config = steps_of(cost)
    layers, rest = actions_of(cost)
    prices = _Prices(table, config)
    cycles = cost.cycles if isinstance(cost, CycleProfile) else cost.cycles or 0
    order = [operator for step in steps for operator in step.operators]
    return EnergyReport(
        table=table,
        layers=tuple(
            LayerEnergy(cost.layers[i].index, cost.layers[i].op, prices.components(layers[i], wide=False))
            for i in order
        ),
        collisions=prices.scratchpad * (rest.scratchpad_bytes / ACCESS_BYTES),
        cycles=cycles,
    )


def float_energy(design: FloatDesign, table: EnergyTable = TABLES[DEFAULT_TABLE]) -> EnergyReport:
    """What the same inference would cost in float32, on an array of as many float32 elements and the same memories."""
    prices = _Prices(table, design.config)
    layers = tuple(
        LayerEnergy(layer.index, layer.op, prices.components(layer.actions, wide=True))
        for layer in design.layers.values()
    )
    return EnergyReport(table=table, layers=layers, collisions=NONE, cycles=design.cycles)


class _Prices:
    """What a machine's memories and arithmetic cost: the memories' capacities are its own."""

    def __init__(self, table: EnergyTable, config: Config) -> None:
        self._table = table
        self.scratchpad = table.access(config.scratchpad_bytes // 2)  # one of two banks
        self.weight_buffer = table.access(config.weight_bytes)
        self.accumulators = table.access(config.accumulator_bytes)

    def components(self, actions: Actions, *, wide: bool) -> dict[str, Energy]:
        """Picojoules by component; `wide` takes the arithmetic to be float32's."""
        table = self._table
        multiply = table.float32_multiply if wide else table.int8_multiply
        add = table.float32_add if wide else table.int32_add
        # float32 needs no scaling: of the lanes' work an addition of the bias remains.
        finish = add if wide else table.int32_multiply + table.int32_add * REQUANTIZATION_ADDITIONS
        sums = self.accumulators * (actions.accumulator_bytes / ACCESS_BYTES)
        values: Sequence[Energy] = (
            (multiply + add) * actions.multiplications,
            sums + add * actions.additions,
            finish * actions.requantizations,
            self.scratchpad * (actions.scratchpad_bytes / ACCESS_BYTES),
            self.weight_buffer * (actions.weight_buffer_bytes / ACCESS_BYTES),
            table.dram * (actions.traffic.total / ACCESS_BYTES),
        )
        return dict(zip(COMPONENTS, values, strict=True))


def _sum(values: Iterable[Energy]) -> Energy:
    total = NONE
    for value in values:
        total += value
    return total


def _pair(value: Energy) -> list[float]:
    return [value.low, value.high]
