"""The lanes equal the numerics, bit by bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eightfold.golden.numerics import Rounding, multiply_by_quantized_multiplier
from eightfold.hw.commands import PARAMETER_ROWS
from eightfold.hw.config import FIXED_POINT
from eightfold.hw.requantization import TOLD, RequantizationLanes, latency

from .simulate import pack, simulate, unpack

COLUMNS = 4


def wrap(values):
    return np.asarray(values, np.int64).astype(np.int32).astype(np.int64)


def expected(block, accumulators):
    """What the numerics make of `accumulators`, of shape (pixels, COLUMNS): results and outputs."""
    rounding, shift = block["rounding"], np.array(block["shift"])
    number = wrap(np.array(accumulators) + np.array(block["bias"]))
    number = np.where(shift > 0, number, wrap(number << block["pre_shift"]))
    multiplier = np.array(block["multiplier"])
    if block["square"]:
        if rounding is not Rounding.SINGLE:
            # Both factors are shifted to the left.
            number, shift = wrap(number << np.maximum(shift, 0)), np.minimum(shift, 0)
        multiplier = number
        if rounding is not Rounding.SINGLE:
            # The square of -2^31 wraps where the numerics saturate.
            multiplier = np.where(number == -(2**31), 2**31, number)
    result = multiply_by_quantized_multiplier(number, multiplier, shift, rounding=rounding)
    return wrap(result), np.clip(result + block["zero_point"], block["lower"], block["upper"])


def run(rounding, blocks, multiplied):
    """Results and outputs for every block's accumulators, pixels back to back wherever the contract allows."""
    lanes = RequantizationLanes(columns=COLUMNS, lanes=COLUMNS, rounding=rounding, multiplied=multiplied)
    whole = latency(multiplied=multiplied)
    results, outputs = [], []

    async def produce(ctx):
        for block in blocks:
            stream = block["accumulators"]
            events = []
            for row in range(PARAMETER_ROWS):
                events.append({"row_valid": 1, "row": pack([channel[row] for channel in channel_bytes(block)], 8)})
            events.append({"begin": 1})
            events += [{"valid": 1, "accumulators": pack(pixel, 32)} for pixel in stream]
            events[PARAMETER_ROWS + 1] |= {"pre_shift": block["pre_shift"], "square": block["square"]}
            for event in events:
                for name in ("row_valid", "row", "begin", "pre_shift", "square", "valid", "accumulators"):
                    ctx.set(getattr(lanes, name), event.get(name, 0))
                await ctx.tick()
            for name in ("row_valid", "begin", "valid"):
                ctx.set(getattr(lanes, name), 0)

    async def clamp(ctx):
        # Zero point and bounds belong to the accumulators of two cycles less than an output takes.
        for block in blocks:
            await ctx.tick().repeat(PARAMETER_ROWS + 1 if block is not blocks[0] else PARAMETER_ROWS + whole - 1)
            for name in ("zero_point", "lower", "upper"):
                ctx.set(getattr(lanes, name), block[name])
            for _ in block["accumulators"]:
                await ctx.tick()

    def consume(port, bits, latency, into):
        async def consume(ctx):
            for block in blocks:
                await ctx.tick().repeat(PARAMETER_ROWS + 1 if block is not blocks[0] else PARAMETER_ROWS + 1 + latency)
                received = []
                for _ in block["accumulators"]:
                    received.append(unpack(ctx.get(port), bits, COLUMNS))
                    await ctx.tick()
                into.append(np.array(received))

        return consume

    consumers = consume(lanes.results, 32, whole - 1, results), consume(lanes.outputs, 8, whole, outputs)
    simulate(lanes, produce, clamp, *consumers)
    return zip(results, outputs, strict=True)


def channel_bytes(block):
    """The parameters of every column, as bytes."""
    fields = (("bias", 4), ("multiplier", 4), ("shift", 1))
    return [
        b"".join(int(block[name][c]).to_bytes(size, "little", signed=True) for name, size in fields)
        for c in range(COLUMNS)
    ]


