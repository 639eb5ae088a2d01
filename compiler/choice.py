"""The tiling of each layer: a few sensible candidates, each emitted by itself and timed."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from itertools import product

from ..hw.config import Config
from .chains import Chain, ChainSite, ChainTiling, candidates, emit_chain
from .emission import Site, emit
from .program import CompileError
from .schedule import Schedule, TooDear
from .tiling import Tiling, strip_bytes
from .units import WeightBuffer, smallest_unit, weight_units
from .work import Chunk, Layer

MACHINES = 4
"""For how many machines the tilings that were chosen are kept."""

TRIALS = 20_000
"""Commands to emit in trials of one layer before the best so far is taken."""


@lru_cache(MACHINES)
def choices_for(config: Config, resident: bool) -> Choices:
    """The choices for a machine, which all networks that are compiled for it share."""
    return Choices(config, resident=resident)


class Choices:
    """Chooses tilings; layers of one shape in like places are cut alike, so that each is tried out once."""

    def __init__(self, config: Config, resident: bool = False) -> None:
        self._config = config
        self._weights = partial(WeightBuffer, config, resident=resident)
        self._made: dict[Hashable, Tiling] = {}
        self._chains: dict[Hashable, ChainTiling] = {}

    def choose(self, layer: Layer, site: Site) -> Tiling:
        """The best of the candidate tilings."""
        key = (layer.shape, site.key)
        if key not in self._made:
            self._made[key] = _choose(layer, self._config, site, self._weights)
        return self._made[key]

    def choose_chain(self, chain: Chain, site: ChainSite) -> ChainTiling:
        """The best of the candidate tilings of a chain."""
        key = (chain.shape, site.key)
        if key not in self._chains:
            self._chains[key] = _choose_chain(chain, self._config, site, self._weights)
        return self._chains[key]


def _choose_chain(chain: Chain, config: Config, site: ChainSite, weights: Callable[[], WeightBuffer]) -> ChainTiling:
    def cost(tiling: ChainTiling, limit: float) -> float:
        schedule = Schedule(config, limit)
        with suppress(TooDear):
            emit_chain(schedule, chain, tiling, site.copy(), weights())
        return schedule.cost

    best, best_cost = None, math.inf
    for tiling in candidates(chain, config, site):
        if (found := cost(tiling, best_cost)) < best_cost:
            best, best_cost = tiling, found
    if best is None:
        raise CompileError(f"operators up to {chain.operator} have no room for strips")
    straight = replace(best, detours=False)
    # As cheap is enough.
    return straight if cost(straight, math.nextafter(best_cost, math.inf)) <= best_cost else best


def _choose(layer: Layer, config: Config, site: Site, weights: Callable[[], WeightBuffer]) -> Tiling:
    some = sorted(_candidates(layer, config, site), key=lambda t: (t.edge_rows != t.tile_rows, t.head + t.tail))
    best, best_cost, trials = some[0], math.inf, 0
    for tiling in some if len(some) > 1 else ():
        schedule = Schedule(config, best_cost)
        with suppress(TooDear):
            emit(schedule, layer, tiling, site.copy(), weights())
        if schedule.cost < best_cost:
            best, best_cost = tiling, schedule.cost
        trials += schedule.issued
        if trials > TRIALS:
            break
    return best


def _candidates(layer: Layer, config: Config, site: Site) -> Iterator[Tiling]:
    tile_rows = layer.tile_rows(config)
    # Sizes that give the same units are one candidate.
    units: dict[tuple[int, int], tuple[int, list[list[Chunk]]]] = {}
    for unit_bytes in _units(layer, config):
        groups = weight_units(layer, config, unit_bytes)
        units.setdefault((len(groups), len(groups[0])), (unit_bytes, groups))
    for (strip_rows, buffers), (unit_bytes, groups) in product(_strips(layer, config, site), units.values()):
        coarse = min(tile_rows, strip_rows)
        alone = strip_rows <= min(tile_rows, layer.rows)  # in its strip the tile is the only one, hence the edge
        for edge_rows, (head, tail) in product(_edges(layer, config, coarse), _phases(config, site, groups)):
            if (head or tail) if edge_rows < coarse else not (alone and (head or tail)):
                yield Tiling(strip_rows, buffers, coarse, unit_bytes, head, tail, edge_rows)


def _edges(layer: Layer, config: Config, rows: int) -> Iterator[int]:
    """Rows of tiles with which to begin and to end sooner."""
    yield rows
    pixels = max(work.pixels(config) for work in layer.works)
    for part in (2, 4, 8):
        smaller = -(-rows // part)
        if smaller < -(-rows // (part // 2)) and smaller * pixels >= 2 * config.rows:
            yield smaller


def _phases(config: Config, site: Site, groups: list[list[Chunk]]) -> Iterator[tuple[int, int]]:
    """How many groups form the head and the tail."""
    yield 0, 0
    windows = (source.window for source in site.sources)
    arrives = any(window is None or window.ready < window.stop for window in windows)
    leaves = site.destination.stored
    largest = max(sum(chunk.size for chunk in chunks) for chunks in groups)
    # Weights that all tiles use in turn should stay, and leave room for those that follow.
    most = max(1, config.weight_bytes // 2 // largest)
    if arrives or leaves:
        yield len(groups), 0
        if len(groups) > most * (arrives + leaves):
            yield most * arrives, most * leaves


def _strips(layer: Layer, config: Config, site: Site) -> Iterator[tuple[int, int]]:
    """Rows of a strip, and how many strips have room at once."""

    tensors = zip((*layer.sources, layer.destination), (*site.sources, site.destination), strict=True)
    whole = {tensor for tensor, place in tensors if place.window is not None}

    def fits(rows: int, buffers: int) -> bool:
        return strip_bytes(layer, rows, config, whole) <= site.room // buffers

    if fits(layer.output_rows, 1):
        yield layer.output_rows, 1
        return
    for buffers in (2, 1):
        if fits(1, buffers):
            low, high = 1, layer.rows
            while low < high:
                middle = (low + high + 1) // 2
                low, high = (middle, high) if fits(middle, buffers) else (low, middle - 1)
            yield low, buffers


def _units(layer: Layer, config: Config) -> Iterator[int]:
    """Bytes of a unit of weights: what is there, or the part of the buffer that lets others be loaded meanwhile."""
    # A unit keeps its place in a bus beat, which may leave some bytes before it unused.
    unused = max(0, config.bus_bytes - config.weight_row_bytes)
    whole, least = config.weight_bytes - unused, smallest_unit(config)
    if least > whole:
        raise CompileError(
            f"operator {layer.operator}: a tile of weights and its parameters need {least + unused} bytes of weight "
            f"buffer; there are {config.weight_bytes}"
        )
    total = layer.packed_bytes(config)
    if total <= whole:
        yield total
    for part in (2, 4, 8):
        if config.weight_bytes // part - unused >= least:
            yield config.weight_bytes // part - unused
    if config.weight_bytes // 2 - unused < least:
        yield least
