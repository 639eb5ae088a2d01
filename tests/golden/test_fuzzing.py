"""20,000 damaged files: each is refused with ModelError or runs, in bounded time and memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from eightfold.golden.graph import ModelError
from eightfold.golden.runtime import run

from .cases import same
from .fuzzing import SECONDS, bases, mutant, survive
from .models import Builder

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


def test_found_an_axis_that_is_named_twice() -> None:
    graph = same(Builder(), "REVERSE_V2", "int8", (2, 3), (2, 3), np.array([1, -1], np.int32))
    with pytest.raises(ModelError, match=r"an axis is repeated in \[1, -1\]"):
        run(graph, [np.zeros((2, 3), np.int8)])


def test_found_a_dilation_that_asks_for_any_padding() -> None:
    b = Builder()
    x = b.input((1, 4, 4, 1), np.int8, 0.1)
    w = b.constant(np.ones((1, 2, 2, 1), np.int8), 0.1)
    y = b.tensor((1, 4, 4, 1), np.int8, 0.1)
    options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 2**31 - 1, "dilation_w_factor": 1}
    b.operator("CONV_2D", (x, w), (y,), **options)
    with pytest.raises(ModelError, match="padding makes"):
        run(b.graph(), [np.zeros((1, 4, 4, 1), np.int8)])


def test_found_an_optional_input_where_one_is_needed() -> None:
    b = Builder()
    x = b.input((4, 4), np.int8, 0.1)
    ends = b.constant(np.array([1, 1], np.int32))
    y = b.tensor((1, 1), np.int8, 0.1)
    b.operator("STRIDED_SLICE", (x, -1, ends, ends), (y,))
    with pytest.raises(ModelError, match="input 1 is absent"):
        run(b.graph(), [np.zeros((4, 4), np.int8)])
