"""Lines go in, rows come out, whichever of the two is wider."""

import numpy as np
import pytest

from eightfold.hw.config import Config
from eightfold.hw.weights import READ_LATENCY, WeightBuffer

from .simulate import pack, simulate

CONFIGS = [
    Config(rows=4, columns=3, scratchpad_bytes=256, weight_bytes=256, accumulator_bytes=1536),
    Config(rows=4, columns=4, scratchpad_bytes=512, weight_bytes=256, accumulator_bytes=1024, bus_bytes=32),
    Config(rows=8, columns=16, scratchpad_bytes=1024, weight_bytes=1024, accumulator_bytes=4096, bus_bytes=4),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.columns}-{c.bus_bytes}")
def test_rows_of_lines(config):
    rng = np.random.default_rng(3)
    buffer = WeightBuffer(config)
    memory = rng.integers(0, 256, config.weight_bytes, dtype=np.uint8)
    shown = []
    addresses = []

    async def bench(ctx):
        for line, values in enumerate(memory.reshape(-1, config.weight_line_bytes)):
            for half in (0, 1):
                lanes = np.arange(config.weight_line_bytes) % 2 == half
                ctx.set(buffer.write.enable, 1)
                ctx.set(buffer.write.address, line)
                ctx.set(buffer.write.data, pack(values, 8))
                ctx.set(buffer.write.mask, pack(lanes, 1))
                await ctx.tick()
        ctx.set(buffer.write.enable, 0)
        pipe = [None] * READ_LATENCY
        address = None
        for _ in range(1000):
            if address is None and rng.random() < 0.7:
                address = int(rng.integers(config.weight_bytes // config.weight_row_bytes))
            frozen = bool(rng.random() < 0.3)
            ctx.set(buffer.read.enable, address is not None)
            ctx.set(buffer.read.address, address or 0)
            ctx.set(buffer.frozen, frozen)
            if not frozen:
                if pipe[-1] is not None:
                    addresses.append(pipe[-1])
                    shown.append(ctx.get(buffer.read.data))
                pipe = [address, *pipe[:-1]]
                address = None
            await ctx.tick()

    simulate(buffer, bench)
    rows = memory.reshape(-1, config.weight_row_bytes)[:, : config.columns]
    assert len(shown) > 300
    assert shown == [pack(rows[a], 8) for a in addresses]
