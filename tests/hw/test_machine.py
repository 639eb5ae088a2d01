"""The whole machine, from the host's registers to bytes in DRAM."""

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Cat

from eightfold.hw.commands import Command, Execute, Finish, Load, Store, encode
from eightfold.hw.config import Config
from eightfold.hw.control import PATIENCE
from eightfold.hw.machine import Machine
from eightfold.hw.registers import (
    COUNTERS,
    IDENTITY,
    REGISTERS,
    VERSION,
    Control,
    ErrorCode,
    Interrupt,
    Status,
    configuration_hash,
)

from .bus import Bus
from .simulate import simulate
from .test_execute import ODD, PATIENT, SEQUENCES, SMALL, one_pass_each, outputs, tiles

PROGRAM = 0x3000
BASE = 0x4000
IMAGE, WEIGHTS, RESULT = 0x0000, 0x2000, 0x6000  # relative to BASE


class Streams:
    """A machine's AXI pins as the streams that `Bus` serves."""

    def __init__(self, machine: Machine) -> None:
        def channel(name: str, payload: Any) -> SimpleNamespace:
            pins = {side: getattr(machine, f"m_axi_{name}{side}") for side in ("valid", "ready")}
            return SimpleNamespace(payload=payload, **pins)

        def burst(name: str) -> SimpleNamespace:
            fields = Cat(getattr(machine, f"m_axi_{name}addr"), getattr(machine, f"m_axi_{name}len"))
            return channel(name, SimpleNamespace(as_value=lambda: fields))

        beat = SimpleNamespace(data=machine.m_axi_rdata, response=machine.m_axi_rresp, last=machine.m_axi_rlast)
        written = Cat(machine.m_axi_wdata, machine.m_axi_wstrb, machine.m_axi_wlast)
        self.ar, self.aw = burst("ar"), burst("aw")
        self.r = channel("r", beat)
        self.w = channel("w", SimpleNamespace(as_value=lambda: written))
        self.b = channel("b", machine.m_axi_bresp)


class Host:
    """What a driver does on the register port."""

    def __init__(self, machine: Machine, ctx: Any) -> None:
        self.machine = machine
        self.ctx = ctx

    async def write(self, name: str, value: int) -> None:
        machine, ctx = self.machine, self.ctx
        ctx.set(machine.s_axi_awaddr, REGISTERS[name].offset)
        ctx.set(machine.s_axi_wdata, value)
        ctx.set(machine.s_axi_wstrb, 15)
        ctx.set(machine.s_axi_awvalid, 1)
        ctx.set(machine.s_axi_wvalid, 1)
        await ctx.tick().until(machine.s_axi_awready & machine.s_axi_wready)
        ctx.set(machine.s_axi_awvalid, 0)
        ctx.set(machine.s_axi_wvalid, 0)
        ctx.set(machine.s_axi_bready, 1)
        (response,) = await ctx.tick().sample(machine.s_axi_bresp).until(machine.s_axi_bvalid)
        assert response == 0
        ctx.set(machine.s_axi_bready, 0)

    async def read(self, name: str) -> int:
        machine, ctx = self.machine, self.ctx
        ctx.set(machine.s_axi_araddr, REGISTERS[name].offset)
        ctx.set(machine.s_axi_arvalid, 1)
        await ctx.tick().until(machine.s_axi_arready)
        ctx.set(machine.s_axi_arvalid, 0)
        ctx.set(machine.s_axi_rready, 1)
        (value,) = await ctx.tick().sample(machine.s_axi_rdata).until(machine.s_axi_rvalid)
        ctx.set(machine.s_axi_rready, 0)
        return int(value)

    async def start(self, words: int) -> None:
        await self.write("PROGRAM_ADDRESS", PROGRAM)
        await self.write("PROGRAM_WORDS", words)
        await self.write("BASE_ADDRESS", BASE)
        await self.write("INTERRUPT_ENABLE", Interrupt.DONE | Interrupt.ERROR)
        await self.write("CONTROL", Control.START)

    async def wait(self) -> int:
        """Waits for the interrupt, clears it, and returns STATUS."""
        await self.ctx.tick().until(self.machine.irq)
        await self.write("INTERRUPT_STATUS", await self.read("INTERRUPT_STATUS"))
        await self.ctx.tick().repeat(2)
        assert not self.ctx.get(self.machine.irq)
        return await self.read("STATUS")

    async def run(self, words: int) -> int:
        await self.start(words)
        return await self.wait()

    async def counters(self) -> dict[str, int]:
        return {name: await self.read(name) for name in COUNTERS}


