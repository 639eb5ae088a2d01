"""Registers move into an ECP5's multipliers and memories: the step that the vendor's tools take and Yosys does not.

A MULT18X18D holds a register at each input and one at its output. Where a design has registers in those places, and
nothing else looks at what they hold but other such multipliers, the block's own do their work, faster and for free. So
does the register behind a DP16KD's output, where a word that is read goes to a register and nowhere else: the memory's
own is slow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

PACKING = "eightfold-packing/5"
"""Changes with what is packed, here or in `carries`, for results that are kept."""

_MULTIPLIER = "MULT18X18D"
_MEMORY = "DP16KD"
_REGISTER = "TRELLIS_FF"
_INPUTS = {"A": "0", "B": "1"}
_OUTPUT = "P"
_OUTPUT_ENABLE = "2"
_WIDTHS = {"A": 18, "B": 18, "P": 36, "DOA": 18, "DOB": 18}
_SIDES = "AB"

Bit = int | str
"""A net's number, or a constant: as in Yosys's JSON netlists."""

Pin = tuple[str, str]
"""A cell and one of its ports."""


def pack_multipliers(module: dict[str, Any]) -> int:
    """Moves registers of a mapped module into its multipliers.

    Parameters
    ----------
    module
        One module of the netlist that Yosys's `write_json` writes, flat and mapped to ECP5 cells; it is changed.

    Returns
    -------
    int
        Registers, of one bit each, that the module no longer needs.
    """
    return _Packing(module).run()


def pack_memories(module: dict[str, Any]) -> int:
    """Moves registers of a mapped module behind the outputs of its memories; see `pack_multipliers`."""
    return _Packing(module).run_memories()


def _pins(cell: Mapping[str, Any], port: str) -> list[tuple[str, Bit]]:
    """The pins of a block's port, and the nets at them."""
    pins = cell["connections"]
    return [(pin, pins[pin][0]) for pin in (f"{port}{place}" for place in range(_WIDTHS[port])) if pins.get(pin)]


