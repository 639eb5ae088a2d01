"""The machine's parameters: one frozen object from which the RTL, the compiler and the cycle model are all made."""

import dataclasses
import enum
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..golden.numerics import Rounding
from .commands import PARAMETER_ROWS

KIB = 1024

FIXED_POINT = (Rounding.DOUBLE, Rounding.DOUBLE_UP, Rounding.SINGLE)
"""The roundings that requantization lanes can be built for."""


class ConfigError(ValueError):
    """A configuration that cannot be built. The message names the parameter, its value and what was expected."""


def _power_of_two_at_least(value: int) -> int:
    return 1 << (value - 1).bit_length()


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that distinguishes one machine from another.

    Parameters
    ----------
    name
        What reports call it.
    rows, columns
        The systolic array's processing elements: `rows` operands of one dot product step, `columns` output channels.
    scratchpad_bytes
        On-chip memory for activations, and for weights ahead of time; a multiple of `2 * line_bytes`.
    weight_bytes
        On-chip memory for packed weights and requantization parameters; a multiple of `weight_line_bytes`.
    accumulator_bytes
        Memory for 32-bit partial sums; a multiple of `4 * columns`.
    bus_bytes
        Width of the AXI4 data channels: 4, 8, 16 or 32.
    burst_beats
        The longest AXI4 burst, a power of two; `burst_beats * bus_bytes` is at most 4 KiB.
    outstanding_bursts
        Read bursts of the load engine that may be under way at once.
    multiplier_stages
        Registers between a processing element's multiplier and its adder.
    lanes
        Requantization lanes, a divisor of `columns`, of which each serves at most `rows` columns; 0 for one per column.
        Fewer lanes take columns in turns; sums wait for them in memories half as large again as the accumulators.
    rounding
        How the requantization lanes round.

    Raises
    ------
    ConfigError
        If the machine cannot be built so.
    """

    name: str = "custom"
    rows: int = 16
    columns: int = 16
    scratchpad_bytes: int = 256 * KIB
    weight_bytes: int = 64 * KIB
    accumulator_bytes: int = 64 * KIB
    bus_bytes: int = 8
    burst_beats: int = 64
    outstanding_bursts: int = 8
    multiplier_stages: int = 1
    lanes: int = 0
    rounding: Rounding = Rounding.DOUBLE

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int and (not isinstance(value, int) or isinstance(value, bool)):
                raise ConfigError(f"{field.name} must be an integer, not {value!r}")
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise ConfigError(f"name must be a line of text, not {self.name!r}")
        self._within("rows", 4, 64)
        self._within("columns", 2, 64)
        self._within("multiplier_stages", 1, 2)
        self._within("outstanding_bursts", 1, 16)
        if self.lanes and (self.columns % self.lanes or not 1 <= self.columns // self.lanes <= self.rows):
            raise ConfigError(
                f"lanes is {self.lanes}; 0 was expected, or a divisor of {self.columns} columns, a lane for at most "
                f"{self.rows} of them"
            )
        self._one_of("bus_bytes", (4, 8, 16, 32))
        self._one_of("burst_beats", (1, 2, 4, 8, 16, 32, 64, 128, 256))
        if self.burst_beats * self.bus_bytes > 4 * KIB:
            raise ConfigError(f"burst_beats is {self.burst_beats}; bursts of at most 4 KiB were expected")
        if self.rounding not in FIXED_POINT:
            choices = ", ".join(rounding.value for rounding in FIXED_POINT)
            raise ConfigError(f"rounding is {self.rounding!r}; one of {choices} was expected")
        self._multiple("scratchpad_bytes", 2 * self.line_bytes, 8 * self.line_bytes, 1 << 23)
        self._multiple("weight_bytes", self.weight_line_bytes, 4 * self.rows * self.weight_row_bytes, 1 << 23)
        self._multiple("accumulator_bytes", 4 * self.columns, 16 * 4 * self.columns, 1 << 22)

    def _within(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        if not low <= value <= high:
            raise ConfigError(f"{name} is {value}; {low} to {high} was expected")

    def _one_of(self, name: str, choices: tuple[int, ...]) -> None:
        value = getattr(self, name)
        if value not in choices:
            raise ConfigError(f"{name} is {value}; one of {', '.join(map(str, choices))} was expected")

    def _multiple(self, name: str, unit: int, low: int, high: int) -> None:
        value = getattr(self, name)
        if value % unit or not low <= value <= high:
            raise ConfigError(f"{name} is {value}; a multiple of {unit} from {low} to {high} was expected")

    # Widths that follow.

    @property
    def bus_bits(self) -> int:
        """Bits of a beat on the bus."""
        return 8 * self.bus_bytes

    @property
    def line_bytes(self) -> int:
        """Width of one of the scratchpad's two banks.

        Two neighbouring lines hold any vector of `rows` or `columns` bytes, and any bus beat.
        """
        return max(_power_of_two_at_least(self.rows), _power_of_two_at_least(self.columns), self.bus_bytes // 2)

    @property
    def vector_bytes(self) -> int:
        """Bytes that the execute engine reads at once: an operand for each row, or for each column, of the array."""
        return max(self.rows, self.columns)

    @property
    def scratchpad_row_bytes(self) -> int:
        """Bytes under one address of both banks: what the load and store engines move at once."""
        return 2 * self.line_bytes

    @property
    def weight_row_bytes(self) -> int:
        """Bytes of one packed row of weights: `columns`, padded to a power of two."""
        return _power_of_two_at_least(self.columns)

    @property
    def parameter_rows(self) -> int:
        """Packed rows that hold a block's requantization parameters."""
        return PARAMETER_ROWS

    @property
    def weight_line_bytes(self) -> int:
        """Width of the weight buffer's memory: a packed row or a bus beat, whichever is wider."""
        return max(self.weight_row_bytes, self.bus_bytes)

    @property
    def accumulator_depth(self) -> int:
        """Output pixels whose partial sums fit."""
        return self.accumulator_bytes // (4 * self.columns)

    @property
    def lane_count(self) -> int:
        """Requantization lanes."""
        return self.lanes or self.columns

    @property
    def turns(self) -> int:
        """Cycles in which the requantization lanes work off a pixel, as many columns in each as there are lanes."""
        return self.columns // self.lane_count

    @property
    def queue_bytes(self) -> int:
        """Memory for what waits for requantization lanes, totals or sums that come back: none for a lane per column."""
        if self.turns == 1:
            return 0
        words = self.accumulator_depth << (self.turns - 1).bit_length()
        return words * ((32 + self.sum_bits) * self.lane_count + 1) // 8

    @property
    def sum_bits(self) -> int:
        """Bits of a partial sum within the array: products of 8 and 9 bits fit 16, summed over all rows."""
        return 16 + (self.rows - 1).bit_length()

    @property
    def sram_bytes(self) -> int:
        """All on-chip memory."""
        return self.scratchpad_bytes + self.weight_bytes + self.accumulator_bytes + self.queue_bytes

    @property
    def multipliers(self) -> int:
        """Multiply-accumulate units of the array."""
        return self.rows * self.columns

    # Where configurations come from.

    @classmethod
    def named(cls, name: str) -> "Config":
        """The configuration of that name; see `NAMED`."""
        try:
            return NAMED[name]
        except (KeyError, TypeError):  # a TOML file's `base` may be a list
            raise ConfigError(f"no configuration is named {name!r}; there are {', '.join(NAMED)}") from None

    @classmethod
    def from_toml(cls, path: str | Path) -> "Config":
        """The configuration that a TOML file describes: parameters by their names, on top of `base` if it names one.

        Raises
        ------
        ConfigError
            If the file cannot be read, or holds an unknown parameter or a value that does not fit.
        """
        path = Path(path)
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not a TOML file: {error}") from None
        base = table.pop("base", None)
        try:
            return cls._from_table({"name": path.stem, **table}, cls.named(base) if base is not None else cls())
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    @classmethod
    def _from_table(cls, table: dict[str, Any], base: "Config") -> "Config":
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(table) - known)
        if unknown:
            raise ConfigError(f"unknown parameter {unknown[0]!r}; there are {', '.join(sorted(known))}")
        if "rounding" in table:
            names = {rounding.value: rounding for rounding in FIXED_POINT}
            value = table["rounding"]
            table = {**table, "rounding": names.get(value, value) if isinstance(value, str) else value}
        return dataclasses.replace(base, **table)

    def as_dict(self) -> dict[str, Any]:
        """The parameters as plain values, as a TOML file would give them."""
        return {
            key: value.value if isinstance(value, enum.Enum) else value
            for key, value in dataclasses.asdict(self).items()
        }

    def __repr__(self) -> str:
        return (
            f"<Config {self.name}: {self.rows}x{self.columns} array, {self.sram_bytes // KIB} KiB SRAM, "
            f"{8 * self.bus_bytes}-bit AXI4>"
        )


