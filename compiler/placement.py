"""Which tensors of a command stream lie whole in the scratchpad, where, and what room remains for strips."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..hw.config import Config
from .allocator import Lifetime, allocate, gap
from .chains import Chain
from .program import CompileError
from .tiling import row_needs, strip_bytes
from .work import Layer


@dataclass(frozen=True)
class Use:
    """A tensor of a command stream.

    Parameters
    ----------
    tensor, size
        Its index, and its bytes.
    first, last
        The layers, by position in the stream, that first and last touch it.
    produced
        Whether a layer of the stream computes it; otherwise it comes from DRAM.
    consumers
        How many layers of the stream read it.
    leaves
        Whether something else needs it, so that it must be stored to DRAM.
    """

    tensor: int
    size: int
    first: int
    last: int
    produced: bool
    consumers: int
    leaves: bool

    @property
    def internal(self) -> bool:
        """Whether it is no tensor of the graph, but one between layers of an operator, which never leaves the chip."""
        return self.tensor < 0


@dataclass(frozen=True)
class Placement:
    """What lies where.

    Parameters
    ----------
    addresses
        Scratchpad address of each tensor that lies there whole.
    workspaces
        For each layer, the free range `[start, stop)`.
    """

    addresses: Mapping[int, int]
    workspaces: Sequence[tuple[int, int]]

    def top(self, uses: Iterable[Use], position: int) -> int:
        """Where what lies whole in the scratchpad for the layer at `position` ends."""
        live = (use for use in uses if use.tensor in self.addresses and use.first <= position <= use.last)
        return max((self.addresses[use.tensor] + use.size for use in live), default=0)


def uses_of(layers: Sequence[Layer | Chain], leaving: Iterable[int]) -> list[Use]:
    """The tensors of a stream; `leaving` are those that something outside needs."""
    leaving = set(leaving)
    sizes: dict[int, int] = {}
    touched: dict[int, list[int]] = {}
    for position, layer in enumerate(layers):
        sizes |= dict(zip(layer.sources, layer.source_bytes, strict=True)) | {layer.destination: layer.size}
        for tensor in dict.fromkeys((*layer.sources, layer.destination)):
            touched.setdefault(tensor, []).append(position)
    produced = {layer.destination for layer in layers}
    return [
        Use(t, sizes[t], min(at), max(at), t in produced, len(at) - (t in produced), t in leaving)
        for t, at in touched.items()
    ]


def place(
    layers: Sequence[Layer | Chain],
    uses: Sequence[Use],
    weights: Sequence[int],
    config: Config,
    passing: Collection[int] = (),
) -> Placement:
    """Decides what stays in the scratchpad.

    At first everything does. While that does not fit, of the tensors in the way the one that costs least has to pass
    through in strips instead; at last, those that fit after all come back.

    Parameters
    ----------
    layers
        In order.
    uses
        Their tensors.
    weights
        Packed bytes of each layer's weights.
    config
        The machine.
    passing
        Tensors that are to pass through in strips, come what may.

    Raises
    ------
    CompileError
        A layer does not even fit with strips of one row.
    """
    whole = {use.tensor: use for use in uses if use.tensor not in passing}
    banished: list[Use] = []
    while True:
        placement, obstacle = _try(layers, whole.values(), config)
        if placement is not None:
            break
        candidates = [use for use in whole.values() if use.first <= obstacle <= use.last and not use.internal]
        if not candidates:
            layer = layers[obstacle]
            what = (
                f"its strips need {_least_bytes(layer, config)}"
                if isinstance(layer, Chain)
                else row_needs(layer, config)
            )
            raise CompileError(
                f"operator {layer.operator}: {what} bytes of scratchpad; there are {config.scratchpad_bytes}"
            )
        victim = min(candidates, key=lambda use: (_cost(use, layers, weights, config), -use.size))
        banished.append(whole.pop(victim.tensor))
    for use in sorted(banished, key=lambda use: _cost(use, layers, weights, config), reverse=True):
        better, _ = _try(layers, [*whole.values(), use], config)
        if better is not None:
            whole[use.tensor], placement = use, better
    return placement


def _try(layers: Sequence[Layer | Chain], whole: Iterable[Use], config: Config) -> tuple[Placement | None, int]:
    """A placement with these tensors whole; or None, and the layer where it fails."""
    whole = list(whole)
    capacity = config.scratchpad_bytes
    alignment = config.scratchpad_row_bytes
    requests = [Lifetime(use.tensor, use.size, use.first, use.last) for use in whole]
    addresses = allocate(requests, capacity, alignment)
    if addresses is None:
        load = [sum(use.size for use in whole if use.first <= i <= use.last) for i in range(len(layers))]
        return None, max(range(len(layers)), key=load.__getitem__)
    workspaces = []
    for position, layer in enumerate(layers):
        live = [use for use in whole if use.first <= position <= use.last]
        start, stop = gap(((addresses[use.tensor], addresses[use.tensor] + use.size) for use in live), capacity)
        tensors = {use.tensor for use in live}
        if _least_bytes(layer, config, tensors) > stop - start:
            return None, position
        workspaces.append((start, stop))
    return Placement({use.tensor: addresses[use.tensor] for use in whole}, workspaces), -1


def _least_bytes(layer: Layer | Chain, config: Config, whole: Collection[int] = ()) -> int:
    """What strips of one row need."""
    return layer.bytes(1, config, whole) if isinstance(layer, Chain) else strip_bytes(layer, 1, config, whole)


def _cost(use: Use, layers: Sequence[Layer | Chain], weights: Sequence[int], config: Config) -> int:
    """Further bytes of DRAM traffic if a tensor is not whole in the scratchpad."""
    # It would be stored and loaded anyway as far as it comes from or goes to the outside.
    cost = use.size * (use.consumers - (not use.produced) + (use.produced and not use.leaves))
    for position, layer in enumerate(layers):
        if use.tensor in (*layer.sources, layer.destination) and weights[position] > config.weight_bytes:
            # Weights that do not fit their buffer are loaded once for each strip.
            size = sum(layer.source_bytes) + layer.size
            cost += weights[position] * math.ceil(size / config.scratchpad_bytes)
    return cost
