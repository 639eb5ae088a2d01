"""Where tensors lie in the scratchpad: offsets for things that live for a while."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Lifetime:
    """Something that needs `size` bytes from step `first` to step `last`, both included."""

    key: Hashable
    size: int
    first: int
    last: int


def _overlap(a: Lifetime, b: Lifetime) -> bool:
    return a.first <= b.last and b.first <= a.last


def allocate(requests: Iterable[Lifetime], capacity: int, alignment: int = 1) -> Mapping[Hashable, int] | None:
    """Offsets, multiples of `alignment`, at which nothing overlaps that lives at the same time.

    Larger things first, each at the lowest offset where it fits [Pisarchyk & Lee, "Efficient Memory Management for Deep
    Neural Net Inference" (2020), greedy by size].

    Returns
    -------
    The offset of every key; None where this does not fit `capacity`.
    """
    placed: list[tuple[int, Lifetime]] = []
    for request in sorted(requests, key=lambda r: (-r.size, r.first, r.last)):
        offset = 0
        for start, other in sorted(((s, o) for s, o in placed if _overlap(o, request)), key=lambda p: p[0]):
            if offset + request.size <= start:
                break
            offset = max(offset, -(-(start + other.size) // alignment) * alignment)
        if offset + request.size > capacity:
            return None
        placed.append((offset, request))
    return {request.key: offset for offset, request in placed}


def gap(occupied: Iterable[tuple[int, int]], capacity: int) -> tuple[int, int]:
    """The largest free range `[start, stop)` beside the occupied ones."""
    best, free = (0, 0), 0
    for start, stop in [*sorted(occupied), (capacity, capacity)]:
        if start - free > best[1] - best[0]:
            best = (free, start)
        free = max(free, stop)
    return best