NAMED = {
    config.name: config
    for config in (
        Config(
            name="4x4", rows=4, columns=4, scratchpad_bytes=32 * KIB, weight_bytes=8 * KIB, accumulator_bytes=4 * KIB
        ),
        Config(
            name="8x8", rows=8, columns=8, scratchpad_bytes=32 * KIB, weight_bytes=16 * KIB, accumulator_bytes=16 * KIB
        ),
        # For an FPGA: lanes that columns share, and a queue for them in place of half of the accumulators.
        Config(
            name="8x8-small",
            rows=8,
            columns=8,
            scratchpad_bytes=32 * KIB,
            weight_bytes=16 * KIB,
            accumulator_bytes=8 * KIB,
            lanes=2,
        ),
        # The same with as little logic as can be: one lane, fewer bursts under way.
        Config(
            name="8x8-mini",
            rows=8,
            columns=8,
            scratchpad_bytes=32 * KIB,
            weight_bytes=16 * KIB,
            accumulator_bytes=8 * KIB,
            outstanding_bursts=3,
            lanes=1,
        ),
        Config(name="16x16"),
        Config(
            name="32x32",
            rows=32,
            columns=32,
            scratchpad_bytes=768 * KIB,
            weight_bytes=128 * KIB,
            accumulator_bytes=128 * KIB,
            bus_bytes=16,
        ),
    )
}
"""The configurations that the command line offers by name."""
