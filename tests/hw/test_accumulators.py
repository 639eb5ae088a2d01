"""Totals over passes, with the shortest distance between passes that the contract allows."""

import numpy as np
import pytest

from eightfold.hw.accumulators import EARLIER, LATENCY, LEAD, REVISIT, Accumulators
from eightfold.hw.commands import Combine
from eightfold.hw.config import Config

from .simulate import pack, simulate, unpack

CONFIG = Config(rows=4, columns=3, scratchpad_bytes=256, weight_bytes=256, accumulator_bytes=12 * 16)
LOW, HIGH = -(1 << (CONFIG.sum_bits - 1)), 1 << (CONFIG.sum_bits - 1)


def run(steps):
    """What leaves, for steps that are values of the unit's members."""
    unit = Accumulators(CONFIG)
    controls = ("valid", "back", "first", "last", "combine", "address", "through")
    totals = []

    async def produce(ctx):
        late = [{}] * LEAD + steps
        soon = [*late[EARLIER:], *[{}] * EARLIER]
        for now, coming, ahead in zip(late, soon, steps + [{}] * LEAD, strict=True):
            for name in controls:
                ctx.set(getattr(unit, name), ahead.get(name, 0))
            for step, name, bits in ((now, "sums", CONFIG.sum_bits), (coming, "results", 32)):
                if name in step:
                    ctx.set(getattr(unit, name), pack(step[name], bits))
            await ctx.tick()

    async def consume(ctx):
        await ctx.tick().repeat(LEAD + LATENCY)
        for step in steps:
            if step.get("last") or step.get("through"):
                totals.append(unpack(ctx.get(unit.totals), 32, CONFIG.columns))
            await ctx.tick()

    simulate(unit, produce, consume)
    return totals


@pytest.mark.parametrize("combine", Combine)
@pytest.mark.parametrize("pixels", [REVISIT, REVISIT + 1, 16])
def test_passes_combine(pixels, combine):
    rng = np.random.default_rng(pixels)
    passes = 3
    sums = rng.integers(LOW, HIGH, (2, passes, pixels, CONFIG.columns))
    sums[0, :, 0] = LOW
    steps = [
        {
            "valid": 1,
            "first": number == 0,
            "last": number == passes - 1,
            "combine": combine,
            "address": pixel,
            "sums": sums[tile, number, pixel],
        }
        for tile in range(2)
        for number in range(passes)
        for pixel in range(pixels)
    ]
    expected = {
        Combine.ADD: sums.sum(axis=1),
        Combine.MAXIMUM: sums.max(axis=1),
        Combine.SUBTRACT: 2 * sums[:, 0] - sums.sum(axis=1),
    }[combine]
    np.testing.assert_array_equal(run(steps), expected.reshape(-1, CONFIG.columns))


@pytest.mark.parametrize("combine", Combine)
def test_results_come_back_while_sums_leave(combine):
    rng = np.random.default_rng(int(combine))
    pixels, distance = 16, 5
    held = rng.integers(LOW, HIGH, (pixels, CONFIG.columns))
    leaving = rng.integers(LOW, HIGH, (pixels, CONFIG.columns))
    results = rng.integers(-(2**31), 2**31, (pixels, CONFIG.columns))
    results[0], held[0] = -(2**31), HIGH - 1
    results[1], held[1] = 2**31 - 1, LOW
    results[2], held[2] = held[2], held[2]
    steps = [{"valid": 1, "first": 1, "address": pixel, "sums": held[pixel]} for pixel in range(pixels)]
    for moment in range(pixels + distance):
        step = {"through": 1, "sums": leaving[moment]} if moment < pixels else {}
        pixel = moment - distance
        if pixel >= 0:
            step |= {"valid": 1, "back": 1, "combine": combine, "address": pixel, "results": results[pixel]}
        steps.append(step)
    nothing = np.zeros(CONFIG.columns, int)
    steps += [{"valid": 1, "last": 1, "address": pixel, "sums": nothing} for pixel in range(pixels)]
    expected = {
        Combine.ADD: held + results,
        Combine.MAXIMUM: np.maximum(held, results),
        Combine.SUBTRACT: held - results,
    }[combine]
    np.testing.assert_array_equal(run(steps), [*leaving, *expected.astype(np.int32)])
