"""Bytes come back from wherever they were written, whoever else uses the banks."""

import numpy as np
import pytest

from eightfold.hw.config import Config
from eightfold.hw.scratchpad import READ_LATENCY, STORE_LATENCY, Scratchpad

from .simulate import pack, simulate

CONFIGS = [
    Config(rows=4, columns=4, scratchpad_bytes=256, weight_bytes=1024, accumulator_bytes=1024),
    Config(rows=5, columns=3, scratchpad_bytes=512, weight_bytes=1024, accumulator_bytes=3072),
    Config(rows=4, columns=4, scratchpad_bytes=512, weight_bytes=1024, accumulator_bytes=1024, bus_bytes=32),
    Config(rows=4, columns=7, scratchpad_bytes=512, weight_bytes=1024, accumulator_bytes=28 * 16),
    Config(rows=16, columns=16, scratchpad_bytes=1024, weight_bytes=2048, accumulator_bytes=4096),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.rows}x{c.columns}-{c.bus_bytes}")
def test_all_four_ports_at_once(config):
    """Random accesses of all engines: every read shows what was written before it, at every alignment."""
    rng = np.random.default_rng(config.rows)
    pad = Scratchpad(config)
    row_bytes = config.scratchpad_row_bytes
    memory = np.zeros(config.scratchpad_bytes, np.uint8)
    expected_reads, reads, expected_stores, stores = [], [], [], []
    rows = config.scratchpad_bytes // row_bytes

    def draw_access():
        return {
            "read": rng.random() < 0.7,
            "read_address": int(rng.integers(0, config.scratchpad_bytes - config.vector_bytes + 1)),
            "read_mask": int(rng.integers(0, 1 << config.vector_bytes)),
            "fill": int(rng.integers(0, 256)),
            "write": rng.random() < 0.7,
            "write_address": int(rng.integers(0, config.scratchpad_bytes - config.columns + 1)),
            "write_mask": (1 << int(rng.integers(1, config.columns + 1))) - 1,
            "data": rng.integers(0, 256, config.columns, dtype=np.uint8),
        }

    async def bench(ctx):
        busy_write = None  # what the banks take in this cycle
        read_pipe = [None] * READ_LATENCY
        store_pipe = [None] * STORE_LATENCY  # the rows that have been asked for, the latest first
        access, following = draw_access(), draw_access()
        load = False
        for _ in range(3000):
            loads_next = rng.random() < 0.3
            store = rng.random() < 0.3
            load_row, store_row = int(rng.integers(rows)), int(rng.integers(rows))
            load_mask = rng.random(row_bytes) < 0.5
            load_data = rng.integers(0, 256, row_bytes, dtype=np.uint8)
            ctx.set(pad.read.upcoming, following["read"])
            ctx.set(pad.load.upcoming, loads_next)
            ctx.set(pad.read.enable, access["read"])
            ctx.set(pad.read.address, access["read_address"])
            ctx.set(pad.read.mask, access["read_mask"])
            ctx.set(pad.read.fill, access["fill"])
            ctx.set(pad.write.enable, access["write"])
            ctx.set(pad.write.address, access["write_address"])
            ctx.set(pad.write.mask, access["write_mask"])
            ctx.set(pad.write.data, pack(access["data"], 8))
            ctx.set(pad.load.enable, load)
            ctx.set(pad.load.address, load_row)
            ctx.set(pad.load.mask, pack(load_mask, 1))
            ctx.set(pad.load.data, pack(load_data, 8))
            ctx.set(pad.store.enable, store)
            ctx.set(pad.store.address, store_row)
            # A row is read in the cycle after it was asked for, and shown in the one after that.
            reading = store_pipe[0]
            if store_pipe[1] is not None:
                stores.append(ctx.get(pad.store.data))
            if reading is not None:
                expected_stores.append(pack(memory[reading * row_bytes :][:row_bytes], 8))
            store_pipe = [store_row if store else None, reading]
            frozen = ctx.get(pad.frozen)
            assert frozen == ((reading is not None and access["read"]) or (load and busy_write is not None))
            if not frozen:
                shown = None
                if access["read"]:
                    shown = memory[access["read_address"] :][: config.vector_bytes].copy()
                    for lane in range(config.vector_bytes):
                        if not access["read_mask"] >> lane & 1:
                            shown[lane] = access["fill"]
                if read_pipe[-1] is not None:
                    expected_reads.append(pack(read_pipe[-1], 8))
                    reads.append(ctx.get(pad.read.data))
                read_pipe = [shown, *read_pipe[:-1]]
            if load:
                memory[load_row * row_bytes :][:row_bytes][load_mask] = load_data[load_mask]
            elif busy_write is not None:
                address, mask, data = busy_write
                for lane in range(config.columns):
                    if mask >> lane & 1:
                        memory[address + lane] = data[lane]
            if not frozen:
                busy_write = None
                if access["write"]:
                    busy_write = (access["write_address"], access["write_mask"], access["data"])
                access, following = following, draw_access()
            load = loads_next
            await ctx.tick()

    simulate(pad, bench)
    assert len(reads) > 500
    assert len(stores) > 500
    assert reads == expected_reads
    assert stores == expected_stores[: len(stores)]
