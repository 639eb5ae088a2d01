"""The load engine brings the right bytes, at the pace of the bus, and says what is wrong."""

import dataclasses
import random
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring

from eightfold.hw.arbiter import ReadArbiter
from eightfold.hw.commands import Load
from eightfold.hw.config import Config
from eightfold.hw.load import LoadEngine
from eightfold.hw.registers import ErrorCode

from .bus import Bus, feed
from .simulate import simulate

SMALL = Config(rows=4, columns=4, scratchpad_bytes=1024, weight_bytes=512, accumulator_bytes=1024, burst_beats=8)
CONFIGS = [
    SMALL,
    dataclasses.replace(SMALL, bus_bytes=4, burst_beats=1, outstanding_bursts=1),
    dataclasses.replace(SMALL, bus_bytes=16, burst_beats=4, outstanding_bursts=2),
    dataclasses.replace(SMALL, bus_bytes=32, burst_beats=2, outstanding_bursts=3),
    Config(rows=16, columns=16, scratchpad_bytes=2048, weight_bytes=2048, accumulator_bytes=4096, burst_beats=16),
    Config(rows=5, columns=3, scratchpad_bytes=2048, weight_bytes=2048, accumulator_bytes=3072, bus_bytes=16),
]
BASE = 4096 - 32


class Bench(wiring.Component):
    """The engine behind the arbiter, and images of the memories that it writes."""

    def __init__(self, config: Config, bus: Bus) -> None:
        self.config = config
        self.bus = bus
        self.engine = LoadEngine(config)
        self.arbiter = ReadArbiter(bus_bytes=config.bus_bytes, bursts=config.outstanding_bursts)
        self.memories = {0: bytearray(config.scratchpad_bytes), 1: bytearray(config.weight_bytes)}
        self.writes = {0: 0, 1: 0}
        self.completed_at: list[int] = []
        self.cycle = 0
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.engine, m.submodules.arbiter = self.engine, self.arbiter
        wiring.connect(m, self.engine.read, self.arbiter.load)
        return m

    async def watch(self, ctx: Any) -> None:
        """Plays the memories, and notes when commands complete."""
        engine = self.engine
        ports = {0: engine.scratchpad, 1: engine.weights}
        widths = {0: self.config.scratchpad_row_bytes, 1: self.config.weight_line_bytes}
        samples = [signal for port in ports.values() for signal in (port.enable, port.address, port.data, port.mask)]
        completed = 0
        async for _, _, now_completed, *values in ctx.tick().sample(engine.completed, *samples):
            if now_completed != completed:
                assert now_completed == completed + 1
                completed = now_completed
                self.completed_at.append(self.cycle)
            for which in ports:
                enable, address, data, mask = values[4 * which : 4 * which + 4]
                if enable:
                    self.writes[which] += 1
                    for lane in range(widths[which]):
                        if mask >> lane & 1:
                            self.memories[which][address * widths[which] + lane] = data >> 8 * lane & 0xFF
            self.cycle += 1

    def run(self, commands: list[Load], *, base: int = BASE, until: Any = None, counts: Any = None) -> None:
        async def drive(ctx: Any) -> None:
            ctx.set(self.engine.base_address, base)
            if counts is not None:
                ctx.set(self.engine.execute_completed, counts[0])
                ctx.set(self.engine.store_completed, counts[1])
            await feed(ctx, self.engine.commands, [word for command in commands for word in command.encode()])

        async def finish(ctx: Any) -> None:
            if until is not None:
                await until(ctx)
            else:
                await ctx.tick().until(self.engine.completed == len(commands))
                await ctx.tick().repeat(2)
                assert not ctx.get(self.engine.busy)
                assert ctx.get(self.engine.quiet)
                assert ctx.get(self.engine.error.code) == ErrorCode.NONE.value

        simulate(self, self.watch, self.bus.reader(self.arbiter.bus), drive, finish, cycles=30_000)


def random_load(source: random.Random, config: Config, bytes_in_dram: int) -> Load:
    memory = source.randrange(2)
    room = config.weight_bytes if memory else config.scratchpad_bytes
    address = source.randrange(room)
    longest = room - address
    length = source.choice([1, source.randint(1, min(longest, 3 * config.bus_bytes)), source.randint(1, longest)])
    length = min(length, longest)
    lane = address % config.bus_bytes
    beats = (bytes_in_dram - length - lane) // config.bus_bytes
    dram_address = source.randrange(beats) * config.bus_bytes + lane
    return Load(dram_address=dram_address, length=length, address=address, memory=memory)


@pytest.mark.parametrize(("latency", "stalls"), [(1, 0.0), (20, 0.0), (3, 0.4)])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.rows}x{c.columns}-{c.bus_bytes}-{c.burst_beats}")
def test_every_byte_arrives_and_no_other_changes(config: Config, latency: int, stalls: float) -> None:
    source = random.Random(latency)
    dram = bytearray(source.randbytes(4 * 4096))
    bench = Bench(config, Bus(dram, bus_bytes=config.bus_bytes, latency=latency, stalls=stalls, seed=1))
    commands = [random_load(source, config, len(dram) - BASE) for _ in range(25)]
    expected = {which: bytearray(image) for which, image in bench.memories.items()}
    for load in commands:
        start = BASE + load.dram_address
        expected[load.memory][load.address : load.address + load.length] = dram[start : start + load.length]
    bench.run(commands)
    assert bench.memories == expected
    assert all(beats <= config.burst_beats for _, beats in bench.bus.reads)
    assert len(bench.completed_at) == len(commands)


