"""Fetch and dispatch bring every command, whole and in order, to its engine."""

import random
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring

from eightfold.hw.arbiter import ReadArbiter
from eightfold.hw.commands import Command, Execute, Load, Store, encode
from eightfold.hw.config import Config
from eightfold.hw.fetch import BURST_BYTES, MAX_BURSTS, QUEUE_COMMANDS, Dispatch, Fetch
from eightfold.hw.registers import ErrorCode

from .bus import Bus
from .simulate import simulate

INDEX_OFFSET = 44


class Bench(wiring.Component):
    """Fetch, arbiter and dispatch, with a program in the bus's memory."""

    def __init__(self, words: list[int], *, config: Config, address: int = 0, **bus: Any) -> None:
        memory = bytearray(b"\xff" * address + b"".join(word.to_bytes(8, "little") for word in words) + b"\xff" * 4096)
        self.words = len(words)
        self.address = address
        self.bus = Bus(memory, bus_bytes=config.bus_bytes, **bus)
        self.fetch = Fetch(config)
        self.dispatch = Dispatch()
        self.arbiter = ReadArbiter(bus_bytes=config.bus_bytes, bursts=MAX_BURSTS)
        self.seen: dict[str, list[int]] = {"load": [], "execute": [], "store": []}
        self.cycles: dict[str, list[int]] = {"load": [], "execute": [], "store": []}
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.fetch, m.submodules.dispatch, m.submodules.arbiter = self.fetch, self.dispatch, self.arbiter
        wiring.connect(m, self.fetch.read, self.arbiter.fetch)
        wiring.connect(m, self.fetch.o, self.dispatch.i)
        return m

    def consumer(self, name: str, pauses: float) -> Any:
        async def consume(ctx: Any) -> None:
            port = getattr(self.dispatch, name)
            source = random.Random(name)
            cycle = 0
            ctx.set(port.ready, pauses == 0)
            async for _, _, valid, ready, payload in ctx.tick().sample(port.valid, port.ready, port.payload):
                cycle += 1
                if valid and ready:
                    self.seen[name].append(payload)
                    self.cycles[name].append(cycle)
                ctx.set(port.ready, source.random() >= pauses)

        return consume

    def run(self, until: Any, *, pauses: float = 0.0) -> None:
        async def start(ctx: Any) -> None:
            ctx.set(self.fetch.address, self.address)
            for part in (self.fetch, self.dispatch):
                ctx.set(part.words, self.words)
                ctx.set(part.start, 1)
            await ctx.tick()
            for part in (self.fetch, self.dispatch):
                ctx.set(part.start, 0)
            await until(ctx)

        consumers = [self.consumer(name, pauses) for name in self.seen]
        simulate(self, self.bus.reader(self.arbiter.bus), *consumers, start, cycles=20_000)

    async def until_finished(self, ctx: Any) -> None:
        await ctx.tick().until(self.dispatch.finished)
        await ctx.tick().repeat(600)
        assert ctx.get(self.fetch.quiet)
        assert ctx.get(self.dispatch.error.code) == ErrorCode.NONE.value


def program(count: int, seed: int = 0) -> list[Command]:
    source = random.Random(seed)
    return [
        source.choice(
            (
                Load(wait_store=source.randrange(9), length=source.randrange(1 << 24)),
                Store(dram_address=source.randrange(1 << 32)),
                Execute(upper=source.randrange(128), wait_execute=source.randrange(1 << 20)),
            )
        )
        for _ in range(count)
    ]


def expected(commands: list[Command]) -> dict[str, list[int]]:
    streams: dict[str, list[int]] = {"load": [], "execute": [], "store": []}
    for index, command in enumerate(commands):
        words = command.encode()
        words[0] |= index << INDEX_OFFSET
        streams[command.opcode.name.lower()] += words
    return streams


@pytest.mark.parametrize(("latency", "stalls", "pauses"), [(1, 0.0, 0.0), (10, 0.3, 0.8)])
@pytest.mark.parametrize("bus_bytes", [4, 8, 16, 32])
@pytest.mark.parametrize("count", [1, 2, 60])
def test_every_command_reaches_its_engine_with_its_index(
    bus_bytes: int, count: int, latency: int, stalls: float, pauses: float
) -> None:
    config = Config(bus_bytes=bus_bytes)
    commands = program(count, seed=count)
    bench = Bench(encode(commands), config=config, address=4096 - 64, latency=latency, stalls=stalls)
    bench.run(bench.until_finished, pauses=pauses)
    assert bench.seen == expected(commands)


