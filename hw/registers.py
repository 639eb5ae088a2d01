"""The register map: what a host sees of the machine on its AXI4-Lite port.

The map is data. The gateware, whoever drives the machine and the documentation all read it from here.

A run: write PROGRAM_ADDRESS, PROGRAM_WORDS and BASE_ADDRESS, then 1 to CONTROL; wait for the interrupt, or until STATUS
is no longer busy; then STATUS says how it ended.
"""

import enum
import hashlib
import json
from dataclasses import dataclass
from typing import NamedTuple

from .config import Config

ADDRESS_BITS = 12
"""Width of the AXI4-Lite addresses."""

IDENTITY = int.from_bytes(b"8fld", "little")
"""What the register of that name holds."""

VERSION = 0x0001_0000
"""Of the register map and the command set: major in the upper half, minor in the lower."""


class Access(enum.Enum):
    """What a host may do with a register."""

    READ = "read"
    READ_WRITE = "read; write"
    SETTING = "read; write, ignored during a run"
    COMMAND = "write 1 to act; reads as 0"
    CLEAR = "read; write 1 to clear"


class Control(enum.IntFlag):
    """Bits of the CONTROL register."""

    START = 1
    RESET = 2


class Status(enum.IntFlag):
    """Bits of the STATUS register."""

    BUSY = 1
    DONE = 2
    ERROR = 4


class Interrupt(enum.IntFlag):
    """Bits of the registers INTERRUPT_ENABLE and INTERRUPT_STATUS."""

    DONE = 1
    ERROR = 2


class ErrorCode(enum.IntEnum):
    """What the ERROR register says."""

    NONE = 0
    ILLEGAL_COMMAND = 1
    SCRATCHPAD_RANGE = 2
    WEIGHT_RANGE = 3
    ACCUMULATOR_RANGE = 4
    ALIGNMENT = 5
    READ_BUS = 6
    WRITE_BUS = 7
    FETCH_BUS = 8
    DEADLOCK = 9

    @property
    def doc(self) -> str:
        """The error in words."""
        return _ERROR_DOCS[self]


_ERROR_DOCS = {
    ErrorCode.NONE: "no error",
    ErrorCode.ILLEGAL_COMMAND: "an opcode or a field that no command may have, or a stream that ends within a command",
    ErrorCode.SCRATCHPAD_RANGE: "a command reaches beyond the scratchpad",
    ErrorCode.WEIGHT_RANGE: "a command reaches beyond the weight buffer",
    ErrorCode.ACCUMULATOR_RANGE: "a command reaches beyond the accumulators",
    ErrorCode.ALIGNMENT: "the two addresses of a load or store differ modulo the bus width",
    ErrorCode.READ_BUS: "the bus answered a load with an error",
    ErrorCode.WRITE_BUS: "the bus answered a store with an error",
    ErrorCode.FETCH_BUS: "the bus answered the fetch of the command with an error",
    ErrorCode.DEADLOCK: "the command waits for commands that can never complete",
}


class Bits(NamedTuple):
    """A part of a register."""

    name: str
    offset: int
    width: int
    doc: str


@dataclass(frozen=True, kw_only=True)
class Register:
    """One 32-bit register.

    Parameters
    ----------
    name
        In capitals.
    offset
        Byte address, a multiple of 4.
    access
        What a host may do with it.
    doc
        What it means.
    bits
        Its parts, lowest first; none if the register is one number.
    """

    name: str
    offset: int
    access: Access
    doc: str
    bits: tuple[Bits, ...] = ()


