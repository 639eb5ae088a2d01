"""Run by cocotb in test_axi.py: cocotbext-axi, which nobody here wrote, as the host and as the memory."""

from __future__ import annotations

import itertools
import json
import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer, with_timeout
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam

from eightfold.compiler import Program
from eightfold.compiler.program import MachineStep
from eightfold.hw.registers import COUNTERS, REGISTERS, Control, ErrorCode, Interrupt, Status

PAGE = 4096
BASE = 0x1_0000 - 0x500
"""So that a page begins within the program's memory."""


class Bench:
    """The machine, a host and a memory; every burst is watched."""

    def __init__(self, dut, program: Program) -> None:
        self.dut, self.program = dut, program
        self.width = program.config.bus_bytes
        self.host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
        self.ram = AxiRam(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=0x2_0000)
        self.bursts: list[tuple[str, int, int]] = []
        cocotb.start_soon(self.watch("ar"))
        cocotb.start_soon(self.watch("aw"))

    async def watch(self, channel: str) -> None:
        """Notes every burst and checks it: within 4 KiB, whole beats, incrementing, steady until taken."""
        signal = {name: getattr(self.dut, f"m_axi_{channel}{name}") for name in ("valid", "ready", "addr", "len")}
        offered = None
        while True:
            await RisingEdge(self.dut.clk)
            if self.dut.rst.value == 1 or not signal["valid"].value.is_resolvable or not signal["valid"].value:
                assert offered is None, f"{channel}valid fell before {channel}ready"
                continue
            burst = (int(signal["addr"].value), int(signal["len"].value) + 1)
            assert offered in (None, burst), f"{channel} changed from {offered} to {burst}"
            offered = burst
            if signal["ready"].value:
                offered = None
                first, beats = burst
                assert first % self.width == 0
                assert first // PAGE == (first + beats * self.width - 1) // PAGE, f"{burst} crosses a page"
                self.bursts.append((channel, first, beats))

    def stall(self, chance: float, seed: int) -> None:
        """Lets every channel pause, each by its own dice."""
        if not chance:
            return

        def pauses(number: int):
            draw = random.Random(seed * 100 + number)
            return (draw.random() < chance for _ in itertools.count())

        channels = [
            *(self.ram.write_if.aw_channel, self.ram.write_if.w_channel, self.ram.write_if.b_channel),
            *(self.ram.read_if.ar_channel, self.ram.read_if.r_channel),
            *(self.host.write_if.aw_channel, self.host.write_if.w_channel, self.host.write_if.b_channel),
            *(self.host.read_if.ar_channel, self.host.read_if.r_channel),
        ]
        for number, channel in enumerate(channels):
            channel.set_pause_generator(pauses(number))

    def fail(self, bad: range) -> None:
        """Lets accesses to these addresses be answered with SLVERR."""
        for interface, name in ((self.ram.read_if, "_read"), (self.ram.write_if, "_write")):
            inner = getattr(interface, name)

            async def access(address, what, inner=inner):
                size = what if isinstance(what, int) else len(what)
                if address < bad.stop and bad.start < address + size:
                    raise OSError("no such memory")
                return await inner(address, what)

            setattr(interface, name, access)

    def mend(self) -> None:
        """Nothing fails any more."""
        del self.ram.read_if._read, self.ram.write_if._write

    async def read(self, name: str) -> int:
        return await self.host.read_dword(REGISTERS[name].offset)

    async def write(self, name: str, value: int) -> None:
        await self.host.write_dword(REGISTERS[name].offset, value)

    async def run(self, step: MachineStep) -> int:
        """Runs a command stream; returns STATUS."""
        await self.write("PROGRAM_ADDRESS", BASE + step.stream.offset)
        await self.write("BASE_ADDRESS", BASE)
        await self.write("PROGRAM_WORDS", step.stream.size // 8)
        await self.write("INTERRUPT_ENABLE", Interrupt.DONE | Interrupt.ERROR)
        await self.write("CONTROL", Control.START)
        if not self.dut.irq.value:
            await with_timeout(RisingEdge(self.dut.irq), 20, "ms")
        status = await self.read("STATUS")
        await self.write("INTERRUPT_STATUS", Interrupt.DONE | Interrupt.ERROR)
        return status


async def reset(dut) -> None:
    """Before there are models on the buses, which take no unknown bits."""
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    dut.rst.value = 0
    for name in ("s_axi_awvalid", "s_axi_wvalid", "s_axi_bready", "s_axi_arvalid", "s_axi_rready"):
        getattr(dut, name).value = 0
    for name in ("m_axi_awready", "m_axi_wready", "m_axi_bvalid", "m_axi_arready", "m_axi_rvalid"):
        getattr(dut, name).value = 0
    await Timer(25, unit="ns")
    dut.rst.value = 1
    await Timer(40, unit="ns")
    dut.rst.value = 0
    await RisingEdge(dut.clk)


def setting() -> dict:
    return json.loads(os.environ["EIGHTFOLD_CASE"])


@cocotb.test()
async def machine_on_a_foreign_bus(dut) -> None:
    case = setting()
    program = Program.load(case["program"])
    await reset(dut)
    bench = Bench(dut, program)
    bench.stall(case["stall"], case["seed"])
    with open(case["before"], "rb") as file:
        before = file.read()
    with open(case["after"], "rb") as file:
        after = file.read()
    (step,) = (step for step in program.steps if isinstance(step, MachineStep))
    output = program.region(step.outputs[0])
    bench.ram.write(BASE, before)
    assert await bench.read("IDENTITY") == 0x646C6638
    for first, end, code in case["bad"]:
        bench.fail(range(first, end))
        assert await bench.run(step) == Status.ERROR
        assert await bench.read("ERROR") == code
        assert await bench.read("ERROR_COMMAND") < len(step.commands)
        bench.mend()
        bench.ram.write(BASE, before)
    bench.bursts.clear()
    assert await bench.run(step) == Status.DONE
    assert await bench.read("ERROR") == ErrorCode.NONE
    assert bench.ram.read(BASE + output.offset, output.size) == after
    counted = {name: await bench.read(name) for name in COUNTERS}
    assert counted["CYCLES"] > 100
    reads = sum(beats for channel, _, beats in bench.bursts if channel == "ar")
    writes = sum(beats for channel, _, beats in bench.bursts if channel == "aw")
    assert reads == counted["READ_BEATS"] + counted["FETCH_BEATS"]
    assert writes == counted["WRITE_BEATS"]
    pages = {address // PAGE for _, address, _ in bench.bursts}
    assert len(pages) > 1  # so that some burst had to end at the boundary
