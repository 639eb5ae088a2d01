"""Files that are expensive to make, kept in the user's cache folder.

An entry appears whole or not at all: it is made in a folder of its own and renamed into place. So an interrupted
process leaves nothing that another would use. A lock keeps two processes from making the same entry at once; it goes
with the process that holds it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import SimulatorError

_CHECKSUM = "sha256"
_ABANDONED_SECONDS = 86_400


def cache_folder() -> Path:
    """Where the user's caches are: `$XDG_CACHE_HOME/eightfold`, or `~/.cache/eightfold`."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "eightfold"
    except RuntimeError:  # a user without an entry in the system's list, as containers have them
        raise SimulatorError("there is no home folder for the cache: set XDG_CACHE_HOME to a folder") from None


def cached(kind: str, key: str, name: str, make: Callable[[Path], None]) -> Path:
    """The folder of a cache entry, made if it is not there.

    Parameters
    ----------
    kind
        What the entry is, a folder's name.
    key
        Everything that its content depends on.
    name
        The file in the entry whose integrity is checked. An entry that is damaged is made anew.
    make
        Called with an empty folder, writes the file there.

    Raises
    ------
    SimulatorError
        The cache folder cannot be written.
    """
    entry = cache_folder() / kind / hashlib.sha256(key.encode()).hexdigest()[:32]
    if _intact(entry, name):
        return entry
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with _alone(f"{kind}-{entry.name}"):
            if _intact(entry, name):  # another process has made it meanwhile
                return entry
            _sweep(entry.parent)
            folder = Path(tempfile.mkdtemp(prefix="making-", dir=entry.parent))
            _make(entry, name, folder, make)
    except OSError as error:
        raise SimulatorError(
            f"the cache folder {entry.parent} cannot be written: {error.strerror}; set XDG_CACHE_HOME to one that can"
        ) from None
    return entry


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Waits until no other process is within the same block."""
    locks = cache_folder() / "locks"
    locks.mkdir(exist_ok=True)
    handle = os.open(locks / name, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with suppress(OSError):  # without locks in this file system both make the entry, and one of them stays
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _make(entry: Path, name: str, folder: Path, make: Callable[[Path], None]) -> None:
    try:
        make(folder)
        (folder / _CHECKSUM).write_text(_checksum(folder / name), encoding="ascii")
        _replace(entry, name, folder)
    except OSError as error:
        raise SimulatorError(f"the cache entry {entry} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Removes what processes left behind that were killed a day ago or earlier."""
    for left in (*folder.glob("making-*"), *folder.glob("damaged-*")):
        try:
            old = time.time() - left.stat().st_mtime > _ABANDONED_SECONDS
        except FileNotFoundError:  # another process has finished with it
            continue
        if old:
            shutil.rmtree(left, ignore_errors=True)


def _replace(entry: Path, name: str, folder: Path) -> None:
    """Renames a finished folder into place, unless another process was faster."""
    for _ in range(3):
        try:
            folder.rename(entry)
            return
        except OSError:
            if _intact(entry, name):
                return
            # What is in the way is damaged: it moves aside in one step, so that nobody sees half of it.
            aside = Path(tempfile.mkdtemp(prefix="damaged-", dir=entry.parent))
            try:
                entry.rename(aside / "entry")
            except FileNotFoundError:
                pass
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    folder.rename(entry)


def _checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _intact(entry: Path, name: str) -> bool:
    try:
        return (entry / _CHECKSUM).read_text(encoding="ascii") == _checksum(entry / name)
    except (OSError, UnicodeDecodeError):
        return False
