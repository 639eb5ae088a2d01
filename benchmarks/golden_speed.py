"""Time per inference of the golden runtime, side by side with LiteRT's reference kernels and XNNPACK.

    OMP_NUM_THREADS=1 python benchmarks/golden_speed.py ../shared/models/*.tflite

Everything runs in one process on one thread. Each figure is processor time, which other programs disturb the least: the
fastest of several runs, interleaved, after a first one that warms up. Without `ai-edge-litert` only the column of the
golden runtime is filled.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from eightfold.golden import reader
from eightfold.golden.macs import macs
from eightfold.golden.runtime import Session

try:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
except ImportError:
    Interpreter = None


def litert(path: Path, inputs: list[np.ndarray], resolver: str) -> Callable[[], object]:
    """A function that runs LiteRT once."""
    interpreter = Interpreter(str(path), experimental_op_resolver_type=getattr(OpResolverType, resolver), num_threads=1)
    interpreter.allocate_tensors()

    def run() -> None:
        for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()

    return run


def milliseconds(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The shortest time of each."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.process_time()
            function()
            times[name].append(time.process_time() - start)
    return {name: 1000 * min(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--repeats", type=int, default=25)
    arguments = parser.parse_args()
    print(f"{'model':32} {'MMAC':>8} {'golden':>9} {'reference':>10} {'XNNPACK':>9} {'reference/golden':>17}   (ms)")
    for path in arguments.models:
        graph = reader.read(path)
        rng = np.random.default_rng(0)
        inputs = [
            rng.integers(-128, 128, t.shape).astype(t.dtype) if t.dtype.kind == "i" else
            rng.integers(0, 256, t.shape).astype(t.dtype)
            for t in graph.inputs
        ]  # fmt: skip
        session = Session(graph)
        functions: dict[str, Callable[[], object]] = {"golden": lambda s=session, x=inputs: s.run(x, keep="outputs")}
        if Interpreter is not None:
            functions["reference"] = litert(path, inputs, "BUILTIN_REF")
            functions["xnnpack"] = litert(path, inputs, "BUILTIN")
        times = milliseconds(functions, arguments.repeats)
        million = sum(macs(operator, graph) for operator in graph.operators) / 1e6
        nan = float("nan")
        golden, reference, xnnpack = times["golden"], times.get("reference", nan), times.get("xnnpack", nan)
        ratio = reference / golden
        print(f"{path.stem:32} {million:8.2f} {golden:9.2f} {reference:10.2f} {xnnpack:9.2f} {ratio:17.2f}")


if __name__ == "__main__":
    main()
