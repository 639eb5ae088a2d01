"""What loads and stores have in common: where a run of bytes is divided."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ...hw.commands import Load, Store
from ...hw.config import Config


def bursts(place: int, beats: int, longest: int) -> deque[int]:
    """Lengths of the bursts of `beats` from beat address `place` on, divided at multiples of `longest`."""
    lengths: deque[int] = deque()
    while beats:
        length = min(beats, longest - place % longest)
        lengths.append(length)
        place += length
        beats -= length
    return lengths


@dataclass(frozen=True)
class Extent:
    """Where a command's bytes lie on the bus.

    Parameters
    ----------
    place
        The first beat's DRAM address, in beats.
    beats
        How many there are.
    part
        The first beat's place in its row of the scratchpad.
    parts
        Beats in a row.
    """

    place: int
    beats: int
    part: int
    parts: int

    @classmethod
    def of(cls, command: Load | Store, config: Config, base_address: int) -> Extent:
        """The extent of a command."""
        bus = config.bus_bytes
        lane = command.dram_address % bus
        parts = config.scratchpad_row_bytes // bus
        return cls(
            place=base_address // bus + command.dram_address // bus,
            beats=-(-(lane + command.length) // bus),
            part=command.address // bus % parts,
            parts=parts,
        )
