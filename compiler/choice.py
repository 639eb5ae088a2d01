"""The tiling of each layer: a few sensible candidates, each emitted by itself and timed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from ..hw.config import Config
from .lowering import Convolution
from .program import CompileError
from .schedule import Schedule
from .tiling import (
    MAX_PIXELS,
    Site,
    Tiling,
    WeightBuffer,
    emit,
    packed_bytes,
    smallest_unit,
    strip_bytes,
    weight_units,
)

HIDDEN_BEAT = 0.25
"""What a beat on the bus costs, in cycles, where it delays nothing: energy, and room for the layers around."""


def choose(layer: Convolution, config: Config, site: Site) -> Tiling:
    """The best of the candidate tilings."""

    def cost(tiling: Tiling) -> float:
        schedule = Schedule(config)
        emit(schedule, layer, tiling, site.copy(), WeightBuffer(config))
        return schedule.cycles + HIDDEN_BEAT * schedule.beats

    candidates = list(_candidates(layer, config, site))
    return min(candidates, key=cost) if len(candidates) > 1 else candidates[0]


def _candidates(layer: Convolution, config: Config, site: Site) -> Iterator[Tiling]:
    strips = list(_strips(layer, config, site))
    tiles = list(_tiles(layer, config))
    units = list(_units(layer, config))
    seen = set()
    for (strip_rows, buffers), (tile_rows, tile_columns), unit_bytes in product(strips, tiles, units):
        groups = weight_units(layer, config, unit_bytes)
        one_tile = min(strip_rows, layer.vertical.outputs) <= tile_rows and tile_columns == layer.horizontal.outputs
        for weights_first in (True, False) if len(groups) > 1 and not one_tile else (True,):
            key = (strip_rows, buffers, min(tile_rows, strip_rows), len(groups), len(groups[0]), weights_first)
            if key not in seen:
                seen.add(key)
                yield Tiling(strip_rows, buffers, tile_rows, tile_columns, unit_bytes, weights_first)


def _strips(layer: Convolution, config: Config, site: Site) -> Iterator[tuple[int, int]]:
    """Rows of a strip, and how many strips have room at once."""

    def fits(rows: int, buffers: int) -> bool:
        need = strip_bytes(
            layer,
            rows,
            config,
            source_whole=site.source.window is not None,
            destination_whole=site.destination.window is not None,
        )
        return need <= site.room // buffers

    if fits(layer.output_rows, 1):
        yield layer.output_rows, 1
        return
    for buffers in (2, 1):
        if fits(1, buffers):
            low, high = 1, layer.vertical.outputs
            while low < high:
                middle = (low + high + 1) // 2
                low, high = (middle, high) if fits(middle, buffers) else (low, middle - 1)
            yield low, buffers


def _tiles(layer: Convolution, config: Config) -> Iterator[tuple[int, int]]:
    """Rows and columns of a tile: as many as the accumulators hold, or a part of that to begin and end sooner."""
    most = min(config.accumulator_depth, MAX_PIXELS)
    columns = layer.horizontal.outputs
    if columns > most:
        yield 1, most
        return
    rows = min(most // columns, layer.vertical.outputs)
    for part in (1, 2, 4):
        if part == 1 or (rows // part) * columns >= 4 * config.rows:
            yield -(-rows // part), columns


def _units(layer: Convolution, config: Config) -> Iterator[int]:
    """Bytes of a unit of weights: what is there, or the part of the buffer that lets others be loaded meanwhile."""
    # A unit keeps its place in a bus beat, which may leave some bytes before it unused.
    unused = max(0, config.bus_bytes - config.weight_row_bytes)
    whole, least = config.weight_bytes - unused, smallest_unit(config)
    if least > whole:
        raise CompileError(
            f"operator {layer.operator}: a tile of weights and its parameters need {least + unused} bytes of weight "
            f"buffer; there are {config.weight_bytes}"
        )
    total = packed_bytes(layer, config)
    if total <= whole:
        yield total
    for part in (2, 4, 8):
        if config.weight_bytes // part - unused >= least:
            yield config.weight_bytes // part - unused
    if config.weight_bytes // 2 - unused < least:
        yield least
