"""Look-up tables move into the carry cells of an ECP5: another step that the vendor's tools take and Yosys does not.

Each half of a CCU2C has four inputs and a table of its own before the carry chain. An adder uses two of the inputs.
What a look-up table does for an adder's bit and for nothing else, such as the choice between two addends, often fits
besides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from itertools import permutations, product
from typing import Any

from .packing import Bit

_CARRY = "CCU2C"
_TABLE = "LUT4"
_PINS = "ABCD"
_HALVES = ("0", "1")


def pack_carries(module: dict[str, Any]) -> int:
    """Moves look-up tables of a mapped module into its carry cells.

    Parameters
    ----------
    module
        One module of the netlist that Yosys's `write_json` writes, flat and mapped to ECP5 cells; it is changed.

    Returns
    -------
    int
        Look-up tables that the module no longer needs.
    """
    return _Carries(module).run()


def carry_chains(module: Mapping[str, Any]) -> list[str]:
    """The first cell of each carry chain of a mapped module."""
    cells = {name: cell["connections"] for name, cell in module["cells"].items() if cell["type"] == _CARRY}
    carried = {bit for connections in cells.values() for bit in connections["COUT"]}
    return [name for name, connections in cells.items() if not carried.intersection(connections["CIN"])]


class _Carries:
    def __init__(self, module: dict[str, Any]) -> None:
        self._cells: dict[str, dict[str, Any]] = module["cells"]
        self._tables = {cell["connections"]["Z"][0]: n for n, cell in self._cells.items() if cell["type"] == _TABLE}
        self._readers: dict[Bit, set[tuple[str, str]]] = defaultdict(set)  # cells, and which half of a carry cell
        for name, cell in self._cells.items():
            for port, bits in cell["connections"].items():
                half = port[1:] if cell["type"] == _CARRY and port[1:] in _HALVES else ""
                for bit in bits:
                    if cell["port_directions"][port] == "input":
                        self._readers[bit].add((name, half))
        for port in module["ports"].values():
            for bit in port["bits"]:
                self._readers[bit].add(("", ""))

    def run(self) -> int:
        """See `pack_carries`."""
        before = len(self._cells)
        for name, cell in list(self._cells.items()):
            if cell["type"] == _CARRY:
                for half in _HALVES:
                    if cell["parameters"].get(f"INJECT1_{half}", "YES") == "NO":
                        while self._moved(name, half):
                            pass
        return before - len(self._cells)

    def _moved(self, name: str, half: str) -> bool:
        """Moves what fits of the tables before one half of a cell; returns whether any did."""
        cell = self._cells[name]
        own = self._reads(name, half)
        candidates = [bit for bit in own if bit in self._tables and self._readers[bit] == {(name, half)}]
        for chosen in ([candidates] if len(candidates) > 1 else []) + [[bit] for bit in candidates]:
            nets = sorted({*own, *(bit for table in chosen for bit in self._inputs(table))} - set(chosen), key=str)
            nets = [bit for bit in nets if isinstance(bit, int)]
            if len(nets) > len(_PINS):
                continue
            cases = [dict(zip(nets, case, strict=True)) for case in product((0, 1), repeat=len(nets))]
            arranged = _arranged(len(nets), tuple(self._values(cell, half, chosen, case) for case in cases))
            if arranged is None:
                continue
            pins, table = arranged
            for bit in chosen:
                for read in self._inputs(bit):
                    self._readers[read].discard((self._tables[bit], ""))
                    self._readers[read].add((name, half))
                del self._cells[self._tables.pop(bit)]
            for letter, pin in zip(_PINS, pins, strict=True):
                cell["connections"][letter + half] = [nets[pin] if isinstance(pin, int) else pin]
            cell["parameters"][f"INIT{half}"] = f"{table:016b}"
            return True
        return False

    def _reads(self, name: str, half: str) -> list[Bit]:
        """What one half of a carry cell reads, without repetition."""
        return list(dict.fromkeys(self._cells[name]["connections"][letter + half][0] for letter in _PINS))

    def _inputs(self, bit: Bit) -> list[Bit]:
        """What the table reads that drives this net."""
        connections = self._cells[self._tables[bit]]["connections"]
        return [connections[letter][0] for letter in _PINS]

    def _values(
        self, cell: Mapping[str, Any], half: str, chosen: list[Bit], case: Mapping[Bit, int]
    ) -> tuple[int, int]:
        """Whether one half of a cell passes a carry on, and the carry that it makes where it does not."""

        def value(bit: Bit) -> int:
            if bit in chosen:
                return _entry(self._cells[self._tables[bit]]["parameters"]["INIT"], map(value, self._inputs(bit)))
            return case[bit] if isinstance(bit, int) else int(bit == "1")

        init = cell["parameters"][f"INIT{half}"]
        a, b, c, d = (value(cell["connections"][letter + half][0]) for letter in _PINS)
        return _entry(init, (a, b, c, d)), _entry(init, (a, b, 0, 0))


def _entry(table: str, pins: Any) -> int:
    """What a table of sixteen digits, the last one first, holds for these inputs."""
    return int(table[-1 - sum(pin << place for place, pin in enumerate(pins))])


@cache
def _arranged(count: int, values: tuple[tuple[int, int], ...]) -> tuple[tuple[int | str, ...], int] | None:
    """A half's four inputs, each one of so many nets or a constant, and its table; None if there is none."""
    for constants in product("10", repeat=len(_PINS) - count):
        for pins in permutations((*range(count), *constants)):
            if (table := _tabled(pins, values, count)) is not None:
                return pins, table
    return None


def _tabled(pins: tuple[int | str, ...], values: tuple[tuple[int, int], ...], count: int) -> int | None:
    """The table for inputs in this order, which has to pass a carry on, or make one, as the values say.

    What it makes, it looks up as if the last two inputs were 0, and only where it passes nothing on.
    """
    entries: dict[int, int] = {}
    made: dict[int, int] = {}
    for case, (passes, makes) in enumerate(values):
        digits = [case >> (count - 1 - pin) & 1 if isinstance(pin, int) else int(pin) for pin in pins]
        entry = sum(digit << place for place, digit in enumerate(digits))
        entries[entry] = passes
        if not passes and made.setdefault(entry & 3, makes) != makes:
            return None
    if any(entries.setdefault(entry, makes) != makes for entry, makes in made.items()):
        return None
    return sum(digit << entry for entry, digit in entries.items())
