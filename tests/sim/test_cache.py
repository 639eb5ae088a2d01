"""Cache entries appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from eightfold.sim.cache import cache_folder, cached
from eightfold.sim.errors import SimulatorError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "eightfold"


class Maker:
    """Writes an entry and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "file").write_text("content")


def test_an_entry_is_made_once(own_cache: Path) -> None:
    make = Maker()
    entries = {cached("kind", "key", "file", make) for _ in range(3)}
    assert make.calls == 1
    (entry,) = entries
    assert (entry / "file").read_text() == "content"
    assert entry.is_relative_to(own_cache / "kind")


def test_other_keys_and_kinds_are_other_entries() -> None:
    make = Maker()
    assert len({cached(kind, key, "file", make) for kind in "ab" for key in "cd"}) == 4


@pytest.mark.parametrize("damage", ["truncate", "remove", "no checksum", "binary checksum"])
def test_a_damaged_entry_is_made_anew(damage: str) -> None:
    make = Maker()
    entry = cached("kind", "key", "file", make)
    match damage:
        case "truncate":
            (entry / "file").write_text("con")
        case "remove":
            (entry / "file").unlink()
        case "no checksum":
            (entry / "sha256").unlink()
        case "binary checksum":
            (entry / "sha256").write_bytes(bytes(range(256)))
    assert cached("kind", "key", "file", make) == entry
    assert (entry / "file").read_text() == "content"
    assert make.calls == 2
    assert os.listdir(entry.parent) == [entry.name]


def test_a_failure_leaves_nothing() -> None:
    def fail(folder: Path) -> None:
        (folder / "file").write_text("half")
        raise SimulatorError("no")

    with pytest.raises(SimulatorError, match="no"):
        cached("kind", "key", "file", fail)
    assert os.listdir(cache_folder() / "kind") == []


def test_of_several_makers_at_once_one_makes() -> None:
    barrier = threading.Barrier(4)
    make = Maker()
    made: list[Path] = []

    def ask() -> None:
        barrier.wait(10)
        made.append(cached("kind", "key", "file", lambda folder: (time.sleep(0.2), make(folder))[1]))

    threads = [threading.Thread(target=ask) for _ in range(barrier.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(made) == barrier.parties
    assert len(set(made)) == 1
    assert make.calls == 1
    assert os.listdir(cache_folder() / "kind") == [made[0].name]


def test_without_locks_several_makers_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", fail)
    barrier = threading.Barrier(4)
    made: list[Path] = []

    def make(folder: Path) -> None:
        barrier.wait(10)  # all of them find no entry
        (folder / "file").write_text("content")

    threads = [
        threading.Thread(target=lambda: made.append(cached("kind", "key", "file", make)))
        for _ in range(barrier.parties)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(made) == barrier.parties
    assert len(set(made)) == 1
    assert os.listdir(cache_folder() / "kind") == [made[0].name]


def test_a_maker_that_is_killed_does_not_block_the_next(own_cache: Path) -> None:
    script = (
        "import time\n"
        "from eightfold.sim.cache import cached\n"
        "def make(folder):\n"
        "    (folder / 'file').write_text('half')\n"
        "    print('making', flush=True)\n"
        "    time.sleep(60)\n"
        "cached('kind', 'key', 'file', make)\n"
    )
    make = Maker()
    waiting = threading.Thread(target=cached, args=("kind", "key", "file", make))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"making\n"
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()  # for the other to finish
        other.kill()
    waiting.join(10)
    assert not waiting.is_alive()
    assert make.calls == 1
    assert (cached("kind", "key", "file", make) / "file").read_text() == "content"


def test_a_full_disk_is_said_and_leaves_nothing(own_cache: Path) -> None:
    script = (
        "from eightfold.sim.cache import cached\n"
        "from eightfold.sim.errors import SimulatorError\n"
        "try:\n"
        "    cached('kind', 'key', 'file', lambda folder: (folder / 'file').write_bytes(bytes(100_000)))\n"
        "except SimulatorError as error:\n"
        "    print(error)\n"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, preexec_fn=limit, check=True)
    assert re.fullmatch(r"the cache entry \S+ cannot be written: File too large\n", done.stdout)
    assert os.listdir(own_cache / "kind") == []


def test_a_cache_that_cannot_be_written_is_an_error(own_cache: Path) -> None:
    own_cache.write_text("a file where the folder should be")
    with pytest.raises(SimulatorError, match=r"cannot be written: .*; set XDG_CACHE_HOME"):
        cached("kind", "key", "file", Maker())


def test_what_killed_processes_left_is_removed_after_a_day(own_cache: Path) -> None:
    (own_cache / "kind" / "making-old").mkdir(parents=True)
    (own_cache / "kind" / "making-new").mkdir()
    os.utime(own_cache / "kind" / "making-old", (0, 0))
    entry = cached("kind", "key", "file", Maker())
    assert sorted(os.listdir(entry.parent)) == sorted([entry.name, "making-new"])


def test_without_a_home_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(SimulatorError, match="set XDG_CACHE_HOME"):
        cache_folder()
