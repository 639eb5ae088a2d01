"""Weights ahead of time: some of a layer's come to the scratchpad while the layers before it leave the bus idle.

A layer of few pixels is as slow as its weights are loaded, and the weight buffer holds few of them beforehand. Where
the tensors have become small, the scratchpad has room for more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..hw.commands import Finish
from ..hw.config import Config
from .schedule import Activity
from .work import Layer, Work


@dataclass(frozen=True)
class Piece:
    """Neighbouring blocks of output channels whose tiles one load brings to the scratchpad.

    Parameters
    ----------
    first_block, blocks
        Which.
    address
        Where in the scratchpad the first tile lies.
    beside
        The position in the stream of the layer that computes meanwhile.
    """

    first_block: int
    blocks: int
    address: int
    beside: int


Staging = Mapping[Layer, Sequence[Piece]]
"""The pieces of each layer that has some."""


@dataclass(frozen=True)
class Usage:
    """What a layer, or a chain of them, takes.

    Parameters
    ----------
    activity
        Of its commands.
    top
        Where what it has in the scratchpad ends.
    """

    activity: Activity
    top: int


def beside(staging: Staging, position: int) -> Iterator[tuple[Layer, Piece]]:
    """The pieces that are loaded while the layer at `position` computes."""
    for layer, pieces in staging.items():
        yield from ((layer, piece) for piece in pieces if piece.beside == position)


def tile_bytes(work: Work, config: Config) -> int:
    """Bytes of the tiles of one block of output channels."""
    return work.passes(config) * config.rows * config.weight_row_bytes


def stageable(layer: Layer, config: Config) -> bool:
    """Whether some of a layer's weights can be loaded ahead of time."""
    work = layer.works[0]
    alone = len(layer.works) == 1 and work.finish is Finish.STORE and not work.accumulate
    return alone and work.block_bytes(config) <= config.weight_bytes // 2


def waiting(usage: Usage, config: Config) -> int:
    """The cycles for which a layer waits for its weights at least."""
    return max(0, usage.activity.bytes // config.bus_bytes - usage.activity.array_cycles)


def pieces_of(
    layer: Layer,
    position: int,
    usages: Sequence[Usage],
    staging: Staging,
    config: Config,
    share: float,
    rest: int,
) -> tuple[Piece, ...]:
    """The last blocks of the layer at `position`: as many as the layers before it have room and time for.

    The later the better: then the room was not wanted for long.

    Parameters
    ----------
    usages
        Of all layers of the stream.
    staging
        What is staged already.
    share
        Of the time for which the bus seems idle.
    rest
        The layers right before it that have enough to do with their own weights; at least 1.
    """
    (work,) = layer.works
    tiles, left = tile_bytes(work, config), work.blocks(config)
    # Bytes keep their lanes of the bus, and tiles the rows of the scratchpad.
    unused = 2 * config.scratchpad_row_bytes
    stop = min((piece.address for pieces in staging.values() for piece in pieces), default=config.scratchpad_bytes)
    top, room = usages[position].top, stop
    # The parameters of a piece's blocks come at once, and others' are to stay.
    most = config.weight_bytes // 4 // (work.block_bytes(config) - tiles)
    found: list[tuple[int, int]] = []
    for at in range(position - 1, -1, -1):
        now, after = usages[at].activity, usages[at + 1].activity
        top = max(top, usages[at].top)
        room = min(room, stop - top)
        if at >= position - rest:
            continue
        # Where the array writes, a load would make it wait; and what the next layer loads itself comes first.
        idle = int(share * ((now.array_cycles - now.writes) * config.bus_bytes - after.bytes))
        blocks = min(left, most, idle // tiles, (room - unused) // tiles)
        if blocks > 0:
            found.append((at, blocks))
            left, room = left - blocks, room - blocks * tiles - unused
    pieces: list[Piece] = []
    for at, blocks in reversed(found):
        stop -= blocks * tiles + unused
        row = stop - stop % config.scratchpad_row_bytes
        address = row + (left * work.block_bytes(config) - row) % config.bus_bytes
        pieces.append(Piece(left, blocks, address, at))
        left += blocks
    return tuple(pieces)
