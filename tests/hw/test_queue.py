"""The queue."""

import random
from typing import Any

import pytest

from eightfold.hw.queue import Queue

from .bus import feed
from .simulate import simulate


@pytest.mark.parametrize("depth", [2, 3, 8])
@pytest.mark.parametrize(("in_pauses", "out_pauses"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4)])
def test_elements_leave_in_order_and_none_is_lost(depth: int, in_pauses: float, out_pauses: float) -> None:
    dut = Queue(shape=8, depth=depth)
    source = random.Random(depth)
    values = [source.randrange(256) for _ in range(200)]
    seen = []

    async def produce(ctx: Any) -> None:
        await feed(ctx, dut.i, values, lambda: source.random() < in_pauses)

    async def consume(ctx: Any) -> None:
        while len(seen) < len(values):
            ctx.set(dut.o.ready, source.random() >= out_pauses)
            _, _, valid, ready, payload = await ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.payload)
            if valid and ready:
                seen.append(payload)

    simulate(dut, produce, consume)
    assert seen == values


def test_an_element_is_there_after_two_cycles_and_then_one_per_cycle() -> None:
    dut = Queue(shape=8, depth=4)
    cycles = []

    async def produce(ctx: Any) -> None:
        await feed(ctx, dut.i, range(6))

    async def consume(ctx: Any) -> None:
        ctx.set(dut.o.ready, 1)
        for cycle in range(12):
            _, _, valid = await ctx.tick().sample(dut.o.valid)
            if valid:
                cycles.append(cycle)

    simulate(dut, produce, consume)
    assert cycles == [2, 3, 4, 5, 6, 7]


def test_it_takes_its_depth_and_the_output_register() -> None:
    dut = Queue(shape=8, depth=4)

    async def produce(ctx: Any) -> None:
        await feed(ctx, dut.i, range(5))
        await ctx.tick().repeat(3)
        assert ctx.get(dut.level) == 4
        assert not ctx.get(dut.i.ready)

    simulate(dut, produce)


def test_a_queue_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="depth is 1"):
        Queue(shape=8, depth=1)
