"""What machines take of FPGAs, and how fast they are there: the table in docs/fpga.md.

python benchmarks/fpga.py [--seeds 3] [--only TEXT] [--json FILE]

Every line is what `eightfold synth` says with the options in it; Yosys checks each netlist (`check -assert`).
Results are cached, so that the table is made again in seconds; the first time takes two hours of processor time.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from eightfold.hw.config import Config
from eightfold.reports.synthesis import Synthesis, synthesize

DESIGNS = (
    ("8x8", "array", "ecp5", "LFE5U-85F", True),
    ("8x8", "machine", "ecp5", "LFE5U-85F", True),
    ("8x8-small", "machine", "ecp5", "LFE5U-85F", True),
    ("8x8-mini", "machine", "ecp5", "LFE5U-85F", True),
    ("4x4", "array", "ecp5", "LFE5U-25F", True),
    ("4x4-one-lane.toml", "machine", "ecp5", "LFE5U-25F", True),
    ("4x4", "machine", "ice40", "UP5K", False),
    ("4x4", "machine", "gowin", "GW2A-18", False),
    ("8x8", "machine", "xilinx", "XC7A100T", False),
    ("16x16", "machine", "xilinx", "XC7K325T", False),
)
"""Configuration, part, target, device, and whether to place and route."""

FILES = {"4x4-one-lane.toml": dataclasses.replace(Config.named("4x4"), name="4x4-one-lane", lanes=1)}
"""Configurations without a name of their own: a file with `base = "4x4"` and `lanes = 1`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="placements of those that the open tools place")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the lines whose options contain it")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    print("| `eightfold synth` | LUT | FF | DSP | block RAM | per MAC: LUT, FF, DSP | clock |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    results = []
    for config, part, target, device, placed in DESIGNS:
        options = f"--config {config} --part {part} --target {target} --device {device}"
        if arguments.only in options:
            seeds = arguments.seeds if placed else 0
            machine = FILES.get(config) or Config.named(config)
            result = synthesize(machine, target, device=device, part=part, seeds=seeds)
            results.append(result)
            print(line(f"{options} --seeds {seeds}" if seeds else options, result), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([result.to_json() for result in results], indent=1), encoding="utf-8")


def line(options: str, result: Synthesis) -> str:
    """A line of the table."""
    totals = result.totals
    ram = f"{totals['RAM']:,.0f}" + (f", {totals['SPRAM']:.0f} SPRAM" if totals.get("SPRAM") else "")
    each = ", ".join(f"{totals[name] / result.config.multipliers:.1f}" for name in ("LUT", "FF", "DSP"))
    clock = "-"
    if result.clock is not None:
        seeds = ", ".join(f"{value:.0f}" for value in result.clock.megahertz)
        clock = f"{result.clock.median:.0f} MHz ({seeds})"
    elif result.excess:
        clock = "does not fit: " + ", ".join(
            f"{totals[name]:,.0f} {name} of {result.capacity[name]:,}" for name in result.excess
        )
    figures = [f"`{options}`", *(f"{totals[name]:,.0f}" for name in ("LUT", "FF", "DSP")), ram, each, clock]
    return f"| {' | '.join(figures)} |"


if __name__ == "__main__":
    main()
