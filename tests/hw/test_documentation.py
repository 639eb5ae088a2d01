"""The reference pages say what the definitions say."""

from pathlib import Path

import pytest

from eightfold.hw.commands import COMMANDS
from eightfold.hw.documentation import PAGES, commands_page, registers_page
from eightfold.hw.registers import REGISTERS, ErrorCode

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_pages_are_those_of_the_definitions(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run python -m eightfold.hw.documentation"


def test_every_register_code_and_field_is_there() -> None:
    text = registers_page()
    assert all(f"0x{register.offset:02x}" in text and register.doc in text for register in REGISTERS.values())
    assert all(code.doc in text for code in ErrorCode)
    text = commands_page()
    assert all(field.doc in text for kind in COMMANDS.values() for field in kind.layout())
