"""The array computes matrix products, and FIR filters, at every size."""

import numpy as np
import pytest

from eightfold.hw.array import SystolicArray

from .simulate import pack, simulate, unpack

SIZES = [(4, 4, 1), (5, 3, 1), (4, 7, 2), (8, 8, 0)]


def make(rows: int, columns: int, stages: int) -> tuple[SystolicArray, int]:
    array = SystolicArray(rows=rows, columns=columns, sum_bits=16 + (rows - 1).bit_length(), multiplier_stages=stages)
    return array, SystolicArray.latency(rows=rows, columns=columns, multiplier_stages=stages)


def drive(array: SystolicArray, latency: int, steps: list[dict[str, int]], columns: int, bits: int) -> np.ndarray:
    """The sums of every step."""
    sums = []

    async def bench(ctx):
        for step in [*steps, *[{}] * latency]:
            for name in ("west", "north", "swap", "depthwise"):
                ctx.set(getattr(array, name), step.get(name, 0))
            sums.append(unpack(ctx.get(array.south), bits, columns))
            await ctx.tick()

    simulate(array, bench)
    return np.array(sums[latency:])


@pytest.mark.parametrize(("rows", "columns", "stages"), SIZES)
def test_passes_follow_each_other_without_a_gap(rows, columns, stages):
    rng = np.random.default_rng(rows * 100 + columns)
    array, latency = make(rows, columns, stages)
    lengths = [rows, rows + 3, rows, 2 * rows, rows]
    weights = [rng.integers(-255, 256, (rows, columns)) for _ in lengths]
    weights[0][:] = -255
    pixels = [rng.integers(-128, 128, (length, rows)) for length in lengths]
    pixels[0][:] = -128
    steps = [{} for _ in range(rows)]
    for tile, stream in zip(weights, pixels, strict=True):
        for i, row in enumerate(reversed(tile)):
            steps[len(steps) - rows + i]["north"] = pack(row, 9)
        steps += [{"west": pack(pixel, 8), "swap": int(i == 0)} for i, pixel in enumerate(stream)]
    sums = drive(array, latency, steps, columns, 16 + (rows - 1).bit_length())
    expected = np.concatenate([stream @ tile for tile, stream in zip(weights, pixels, strict=True)])
    np.testing.assert_array_equal(sums[rows:], expected)


@pytest.mark.parametrize(("rows", "columns", "stages"), SIZES)
def test_depthwise_columns_are_fir_filters(rows, columns, stages):
    rng = np.random.default_rng(rows)
    array, latency = make(rows, columns, stages)
    taps = rng.integers(-128, 128, (rows, columns))
    stream = rng.integers(-128, 128, (4 * rows, columns))
    steps = [{"north": pack(row, 9)} for row in reversed(taps)]
    steps += [{"north": pack(v, 9), "swap": int(i == 0), "depthwise": 1} for i, v in enumerate(stream)]
    sums = drive(array, latency, steps, columns, 16 + (rows - 1).bit_length())[rows:]
    for n in range(rows - 1, len(stream)):
        np.testing.assert_array_equal(sums[n], sum(taps[r] * stream[n - r] for r in range(rows)))
