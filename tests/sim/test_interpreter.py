"""The interpreter: a stream written by hand, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from eightfold.hw.commands import Combine, Command, Execute, Finish, Load, Memory, Mode, Store
from eightfold.hw.config import Config
from eightfold.sim.interpreter import Interpreter, InterpreterError

CONFIG = Config(
    name="tiny", rows=4, columns=2, scratchpad_bytes=64, weight_bytes=64, accumulator_bytes=128, bus_bytes=4
)

# Two pixels of three channels; weights of two outputs; DRAM 0: pixels, 8: weights and parameters, 48: outputs.
PIXELS = [[1, 2, 3], [-4, 5, 6]]
WEIGHTS = [[1, 0, -1], [2, 2, 2]]
BIAS = [10, -20]


def image() -> np.ndarray:
    dram = np.zeros(64, np.uint8)
    dram[:6] = np.array(PIXELS, np.int8).reshape(-1).view(np.uint8)
    # Rows of the tile, last first; the row beyond the three channels is zero.
    tile = np.zeros((4, 2), np.int8)
    tile[1:] = np.array(WEIGHTS, np.int8).T[::-1]
    # A multiplier of one half: q = 2^30, s = 0.
    parameters = np.array([BIAS, [1 << 30] * 2], "<i4").T.copy().view(np.uint8).reshape(2, 8)
    rows = [*tile.view(np.uint8), *parameters.T, np.zeros(2, np.uint8)]
    dram[8 : 8 + 26] = np.concatenate(rows)
    return dram


LOAD_PIXELS = Load(dram_address=0, length=6, address=4)
LOAD_WEIGHTS = Load(dram_address=8, length=26, address=0, memory=Memory.WEIGHTS)
EXECUTE = Execute(
    wait_load=2,
    finish=1,
    last_channels=2,
    source=4,
    row_bytes=6,
    height=1,
    pixels=2,
    columns=2,
    column_step=3,
    destination=32,
    destination_column_step=2,
    zero_point=1,
    lower=-5,
    upper=100,
)
STORE = Store(wait_execute=1, dram_address=48, length=4, address=32)
STREAM: list[Command] = [LOAD_PIXELS, LOAD_WEIGHTS, EXECUTE, STORE]


@pytest.mark.parametrize("order", [None, Random(1), Random(2)])
def test_a_product_by_hand(order: Random | None) -> None:
    dram = image()
    Interpreter(CONFIG, dram).run(STREAM, order=order)
    # Sums -2, 12, -10, 14; with bias 8, -8, 0, -6; halved 4, -4, 0, -3; plus one; at least -5.
    assert dram[48:52].view(np.int8).tolist() == [5, -3, 1, -2]


def test_bytes_outside_the_image_read_as_the_fill() -> None:
    dram = image()
    left = replace(EXECUTE, source=1, origin_x=-3, fill=7)
    Interpreter(CONFIG, dram).run([LOAD_PIXELS, LOAD_WEIGHTS, left, STORE])
    # The first pixel is all sevens: sums 0 and 42.
    assert dram[48:50].view(np.int8).tolist() == [6, 12]


def test_sums_stay_in_the_accumulators_until_a_command_finishes() -> None:
    dram = image()
    keep = replace(EXECUTE, finish=0)
    finish = replace(EXECUTE, accumulate=1)
    Interpreter(CONFIG, dram).run([LOAD_PIXELS, LOAD_WEIGHTS, keep, finish, replace(STORE, wait_execute=2)])
    # Twice the sums: -4, 24, -20, 28.
    assert dram[48:52].view(np.int8).tolist() == [4, 3, -4, 5]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (replace(LOAD_PIXELS, length=0), "nothing to copy"),
        (replace(LOAD_PIXELS, address=5), "modulo the bus width"),
        (replace(LOAD_PIXELS, address=60), "outside the scratchpad: [0-9]+ bytes are needed; there are 64"),
        (replace(LOAD_WEIGHTS, address=40), "outside the weight buffer: [0-9]+ bytes are needed; there are "),
        (replace(LOAD_PIXELS, dram_address=60), "outside DRAM"),
        (replace(STORE, dram_address=64), "outside DRAM"),
        (replace(EXECUTE, pixels=17, accumulate=1), "more pixels than accumulators"),
        (replace(EXECUTE, pixels=17, finish=0), "more pixels than accumulators"),
        (replace(EXECUTE, pixels=17, runs=2), "more pixels than accumulators"),
        (replace(EXECUTE, pixels=0), "nothing to compute"),
        (replace(EXECUTE, last_channels=3), "nothing to compute"),
        (replace(EXECUTE, blocks=2, finish=0), "cannot share the accumulators"),
        (replace(EXECUTE, weight_address=20), "outside the weight buffer"),
        (replace(EXECUTE, source=60), "reads outside the scratchpad"),
        (replace(EXECUTE, destination=62), "writes outside the scratchpad"),
    ],
)
def test_what_is_refused(command: Command, problem: str) -> None:
    interpreter = Interpreter(CONFIG, image())
    interpreter.step(LOAD_WEIGHTS)
    with pytest.raises(InterpreterError, match=problem):
        interpreter.step(command)


def test_sums_of_one_pass_need_no_accumulators() -> None:
    dram = image()
    interpreter = Interpreter(CONFIG, dram)
    # Seventeen times the first pixel, each output beside the other as far as there is room.
    command = replace(EXECUTE, pixels=17, columns=17, column_step=0, destination_column_step=1)
    expected = image()
    Interpreter(CONFIG, expected).run(STREAM)
    interpreter.run([LOAD_PIXELS, LOAD_WEIGHTS, command, STORE])
    assert dram[48:52].tolist() == [expected[48]] * 4
    assert not interpreter.accumulators.any()


def test_commands_that_await_each_other_are_named() -> None:
    stream = [replace(LOAD_PIXELS, wait_execute=1), LOAD_WEIGHTS, EXECUTE, STORE]
    with pytest.raises(InterpreterError, match=r"no command can start: 0: load .*; 2: execute .*; 3: store "):
        Interpreter(CONFIG, image()).run(stream)


def test_an_error_shows_the_command() -> None:
    with pytest.raises(
        InterpreterError,
        match=r"command 1: outside DRAM: [0-9]+ bytes are needed; there are [0-9]+: load .*dram_address=60",
    ):
        Interpreter(CONFIG, image()).run([LOAD_PIXELS, replace(LOAD_PIXELS, dram_address=60)])


# Behind the accumulators: four pixels of two channels in a depthwise stream, scratchpad 0 on, weighed by one in row 0.
VALUES = np.array([[5, -3], [100, -128], [-7, 127], [0, 9]])
ONE = np.array([[0, 0], [0, 0], [0, 0], [1, 1]])  # the tile's rows, last first
LANES = Execute(
    mode=Mode.DEPTHWISE,
    last_channels=2,
    row_bytes=8,
    height=1,
    pixels=4,
    columns=4,
    column_step=2,
    destination=32,
    destination_column_step=2,
)


def lanes(
    command: Execute, *, tile: np.ndarray = ONE, bias: int = 0, multiplier: int = 1 << 30, shift: int = 1
) -> Interpreter:
    """The machine behind a command on `VALUES`, whose accumulators held 1, 10, 100 and 1000. As is, sums stay."""
    interpreter = Interpreter(CONFIG, np.zeros(0, np.uint8))
    interpreter.scratchpad[:8] = VALUES.astype(np.int8).ravel().view(np.uint8)
    interpreter.accumulators[:4] = [[1], [10], [100], [1000]]
    channel = np.array([bias, multiplier], "<i4").tobytes() + shift.to_bytes(1, "little", signed=True)
    parameters = np.frombuffer(channel * 2, np.int8).reshape(2, -1).T
    packed = np.concatenate([tile.astype(np.int8), parameters]).ravel().view(np.uint8)
    interpreter.weights[: packed.size] = packed
    interpreter.step(command)
    return interpreter


HELD = np.array([[1], [10], [100], [1000]])
COMBINED = {
    Combine.ADD: HELD + VALUES,
    Combine.MAXIMUM: np.maximum(HELD, VALUES),
    Combine.SUBTRACT: HELD - VALUES,
}


@pytest.mark.parametrize("combine", Combine)
@pytest.mark.parametrize("finish", [Finish.KEEP, Finish.RETURN])
def test_values_meet_what_the_accumulators_hold(combine: Combine, finish: Finish) -> None:
    # Multiplied by one: half of 2^31, and one bit to the left.
    command = replace(LANES, finish=finish, combine=combine)
    np.testing.assert_array_equal(lanes(replace(command, accumulate=1)).accumulators[:4], COMBINED[combine])
    np.testing.assert_array_equal(lanes(command).accumulators[:4], VALUES)


def test_results_come_back_requantized_and_whole() -> None:
    command = replace(LANES, finish=Finish.RETURN, pre_shift=20, zero_point=5, lower=-1, upper=1)
    result = lanes(command, bias=3, shift=-1).accumulators[:4]
    np.testing.assert_array_equal(result, (VALUES + 3) << 18)
    # A shift of the channel's own takes the place of the command's.
    np.testing.assert_array_equal(lanes(command, bias=3, shift=4).accumulators[:4], (VALUES + 3) << 3)


def test_a_square_is_its_own_multiplier() -> None:
    command = replace(LANES, finish=Finish.RETURN, square=1, pre_shift=16)
    np.testing.assert_array_equal(lanes(command, shift=-3).accumulators[:4], VALUES**2 // 4 + (VALUES**2 % 4 > 1))


@pytest.mark.parametrize("combine", Combine)
def test_a_pass_gathers_one_pixel(combine: Combine) -> None:
    tile = np.zeros((4, 2), np.int64)
    tile[:, :] = 1
    # Sums of the four latest vectors, in vectors 3 and 7; the image ends after four vectors.
    command = replace(LANES, gather=1, combine=combine, pixels=8, columns=8, skip_columns=3, every_column=4, fill=2)
    sums = np.array([VALUES.sum(axis=0), [8, 8]])
    expected = {
        Combine.ADD: sums[0] + sums[1],
        Combine.MAXIMUM: sums.max(axis=0),
        Combine.SUBTRACT: sums[0] - sums[1],
    }[combine]
    kept = lanes(command, tile=tile)
    np.testing.assert_array_equal(kept.accumulators[:2, 0], [expected[0], 10])
    np.testing.assert_array_equal(kept.accumulators[:1], [expected])
    stored = lanes(replace(command, finish=Finish.STORE, destination_column_step=0), tile=tile)
    np.testing.assert_array_equal(stored.scratchpad[32:34].view(np.int8), np.clip(expected, -128, 127))
    # Nothing finishes where the last vector gives no output.
    late = lanes(replace(command, finish=Finish.STORE, pixels=7), tile=tile)
    np.testing.assert_array_equal(late.accumulators[:1], [sums[0]])
    assert not late.scratchpad[32:].any()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"finish": 3}, "no such finish"),
        ({"combine": 3}, "no such finish"),
        ({"finish": Finish.RETURN, "mode": Mode.CONVOLUTION}, "come back from one depthwise pass"),
        ({"finish": Finish.RETURN, "blocks": 2}, "come back from one depthwise pass"),
        ({"finish": Finish.RETURN, "kernel_rows": 2}, "come back from one depthwise pass"),
        ({"finish": Finish.RETURN, "gather": 1, "every_column": 4}, "come back from one depthwise pass"),
        ({"gather": 1, "every_column": 3}, "gathered from one row"),
        ({"gather": 1, "every_column": 4, "columns": 3}, "gathered from one row"),
        ({"gather": 1, "every_column": 4, "mode": Mode.CONVOLUTION}, "gathered from one row"),
    ],
)
def test_what_has_no_meaning_behind_the_accumulators(fields: dict[str, int], problem: str) -> None:
    with pytest.raises(InterpreterError, match=problem):
        lanes(replace(LANES, **fields))
