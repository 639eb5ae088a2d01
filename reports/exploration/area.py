"""What a machine takes of a chip, before anyone has built it: an estimate to compare machines by.

Counted are the array, the requantization lanes, the accumulators' adders and the memories, with that for sums that
wait for a lane. Not counted are other queues, control, and the shifters between memories and array.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...hw.config import Config

INT8_MULTIPLY = 282.0
INT32_ADD = 137.0
INT32_MULTIPLY = 3495.0
"""Square micrometres at 45 nm, synthesized: W. J. Dally, High-performance hardware for machine learning, tutorial at
NIPS 2015, beside the energies of Horowitz."""

SRAM_BIT = 0.37
"""Square micrometres of a 45 nm cell of six transistors: K. Nii et al., A cost-effective 45 nm 6T-SRAM, ISQED 2013."""

SRAM_EFFICIENCY = 0.5
"""Share of a memory that is its cells: an assumption; decoders and sense amplifiers are the rest."""

LANE_ADDITIONS = 3
"""Adders of a requantization lane, beside its multiplier: the bias, the rounding, the zero point."""


@dataclass(frozen=True)
class Area:
    """What a machine takes.

    Parameters
    ----------
    multipliers
        Of int8, each with an adder: the array.
    adders
        Of 32 bits, which add to the accumulators.
    lanes
        Requantization lanes, each with a multiplier of 32 by 32 bits.
    ram_bits
        Of scratchpad, weight buffer, accumulators, and of the queue before lanes that columns share.
    """

    multipliers: int
    adders: int
    lanes: int
    ram_bits: int

    @property
    def square_millimetres(self) -> float:
        """At 45 nm."""
        array = self.multipliers * (INT8_MULTIPLY + INT32_ADD)
        lanes = self.lanes * (INT32_MULTIPLY + LANE_ADDITIONS * INT32_ADD)
        return (array + self.adders * INT32_ADD + lanes + self.ram_bits * SRAM_BIT / SRAM_EFFICIENCY) * 1e-6


def area_of(config: Config) -> Area:
    """The estimate for a machine."""
    return Area(config.multipliers, config.columns, config.lane_count, 8 * config.sram_bytes)
