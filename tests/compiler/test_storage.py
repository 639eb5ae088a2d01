"""Programs as files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eightfold.compiler import Program, compile, header
from eightfold.compiler.header import VERSION, finish, lay_out
from eightfold.compiler.storage import ProgramError
from eightfold.hw.config import Config

from .networks import Builder, mismatches

BUILDER = Builder((1, 6, 5, 3), dtype="uint8").convolution(9, (3, 3)).dense(4)
PROGRAM = compile(BUILDER.graph(), Config.named("8x8"))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("programs") / "network.efp"
    PROGRAM.save(path)
    return path


def test_a_loaded_program_is_the_saved_one(path: Path) -> None:
    program = Program.load(path)
    assert str(program) == str(PROGRAM)
    assert program.config == PROGRAM.config
    assert np.array_equal(program.image(), PROGRAM.image())
    assert [step.commands for step in program.steps] == [step.commands for step in PROGRAM.steps]
    assert not any(mismatches(program, [BUILDER.image()]).values())


def test_saving_is_deterministic_and_leaves_nothing_else(path: Path, tmp_path: Path) -> None:
    Program.load(path).save(tmp_path / "again.efp")
    assert (tmp_path / "again.efp").read_bytes() == path.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["again.efp"]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_files_are_refused(data: st.DataObject, path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        del content[at:]
    damaged = tmp_path_factory.getbasetemp() / "damaged.efp"
    damaged.write_bytes(content)
    with pytest.raises(ProgramError, match=r"damaged\.efp: "):
        Program.load(damaged)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"TFL3" * 100])
def test_foreign_files_are_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "foreign.efp"
    file.write_bytes(content)
    with pytest.raises(ProgramError, match="not an Eightfold program"):
        Program.load(file)


def test_other_versions_are_refused(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    file = tmp_path / "future.efp"
    file.write_bytes(content[:8] + (VERSION + 1).to_bytes(4, "little") + content[12:])
    with pytest.raises(ProgramError, match=f"version {VERSION + 1}"):
        Program.load(file)


def test_an_inconsistent_description_is_refused(tmp_path: Path) -> None:
    description = b'{"config": {}}'
    file = tmp_path / "odd.efp"
    file.write_bytes(finish(lay_out(PROGRAM), description + len(description).to_bytes(4, "little")))
    with pytest.raises(ProgramError, match="not a consistent program"):
        Program.load(file)


def test_the_part_for_drivers_alone_is_no_program(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "part.efp"
    file.write_bytes(path.read_bytes()[: len(lay_out(PROGRAM).content)])
    with pytest.raises(ProgramError, match="only the part for drivers"):
        Program.load(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"missing\.efp: No such file"):
        Program.load(tmp_path / "missing.efp")


def test_the_documentation_lists_the_format() -> None:
    page = (Path(__file__).parents[2] / "docs" / "program-file.md").read_text()
    rows = re.findall(r"^\| ([\d, to]+) \| ([\w ,.]+) \|", page, re.MULTILINE)
    listed: list[list[str]] = []
    for offsets, words in rows:
        names = [f"dimension_{i}" for i in range(8)] if "..." in words else words.split(", ")
        first = int(re.split(r"\D+", offsets)[0])
        if first in (0, 8) and (first == 0 or not listed):
            listed.append([])
        base = 8 if listed[0] is listed[-1] else 0
        assert first == base + 4 * len(listed[-1]), words
        listed[-1] += names
    assert listed == [list(record) for record in (header.HEADER, header.SEGMENT, header.TENSOR, header.STEP)]
