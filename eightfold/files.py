"""Output files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
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


def check_folder(path: Path) -> None:
    """Says before long work whether a folder for its outputs can be there at the end; makes nothing.

    Raises
    ------
    OutputError
        It cannot be made, or not be written to.
    """
    nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise OutputError(f"{path} cannot be made: {nearest} is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written: no permission for {nearest}")


MANIFEST = "files.sha256"
"""Lists what `write_folder` wrote, as `sha256sum` does; of `eightfold export`, and wherever no other name is given."""


def write_folder(path: Path, files: Mapping[str, bytes], manifest: str = MANIFEST) -> None:
    """Writes files into a folder, and a list of them.

    What the same list of an earlier call names is replaced, or removed where there is no such file any more; other
    files stay, among them those of other lists.
    Nothing is touched unless everything could be written: the files are made in a hidden folder and then renamed. It
    lies in the folder itself, which may be a mount point, or the only place that one may write to.

    Parameters
    ----------
    path
        The folder; it is made, with those above it.
    files
        Contents by names, which may have slashes.
    manifest
        Name of the list. Writers that may share a folder have one each.

    Raises
    ------
    OutputError
        It cannot be written; or a file that is there is not from an earlier call, or has been changed since.
    """
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    listing = "".join(f"{digest}  {name}\n" for name, digest in listed.items()).encode()
    existed = path.exists()
    folder(path)
    try:
        before = _listed(path / manifest)
        for name in files:
            _check_own(path / name, before.get(name))
        stale = [name for name in before if name not in files and _unchanged(path / name, before[name])]
        work = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=path))
        try:
            for name, content in {**files, manifest: listing}.items():
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                (work / name).write_bytes(content)
            for name in stale:
                (path / name).unlink()
            for name in (*files, manifest):
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                (work / name).replace(path / name)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        if not existed:
            shutil.rmtree(path, ignore_errors=True)
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None


def _listed(manifest: Path) -> dict[str, str]:
    """Digests by names, from an earlier call; none where there was none."""
    try:
        lines = manifest.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise OutputError(f"{manifest} is no list of written files; choose another folder") from None
    entries = (line.split("  ", 1) for line in lines if "  " in line)
    return {name: digest for digest, name in entries if ".." not in Path(name).parts and not Path(name).is_absolute()}


def _unchanged(file: Path, digest: str) -> bool:
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == digest


def _check_own(file: Path, digest: str | None) -> None:
    """Refuses to replace a file that is someone else's: not listed, or not as it was listed."""
    if not file.exists() and not file.is_symlink():
        return
    if digest is None:
        raise OutputError(f"{file} is there and was not written by this command; choose another folder, or remove it")
    if not _unchanged(file, digest):
        raise OutputError(f"{file} has been changed since it was written; choose another folder, or remove it")
