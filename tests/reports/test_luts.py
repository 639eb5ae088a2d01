"""The estimate of lookup tables: what it was fitted to, and what it makes of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eightfold.reports.exploration.luts import MEASURED, Synthesized, fit, lut_fit

DOCS = Path(__file__).parents[2] / "docs" / "exploration.md"


def test_a_formula_is_found_again() -> None:
    machines = [Synthesized(m, n, 1000 + 20 * m + 300 * n) for m, n in ((16, 4), (64, 8), (32, 8), (256, 16))]
    found = fit(machines)
    assert (found.base, found.per_multiplier, found.per_lane) == pytest.approx((1000, 20, 300))
    assert found.worst < 1e-9
    assert found.luts(128, 8) == 6000


def test_it_is_near_all_that_was_measured_and_the_documentation_says_how_near() -> None:
    found = lut_fit()
    for machine in MEASURED:
        assert found.luts(machine.multipliers, machine.lanes) == pytest.approx(machine.luts, rel=found.worst + 0.005)
    (said,) = re.findall(r"within\s+([\d.]+)\s+%\s+of\s+all", DOCS.read_text(encoding="utf-8"))
    assert float(said) == pytest.approx(100 * found.worst, abs=0.05)
    assert min(found.base, found.per_multiplier, found.per_lane) > 0


@pytest.mark.parametrize("shapes", [((4, 4),), ((16, 4), (32, 8), (64, 16))])
def test_machines_that_do_not_tell_the_parts_apart_are_refused(shapes: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="do not tell base, multipliers and lanes apart"):
        fit([Synthesized(multipliers, lanes, 5000) for multipliers, lanes in shapes])