def test_words_follow_each_other_without_a_pause() -> None:
    commands: list[Command] = [Load() for _ in range(40)]
    bench = Bench(encode(commands), config=Config(), latency=8)
    bench.run(bench.until_finished)
    cycles = bench.cycles["load"]
    assert cycles[-1] - cycles[0] == len(cycles) - 1


@pytest.mark.parametrize(("bus_bytes", "burst_beats"), [(8, 64), (8, 4), (32, 64), (4, 1)])
def test_bursts_are_short_and_no_more_than_the_buffer_holds(bus_bytes: int, burst_beats: int) -> None:
    config = Config(bus_bytes=bus_bytes, burst_beats=burst_beats)
    commands: list[Command] = [Execute() for _ in range(60)]
    bench = Bench(encode(commands), config=config, address=96)
    limit = min(BURST_BYTES, burst_beats * bus_bytes)

    async def until(ctx: Any) -> None:
        await ctx.tick().repeat(800)
        assert ctx.get(bench.fetch.quiet)

    bench.run(until, pauses=1.0)
    fetched = sum(beats for _, beats in bench.bus.reads) * bus_bytes
    assert all(beats * bus_bytes <= limit for _, beats in bench.bus.reads)
    queued = (QUEUE_COMMANDS * Execute.words() + 1) * 8
    assert queued <= fetched <= queued + MAX_BURSTS * limit + 32


def test_a_full_queue_takes_no_part_of_a_command() -> None:
    commands: list[Command] = [Store() for _ in range(QUEUE_COMMANDS + 2)]
    bench = Bench(encode(commands), config=Config())
    dispatch = bench.dispatch

    async def until(ctx: Any) -> None:
        await ctx.tick().repeat(200)
        assert ctx.get(dispatch.stalled)
        assert not ctx.get(dispatch.finished)
        # The word at the queue's output makes no room for a whole command.
        assert ctx.get(dispatch.store_dispatched) == QUEUE_COMMANDS

    bench.run(until, pauses=1.0)


@pytest.mark.parametrize(
    ("words", "index", "code"),
    [
        ([*encode([Load(), Store()]), 0], 2, ErrorCode.ILLEGAL_COMMAND),
        ([*encode([Load()]), 15, 0, 0], 1, ErrorCode.ILLEGAL_COMMAND),
        (encode([Store(), Load()])[:-1], 1, ErrorCode.ILLEGAL_COMMAND),
        (encode([Execute()])[:1], 0, ErrorCode.ILLEGAL_COMMAND),
    ],
)
@pytest.mark.parametrize("bus_bytes", [4, 8, 32])
def test_what_is_no_command_is_an_error_at_its_index(
    words: list[int], index: int, code: ErrorCode, bus_bytes: int
) -> None:
    bench = Bench(words, config=Config(bus_bytes=bus_bytes))
    error = bench.dispatch.error

    async def until(ctx: Any) -> None:
        await ctx.tick().until(error.code != 0)
        await ctx.tick().repeat(20)
        assert (ctx.get(error.code), ctx.get(error.index)) == (code.value, index)

    bench.run(until)
    assert sum(len(stream) > 0 for stream in bench.seen.values()) == min(index, 2)


@pytest.mark.parametrize("bus_bytes", [4, 8, 32])
def test_a_bus_error_is_one_of_the_command_that_it_took(bus_bytes: int) -> None:
    words = encode(Load() for _ in range(40))
    bench = Bench(words, config=Config(bus_bytes=bus_bytes), bad=range(8 * 3 * 32, 8 * 3 * 32 + 1))
    error = bench.dispatch.error

    async def until(ctx: Any) -> None:
        await ctx.tick().until(error.code != 0)
        await ctx.tick().repeat(50)
        assert ctx.get(error.code) == ErrorCode.FETCH_BUS.value
        assert ctx.get(error.index) == 32
        assert ctx.get(bench.dispatch.load_dispatched) == 32

    bench.run(until)


def test_a_halted_fetch_asks_for_nothing_more() -> None:
    bench = Bench(encode(Execute() for _ in range(60)), config=Config(), latency=30)

    async def until(ctx: Any) -> None:
        await ctx.tick().until(~bench.fetch.quiet)
        ctx.set(bench.fetch.halt, 1)
        ctx.set(bench.dispatch.halt, 1)
        await ctx.tick().until(bench.fetch.quiet)
        asked = len(bench.bus.reads)
        await ctx.tick().repeat(100)
        assert len(bench.bus.reads) == asked <= MAX_BURSTS
        assert not any(bench.seen.values())

    bench.run(until)