def run_in_turns(rounding, blocks, multiplied, lanes):
    """As `run`, where columns share lanes: a block begins in the cycle that tells the last turn of the one before."""
    dut = RequantizationLanes(columns=COLUMNS, lanes=lanes, rounding=rounding, multiplied=multiplied)
    whole = latency(multiplied=multiplied)
    turns = COLUMNS // lanes
    inputs, parts, begin = {}, [], PARAMETER_ROWS

    def at(cycle, **values):
        inputs.setdefault(cycle, {}).update(values)

    for block in blocks:
        for row in range(PARAMETER_ROWS):
            content = pack([channel[row] for channel in channel_bytes(block)], 8)
            at(begin - PARAMETER_ROWS + row, row_valid=1, row=content)
        at(begin, begin=1)
        at(begin + 1, pre_shift=block["pre_shift"], square=block["square"])
        told = begin
        for pixel in block["accumulators"]:
            for turn in range(turns):
                told += 1
                part = pixel[turn * lanes : (turn + 1) * lanes]
                at(told, turn=turn)
                come = told + TOLD
                at(come, valid=1, accumulators=pack(part, 32))
                at(come + whole - 2, **{name: block[name] for name in ("zero_point", "lower", "upper")})
                parts.append((come + whole - 1, come + whole))
        begin = max(told, begin + 3 + PARAMETER_ROWS)

    end = parts[-1][1] + 1
    seen = []

    async def drive(ctx):
        for cycle in range(end):
            values = inputs.get(cycle, {})
            for name in ("row_valid", "begin", "valid"):
                ctx.set(getattr(dut, name), 0)
            for name, value in values.items():
                ctx.set(getattr(dut, name), value)
            seen.append((unpack(ctx.get(dut.results), 32, lanes), unpack(ctx.get(dut.outputs), 8, lanes)))
            await ctx.tick()

    simulate(dut, drive)
    taken = iter(parts)
    for block in blocks:
        results, outputs = [], []
        for _ in block["accumulators"]:
            places = [next(taken) for _ in range(turns)]
            results.append(np.concatenate([seen[place][0] for place, _ in places]))
            outputs.append(np.concatenate([seen[place][1] for _, place in places]))
        yield np.array(results), np.array(outputs)


def check(rounding, blocks, multiplied, lanes=COLUMNS):
    for block in blocks:
        block["rounding"] = rounding
        block.setdefault("pre_shift", 0)
        block.setdefault("square", 0)
        if lanes == COLUMNS and len(block["accumulators"]) == 1:
            block["accumulators"] *= 2  # the next block's first row may come no sooner
    shared = (lanes,) if lanes != COLUMNS else ()
    found = (run_in_turns if shared else run)(rounding, blocks, multiplied, *shared)
    for block, values in zip(blocks, found, strict=True):
        for got, wanted in zip(values, expected(block, block["accumulators"]), strict=True):
            np.testing.assert_array_equal(got, wanted, err_msg=str(block))


def lanes_of(element):
    return st.lists(element, min_size=COLUMNS, max_size=COLUMNS)