class _Packing:
    def __init__(self, module: dict[str, Any]) -> None:
        self._cells: dict[str, dict[str, Any]] = module["cells"]
        self._drivers: dict[Bit, str] = {}
        self._readers: dict[Bit, list[Pin]] = defaultdict(list)
        for name, cell in self._cells.items():
            for port, bits in cell["connections"].items():
                for bit in bits:
                    if isinstance(bit, int) and cell["port_directions"][port] == "input":
                        self._readers[bit].append((name, port))
                    elif isinstance(bit, int):
                        self._drivers[bit] = name
        for port in module["ports"].values():
            for bit in port["bits"]:
                self._readers[bit].append(("", ""))

    def run(self) -> int:
        """See `pack_multipliers`. The machine has one clock, so that a multiplier's registers do."""
        multipliers = [
            name for name, cell in self._cells.items() if cell["type"] == _MULTIPLIER and self._is_free(cell)
        ]
        before = len(self._cells)
        inputs = self._inputs(multipliers)
        gone: set[str] = {
            register for name in inputs for port in _INPUTS for register in self._registers(self._cells[name], port)
        }
        outputs = {name: control for name in multipliers if (control := self._output(name, gone)) is not None}
        for name in multipliers:
            clocks = {clock for clock, _ in self._controls(name, inputs, outputs)}
            if not clocks:
                continue
            cell = self._cells[name]
            cell["connections"] |= {"CLK0": [clocks.pop()], "RST0": ["0"]}
            cell["port_directions"] |= {"CLK0": "input", "RST0": "input"}
            for port, place in _INPUTS.items():
                if name in inputs:
                    cell["connections"] |= {pin: [self._before(bit)] for pin, bit in _pins(cell, port)}
                    self._set(cell, f"INPUT{port}", place, inputs[name][port])
            if name in outputs:
                gone |= self._move_output(cell, _OUTPUT)
                self._set(cell, "OUTPUT", _OUTPUT_ENABLE, outputs[name])
        for register in gone:
            del self._cells[register]
        return before - len(self._cells)

    def run_memories(self) -> int:
        """See `pack_memories`. Whichever side of a memory is read, both get a register: a wide word leaves by both."""
        before = len(self._cells)
        for cell in [cell for cell in self._cells.values() if cell["type"] == _MEMORY]:
            followers = self._followers(cell, *(f"DO{side}" for side in _SIDES))
            control = self._control(followers) if followers else None
            if not followers or control is None or not self._is_plain(cell, control[0]):
                continue
            for side in _SIDES:
                self._move_output(cell, f"DO{side}")
                cell["parameters"][f"REGMODE_{side}"] = "OUTREG"
                cell["connections"][f"OCE{side}"] = [control[1]]
            for register in followers:
                del self._cells[register]
        return before - len(self._cells)

    @staticmethod
    def _is_plain(cell: Mapping[str, Any], clock: Bit) -> bool:
        """Whether a memory has that clock, on both sides, and neither resets nor registers behind its outputs."""
        parameters, pins = cell["parameters"], cell["connections"]
        return all(
            parameters.get(f"REGMODE_{side}", "NOREG") == "NOREG"
            and parameters.get(f"CLK{side}MUX", f"CLK{side}") == f"CLK{side}"
            and pins[f"CLK{side}"] == [clock]
            and pins.get(f"RST{side}", ["0"]) == ["0"]
            for side in _SIDES
        )

    @staticmethod
    def _is_free(cell: Mapping[str, Any]) -> bool:
        parameters = cell["parameters"]
        used = [parameters.get(f"REG_{name}_CLK", "NONE") for name in ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT")]
        return used == ["NONE"] * 4

    @staticmethod
    def _controls(name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Iterator[tuple[Bit, Bit]]:
        yield from inputs.get(name, {}).values()
        if name in outputs:
            yield outputs[name]

    @staticmethod
    def _set(cell: dict[str, Any], register: str, place: str, control: tuple[Bit, Bit]) -> None:
        cell["parameters"] |= {
            f"REG_{register}_CLK": "CLK0",
            f"REG_{register}_CE": f"CE{place}",
            f"REG_{register}_RST": "RST0",
        }
        cell["connections"][f"CE{place}"] = [control[1]]
        cell["port_directions"][f"CE{place}"] = "input"

    def _control(self, registers: Iterable[str]) -> tuple[Bit, Bit] | None:
        """The clock and the enable that all of the registers share, if a block's own can do their work."""
        found: set[tuple[Bit, Bit]] = set()
        for name in registers:
            cell = self._cells[name]
            parameters, pins = cell["parameters"], cell["connections"]
            if parameters.get("CLKMUX", "CLK") != "CLK" or parameters.get("REGSET", "RESET") != "RESET":
                return None
            if pins.get("LSR", ["0"])[0] not in ("0", "x"):
                return None
            enabled = parameters.get("CEMUX", "CE").strip()  # Yosys writes "1 ", lest it be taken for a number
            if enabled not in ("1", "CE"):
                return None
            found.add((pins["CLK"][0], pins["CE"][0] if enabled == "CE" else "1"))
        return found.pop() if len(found) == 1 else None

    def _registers(self, cell: Mapping[str, Any], port: str) -> list[str]:
        """Those that drive an input; nothing if something else does."""
        registers = []
        for _, bit in _pins(cell, port):
            if bit in ("0", "x"):
                continue
            driver = self._drivers.get(bit, "")
            if driver not in self._cells or self._cells[driver]["type"] != _REGISTER:
                return []
            registers.append(driver)
        return registers

    def _before(self, bit: Bit) -> Bit:
        """What a register takes in."""
        return bit if isinstance(bit, str) else self._cells[self._drivers[bit]]["connections"]["DI"][0]

    def _inputs(self, multipliers: list[str]) -> dict[str, dict[str, tuple[Bit, Bit]]]:
        """Multipliers both of whose inputs can hold registers, and the control of those."""
        able = {}
        for name in multipliers:
            controls = {port: self._control(self._registers(self._cells[name], port)) for port in _INPUTS}
            if None not in controls.values():
                able[name] = controls
        # A register goes only if every one of its readers takes it in.
        while stay := {
            name
            for name in able
            for port in _INPUTS
            for _, bit in _pins(self._cells[name], port)
            if any(reader not in able or pin[0] not in _INPUTS for reader, pin in self._readers.get(bit, ()))
        }:
            able = {name: controls for name, controls in able.items() if name not in stay}
        return able  # type: ignore[return-value]

    def _followers(self, cell: Mapping[str, Any], *ports: str) -> list[str] | None:
        """The registers of a block's outputs; None if something else reads them."""
        followers = []
        for _, bit in (pin for port in ports for pin in _pins(cell, port)):
            readers = self._readers.get(bit, [])
            if not readers:
                continue
            (name, pin), *others = readers
            if others or pin != "DI" or self._cells[name]["type"] != _REGISTER:
                return None
            followers.append(name)
        return followers

    def _output(self, name: str, taken: set[str]) -> tuple[Bit, Bit] | None:
        followers = self._followers(self._cells[name], _OUTPUT)
        return None if followers is None or taken & set(followers) else self._control(followers)

    def _move_output(self, cell: dict[str, Any], port: str) -> set[str]:
        moved = set()
        for pin, bit in _pins(cell, port):
            for name, _ in self._readers.get(bit, ()):
                cell["connections"][pin] = self._cells[name]["connections"]["Q"]
                moved.add(name)
        return moved
