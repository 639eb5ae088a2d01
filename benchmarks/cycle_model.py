"""How long it takes to know what a network costs: compilation and the cycle model, and the cycles that they tell.

python benchmarks/cycle_model.py MODEL.tflite... [--config 16x16] [--latency 64]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from eightfold.compiler import CompileError, compile
from eightfold.golden.reader import read
from eightfold.hw.config import Config
from eightfold.sim.model import profile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--config", default="16x16")
    parser.add_argument("--latency", type=int, default=64)
    arguments = parser.parse_args()
    config = Config.named(arguments.config)
    print(f"{'network':32} {'compile s':>10} {'model s':>8} {'commands':>9} {'cycles':>11} {'of the array':>13}")
    for path in arguments.models:
        graph = read(path)
        begin = time.process_time()
        try:
            program = compile(graph, config)
        except CompileError as error:
            print(f"{path.stem:32} {error}")
            continue
        compiled = time.process_time()
        result = profile(program, arguments.latency)
        done = time.process_time()
        commands = sum(len(step.step.commands) for step in result.steps)
        utilization = f"{result.utilization:.1%}" if result.utilization is not None else "-"
        print(
            f"{path.stem:32} {compiled - begin:10.2f} {done - compiled:8.2f} {commands:9,} {result.cycles:11,} "
            f"{utilization:>13}"
        )


if __name__ == "__main__":
    main()
