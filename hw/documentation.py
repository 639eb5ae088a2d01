"""The reference pages of registers and commands, from the definitions that the gateware is made from."""

import inspect
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from . import commands, registers
from .commands import COMMANDS, Command
from .registers import COUNTERS, REGISTERS, ErrorCode, Register


def _table(*rows: Iterable[object]) -> str:
    """Markdown of a table whose first row is its head."""
    head, *body = ([str(cell).replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body))


def _bits(width: int, offset: int) -> str:
    return str(offset) if width == 1 else f"{offset + width - 1}:{offset}"


def _about(module: ModuleType) -> str:
    """What the module's docstring says of its subject: all but a summary and a paragraph on the source."""
    return inspect.cleandoc(module.__doc__ or "").split("\n\n", 2)[2]


def _register(register: Register) -> str:
    rows = [(_bits(bits.width, bits.offset), bits.name, bits.doc) for bits in register.bits]
    table = "\n\n" + _table(("Bits", "Name", "Meaning"), *rows) if rows else ""
    return f"### {register.name}\n\n`0x{register.offset:02x}`, {register.access.value}: {register.doc}.{table}"


def registers_page() -> str:
    """The register map as Markdown."""
    plain = [register for register in REGISTERS.values() if register.name not in COUNTERS]
    parts = [
        "# Registers",
        "<!-- made by hw/documentation.py -->",
        _about(registers),
        "All registers have 32 bits, lie on the AXI4-Lite slave port and are reached by aligned accesses. Addresses\n"
        "without a register read as 0.",
        *(_register(register) for register in plain),
        "## Counters",
        "They are cleared at the start of a run and hold after its end. In the cycles that are neither busy nor wait\n"
        "cycles of an engine, it had no command.",
        _table(
            ("Address", "Name", "Counts"),
            *((f"`0x{REGISTERS[name].offset:02x}`", name, doc) for name, doc in COUNTERS.items()),
        ),
        "## Error codes",
        _table(("Code", "Name", "Meaning"), *((code.value, code.name, code.doc) for code in ErrorCode)),
    ]
    return "\n\n".join(parts) + "\n"


def _command(kind: type[Command]) -> str:
    rows = [
        (field.word, _bits(field.bits, field.offset), field.name, "int" if field.signed else "uint", field.doc)
        for field in kind.layout()
    ]
    words = f"Opcode {kind.opcode.value}, {kind.words()} words."
    table = _table(("Word", "Bits", "Field", "Type", "Meaning"), *rows)
    return f"## {kind.__name__}\n\n{inspect.getdoc(kind)}\n\n{words}\n\n{table}"


def commands_page() -> str:
    """The command set as Markdown."""
    parts = [
        "# Commands",
        "<!-- made by hw/documentation.py -->",
        _about(commands),
        "A command may only wait for commands before it in the program: the dispatcher hands out commands in order,\n"
        "and a full queue holds up those behind it.",
        *(_command(kind) for kind in COMMANDS.values()),
    ]
    return "\n\n".join(parts) + "\n"


PAGES = {"registers.md": registers_page, "commands.md": commands_page}
"""The pages by their file names in docs/."""


def write(folder: str | Path) -> None:
    """Writes all pages into a folder."""
    for name, page in PAGES.items():
        (Path(folder) / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[1] / "docs")
