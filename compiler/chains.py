"""Chains of layers whose tensors in between pass through the chip: they are computed in turn, strip by strip.

A strip is some rows of the last layer's output. What it needs of every tensor before follows backwards; what of that is
still there from the strip before need not be computed again. Each tensor of a chain has its *track*, a range of the
scratchpad through which its rows move upwards. Where they reach the end they begin anew, and then the rows that two
strips share are computed for the second time; or they make a *detour*: they are stored to DRAM, and loaded where they
are wanted, while the array computes something else.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from ..hw.commands import Memory
from ..hw.config import Config
from .emission import Place, run_tile, store_tile
from .program import Region, Resident
from .schedule import Schedule, Window
from .tiling import split, tiles_of
from .units import WeightBuffer, smallest_unit, weight_units
from .work import Layer

Span = tuple[int, int]

STRIPS = 8
"""Heights of strips to try."""


@dataclass(frozen=True, eq=False)
class Chain:
    """Layers that are computed strip by strip; each but the last has no output that is needed elsewhere."""

    layers: tuple[Layer, ...]

    @cached_property
    def inside(self) -> frozenset[int]:
        """The tensors in between."""
        return frozenset(layer.destination for layer in self.layers[:-1])

    @cached_property
    def sizes(self) -> Mapping[int, int]:
        """Bytes of every tensor."""
        sizes: dict[int, int] = {}
        for layer in self.layers:
            sizes |= dict(zip(layer.sources, layer.source_bytes, strict=True)) | {layer.destination: layer.size}
        return sizes

    @cached_property
    def sources(self) -> tuple[int, ...]:
        """The tensors that it reads."""
        read = dict.fromkeys(tensor for layer in self.layers for tensor in layer.sources)
        return tuple(tensor for tensor in read if tensor not in self.inside)

    @property
    def source_bytes(self) -> tuple[int, ...]:
        """Their sizes."""
        return tuple(self.sizes[tensor] for tensor in self.sources)

    @property
    def last(self) -> Layer:
        """The layer that computes the output."""
        return self.layers[-1]

    @property
    def destination(self) -> int:
        """The tensor that it computes."""
        return self.last.destination

    @property
    def size(self) -> int:
        """Bytes of its output."""
        return self.last.size

    @property
    def operator(self) -> int:
        """The last operator's index."""
        return self.last.operator

    @cached_property
    def shape(self) -> Hashable:
        """Equal for chains whose commands differ in weights and parameters only."""
        tensors = list(self.sizes)
        wires = tuple((*map(tensors.index, layer.sources), tensors.index(layer.destination)) for layer in self.layers)
        return (wires, *(layer.shape for layer in self.layers))

    @cached_property
    def grain(self) -> int:
        """Rows of the last layer for a row of images: those of pixels, or of bytes, are cut together."""
        images = [layer.rows for layer in self.layers if self.last.rows % layer.rows == 0]
        return self.last.rows // max((rows for rows in images if rows < self.last.rows), default=self.last.rows)

    def packed_bytes(self, config: Config) -> int:
        """Packed bytes of all weights."""
        return sum(layer.packed_bytes(config) for layer in self.layers)

    def strips(self, rows: int) -> Iterator[Span]:
        """Rows of the last layer, `[first, last)`, in strips of at most so many grains."""
        grains = -(-self.last.rows // self.grain)
        for start, count in split(grains, rows):
            yield start * self.grain, min((start + count) * self.grain, self.last.rows)

    def needs(self, rows: int) -> Mapping[int, int]:
        """The most bytes of each tensor that a strip needs, if nothing is left of the strip before."""
        if rows not in self._needs:
            self._needs[rows] = self._most(rows)
        return self._needs[rows]

    @cached_property
    def _needs(self) -> dict[int, Mapping[int, int]]:
        return {}

    def _most(self, rows: int) -> Mapping[int, int]:
        most = dict.fromkeys(self.sizes, 0)
        for spans in self._spans(rows):
            for tensor, (start, stop) in spans.items():
                most[tensor] = max(most[tensor], stop - start)
        return most

    def _spans(self, rows: int) -> Iterator[Mapping[int, Span]]:
        """For each strip, the bytes of every tensor that it needs; of what a layer computes, in whole rows of that."""
        for first, last in self.strips(rows):
            spans = {self.destination: self.last.span(first, last)}
            for layer in reversed(self.layers):
                wanted = _rows(layer, spans[layer.destination])
                spans[layer.destination] = layer.span(*wanted)
                _require(layer, wanted, spans)
            yield spans

    @cached_property
    def shared(self) -> Mapping[int, int]:
        """For each tensor in between, the most bytes that two strips share."""
        most = dict.fromkeys(self.inside, 0)
        for before, after in pairwise(self._spans(1)):
            for tensor in self.inside:
                most[tensor] = max(most[tensor], before[tensor][1] - after[tensor][0])
        return most

    @property
    def complete(self) -> bool:
        """Whether every byte in between is needed, and so computed: what is not cannot be compared."""
        reached = dict.fromkeys(self.inside, 0)
        for spans in self._spans(1):
            for tensor in self.inside:
                start, stop = spans[tensor]
                if reached[tensor] < start < stop:
                    return False
                reached[tensor] = max(reached[tensor], stop)
        return all(reached[tensor] == self.sizes[tensor] for tensor in self.inside)

    def bytes(self, rows: int, config: Config, whole: Collection[int] = ()) -> int:
        """The fewest bytes of scratchpad that strips need; the tensors `whole` are there anyway."""
        return sum(size + config.bus_bytes - 1 for tensor, size in self.needs(rows).items() if tensor not in whole)


@dataclass(frozen=True)
class ChainTiling:
    """How to cut a chain.

    Parameters
    ----------
    rows
        Of a strip, in grains.
    unit_bytes
        The most weights that one load brings and one command uses.
    detours
        Whether rows that two strips share go by way of DRAM where their track begins anew.
    """

    rows: int
    unit_bytes: int
    detours: bool = True


@dataclass(frozen=True, eq=False)
class ChainSite:
    """What a chain works on.

    Parameters
    ----------
    places
        Where its sources and its destination are.
    workspace
        `[start, stop)` of the scratchpad, for everything else.
    weights
        The offset of each layer's packed weights in DRAM.
    detours
        For each tensor in between, a range of DRAM, as long as the most that two strips share and a beat of the bus.
    """

    places: Mapping[int, Place]
    workspace: Span
    weights: Mapping[Layer, int]
    detours: Mapping[int, Region]

    def copy(self) -> ChainSite:
        """The same, for a trial."""
        places = {tensor: place.copy() for tensor, place in self.places.items()}
        return replace(self, places=places)

    @property
    def key(self) -> Hashable:
        """What two sites have in common where all commands for them differ in DRAM addresses only."""
        return (*(place.key for place in self.places.values()), self.workspace)

    @property
    def whole(self) -> frozenset[int]:
        """The tensors that lie whole in the scratchpad."""
        return frozenset(tensor for tensor, place in self.places.items() if place.window is not None)


class _Track:
    """Where rows of a tensor lie that passes through."""

    def __init__(self, start: int, stop: int, dram: int | None, bus_bytes: int) -> None:
        self._start, self._stop = start, stop
        self._dram, self._bus_bytes = dram, bus_bytes
        self.window = Window(0, 0, 0, dram, 0)
        self.detour: Region | None = None
        self._returning: tuple[int, int, int] | None = None

    def cover(self, schedule: Schedule, start: int, stop: int) -> int:
        """Makes room for the tensor's bytes `[start, stop)`; from the one that it returns on, they are not there.

        Those before are, as soon as `come_back` has been called.
        """
        window = self.window
        if window.stop > window.start <= start and window.base + stop <= self._stop:
            if start > window.stop:
                window.start = window.stop = window.ready = start
            new, window.stop = min(window.stop, stop), max(window.stop, stop)
            return new
        # Bytes keep their lanes of the bus.
        address = self._start + ((self._dram or 0) + start - self._start) % self._bus_bytes
        if address + stop - start > self._stop:
            raise ValueError(f"{stop - start} bytes at {address} reach beyond their track, which ends at {self._stop}")
        self.window = Window(address - start, start, stop, self._dram, start)
        shared = min(window.stop, stop) - start
        lane = address % self._bus_bytes
        if self.detour is None or not (window.start <= start and 0 < shared <= self.detour.size - lane):
            return start
        self._returning = self.detour.offset + lane, address, shared
        note = f"bytes {start} to {start + shared - 1}, on their way to the next strip"
        schedule.store(address=window.base + start, dram=self.detour.offset + lane, length=shared, note=note)
        return start + shared

    def come_back(self, schedule: Schedule) -> None:
        """Loads what has been stored on its way to where it is wanted."""
        if self._returning is not None:
            dram, address, length = self._returning
            note = "bytes that the strip before has computed"
            schedule.load(dram=dram, length=length, memory=Memory.SCRATCHPAD, address=address, note=note)
            self._returning = None


def candidates(chain: Chain, config: Config, site: ChainSite) -> Iterator[ChainTiling]:
    """A few sensible tilings."""
    room = site.workspace[1] - site.workspace[0]
    grains = -(-chain.last.rows // chain.grain)
    heights = dict.fromkeys(-(-grains // n) for n in range(1, grains + 1))
    fitting = [rows for rows in heights if chain.bytes(rows, config, site.whole) <= room]
    sizes = _unit_sizes(chain, config)
    # High strips are few, low ones leave room to move upwards.
    for rows in fitting[:: -(-len(fitting) // STRIPS)] if fitting else ():
        for unit in sizes:
            yield ChainTiling(rows, unit)


def _unit_sizes(chain: Chain, config: Config) -> list[int]:
    """The most bytes of a unit of weights, to try: the buffer, or a part of it."""
    unused = max(0, config.bus_bytes - config.weight_row_bytes)
    parts = (1,) if chain.packed_bytes(config) <= config.weight_bytes // 2 else (1, 2, 4)
    # Sizes that give the same units are one candidate.
    sizes: dict[Hashable, int] = {}
    for part in parts:
        size = config.weight_bytes // part - unused
        if size >= smallest_unit(config):
            units = (weight_units(layer, config, size) for layer in chain.layers)
            sizes.setdefault(tuple(tuple(map(tuple, groups)) for groups in units), size)
    return list(sizes.values())


def emit_chain(
    schedule: Schedule, chain: Chain, tiling: ChainTiling, site: ChainSite, weight_buffer: WeightBuffer
) -> list[Resident]:
    """Emits the commands of a chain; `weight_buffer` says what is there already.

    Returns
    -------
    All parts of the tensors in between, and when they are there.
    """
    config = schedule.config
    strips = []
    tracks = _tracks(chain, tiling, site, config)
    groups = {layer: weight_units(layer, config, tiling.unit_bytes) for layer in chain.layers}
    spans_of = [chain.last.span(first, last) for first, last in chain.strips(tiling.rows)]
    upcoming = _rows_of(schedule, chain, spans_of[0], tracks)
    for number in range(len(spans_of)):
        rows, spans = upcoming
        for tensor in chain.sources:
            if tensor in tracks and spans[tensor][0] < spans[tensor][1]:
                tracks[tensor].cover(schedule, *spans[tensor])
        windows = {tensor: place.window for tensor, place in site.places.items() if place.window is not None}
        windows |= {tensor: track.window for tensor, track in tracks.items()}
        for layer in chain.layers:
            schedule.operator = layer.operator
            # Back and forth: what the buffer still holds of the last strip's weights is used first.
            sweep = groups[layer][::-1] if number % 2 else groups[layer]
            reads, writes = [windows[tensor] for tensor in layer.sources], windows[layer.destination]
            for tensor in layer.sources:
                if tensor in tracks and rows[layer][0] < rows[layer][1]:
                    tracks[tensor].come_back(schedule)
            if layer is chain.last and number + 1 < len(spans_of):
                # What makes a detour to the next strip leaves before the last layer's output does, which takes longer.
                upcoming = _rows_of(schedule, chain, spans_of[number + 1], tracks)
                schedule.operator = layer.operator
            for chunks in sweep if rows[layer][0] < rows[layer][1] else ():
                for tile in tiles_of(layer, *rows[layer], layer.tile_rows(config)):
                    for position, tensor in enumerate(layer.sources):
                        if tensor not in chain.inside:
                            schedule.fill(windows[tensor], layer.reads(position, tile.top, tile.bottom)[1])
                    run_tile(schedule, layer, tile, chunks, reads, writes, weight_buffer, site.weights[layer])
                    if layer is chain.last and chunks is sweep[-1] and site.places[chain.destination].stored:
                        store_tile(schedule, layer, tile, writes)
            if layer.destination in chain.inside and rows[layer][0] < rows[layer][1]:
                start, stop = layer.span(*rows[layer])
                address = writes.base + start
                strips.append(Resident(layer.destination, address, stop - start, schedule.executes, start))
    return strips


def _rows_of(
    schedule: Schedule, chain: Chain, span: Span, tracks: Mapping[int, _Track]
) -> tuple[Mapping[Layer, Span], Mapping[int, Span]]:
    """The rows of each layer to compute for some bytes of the output, and the bytes of each tensor that they need."""
    spans = {chain.destination: span}
    rows: dict[Layer, Span] = {}
    for layer in reversed(chain.layers):
        start, stop = _rows(layer, spans[layer.destination])
        if layer.destination in tracks and start < stop:
            schedule.operator = layer.operator
            left = tracks[layer.destination].cover(schedule, *layer.span(start, stop))
            if layer is not chain.last:
                start = max(start, left // layer.row_bytes)
        rows[layer] = (start, stop)
        _require(layer, rows[layer], spans)
    return rows, spans


def _tracks(chain: Chain, tiling: ChainTiling, site: ChainSite, config: Config) -> dict[int, _Track]:
    """The workspace, divided among all tensors that are not whole: as they need it, but for none more than it has."""
    needs = {tensor: size for tensor, size in chain.needs(tiling.rows).items() if tensor not in site.whole}
    lane = config.bus_bytes - 1
    address, stop = site.workspace
    tracks = {}
    # Those that fit whole first: what they leave is the others'.
    for tensor in sorted(needs, key=lambda t: chain.sizes[t] / max(1, needs[t])):
        left = sum(needs[other] + lane for other in needs if other not in tracks)
        share = (needs[tensor] + lane) * (stop - address) // left
        size = min(share, chain.sizes[tensor] + lane)
        place = site.places.get(tensor)
        tracks[tensor] = _Track(address, address + size, place.dram if place else None, config.bus_bytes)
        if tiling.detours:
            tracks[tensor].detour = site.detours.get(tensor)
        address += size
    return tracks


def _rows(layer: Layer, span: Span) -> Span:
    """The rows of a layer that compute some bytes of its output."""
    return span[0] // layer.row_bytes, math.ceil(span[1] / layer.row_bytes)


def _require(layer: Layer, rows: Span, spans: dict[int, Span]) -> None:
    """Adds what rows of a layer's output need of its sources."""
    for position, tensor in enumerate(layer.sources):
        start, stop = layer.reads(position, *rows) if rows[0] < rows[1] else (0, 0)
        if start < stop:
            before = spans.get(tensor, (start, stop))
            spans[tensor] = (min(start, before[0]), max(stop, before[1]))
        elif tensor not in spans:
            spans[tensor] = (0, 0)
