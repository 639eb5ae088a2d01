"""Cycles per second of the RTL: a network on the named machines, and where the time goes.

    python benchmarks/simulation_speed.py [CONFIG...] [--backend icarus|verilator] [--model MODEL.tflite] [--profile]

Compiling the simulation is not counted. Seconds are those of the clock, the best of three runs; processor time is that
of the simulator alone, its start included, over all three. With --profile the functions are listed in which Python
spends its own time, and how often each is called: nothing is called once per cycle or per beat of the bus.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import time
from pathlib import Path

import eightfold as ef
from eightfold.inputs import random_input

MODEL = Path(__file__).parents[1] / "models" / "digits.tflite"
RUNS = 3


def measure(name: str, backend: str, model: Path, profiled: bool) -> None:
    """Prints a few lines for a machine."""
    graph = ef.load(model)
    program = ef.compile(graph, ef.Config.named(name))
    inputs = [random_input(graph, position, "random:0") for position in range(len(graph.inputs))]
    ef.Simulation(program, backend).close()  # fills the cache
    own, used = time.process_time(), processor_seconds()
    start = time.perf_counter()
    profiler = cProfile.Profile()
    with ef.Simulation(program, backend) as simulation:
        opened = time.perf_counter()
        own_start = time.process_time() - own
        seconds = []
        for _ in range(RUNS):
            before = time.perf_counter()
            result = simulation.run(inputs)
            seconds.append(time.perf_counter() - before)
        own_runs = time.process_time() - own - own_start
        if profiled:
            with profiler:
                simulation.run(inputs)
    used = processor_seconds() - used
    runs = RUNS + profiled
    cycles = result.cycles or 0
    beats = sum(result.counters.get(beat, 0) for beat in ("read_beats", "write_beats", "fetch_beats"))
    print(
        f"{name:8} {cycles:>9,} cycles in {min(seconds):6.2f} s: {cycles / min(seconds):>7,.0f} cycles/s; "
        f"{opened - start:.2f} s to start; {runs * cycles / used:>7,.0f} cycles per second of processor time"
    )
    print(
        f"{'':8} processor time: simulator {used / runs:.2f} s a run, its start included; Python {own_start:.2f} s to "
        f"start, {own_runs / RUNS:.2f} s a run (golden, comparison, files), for {cycles:,} cycles and {beats:,} beats"
    )
    if profiled:
        report(profiler, cycles, beats)


def report(profiler: cProfile.Profile, cycles: int, beats: int) -> None:
    """Where Python spends its time in a run, and what it calls most often."""
    calls = sorted(
        ((own, count, place) for place, (_, count, own, _, _) in pstats.Stats(profiler).stats.items()),  # type: ignore[attr-defined]
        reverse=True,
    )
    print(f"{'':8} {'calls':>9} {'seconds':>8}  function")
    for own, count, (file, line, function) in calls[:12]:
        print(f"{'':8} {count:>9,} {own:8.3f}  {Path(file).name}:{line} {function}")
    most = max(count for _, count, _ in calls)
    print(f"{'':8} the most frequent call is made {most:,} times in {cycles:,} cycles with {beats:,} beats")


def processor_seconds() -> float:
    """Of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", default=["4x4", "8x8", "16x16"])
    parser.add_argument("--backend", default="icarus")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--profile", action="store_true", help="list where Python spends its time")
    arguments = parser.parse_args()
    for config in arguments.configs:
        measure(config, arguments.backend, arguments.model, arguments.profile)
