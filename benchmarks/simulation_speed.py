"""Cycles per second of the RTL in Icarus: the digits network on the named machines.

    python benchmarks/simulation_speed.py [CONFIG...]

Compiling the simulation is not counted; starting it, and what Python does between two command streams, is shown apart.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

import eightfold as ef

MODEL = Path(__file__).parents[1] / "models" / "digits.tflite"
RUNS = 3


def measure(name: str) -> None:
    """Prints one line for a machine."""
    graph = ef.load(MODEL)
    program = ef.compile(graph, ef.Config.named(name))
    image = np.zeros(graph.inputs[0].shape, np.int8)
    ef.Simulation(program).close()  # fills the cache
    start = time.perf_counter()
    with ef.Simulation(program) as simulation:
        opened = time.perf_counter()
        seconds = []
        for _ in range(RUNS):
            before = time.perf_counter()
            result = simulation.run(image)
            seconds.append(time.perf_counter() - before)
    cycles = result.cycles or 0
    print(
        f"{name:8} {cycles:>8,} cycles in {min(seconds):6.2f} s: {cycles / min(seconds):>7,.0f} cycles/s; "
        f"{opened - start:.2f} s to start"
    )


if __name__ == "__main__":
    for argument in sys.argv[1:] or ["4x4", "8x8", "16x16"]:
        measure(argument)
