"""Totals over passes, with the shortest distance between passes that the contract allows."""

import numpy as np
import pytest

from eightfold.hw.accumulators import LATENCY, LEAD, Accumulators
from eightfold.hw.config import Config

from .simulate import pack, simulate, unpack


@pytest.mark.parametrize("pixels", [4, 5, 16])
def test_passes_add_up(pixels):
    config = Config(rows=4, columns=3, scratchpad_bytes=256, weight_bytes=256, accumulator_bytes=12 * 16)
    unit = Accumulators(config)
    rng = np.random.default_rng(pixels)
    passes = 3
    low, high = -(1 << (config.sum_bits - 1)), 1 << (config.sum_bits - 1)
    sums = rng.integers(low, high, (2, passes, pixels, config.columns))
    sums[0, :, 0] = low
    totals = []

    async def produce(ctx):
        stream = [(tile, number, pixel) for tile in range(2) for number in range(passes) for pixel in range(pixels)]
        for i in range(len(stream) + LEAD):
            ctx.set(unit.valid, i < len(stream))
            if i < len(stream):
                _, number, pixel = stream[i]
                ctx.set(unit.first, number == 0)
                ctx.set(unit.last, number == passes - 1)
                ctx.set(unit.address, pixel)
            if i >= LEAD:
                ctx.set(unit.sums, pack(sums[stream[i - LEAD]], config.sum_bits))
            await ctx.tick()

    async def consume(ctx):
        await ctx.tick().repeat(LEAD + LATENCY)
        for _ in range(2):
            await ctx.tick().repeat((passes - 1) * pixels)
            for _ in range(pixels):
                totals.append(unpack(ctx.get(unit.totals), 32, config.columns))
                await ctx.tick()

    simulate(unit, produce, consume)
    np.testing.assert_array_equal(totals, sums.sum(axis=1).reshape(-1, config.columns))
