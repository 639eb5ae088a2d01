"""What a machine takes of an FPGA's lookup tables, estimated from machines that have been synthesized.

Most of a machine's logic goes with its multipliers, with its requantization lanes, or is there in all of them:
`luts = base + per_multiplier * multipliers + per_lane * lanes`, by least squares of the relative errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np


class Synthesized(NamedTuple):
    """A machine, and what it took: multipliers of the array, requantization lanes, lookup tables of four inputs."""

    multipliers: int
    lanes: int
    luts: int


MEASURED = (
    Synthesized(16, 4, 8_544),  # 4 x 4
    Synthesized(32, 4, 9_400),  # 8 x 4
    Synthesized(32, 8, 12_532),  # 4 x 8
    Synthesized(64, 8, 13_565),  # 8 x 8
    Synthesized(64, 2, 8_698),  # 8 x 8, two lanes
    Synthesized(64, 1, 8_197),  # 8 x 8, one lane, fewer bursts under way
)
"""Totals of `eightfold synth` for an ECP5, by Yosys 0.70, as nextpnr counts: carry cells and distributed RAM as the
tables that they take the place of. `python benchmarks/area_fit.py` measures them again."""


@dataclass(frozen=True)
class LutFit:
    """Coefficients of the formula.

    Parameters
    ----------
    base, per_multiplier, per_lane
        Lookup tables.
    worst
        The largest relative error among the machines that it was fitted to.
    """

    base: float
    per_multiplier: float
    per_lane: float
    worst: float

    def luts(self, multipliers: int, lanes: int) -> int:
        """Of a machine, rounded to hundreds, which is more than the estimate is good for."""
        return 100 * round((self.base + self.per_multiplier * multipliers + self.per_lane * lanes) / 100)


def fit(measured: Sequence[Synthesized]) -> LutFit:
    """The formula that suits some machines best.

    Raises
    ------
    ValueError
        There are fewer machines than coefficients, or they do not tell multipliers and lanes apart.
    """
    terms = np.array([(1.0, machine.multipliers, machine.lanes) for machine in measured]).reshape(-1, 3)
    luts = np.array([float(machine.luts) for machine in measured])
    if np.linalg.matrix_rank(terms) < terms.shape[1]:
        raise ValueError(f"{len(measured)} machines do not tell base, multipliers and lanes apart")
    found = np.linalg.lstsq(terms / luts[:, None], np.ones(len(luts)), rcond=None)[0]
    worst = float(np.abs(terms @ found / luts - 1).max())
    base, per_multiplier, per_lane = map(float, found)
    return LutFit(base, per_multiplier, per_lane, worst)


@cache
def lut_fit() -> LutFit:
    """The formula of `MEASURED`."""
    return fit(MEASURED)