def test_the_latency_is_hidden_behind_bursts_of_one_and_of_the_next_command() -> None:
    config = Config(name="16x16")
    bus = Bus(bytearray(1 << 16), bus_bytes=8, latency=64)
    bench = Bench(config, bus)
    commands = [Load(dram_address=4096 * i, length=2048, address=2048 * i, memory=i & 1) for i in range(4)]
    bench.run(commands, base=0)
    beats = bus.read_beat_cycles
    assert len(beats) == 4 * 2048 // 8
    assert beats[-1] - beats[0] == len(beats) - 1, "the bus paused between bursts"


def test_a_scratchpad_row_is_written_once_and_a_weight_line_per_beat() -> None:
    config = Config(name="16x16")
    bench = Bench(config, Bus(bytearray(1 << 16), bus_bytes=8))
    bench.run([Load(length=256, address=0), Load(length=40, address=1000 * 8, dram_address=8, memory=1)])
    assert bench.writes == {0: 256 // config.scratchpad_row_bytes, 1: 5}


def test_bursts_end_at_multiples_of_a_whole_burst() -> None:
    bench = Bench(SMALL, Bus(bytearray(1 << 14), bus_bytes=8))
    bench.run([Load(length=200, address=8 + 4, dram_address=40 + 4)], base=0)
    assert bench.bus.reads == [(40, 3), (64, 8), (128, 8), (192, 7)]


def test_a_command_waits_for_its_counts_and_completes_the_cycle_after_its_last_write() -> None:
    bench = Bench(SMALL, Bus(bytearray(1 << 14), bus_bytes=8))
    engine = bench.engine

    async def until(ctx: Any) -> None:
        await ctx.tick().until(engine.waiting)
        await ctx.tick().repeat(30)
        assert not bench.bus.reads
        ctx.set(engine.execute_completed, 2)
        await ctx.tick().repeat(3)
        assert not bench.bus.reads
        ctx.set(engine.store_completed, 1)
        await ctx.tick()
        await ctx.tick()
        assert not ctx.get(engine.waiting)
        assert ctx.get(engine.busy)
        await ctx.tick().until(engine.weights.enable)
        assert ctx.get(engine.completed) == 1

    bench.run([Load(wait_execute=2, wait_store=1, length=8, memory=1)], until=until)


@pytest.mark.parametrize(
    ("load", "code"),
    [
        (Load(length=0), ErrorCode.ILLEGAL_COMMAND),
        (Load(length=4, dram_address=1, address=2), ErrorCode.ALIGNMENT),
        (Load(length=9, dram_address=0, address=1016), ErrorCode.SCRATCHPAD_RANGE),
        (Load(length=1, dram_address=0, address=1 << 23), ErrorCode.SCRATCHPAD_RANGE),
        (Load(length=(1 << 24) - 1, dram_address=7, address=(1 << 24) - 1), ErrorCode.SCRATCHPAD_RANGE),
        (Load(length=9, dram_address=0, address=504, memory=1), ErrorCode.WEIGHT_RANGE),
        (Load(length=8, dram_address=4096), ErrorCode.READ_BUS),
    ],
    ids=lambda value: value.name if isinstance(value, ErrorCode) else "",
)
def test_errors_stop_the_engine_and_name_the_command(load: Load, code: ErrorCode) -> None:
    bench = Bench(SMALL, Bus(bytearray(1 << 14), bus_bytes=8, bad=range(BASE + 4100, BASE + 4101)))
    engine = bench.engine
    good = Load(length=64, memory=1)
    words = [command.encode() for command in (good, load, good)]
    for index, command in enumerate(words):
        command[0] |= (70 + index) << 44

    async def drive(ctx: Any) -> None:
        ctx.set(engine.base_address, BASE)
        await feed(ctx, engine.commands, [word for command in words for word in command])

    async def until(ctx: Any) -> None:
        await ctx.tick().until(engine.error.code != 0)
        await ctx.tick().repeat(60)
        assert ctx.get(engine.error.code) == code.value
        assert ctx.get(engine.error.index) == 71
        assert ctx.get(engine.completed) == 1
        assert ctx.get(engine.quiet)

    simulate(bench, bench.watch, bench.bus.reader(bench.arbiter.bus), drive, until, cycles=2000)


def test_a_halted_engine_asks_for_nothing_more_and_takes_what_is_under_way() -> None:
    bench = Bench(SMALL, Bus(bytearray(1 << 14), bus_bytes=8, latency=10))
    engine = bench.engine

    async def until(ctx: Any) -> None:
        await ctx.tick().until(~engine.quiet)
        ctx.set(engine.halt, 1)
        await ctx.tick().until(engine.quiet)
        asked = len(bench.bus.reads)
        await ctx.tick().repeat(50)
        assert len(bench.bus.reads) == asked < 16
        assert ctx.get(engine.quiet)
        assert ctx.get(engine.completed) == 0

    bench.run([Load(length=1024), Load(length=8, memory=1)], until=until)