# Ties and extremes: one half in the last place that a shift drops, and its neighbours.
INT32 = st.one_of(
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-1000, 1000),
    st.builds(
        lambda sign, odd, bit, off: max(-(2**31), min(2**31 - 1, sign * (2 * odd + 1) * (1 << bit) + off)),
        st.sampled_from([-1, 1]),
        st.integers(0, 200),
        st.integers(0, 30),
        st.integers(-1, 1),
    ),
)
BLOCKS = st.lists(
    st.fixed_dictionaries(
        {
            "bias": lanes_of(st.one_of(st.just(0), INT32)),
            "multiplier": lanes_of(
                st.one_of(st.integers(2**30, 2**31 - 1), st.sampled_from([0, 2**30, 2**31 - 1, 3 << 29]))
            ),
            "shift": lanes_of(st.one_of(st.integers(-31, 30), st.integers(-12, 0))),
            "zero_point": st.integers(-128, 127),
            "lower": st.integers(-128, 127),
            "upper": st.integers(-128, 127),
            "pre_shift": st.one_of(st.just(0), st.integers(0, 31)),
            "square": st.sampled_from([0, 0, 1]),
            "accumulators": st.lists(lanes_of(INT32), min_size=1, max_size=12),
        }
    ).filter(lambda block: block["lower"] <= block["upper"]),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("multiplied", [False, True])
@pytest.mark.parametrize("rounding", FIXED_POINT)
@settings(max_examples=15, deadline=None)
@given(blocks=BLOCKS)
def test_lanes_equal_the_numerics(rounding, multiplied, blocks):
    check(rounding, blocks, multiplied)


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("rounding", FIXED_POINT)
@settings(max_examples=10, deadline=None)
@given(blocks=BLOCKS)
def test_columns_take_turns(rounding, lanes, blocks):
    check(rounding, blocks, lanes == 2, lanes)


@pytest.mark.parametrize("multiplied", [False, True])
@pytest.mark.parametrize("rounding", FIXED_POINT)
def test_many_random_accumulators(rounding, multiplied):
    rng = np.random.default_rng(7)
    blocks = []
    for _ in range(40):
        shift = rng.integers(-31, 31, COLUMNS)
        scale = 2 ** rng.uniform(0, 31, (40, COLUMNS))
        blocks.append(
            {
                "bias": rng.integers(-(2**20), 2**20, COLUMNS).tolist(),
                "multiplier": rng.integers(2**30, 2**31, COLUMNS).tolist(),
                "shift": shift.tolist(),
                "zero_point": int(rng.integers(-128, 128)),
                "lower": -128,
                "upper": 127,
                "accumulators": (rng.choice([-1, 1], scale.shape) * scale)
                .astype(np.int64)
                .clip(-(2**31), 2**31 - 1)
                .tolist(),
            }
        )
    check(rounding, blocks, multiplied)


@pytest.mark.parametrize("multiplied", [False, True])
def test_every_tie_of_every_shift(multiplied):
    """Accumulators that fall exactly between two outputs, for each shift, on both sides of zero."""
    blocks = []
    for right in range(1, 25):
        ties = [sign * (2 * odd + 1) << right for odd in (0, 1, 2, 50) for sign in (-1, 1)]
        blocks.append(
            {
                "bias": [0] * COLUMNS,
                "multiplier": [2**30] * COLUMNS,
                "shift": [-right] * COLUMNS,
                "zero_point": 3,
                "lower": -128,
                "upper": 127,
                "accumulators": [ties[i : i + COLUMNS] for i in range(0, len(ties), COLUMNS)],
            }
        )
    for rounding in FIXED_POINT:
        check(rounding, blocks, multiplied)


@pytest.mark.parametrize("multiplied", [False, True])
def test_the_square_of_the_smallest_number_wraps(multiplied):
    for rounding in FIXED_POINT:
        block = {"bias": [0] * COLUMNS, "multiplier": [0] * COLUMNS, "shift": [0, -1, -31, -30], "square": 1}
        block |= {"zero_point": 0, "lower": -128, "upper": 127, "accumulators": [[-(2**31)] * COLUMNS]}
        check(rounding, [block], multiplied)


def test_float_rounding_is_refused():
    with pytest.raises(ValueError, match="FLOAT32"):
        RequantizationLanes(columns=1, lanes=1, rounding=Rounding.FLOAT32)


@pytest.mark.parametrize("lanes", [0, 3, 8])
def test_lanes_that_cannot_share_are_refused(lanes):
    with pytest.raises(ValueError, match=f"lanes is {lanes}; a divisor of 4 columns"):
        RequantizationLanes(columns=4, lanes=lanes, rounding=Rounding.DOUBLE)
