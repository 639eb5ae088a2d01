"""The store engine sends the right bytes, at the pace of the bus, and says what is wrong."""

import dataclasses
import random
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring

from eightfold.hw.commands import Store
from eightfold.hw.config import Config
from eightfold.hw.registers import ErrorCode
from eightfold.hw.scratchpad import STORE_LATENCY
from eightfold.hw.store import StoreEngine

from .bus import Bus, feed
from .simulate import simulate

SMALL = Config(rows=4, columns=4, scratchpad_bytes=1024, weight_bytes=512, accumulator_bytes=1024, burst_beats=8)
CONFIGS = [
    SMALL,
    dataclasses.replace(SMALL, bus_bytes=4, burst_beats=1, outstanding_bursts=1),
    dataclasses.replace(SMALL, bus_bytes=16, burst_beats=4, outstanding_bursts=2),
    dataclasses.replace(SMALL, bus_bytes=32, burst_beats=2, outstanding_bursts=3),
    Config(rows=16, columns=16, scratchpad_bytes=2048, weight_bytes=2048, accumulator_bytes=4096, burst_beats=16),
]
BASE = 4096 - 32


class Bench(wiring.Component):
    """The engine, and a scratchpad whose rows show for one cycle only."""

    def __init__(self, config: Config, bus: Bus) -> None:
        self.config = config
        self.bus = bus
        self.engine = StoreEngine(config)
        self.scratchpad = random.Random(0).randbytes(config.scratchpad_bytes)
        self.row_reads: list[int] = []
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.engine = self.engine
        return m

    async def serve(self, ctx: Any) -> None:
        port, row = self.engine.scratchpad, self.config.scratchpad_row_bytes
        rows = [b"\xee" * row] * STORE_LATENCY
        async for _, _, enable, address in ctx.tick().sample(port.enable, port.address):
            rows = [self.scratchpad[address * row : (address + 1) * row] if enable else b"\xee" * row, *rows[:-1]]
            ctx.set(port.data, int.from_bytes(rows[-1], "little"))
            if enable:
                self.row_reads.append(address)

    def run(self, words: list[int], until: Any, *, base: int = BASE) -> None:
        async def drive(ctx: Any) -> None:
            ctx.set(self.engine.base_address, base)
            await feed(ctx, self.engine.commands, words)

        simulate(self, self.serve, self.bus.writer(self.engine.write), drive, until, cycles=30_000)

    def complete(self, commands: list[Store], *, base: int = BASE) -> None:
        engine = self.engine

        async def until(ctx: Any) -> None:
            await ctx.tick().until(engine.completed == len(commands))
            await ctx.tick().repeat(2)
            assert not ctx.get(engine.busy)
            assert ctx.get(engine.quiet)
            assert ctx.get(engine.error.code) == ErrorCode.NONE.value

        self.run([word for command in commands for word in command.encode()], until, base=base)


def random_store(source: random.Random, config: Config, bytes_in_dram: int) -> Store:
    address = source.randrange(config.scratchpad_bytes)
    longest = config.scratchpad_bytes - address
    length = source.choice([1, source.randint(1, min(longest, 3 * config.bus_bytes)), source.randint(1, longest)])
    lane = address % config.bus_bytes
    beats = (bytes_in_dram - length - lane) // config.bus_bytes
    return Store(dram_address=source.randrange(beats) * config.bus_bytes + lane, length=length, address=address)


@pytest.mark.parametrize(("latency", "stalls"), [(1, 0.0), (20, 0.0), (3, 0.4)])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.rows}x{c.columns}-{c.bus_bytes}-{c.burst_beats}")
def test_every_byte_arrives_and_no_other_changes(config: Config, latency: int, stalls: float) -> None:
    source = random.Random(latency)
    dram = bytearray(source.randbytes(4 * 4096))
    expected = bytearray(dram)
    bench = Bench(config, Bus(dram, bus_bytes=config.bus_bytes, latency=latency, stalls=stalls, seed=1))
    commands = [random_store(source, config, len(dram) - BASE) for _ in range(25)]
    for store in commands:
        start = BASE + store.dram_address
        expected[start : start + store.length] = bench.scratchpad[store.address : store.address + store.length]
    bench.complete(commands)
    assert dram == expected
    assert all(beats <= config.burst_beats for _, beats in bench.bus.writes)


