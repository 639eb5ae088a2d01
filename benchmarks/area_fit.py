"""How well the formula for lookup tables, which `eightfold explore` estimates by, suits machines that are synthesized.

python benchmarks/area_fit.py [CONFIG...]    each a name, a TOML file, or ROWSxCOLUMNS on the memories of 4x4
"""

from __future__ import annotations

import argparse
import dataclasses
import re

from eightfold.hw.config import NAMED, Config
from eightfold.reports.exploration.area import area_of
from eightfold.reports.exploration.luts import Synthesized, fit, lut_fit
from eightfold.reports.synthesis import synthesize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "configs", nargs="*", default=["4x4", "8x4", "4x8", "8x8", "8x8-small", "8x8-mini"], metavar="CONFIG"
    )
    arguments = parser.parse_args()
    measured = []
    print("machine   multipliers  lanes     LUTs  estimated   error")
    for name in arguments.configs:
        config = _config(name)
        area = area_of(config)
        luts = round(synthesize(config).totals["LUT"])
        measured.append(Synthesized(area.multipliers, area.lanes, luts))
        estimated = lut_fit().luts(area.multipliers, area.lanes)
        print(f"{name:9} {area.multipliers:11} {area.lanes:6} {luts:8,} {estimated:10,} {estimated / luts - 1:7.1%}")
    again = fit(measured)
    print(
        f"fitted to these: {again.base:,.0f} + {again.per_multiplier:.1f} per multiplier + {again.per_lane:.0f} per "
        f"lane, at most {again.worst:.1%} off"
    )


def _config(name: str) -> Config:
    shape = re.fullmatch(r"(\d+)x(\d+)", name)
    if name in NAMED or shape is None:
        return Config.from_toml(name) if name.endswith(".toml") else Config.named(name)
    rows, columns = map(int, shape.groups())
    return dataclasses.replace(Config.named("4x4"), name=name, rows=rows, columns=columns)


if __name__ == "__main__":
    main()