class System:
    """A machine on a bus with a memory."""

    def __init__(self, config: Config, commands: list[Command] | list[int], **bus: Any) -> None:
        self.config = config
        self.machine = Machine(config)
        self.memory = bytearray(1 << 16)
        self.words = [word for c in commands for word in (c.encode() if isinstance(c, Command) else [c])]
        self.put(PROGRAM, b"".join(word.to_bytes(8, "little") for word in self.words))
        self.bus = Bus(self.memory, bus_bytes=config.bus_bytes, **bus)

    def put(self, address: int, data: bytes) -> None:
        self.memory[address : address + len(data)] = data

    def simulate(self, main: Callable[[Host], Any]) -> None:
        streams = Streams(self.machine)

        async def bench(ctx: Any) -> None:
            await main(Host(self.machine, ctx))

        simulate(self.machine, self.bus.reader(streams), self.bus.writer(streams), bench, cycles=30_000)


def layer(config: Config, seed: int = 3, **bus: Any) -> tuple[System, list[Command], np.ndarray]:
    """A system whose program loads an image, computes tiles and stores the scratchpad; and what it must store."""
    made = tiles(config, seed, [*SEQUENCES["partial sums"], *SEQUENCES["depthwise"]])
    return loaded(config, *made, **bus)


def loaded(
    config: Config,
    image: np.ndarray,
    executes: list[Execute],
    rows: list[np.ndarray],
    expected: np.ndarray,
    **bus: Any,
) -> tuple[System, list[Command], np.ndarray]:
    """A system whose program loads an image, runs these commands and stores the scratchpad."""
    packed = np.concatenate(rows).tobytes()
    packed += bytes(-len(packed) % 4)
    half = config.scratchpad_bytes // 2
    commands: list[Command] = [
        Load(dram_address=WEIGHTS, length=len(packed), address=0, memory=1),
        Load(dram_address=IMAGE, length=half, address=0),
        Load(dram_address=IMAGE + half, length=half, address=half),
        *(dataclasses.replace(command, wait_load=3) for command in executes),
        Store(dram_address=RESULT, length=half, address=0, wait_execute=len(executes)),
        Store(dram_address=RESULT + half, length=half, address=half, wait_execute=len(executes)),
    ]
    system = System(config, commands, **bus)
    system.put(BASE + IMAGE, image.tobytes())
    system.put(BASE + WEIGHTS, packed)
    return system, commands, expected


def result(system: System) -> np.ndarray:
    at = BASE + RESULT
    return np.frombuffer(system.memory[at : at + system.config.scratchpad_bytes], np.uint8)