@pytest.mark.parametrize("bus_bytes", [4, 8, 16, 32])
def test_the_bus_never_waits_for_bytes(bus_bytes: int) -> None:
    config = Config(name="16x16", bus_bytes=bus_bytes)
    bus = Bus(bytearray(1 << 16), bus_bytes=bus_bytes, latency=64)
    bench = Bench(config, bus)
    bench.complete([Store(dram_address=8192 * i, length=2048, address=2048 * i) for i in range(3)], base=0)
    beats = bus.write_beat_cycles
    assert len(beats) == 3 * 2048 // bus_bytes
    # Where a row is a beat, none can be read ahead while a command follows another.
    pauses = 2 if config.scratchpad_row_bytes == bus_bytes else 0
    assert beats[-1] - beats[0] == len(beats) - 1 + pauses
    assert len(bench.row_reads) == 3 * 2048 // config.scratchpad_row_bytes, "a row is read once"


def test_bursts_end_at_multiples_of_a_whole_burst() -> None:
    bench = Bench(SMALL, Bus(bytearray(1 << 14), bus_bytes=8))
    bench.complete([Store(length=200, address=8 + 4, dram_address=40 + 4)], base=0)
    assert bench.bus.writes == [(40, 3), (64, 8), (128, 8), (192, 7)]


def test_a_command_waits_for_its_counts_and_completes_with_its_last_answer() -> None:
    bench = Bench(SMALL, Bus(bytearray(1 << 14), bus_bytes=8, latency=9))
    engine = bench.engine

    async def until(ctx: Any) -> None:
        await ctx.tick().until(engine.waiting)
        await ctx.tick().repeat(30)
        ctx.set(engine.load_completed, 3)
        await ctx.tick().repeat(3)
        assert not bench.row_reads
        assert not bench.bus.writes
        ctx.set(engine.execute_completed, 1)
        await ctx.tick().repeat(2)
        assert not ctx.get(engine.waiting)
        assert ctx.get(engine.busy)
        await ctx.tick().until(engine.write.b.valid)
        assert ctx.get(engine.completed) == 0
        await ctx.tick()
        assert ctx.get(engine.completed) == 1

    bench.run(Store(wait_load=3, wait_execute=1, length=8).encode(), until)


@pytest.mark.parametrize(
    ("store", "code"),
    [
        (Store(length=0), ErrorCode.ILLEGAL_COMMAND),
        (Store(length=4, dram_address=1, address=2), ErrorCode.ALIGNMENT),
        (Store(length=9, dram_address=0, address=1016), ErrorCode.SCRATCHPAD_RANGE),
        (Store(length=(1 << 24) - 1, dram_address=7, address=(1 << 24) - 1), ErrorCode.SCRATCHPAD_RANGE),
        (Store(length=100, dram_address=4096), ErrorCode.WRITE_BUS),
    ],
    ids=lambda value: value.name if isinstance(value, ErrorCode) else "",
)
def test_errors_stop_the_engine_and_name_the_command(store: Store, code: ErrorCode) -> None:
    bench = Bench(SMALL, Bus(bytearray(1 << 14), bus_bytes=8, bad=range(BASE + 4120, BASE + 4121)))
    engine = bench.engine
    good = Store(length=64)
    words = [command.encode() for command in (good, store, good)]
    for index, command in enumerate(words):
        command[0] |= (70 + index) << 44

    async def until(ctx: Any) -> None:
        await ctx.tick().until(engine.error.code != 0)
        await ctx.tick().repeat(60)
        assert ctx.get(engine.error.code) == code.value
        assert ctx.get(engine.error.index) == 71
        assert ctx.get(engine.completed) == 1
        assert ctx.get(engine.quiet)

    bench.run([word for command in words for word in command], until)


@pytest.mark.parametrize("stalls", [0.0, 0.5])
def test_a_halted_engine_announces_nothing_more_and_sends_what_it_announced(stalls: float) -> None:
    bench = Bench(SMALL, Bus(bytearray(1 << 14), bus_bytes=8, latency=10, stalls=stalls))
    engine = bench.engine

    async def until(ctx: Any) -> None:
        await ctx.tick().until(~engine.quiet)
        ctx.set(engine.halt, 1)
        await ctx.tick().until(engine.quiet)
        announced = list(bench.bus.writes)
        assert len(bench.bus.write_beat_cycles) == sum(beats for _, beats in announced)
        await ctx.tick().repeat(100)
        assert bench.bus.writes == announced
        assert 0 < len(announced) < 16
        assert ctx.get(engine.completed) == 0

    bench.run([word for _ in range(2) for word in Store(length=1024).encode()], until)
