"""Output files appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eightfold.files import OutputError, check_folder, folder, replacing


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "x.json"
    with replacing(target) as part:
        part.write_text("new")
        assert not target.exists()
        assert part.suffix == ".json"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["x.json"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "x"
    target.write_text("old")

    def fail() -> None:
        with replacing(target) as part:
            part.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_some_errors_keep_what_was_written(tmp_path: Path) -> None:
    target = tmp_path / "x"

    def fail() -> None:
        with replacing(target, keep_on=(KeyError,)) as part:
            part.write_text("so far")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert target.read_text() == "so far"


def test_nothing_is_kept_where_nothing_was_written(tmp_path: Path) -> None:
    def fail() -> None:
        with replacing(tmp_path / "x", keep_on=(KeyError,)):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert os.listdir(tmp_path) == []


def test_permissions_are_the_usual_ones(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "x") as part:
            part.write_text("")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["missing/x", "file/x", "folder"])
def test_files_that_cannot_be_written_are_known_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=rf"{name} cannot be written"), replacing(tmp_path / name):
        pytest.fail("the body ran")


def test_folders_are_made_or_refused(tmp_path: Path) -> None:
    assert folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        folder(tmp_path / "file" / "x")


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with replacing(pipe) as part:
            part.write_text("bytes")
        assert os.read(reader, 100) == b"bytes"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]
    assert not part.exists()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/x")
    for text in ("first", "second"):
        with replacing(tmp_path / "link") as part:
            part.write_text(text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "there" / "x").read_text() == text
    assert os.listdir(tmp_path / "there") == ["x"]


def test_whether_a_folder_can_be_there_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    check_folder(tmp_path / "a" / "b")
    assert os.listdir(tmp_path) == ["file"]
    with pytest.raises(OutputError, match=r"below cannot be made: .*file is a file"):
        check_folder(tmp_path / "file" / "below")
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    with pytest.raises(OutputError, match="a cannot be written: no permission for"):
        check_folder(tmp_path / "a")
