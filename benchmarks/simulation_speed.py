"""Cycles per second of the RTL: a network on the named machines.

    python benchmarks/simulation_speed.py [CONFIG...] [--backend icarus|verilator] [--model MODEL.tflite]

Compiling the simulation is not counted. Seconds are those of the clock, the best of three runs; processor time is that
of the simulator alone, its start included, over all three.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import eightfold as ef
from eightfold.inputs import random_input

MODEL = Path(__file__).parents[1] / "models" / "digits.tflite"
RUNS = 3


def measure(name: str, backend: str, model: Path) -> None:
    """Prints one line for a machine."""
    graph = ef.load(model)
    program = ef.compile(graph, ef.Config.named(name))
    inputs = [random_input(graph, position, "random:0") for position in range(len(graph.inputs))]
    ef.Simulation(program, backend).close()  # fills the cache
    used = processor_seconds()
    start = time.perf_counter()
    with ef.Simulation(program, backend) as simulation:
        opened = time.perf_counter()
        seconds = []
        for _ in range(RUNS):
            before = time.perf_counter()
            result = simulation.run(inputs)
            seconds.append(time.perf_counter() - before)
    used = processor_seconds() - used
    cycles = result.cycles or 0
    print(
        f"{name:8} {cycles:>9,} cycles in {min(seconds):6.2f} s: {cycles / min(seconds):>7,.0f} cycles/s; "
        f"{opened - start:.2f} s to start; {RUNS * cycles / used:>7,.0f} cycles per second of processor time"
    )


def processor_seconds() -> float:
    """Of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("configs", nargs="*", default=["4x4", "8x8", "16x16"])
    parser.add_argument("--backend", default="icarus")
    parser.add_argument("--model", type=Path, default=MODEL)
    arguments = parser.parse_args()
    for config in arguments.configs:
        measure(config, arguments.backend, arguments.model)
