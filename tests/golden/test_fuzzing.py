"""20,000 damaged files: each is refused with ModelError or runs, in bounded time and memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator

import pytest

from .fuzzing import SECONDS, bases, mutant, survive

MUTANTS, CHUNK = 20_000, 500


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return bases()


@pytest.fixture
def bounded_memory() -> Iterator[None]:
    """One more GiB of address space than now, so that a greedy allocation fails."""
    if not sys.platform.startswith("linux"):
        yield
        return
    with open("/proc/self/statm", encoding="ascii") as status:
        used = int(status.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("bounded_memory")
@pytest.mark.parametrize("first", range(0, MUTANTS, CHUNK))
def test_damaged_files_raise_nothing_but_model_errors(first: int, files: list[bytes]) -> None:
    for seed in range(first, first + CHUNK):
        data = mutant(seed, files)
        start = time.process_time()
        try:
            survive(data)
        except Exception as error:
            pytest.fail(f"seed {seed}: {type(error).__name__}: {error}")
        assert time.process_time() - start < SECONDS, f"seed {seed}"


def test_most_mutants_are_wrong_and_some_run(files: list[bytes]) -> None:
    outcomes = [survive(mutant(seed, files)) == "" for seed in range(400)]
    assert 20 < sum(outcomes) < 380
