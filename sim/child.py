"""What runs in a process of its own: cocotb's runner, apart from the environment and the logging of its caller.

    python -m eightfold.sim.child build ENTRY SOURCES INCLUDES PARAMETERS
    python -m eightfold.sim.child test ENTRY FOLDER PLUSARGS

The first compiles `bench` to ENTRY/sim.vvp; the second simulates it in FOLDER, until stdin closes at the latest.
Arguments in the plural are JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner


def build(entry: Path, sources: list[str], includes: list[str], parameters: dict[str, int]) -> None:
    """Compiles Verilog with Icarus; `includes` are folders."""
    get_runner("icarus").build(
        sources=sources,
        includes=includes,
        parameters=parameters,
        hdl_toplevel="bench",
        build_dir=entry,
        always=True,
    )


def test(entry: Path, folder: Path, plusargs: list[str]) -> bool:
    """Simulates; whether cocotb's only test passed."""
    results = get_runner("icarus").test(
        test_module="eightfold.sim.bench",
        hdl_toplevel="bench",
        hdl_toplevel_lang="verilog",
        build_dir=entry,
        test_dir=folder,
        results_xml=str(folder / "results.xml"),
        test_args=["-n"],  # an interrupt ends the simulation instead of opening its console
        plusargs=plusargs,
    )
    tests, failures = get_results(results)
    return bool(tests == 1 and failures == 0)


def die_with_parent(folder: Path) -> None:
    """Ends this process and its simulator when the other end of stdin is gone, and removes what it would have."""
    sys.stdin.buffer.read()
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    action, entry, *rest = arguments
    if action == "build":
        build(Path(entry), *map(json.loads, rest))
        return 0
    threading.Thread(target=die_with_parent, args=(Path(rest[0]),), daemon=True).start()
    return 0 if test(Path(entry), Path(rest[0]), json.loads(rest[1])) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
