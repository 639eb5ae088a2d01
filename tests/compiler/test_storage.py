"""Programs as files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eightfold.compiler import Program, compile
from eightfold.compiler.storage import MAGIC, VERSION, ProgramError
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
    body = b'{"config": {}}'
    header = MAGIC + VERSION.to_bytes(4, "little") + len(body).to_bytes(4, "little") + hashlib.sha256(body).digest()
    file = tmp_path / "odd.efp"
    file.write_bytes(header + body)
    with pytest.raises(ProgramError, match="not a consistent program"):
        Program.load(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"missing\.efp: No such file"):
        Program.load(tmp_path / "missing.efp")
