"""What enters a delay line leaves it that many cycles later."""

import numpy as np
import pytest

from eightfold.hw.delay import DelayLine

from .simulate import simulate


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("cycles", [0, 1, 2, 3, 7, 16])
def test_delay(cycles, block):
    line = DelayLine(width=8, cycles=cycles, block=block)
    rng = np.random.default_rng(cycles)
    entering = [int(word) if rng.random() < 0.6 else None for word in rng.integers(0, 256, 200)]
    leaving = []

    async def bench(ctx):
        for word in [*entering, *[None] * cycles]:
            ctx.set(line.i_valid, word is not None)
            ctx.set(line.i_data, word or 0)
            leaving.append(ctx.get(line.o_data) if ctx.get(line.o_valid) else None)
            await ctx.tick()

    simulate(line, bench)
    assert leaving == [None] * cycles + entering


def test_negative_delay_is_refused():
    with pytest.raises(ValueError, match="negative"):
        DelayLine(width=1, cycles=-1)
