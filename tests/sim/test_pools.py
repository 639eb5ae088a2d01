"""A job beside what else is done: its process ends with that, whatever becomes of either."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from eightfold.compiler.program import CompileError
from eightfold.sim.job import Outcome
from eightfold.sim.pools import beside

from .processes import MARK, Family, wait_until

needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc")


@dataclass(frozen=True)
class Endless:
    """A job that never ends; a file says that it has begun."""

    begun: Path
    name: str = "endless"

    def perform(self) -> Outcome:
        self.begun.touch()
        while True:
            time.sleep(1)


@dataclass(frozen=True)
class Echo:
    """A job whose result is its name."""

    name: str

    def perform(self) -> Outcome:
        return Outcome(self.name.encode())


def family(monkeypatch: pytest.MonkeyPatch) -> Family:
    """All processes that this one starts from here on."""
    found = Family()
    monkeypatch.setenv(MARK, found.mark)
    return found


@needs_proc
@pytest.mark.parametrize("busy", [True, False], ids=["busy", "hardly started"])
@pytest.mark.parametrize("error", [CompileError("the network does not fit"), KeyboardInterrupt()], ids=repr)
def test_a_worker_is_gone_when_the_body_raises(
    error: BaseException, busy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children, begun = family(monkeypatch), tmp_path / "begun"

    def body() -> None:
        with beside(Endless(begun)):
            if busy:
                assert wait_until(begun.exists)
                assert children.members()
            raise error

    with pytest.raises(type(error)):
        body()
    assert not children.members()


@needs_proc
def test_a_worker_is_gone_when_nobody_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children, begun = family(monkeypatch), tmp_path / "begun"
    with beside(Endless(begun)):
        assert wait_until(begun.exists)
    assert not children.members()


def test_a_job_beside_is_waited_for() -> None:
    with beside(Echo("one")) as outcome:
        assert outcome.result() == Outcome(b"one")
