"""Counters lose no event, whenever they are asked, and begin anew when cleared."""

import random
from typing import Any

import pytest

from eightfold.hw.counters import Counters

from .simulate import simulate


def counted(dut: Counters, *, count: int, width: int, pause: int, seed: int, cycles: int = 600) -> int:
    """Asks for counters at random while they count; returns how many answers were right, and fails at a wrong one."""
    draw = random.Random(seed)
    expected = [0] * count
    before: list[list[int]] = []
    answers = 0

    async def main(ctx: Any) -> None:
        nonlocal answers, expected, before
        asking = waiting = 0
        for _ in range(cycles):
            events = draw.choice([draw.getrandbits(count), (1 << count) - 1])
            clear = not draw.randrange(200)
            ctx.set(dut.events, events)
            ctx.set(dut.clear, clear)
            if not asking and waiting <= 0 and not clear:
                asking, waiting = 1, draw.randrange(pause + 1)
                index = draw.randrange(count)
                ctx.set(dut.index, index)
                before = [expected]
            ctx.set(dut.request, asking)
            _, _, answered, value = await ctx.tick().sample(dut.answered, dut.value)
            expected = [total + (events >> place & 1) for place, total in enumerate(expected)]
            if asking and answered:
                assert value in {known[index] % (1 << width) for known in before}
                asking = 0
                answers += 1
            elif asking:
                before.append(expected)
            else:
                waiting -= 1
            if clear:
                expected = [0] * count
                before.append(expected)

    simulate(dut, main)
    return answers


@pytest.mark.parametrize(("count", "width", "pause"), [(2, 8, 0), (3, 12, 3), (21, 32, 0), (21, 32, 9), (32, 32, 1)])
def test_every_answer_is_a_count_of_the_time_it_was_asked_for(count: int, width: int, pause: int) -> None:
    dut = Counters(count=count, width=width)
    assert counted(dut, count=count, width=width, pause=pause, seed=count + pause) > 30


@pytest.mark.parametrize("count", [2, 21])
def test_counts_are_exact_once_events_have_ended(count: int) -> None:
    dut = Counters(count=count, width=32)
    draw = random.Random(count)
    expected = [0] * count

    async def read(ctx: Any, index: int) -> int:
        ctx.set(dut.index, index)
        ctx.set(dut.request, 1)
        (value,) = await ctx.tick().sample(dut.value).until(dut.answered)
        ctx.set(dut.request, 0)
        await ctx.tick()
        return int(value)

    async def main(ctx: Any) -> None:
        nonlocal expected
        for _ in range(3):
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            expected = [0] * count
            for _ in range(draw.randrange(1, 150)):
                events = draw.getrandbits(count)
                ctx.set(dut.events, events)
                await ctx.tick()
                expected = [total + (events >> place & 1) for place, total in enumerate(expected)]
            ctx.set(dut.events, 0)
            order = list(range(count))
            draw.shuffle(order)
            assert {index: await read(ctx, index) for index in order} == dict(enumerate(expected))

    simulate(dut, main)


def test_a_lone_counter_is_refused() -> None:
    with pytest.raises(ValueError, match="count is 1"):
        Counters(count=1, width=32)