@pytest.mark.parametrize(("latency", "stalls"), [(1, 0.0), (10, 0.0), (100, 0.0), (5, 0.5)])
@pytest.mark.parametrize("config", [SMALL, dataclasses.replace(ODD, bus_bytes=16)], ids=lambda c: c.name)
def test_a_layer_runs_to_the_byte_and_is_counted(config: Config, latency: int, stalls: float) -> None:
    system, commands, expected = layer(config, latency=latency, stalls=stalls)

    async def main(host: Host) -> None:
        assert await host.run(len(system.words)) == Status.DONE
        counters = await host.counters()
        executes = [command for command in commands if isinstance(command, Execute)]
        passes = [c.blocks * c.kernel_rows * c.kernel_columns * c.runs for c in executes]
        loaded = sum(-(-c.length // config.bus_bytes) for c in commands if isinstance(c, Load))
        exact = {
            "LOAD_COMMANDS": 3,
            "EXECUTE_COMMANDS": len(executes),
            "STORE_COMMANDS": 2,
            "READ_BEATS": loaded,
            "FETCH_BEATS": -(-len(system.words) * 8 // config.bus_bytes),
            "WRITE_BEATS": config.scratchpad_bytes // config.bus_bytes,
            "ARRAY_STEPS": sum(c.pixels * count for c, count in zip(executes, passes, strict=True)),
            "OUTPUTS": sum(outputs(c) * c.blocks for c in executes if c.finish),
        }
        assert {name: counters[name] for name in exact} == exact
        rows = config.scratchpad_bytes // config.scratchpad_row_bytes
        assert counters["SCRATCHPAD_READS"] == exact["ARRAY_STEPS"] + rows
        assert counters["SCRATCHPAD_WRITES"] == exact["OUTPUTS"] + rows
        assert counters["ACCUMULATOR_READS"] == sum(
            outputs(c) * (count - c.blocks * (not c.accumulate)) for c, count in zip(executes, passes, strict=True)
        )
        for name in ("LOAD", "EXECUTE", "STORE"):
            assert 0 < counters[f"{name}_BUSY"] + counters[f"{name}_WAIT"] <= counters["CYCLES"]
        assert await host.read("ERROR") == ErrorCode.NONE

    system.simulate(main)
    np.testing.assert_array_equal(result(system), expected)


def test_a_machine_tells_what_it_is() -> None:
    system = System(SMALL, [])

    async def main(host: Host) -> None:
        assert await host.read("IDENTITY") == IDENTITY
        assert await host.read("VERSION") == VERSION
        assert await host.read("CONFIGURATION") == configuration_hash(SMALL)
        assert await host.read("STATUS") == 0
        assert await host.run(0) == Status.DONE, "an empty program is done at once"

    system.simulate(main)


def test_runs_follow_each_other_and_count_anew() -> None:
    system, _, expected = layer(SMALL)
    counts = []

    async def main(host: Host) -> None:
        for _ in range(3):
            system.put(BASE + RESULT, bytes(SMALL.scratchpad_bytes))
            assert await host.run(len(system.words)) == Status.DONE
            np.testing.assert_array_equal(result(system), expected)
            counts.append(await host.counters())

    system.simulate(main)
    assert counts[0] == counts[1] == counts[2]


def test_settings_stay_as_they_are_during_a_run() -> None:
    system, _, expected = layer(SMALL, latency=40)

    async def main(host: Host) -> None:
        await host.start(len(system.words))
        await host.write("BASE_ADDRESS", 0)
        await host.write("PROGRAM_WORDS", 1)
        assert await host.read("BASE_ADDRESS") == BASE
        assert await host.wait() == Status.DONE
        await host.write("BASE_ADDRESS", 64)
        assert await host.read("BASE_ADDRESS") == 64

    system.simulate(main)
    np.testing.assert_array_equal(result(system), expected)


FINE = Load(dram_address=IMAGE, length=256)
ERRORS: list[tuple[list[Any], int, ErrorCode]] = [
    ([FINE, FINE, 7], 2, ErrorCode.ILLEGAL_COMMAND),
    ([FINE, *Execute(wait_load=1).encode()[:4]], 1, ErrorCode.ILLEGAL_COMMAND),
    ([FINE, Load(length=0)], 1, ErrorCode.ILLEGAL_COMMAND),
    ([FINE, Execute(wait_load=1, mode=9)], 1, ErrorCode.ILLEGAL_COMMAND),
    ([FINE, Store(wait_load=1, length=0)], 1, ErrorCode.ILLEGAL_COMMAND),
    ([FINE, Load(length=4097)], 1, ErrorCode.SCRATCHPAD_RANGE),
    ([FINE, Load(length=2, address=2047, dram_address=7, memory=1)], 1, ErrorCode.WEIGHT_RANGE),
    ([FINE, Store(length=4, address=1)], 1, ErrorCode.ALIGNMENT),
    ([FINE, Load(length=64, dram_address=0x8000)], 1, ErrorCode.READ_BUS),
    ([FINE, Store(length=640, dram_address=0x7F00), FINE], 1, ErrorCode.WRITE_BUS),
    ([FINE, Execute(wait_load=1, wait_execute=1)], 1, ErrorCode.DEADLOCK),
    ([FINE, Store(wait_execute=2, length=4), Execute(wait_store=1)], 1, ErrorCode.DEADLOCK),
    ([FINE, Load(wait_store=9, length=1), *[FINE] * 12, Store(length=1)], 1, ErrorCode.DEADLOCK),
]


@pytest.mark.parametrize(("commands", "index", "code"), ERRORS, ids=lambda value: getattr(value, "name", None))
@pytest.mark.parametrize("stalls", [0.0, 0.4])
def test_an_error_ends_the_run_with_its_code_and_a_reset_clears_it(
    commands: list[Any], index: int, code: ErrorCode, stalls: float
) -> None:
    system = System(SMALL, commands, latency=7, stalls=stalls, bad=range(BASE + 0x8000, BASE + 0x8001))
    good = encode([FINE, Store(dram_address=RESULT, length=256, wait_load=1)])
    source = bytes(range(256))
    system.put(BASE + IMAGE, source)

    async def main(host: Host) -> None:
        assert await host.run(len(system.words)) == Status.ERROR
        assert await host.read("ERROR") == code
        assert await host.read("ERROR_COMMAND") == index
        asked = (len(system.bus.reads), len(system.bus.writes))
        await host.ctx.tick().repeat(100)
        assert (len(system.bus.reads), len(system.bus.writes)) == asked
        await host.write("CONTROL", Control.RESET)
        await host.ctx.tick().repeat(3)
        assert (await host.read("STATUS"), await host.read("ERROR")) == (0, 0)
        system.put(PROGRAM, b"".join(word.to_bytes(8, "little") for word in good))
        assert await host.run(len(good)) == Status.DONE

    system.simulate(main)
    assert system.memory[BASE + RESULT : BASE + RESULT + 256] == source


@pytest.mark.parametrize("for_ever", [False, True])
def test_a_command_that_waits_is_a_deadlock_only_if_it_waits_for_ever(for_ever: bool) -> None:
    """It reads what the one before it writes, for which lanes need longer than the control has patience."""
    config = PATIENT[0]
    count = (PATIENCE + 30) // (config.turns - 1)
    first = {"count": count, "finish": Finish.STORE, "destination_column_step": 1}
    second = first | {"source": 2048, "destination": 3000, "wait_execute": 2 if for_ever else 1}
    system, commands, expected = loaded(config, *one_pass_each(config, [first, second]))

    async def main(host: Host) -> None:
        if not for_ever:
            assert await host.run(len(system.words)) == Status.DONE
            return
        assert await host.run(len(system.words)) == Status.ERROR
        assert await host.read("ERROR") == ErrorCode.DEADLOCK
        second = max(place for place, command in enumerate(commands) if isinstance(command, Execute))
        assert await host.read("ERROR_COMMAND") == second
        counters = await host.counters()
        assert (counters["EXECUTE_COMMANDS"], counters["OUTPUTS"]) == (1, count)
        assert counters["EXECUTE_WAIT"] >= PATIENCE

    system.simulate(main)
    if not for_ever:
        np.testing.assert_array_equal(result(system), expected)


@pytest.mark.parametrize("moment", [1, 3, 10, 20, 40, 60, 90, 150, 300, 450, 700])
@pytest.mark.parametrize("stalls", [0.0, 0.4])
def test_a_reset_ends_any_run_and_the_next_one_works(moment: int, stalls: float) -> None:
    system, _, expected = layer(SMALL, latency=20, stalls=stalls)

    async def main(host: Host) -> None:
        await host.start(len(system.words))
        await host.ctx.tick().repeat(moment)
        await host.write("CONTROL", Control.RESET)
        await host.ctx.tick().repeat(2)
        while await host.read("STATUS") & Status.BUSY:
            await host.ctx.tick()
        assert await host.read("STATUS") == 0
        assert await host.read("INTERRUPT_STATUS") == 0
        system.put(BASE + RESULT, bytes(SMALL.scratchpad_bytes))
        assert await host.run(len(system.words)) == Status.DONE

    system.simulate(main)
    np.testing.assert_array_equal(result(system), expected)


def test_the_ports_are_those_that_integrators_expect() -> None:
    ports = {name: member.shape for name, member in Machine(Config(bus_bytes=16)).signature.members.items()}
    address = {"id": 1, "addr": 32, "len": 8, "size": 3, "burst": 2, "cache": 4, "prot": 3, "valid": 1, "ready": 1}
    expected = {
        **{f"m_axi_{channel}{name}": width for channel in ("aw", "ar") for name, width in address.items()},
        **{"m_axi_wdata": 128, "m_axi_wstrb": 16, "m_axi_wlast": 1, "m_axi_wvalid": 1, "m_axi_wready": 1},
        **{"m_axi_bid": 1, "m_axi_bresp": 2, "m_axi_bvalid": 1, "m_axi_bready": 1},
        **{"m_axi_rid": 1, "m_axi_rdata": 128, "m_axi_rresp": 2, "m_axi_rlast": 1, "m_axi_rvalid": 1},
        **{"m_axi_rready": 1, "irq": 1},
        **{f"s_axi_{channel}addr": 12 for channel in ("aw", "ar")},
        **{f"s_axi_{channel}prot": 3 for channel in ("aw", "ar")},
        **{f"s_axi_{channel}{side}": 1 for channel in ("aw", "w", "b", "ar", "r") for side in ("valid", "ready")},
        **{"s_axi_wdata": 32, "s_axi_wstrb": 4, "s_axi_bresp": 2, "s_axi_rdata": 32, "s_axi_rresp": 2},
    }
    assert ports == expected
