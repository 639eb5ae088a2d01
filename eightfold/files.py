"""Output files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class OutputError(OSError):
    """An output file that cannot be written. The message names it."""


@contextmanager
def replacing(path: Path, *, keep_on: tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place at the end.

    Parameters
    ----------
    path
        The file to come. It is known at once whether its folder can be written. A link stays a link to it; a device or
        a pipe stays what it is, and receives the bytes at the end.
    keep_on
        Errors after which what was written, if anything, is still worth keeping. After any other nothing is left.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        place = tempfile.gettempdir() if _special(path) else os.path.dirname(os.path.realpath(path))
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=place)
        os.close(handle)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
    part = Path(name)
    try:
        try:
            yield part
        except keep_on:
            if part.stat().st_size:
                _finish(part, path)
            raise
        _finish(part, path)
    finally:
        part.unlink(missing_ok=True)


def _special(path: Path) -> bool:
    """Whether it is a device or a pipe, such as /dev/null, and no file that another could replace."""
    return path.exists() and not path.is_file()


def _finish(part: Path, path: Path) -> None:
    try:
        if _special(path):
            with part.open("rb") as source, path.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            return
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)  # as if it had been opened in the usual way
        part.replace(os.path.realpath(path))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None


def folder(path: Path) -> Path:
    """Makes a folder for outputs, with those above it.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be made: {error.strerror}") from None
    return path
