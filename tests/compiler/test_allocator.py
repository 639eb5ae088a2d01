"""Offsets for things that live for a while."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eightfold.compiler.allocator import Lifetime, allocate, gap

LIFETIMES = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9), st.integers(0, 9)), max_size=12)


@given(LIFETIMES, st.sampled_from([1, 4, 16]), st.integers(1, 300))
def test_nothing_overlaps_that_lives_at_the_same_time(
    raw: list[tuple[int, int, int]], alignment: int, capacity: int
) -> None:
    requests = [Lifetime(key, size, min(a, b), max(a, b)) for key, (size, a, b) in enumerate(raw)]
    offsets = allocate(requests, capacity, alignment)
    if offsets is None:
        # One after the other is always possible where there is room for all.
        assert sum(-(-request.size // alignment) * alignment for request in requests) > capacity
        return
    assert set(offsets) == {request.key for request in requests}
    for a in requests:
        assert offsets[a.key] % alignment == 0
        assert 0 <= offsets[a.key] <= capacity - a.size
        for b in requests:
            if a.key < b.key and a.first <= b.last and b.first <= a.last:
                assert offsets[a.key] + a.size <= offsets[b.key] or offsets[b.key] + b.size <= offsets[a.key]


def test_room_is_used_again() -> None:
    chain = [Lifetime(i, 100, i, i + 1) for i in range(8)]
    assert allocate(chain, 200) is not None
    assert allocate(chain, 199) is None


def test_the_largest_gap() -> None:
    assert gap([(10, 20), (50, 60)], 100) == (60, 100)
    assert gap([(10, 20), (50, 90)], 100) == (20, 50)
    assert gap([], 100) == (0, 100)
    assert gap([(0, 100)], 100) == (0, 0)
    assert gap([(0, 40), (10, 20)], 100) == (40, 100)