COUNTERS: dict[str, str] = {
    "CYCLES": "cycles from start to done",
    "LOAD_BUSY": "cycles in which the load engine had a command under way",
    "LOAD_WAIT": "cycles in which it had nothing to do, for its next command awaited others",
    "EXECUTE_BUSY": "cycles in which the execute engine took in a command or had one under way, and did not wait",
    "EXECUTE_WAIT": "cycles in which nothing streamed, nor had lanes much to do, for its next command awaited others",
    "EXECUTE_FROZEN": "cycles in which it gave the scratchpad to the load or store engine and held still",
    "STORE_BUSY": "cycles in which the store engine had a command under way",
    "STORE_WAIT": "cycles in which it had nothing to do, for its next command awaited others",
    "LOAD_COMMANDS": "load commands completed",
    "EXECUTE_COMMANDS": "execute commands completed",
    "STORE_COMMANDS": "store commands completed",
    "READ_BEATS": "bus beats that loads received",
    "FETCH_BEATS": "bus beats that the fetch of commands received",
    "WRITE_BEATS": "bus beats that stores sent",
    "SCRATCHPAD_READS": "cycles in which the scratchpad was read",
    "SCRATCHPAD_WRITES": "cycles in which the scratchpad was written",
    "ACCUMULATOR_READS": "vectors read from the accumulators",
    "ACCUMULATOR_WRITES": "vectors written to the accumulators",
    "WEIGHT_READS": "rows read from the weight buffer",
    "ARRAY_STEPS": "vectors streamed through the array, in all passes",
    "OUTPUTS": "vectors requantized and written to the scratchpad",
}
"""The hardware's counters and what they count. They are cleared at the start of a run and hold after its end."""

_COUNTERS_OFFSET = 0x80


def _flags(flags: type[enum.IntFlag], docs: dict[enum.IntFlag, str]) -> tuple[Bits, ...]:
    return tuple(Bits(flag.name or "", flag.bit_length() - 1, 1, docs[flag]) for flag in flags)


def _map() -> dict[str, Register]:
    interrupts: dict[enum.IntFlag, str] = {
        Interrupt.DONE: "a run ended well",
        Interrupt.ERROR: "a run ended with an error",
    }
    fixed: tuple[tuple[str, Access, str, tuple[Bits, ...]], ...] = (
        ("IDENTITY", Access.READ, f'`0x{IDENTITY:08x}`: the bytes "8fld"', ()),
        ("VERSION", Access.READ, "major and minor version of the register map and the command set", ()),
        ("CONFIGURATION", Access.READ, "a hash of the parameters that the machine was built with", ()),
        (
            "CONTROL",
            Access.COMMAND,
            "starts and stops",
            _flags(
                Control,
                {
                    Control.START: "start the program, unless busy",
                    Control.RESET: "end the run, once the bus transactions under way are complete; clears STATUS",
                },
            ),
        ),
        (
            "STATUS",
            Access.READ,
            "how the last run went",
            _flags(
                Status,
                {
                    Status.BUSY: "a run or a reset is under way",
                    Status.DONE: "the last run ended well",
                    Status.ERROR: "the last run ended with an error",
                },
            ),
        ),
        ("ERROR", Access.READ, "the first error of the last run", (Bits("CODE", 0, 4, "an error code"),)),
        ("ERROR_COMMAND", Access.READ, "the command that it befell", (Bits("INDEX", 0, 20, "place in the program"),)),
        ("INTERRUPT_ENABLE", Access.READ_WRITE, "what raises the interrupt line", _flags(Interrupt, interrupts)),
        ("INTERRUPT_STATUS", Access.CLEAR, "what happened since it was cleared", _flags(Interrupt, interrupts)),
        ("PROGRAM_ADDRESS", Access.SETTING, "byte address of the program, a multiple of the bus width", ()),
        ("PROGRAM_WORDS", Access.SETTING, "length of the program in 64-bit words", ()),
        ("BASE_ADDRESS", Access.SETTING, "what commands' DRAM addresses add to, a multiple of the bus width", ()),
    )
    registers = [
        Register(name=name, offset=4 * place, access=access, doc=doc, bits=bits)
        for place, (name, access, doc, bits) in enumerate(fixed)
    ]
    registers += [
        Register(name=name, offset=_COUNTERS_OFFSET + 4 * place, access=Access.READ, doc=doc)
        for place, (name, doc) in enumerate(COUNTERS.items())
    ]
    return {register.name: register for register in registers}


REGISTERS: dict[str, Register] = _map()
"""Every register by its name, in the order of the offsets."""


def configuration_hash(config: Config) -> int:
    """What the CONFIGURATION register of that machine holds: 32 bits of a SHA-256 over all parameters but the name."""
    parameters = {key: value for key, value in config.as_dict().items() if key != "name"}
    text = json.dumps(parameters, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
