"""How fast designs are explored: points per second, with one worker and with several.

python benchmarks/explore_speed.py MODEL.tflite... [--points 60] [--workers 1,2] [--seed 1]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from eightfold.exploring import networks_of
from eightfold.hw.config import Config
from eightfold.reports.exploration.space import DEFAULT_AXES, Space
from eightfold.reports.exploration.sweep import explore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--points", type=int, default=60)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    networks = networks_of(arguments.models)
    space = Space(base=Config(), axes=DEFAULT_AXES, sample=arguments.points, seed=arguments.seed)
    print("workers points  seconds  points/s  CPU s/point  1,000 points  speedup")
    first = None
    for count in map(int, arguments.workers.split(",")):
        with tempfile.TemporaryDirectory() as out:
            before, begin = _processor_seconds(), time.monotonic()
            found = explore(networks, space, out=out, jobs=count)
            seconds = time.monotonic() - begin
            work = _processor_seconds() - before
        points = len(found.visited) + len(found.skipped)
        first = first or seconds
        print(
            f"{count:7} {points:6} {seconds:8.1f} {points / seconds:9.2f} {work / points:12.3f} "
            f"{1000 * seconds / points:11.0f} s {first / seconds:8.2f}"
        )


def _processor_seconds() -> float:
    """Of all workers that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
