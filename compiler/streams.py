"""The command stream for neighbouring operators: what lies where, which layers are fused, and all commands."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ..hw.commands import COUNT_BITS
from ..hw.config import Config
from .chains import Chain, ChainSite, emit_chain
from .choice import choices_for
from .emission import Place, Site, emit, stage
from .placement import Placement, Use, place, uses_of
from .program import Allocation, CompileError, Fusion, MachineStep, Region, Resident, TensorRegion
from .schedule import Schedule, Window
from .staging import Staging, Usage, beside, pieces_of, stageable, waiting
from .units import WeightBuffer
from .work import Layer

STAGED = 2
"""The most layers of a stream some of whose weights are loaded ahead of time."""

ATTEMPTS = ((1.0, 1), (1.0, 5), (1.0, 10), (0.7, 10))
"""Ways to stage weights: the share of the bus's idle time to fill, and how many layers before theirs are left alone."""

LONG_WAIT = 500
"""Cycles that a layer must wait for its weights at least, for staging to be tried."""

EFFORT = 200_000
"""Commands in all the streams that are tried for fusion, after which what is best so far has to do."""

ALIGNMENT = 64
"""Of everything in DRAM: the longest bus beat, and a cache line of most hosts."""


@dataclass
class Dram:
    """Hands out DRAM, from offset 0 on."""

    size: int = 0
    tensors: dict[int, TensorRegion] = field(default_factory=dict)

    def take(self, size: int) -> Region:
        region = Region(self.size, size)
        self.size += -(-size // ALIGNMENT) * ALIGNMENT
        return region

    def tensor(self, index: int, size: int) -> int:
        """The offset of a tensor, which takes its place when it is first asked for."""
        if index not in self.tensors:
            self.tensors[index] = TensorRegion(self.take(size).offset, size, index)
        return self.tensors[index].offset

    def copy(self) -> Dram:
        """The same, for a trial."""
        return replace(self, tensors=dict(self.tensors))

    def become(self, other: Dram) -> None:
        """Takes over what a trial has made of a copy."""
        self.size, self.tensors = other.size, other.tensors


def machine_step(
    layers: Sequence[Layer],
    leaving: Collection[int],
    config: Config,
    weights_at: Mapping[Layer, int],
    dram: Dram,
    *,
    fuse: bool,
    resident: bool = False,
) -> tuple[MachineStep, Staging]:
    """The command stream for some layers, and what of their weights is staged.

    Parameters
    ----------
    layers
        In order.
    leaving
        The tensors that something outside needs.
    config
        The machine.
    weights_at
        The offset of each layer's packed weights in DRAM.
    dram
        Where tensors take their place.
    fuse
        Whether layers may be computed in strips together.
    resident
        Whether all weights are on the chip already.

    Raises
    ------
    CompileError
        Something does not fit the machine.
    """
    stream = _Stream(config, leaving, weights_at, resident)
    alone = best = stream.arrange(layers, dram.copy())
    if fuse:
        best = stream.fuse(alone, dram)
    saved = alone.schedule.bytes - best.schedule.bytes
    made = stream.stage(best, dram)
    dram.become(made.dram)
    scheduled = made.schedule.commands()
    if len(scheduled) >= 1 << COUNT_BITS:
        raise CompileError(
            f"operators {layers[0].operator} to {layers[-1].operator} take {len(scheduled)} commands; "
            f"the machine counts fewer than {1 << COUNT_BITS}"
        )
    addresses = made.placement.addresses
    chains = [unit for unit in made.units if isinstance(unit, Chain)]
    step = MachineStep(
        operators=tuple(dict.fromkeys(layer.operator for layer in layers)),
        commands=tuple(s.command for s in scheduled),
        command_layers=tuple(s.operator for s in scheduled),
        notes=tuple(s.note for s in scheduled),
        inputs=tuple(use.tensor for use in made.uses if not use.produced),
        outputs=tuple(use.tensor for use in made.uses if made.places[use.tensor].stored),
        residents=(
            *(
                Resident(use.tensor, addresses[use.tensor], use.size, made.complete.get(use.tensor, 0))
                for use in made.uses
                if use.tensor in addresses and not use.internal
            ),
            *made.strips,
        ),
        stream=Region(0, 0),
        fusions=tuple(
            Fusion(tuple(layer.operator for layer in chain.layers), tuple(sorted(chain.inside))) for chain in chains
        ),
        saved_bytes=saved,
        allocation=_allocation(made.uses, addresses),
    )
    return step, made.staging


@dataclass(frozen=True, eq=False)
class _Arranged:
    """A stream in which it is decided what is computed together."""

    units: Sequence[Layer | Chain]
    passing: frozenset[int]
    dram: Dram
    uses: Sequence[Use]
    placement: Placement
    places: Mapping[int, Place]
    schedule: Schedule
    complete: Mapping[int, int]
    strips: Sequence[Resident]
    staging: Staging
    usages: Sequence[Usage]


_Move = tuple[Sequence[Layer | Chain], frozenset[int], Hashable]
"""Units, tensors that pass through, and what tells these from others."""


class _Stream:
    """Arranges the layers of a stream, in one way or another."""

    def __init__(
        self, config: Config, leaving: Collection[int], weights_at: Mapping[Layer, int], resident: bool
    ) -> None:
        self._config = config
        self._resident = resident
        self._leaving = leaving
        self._weights_at = weights_at
        self._choices = choices_for(config, resident)

    def arrange(
        self,
        units: Sequence[Layer | Chain],
        dram: Dram,
        passing: frozenset[int] = frozenset(),
        staging: Staging = MappingProxyType({}),
    ) -> _Arranged:
        """Emits all commands; the tensors `passing` are not to lie whole in the scratchpad."""
        config = self._config
        usages: list[Usage] = []
        begins: list[int] = []
        uses = uses_of(units, self._leaving)
        placement = place(units, uses, [unit.packed_bytes(config) for unit in units], config, passing)
        places = {use.tensor: _place(use, placement, dram) for use in uses}
        schedule, weight_buffer = Schedule(config), WeightBuffer(config, resident=self._resident)
        complete, strips = {}, []
        for position, (unit, workspace) in enumerate(zip(units, placement.workspaces, strict=True)):
            before = schedule.activity
            begins.append(schedule.executes)
            if isinstance(unit, Chain):
                of_unit = {tensor: places[tensor] for tensor in (*unit.sources, unit.destination)}
                detours = {
                    tensor: dram.take(size + config.bus_bytes) for tensor, size in unit.shared.items() if size > 0
                }
                chain_site = ChainSite(of_unit, workspace, self._weights_at, detours)
                tiling = self._choices.choose_chain(unit, chain_site)
                strips += emit_chain(schedule, unit, tiling, chain_site, weight_buffer)
            else:
                sources = tuple(places[tensor] for tensor in unit.sources)
                site = Site(sources, places[unit.destination], workspace, self._weights_at[unit])
                schedule.operator = unit.operator
                cut = replace(self._choices.choose(unit, site), tapers=unit is units[-1])
                emit(schedule, unit, cut, site, weight_buffer, staging.get(unit, ()))
            complete[unit.destination] = schedule.executes
            if (window := places[unit.destination].window) is not None:
                schedule.hold(window)
            # What this unit loads itself has come first.
            for layer, piece in beside(staging, position - 1):
                schedule.operator = layer.operator
                stage(schedule, layer, piece, self._weights_at[layer], begins[position - 1])
            whole = not isinstance(unit, Chain) and {*unit.sources, unit.destination} <= placement.addresses.keys()
            # Strips use all the room that there is.
            top = placement.top(uses, position) if whole else config.scratchpad_bytes
            usages.append(Usage(schedule.activity - before, top))
        return _Arranged(units, passing, dram, uses, placement, places, schedule, complete, strips, staging, usages)

    def stage(self, best: _Arranged, dram: Dram) -> _Arranged:
        """Loads weights ahead of time, for as long as that gets better: for those layers first that wait longest."""
        if self._resident:
            return best
        usages = best.usages
        waits = [
            (waiting(usages[position], self._config), position, unit)
            for position, unit in enumerate(best.units)
            if isinstance(unit, Layer) and stageable(unit, self._config)
        ]
        for wait, position, layer in sorted(waits, key=lambda w: w[:2], reverse=True)[:STAGED]:
            taken = best.staging
            for share, rest in ATTEMPTS if wait >= LONG_WAIT else ():
                pieces = pieces_of(layer, position, usages, taken, self._config, share, rest)
                if not pieces:
                    continue
                trial = self.arrange(best.units, dram.copy(), best.passing, {**taken, layer: pieces})
                if is_better(trial.schedule, best.schedule):
                    best = trial
        return best

    def fuse(self, best: _Arranged, dram: Dram) -> _Arranged:
        """Fuses neighbours for as long as that gets better: those first whose tensor in between is largest.

        Where a chain has little room beside a tensor that it reads or makes, that may pass through in strips as well.
        """
        failed: set[Hashable] = set()
        effort = 0
        while effort < EFFORT:
            for units, passing, key in (*self._merged(best), *self._evicted(best)):
                if key in failed or effort >= EFFORT:
                    continue
                failed.add(key)
                try:
                    trial = self.arrange(units, dram.copy(), passing)
                except CompileError:
                    continue
                effort += trial.schedule.issued
                if is_better(trial.schedule, best.schedule):
                    best = trial
                    break
            else:
                break
        return best

    def _evicted(self, arranged: _Arranged) -> Iterator[_Move]:
        """The same units, with one more tensor that passes through."""
        for chain in (unit for unit in arranged.units if isinstance(unit, Chain)):
            for tensor in (*chain.sources, chain.destination):
                if tensor in arranged.placement.addresses and 4 * chain.sizes[tensor] > self._config.scratchpad_bytes:
                    passing = arranged.passing | {tensor}
                    yield arranged.units, passing, (passing, tuple(unit.operator for unit in arranged.units))

    def _merged(self, arranged: _Arranged) -> Iterator[_Move]:
        """The units with some of them merged to one, and what tells these from others."""
        inside = [
            use
            for use in arranged.uses
            if use.produced
            and use.consumers
            and not (use.leaves or use.internal)
            and use.tensor not in arranged.placement.addresses
        ]
        for use in sorted(inside, key=lambda use: -use.size * use.consumers):
            some = [
                layer
                for unit in arranged.units[use.first : use.last + 1]
                for layer in (unit.layers if isinstance(unit, Chain) else (unit,))
            ]
            chain = Chain(tuple(some))
            if self._fusible(chain, arranged):
                units = [*arranged.units[: use.first], chain, *arranged.units[use.last + 1 :]]
                yield units, arranged.passing, (arranged.passing, tuple(layer.operator for layer in some))

    def _fusible(self, chain: Chain, arranged: _Arranged) -> bool:
        """Whether what is in between is needed nowhere else, and all of it is one image."""
        members = set(chain.layers)
        outside = [
            layer
            for unit in arranged.units
            for layer in (unit.layers if isinstance(unit, Chain) else (unit,))
            if layer not in members
        ]
        elsewhere = {*self._leaving, *(tensor for layer in outside for tensor in layer.sources)}
        consumed = {tensor for layer in chain.layers for tensor in layer.sources}
        internal = any(tensor < 0 for tensor in chain.sizes)
        passed_on = chain.inside <= consumed and not chain.inside & elsewhere
        return passed_on and not internal and all(layer.batch == 1 for layer in chain.layers) and chain.complete


def is_better(trial: Schedule, best: Schedule) -> bool:
    """Whether a trial takes the place of what was best before it."""
    return trial.cost < best.cost


def _place(use: Use, placement: Placement, dram: Dram) -> Place:
    whole = use.tensor in placement.addresses
    in_dram = not use.produced or use.leaves or not whole
    offset = dram.tensor(use.tensor, use.size) if in_dram else None
    window = None
    if whole:
        window = Window(placement.addresses[use.tensor], 0, use.size, offset, use.size if use.produced else 0)
    return Place(offset, window, use.produced and in_dram)


def _allocation(uses: Sequence[Use], addresses: Mapping[int, int]) -> Allocation:
    whole = [use for use in uses if use.tensor in addresses]
    live = (sum(use.size for use in whole if use.first <= at <= use.last) for at in {use.first for use in whole})
    ends = (addresses[use.tensor] + use.size for use in whole)
    return Allocation(max(live, default=0), max(ends, default=0))
