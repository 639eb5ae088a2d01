"""The execute engine computes what its commands say, in the cycles that its documentation states."""

import dataclasses

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect

from eightfold.golden.numerics import Requantization
from eightfold.hw.commands import PARAMETER_ROWS, Execute
from eightfold.hw.config import Config
from eightfold.hw.execute import ExecuteEngine, Pipeline
from eightfold.hw.registers import ErrorCode
from eightfold.hw.scratchpad import Scratchpad
from eightfold.hw.weights import WeightBuffer

from .simulate import pack, simulate

SMALL = Config(name="4x4", rows=4, columns=4, scratchpad_bytes=4096, weight_bytes=2048, accumulator_bytes=1024)
ODD = Config(name="5x3", rows=5, columns=3, scratchpad_bytes=4096, weight_bytes=2048, accumulator_bytes=12 * 64)
WIDE = Config(name="4x8", rows=4, columns=8, scratchpad_bytes=4096, weight_bytes=4096, accumulator_bytes=32 * 64)


class Bench(wiring.Component):
    """The engine with its memories, whose other ports the test drives."""

    def __init__(self, config):
        self.engine = ExecuteEngine(config)
        self.pad = Scratchpad(config)
        self.weights = WeightBuffer(config)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine, m.submodules.pad, m.submodules.weights = self.engine, self.pad, self.weights
        for name in ("read", "write"):
            connect(m, getattr(self.engine, name), getattr(self.pad, name))
        connect(m, self.engine.weights, self.weights.read)
        m.d.comb += [self.engine.frozen.eq(self.pad.frozen), self.weights.frozen.eq(self.pad.frozen)]
        return m


def random_tile(rng, config, *, finish=True, accumulate=False):
    """A command with the weights and parameters that belong to it, on a random small image."""
    kernel_rows, kernel_columns, runs = (int(rng.integers(1, 4)) for _ in range(3))
    columns, rows = int(rng.integers(1, 6)), int(rng.integers(1, 6))
    row_bytes, height = int(rng.integers(8, 40)), int(rng.integers(1, 12))
    blocks = int(rng.integers(1, 3))
    origin_y, origin_x = int(rng.integers(-2, 2)), int(rng.integers(-8, 4))
    base = 0
    row_y = int(rng.integers(1, 3))
    column_step = int(rng.integers(1, 9))
    dilation = int(rng.integers(1, 3))
    command = Execute(
        accumulate=int(accumulate),
        finish=int(finish),
        blocks=blocks,
        last_channels=int(rng.integers(1, config.columns + 1)),
        fill=int(rng.integers(-128, 128)),
        weight_zero_point=int(rng.integers(-128, 128)),
        source=base + origin_y * row_bytes + origin_x,
        row_bytes=row_bytes,
        height=height,
        origin_y=origin_y,
        origin_x=origin_x,
        pixels=max(1, rows * columns - int(rng.integers(0, 2))),
        row_y=row_y,
        row_step=row_y * row_bytes,
        columns=columns,
        column_step=column_step,
        kernel_rows=kernel_rows,
        kernel_row_y=dilation,
        kernel_row_step=dilation * row_bytes,
        kernel_columns=kernel_columns,
        kernel_column_step=int(rng.integers(1, 7)),
        runs=runs,
        destination=int(rng.integers(2048, 2300)),
        destination_row_step=int(rng.integers(100, 120)),
        destination_column_step=int(rng.integers(config.columns * blocks, 20)) if blocks * config.columns < 20 else 20,
        zero_point=int(rng.integers(-128, 128)),
        lower=int(rng.integers(-128, -60)),
        upper=int(rng.integers(60, 128)),
    )
    passes = kernel_rows * kernel_columns * runs
    weights = rng.integers(-128, 128, (blocks, passes, config.rows, config.columns))
    parameters = {
        "bias": rng.integers(-(2**14), 2**14, (blocks, config.columns)),
        "multiplier": rng.integers(2**30, 2**31, (blocks, config.columns)),
        "shift": rng.integers(-14, -8, (blocks, config.columns)),
    }
    return command, weights, parameters


def packed(config, command, weights, parameters):
    """Rows of the weight buffer for one command."""
    rows = []
    for block in range(command.blocks):
        for tile in weights[block]:
            rows += list(tile[::-1])
        if command.finish:
            channels = [
                b"".join(
                    int(parameters[name][block, c]).to_bytes(size, "little", signed=True)
                    for name, size in (("bias", 4), ("multiplier", 4), ("shift", 1))
                )
                for c in range(config.columns)
            ]
            rows += [[channel[i] for channel in channels] for i in range(PARAMETER_ROWS)]
    padded = np.zeros((len(rows), config.weight_row_bytes), np.uint8)
    padded[:, : config.columns] = np.array(rows) & 255
    return padded


def compute(config, command, weights, parameters, memory, totals):
    """What the command's documentation says, in plain loops."""
    c = command
    for block in range(c.blocks):
        for pixel in range(c.pixels):
            row, column = divmod(pixel, c.columns)
            total = totals[pixel].copy() if c.accumulate else np.zeros(config.columns, np.int64)
            number = 0
            for ky in range(c.kernel_rows):
                for kx in range(c.kernel_columns):
                    for run in range(c.runs):
                        y = c.origin_y + ky * c.kernel_row_y + row * c.row_y
                        offset = kx * c.kernel_column_step + run * config.rows + column * c.column_step
                        address = c.source + ky * c.kernel_row_step + row * c.row_step + offset
                        for i in range(config.rows):
                            inside = 0 <= y < c.height and 0 <= c.origin_x + offset + i < c.row_bytes
                            x = int(np.int8(memory[address + i])) if inside else c.fill
                            total += x * (weights[block, number, i] - c.weight_zero_point)
                        number += 1
            totals[pixel] = total
            if c.finish:
                channels = c.last_channels if block == c.blocks - 1 else config.columns
                requantization = Requantization(
                    multiplier=parameters["multiplier"][block],
                    shift=parameters["shift"][block],
                    zero_point=c.zero_point,
                    minimum=c.lower,
                    maximum=c.upper,
                    rounding=config.rounding,
                    scale=np.ones(config.columns),
                )
                output = requantization.apply(total + parameters["bias"][block], np.int8)
                at = c.destination + row * c.destination_row_step + column * c.destination_column_step
                at += block * config.columns
                memory[at : at + channels] = output[:channels].view(np.uint8)


def stated_cycles(config, command):
    """Slots of a command's passes, by the engine's documentation."""
    passes = command.kernel_rows * command.kernel_columns * command.runs
    plain = max(command.pixels, config.rows)
    last = max(command.pixels, config.rows + PARAMETER_ROWS) if command.finish else plain
    return command.blocks * ((passes - 1) * plain + last)


def run(config, commands, images, image, *, steal=0.0, halt_after=None, counts=(0, 0), cycles=40_000):
    """The scratchpad after the commands, the cycle in which each completed, and the error."""
    bench = Bench(config)
    rng = np.random.default_rng(1)
    completions, result = [], {}
    words = [word for command in commands for word in command.encode()]
    row = config.scratchpad_row_bytes
    state = {"filled": False}

    async def feed(ctx):
        while not state["filled"]:
            await ctx.tick()
        for word in words:
            ctx.set(bench.engine.commands.valid, 1)
            ctx.set(bench.engine.commands.payload, word)
            await ctx.tick().until(bench.engine.commands.ready)
        ctx.set(bench.engine.commands.valid, 0)

    async def main(ctx):
        packed_rows = np.concatenate(images)
        lines = np.zeros(config.weight_bytes, np.uint8)
        lines[: packed_rows.size] = packed_rows.ravel()
        for number, line in enumerate(lines.reshape(-1, config.weight_line_bytes)):
            ctx.set(bench.weights.write.enable, 1)
            ctx.set(bench.weights.write.address, number)
            ctx.set(bench.weights.write.mask, -1)
            ctx.set(bench.weights.write.data, pack(line, 8))
            await ctx.tick()
        ctx.set(bench.weights.write.enable, 0)
        for number, line in enumerate(image.reshape(-1, row)):
            ctx.set(bench.pad.load.enable, 1)
            ctx.set(bench.pad.load.address, number)
            ctx.set(bench.pad.load.mask, -1)
            ctx.set(bench.pad.load.data, pack(line, 8))
            await ctx.tick()
        ctx.set(bench.pad.load.enable, 0)
        ctx.set(bench.engine.load_completed, counts[0])
        ctx.set(bench.engine.store_completed, counts[1])
        state["filled"] = True
        done = 0
        for cycle in range(cycles):
            await ctx.tick()
            if ctx.get(bench.engine.completed) != done:
                done = ctx.get(bench.engine.completed)
                completions.append(cycle)
            if ctx.get(bench.engine.error.code) or done == len(commands):
                break
            # Reads and writes of nothing, which only take the ports.
            ctx.set(bench.pad.load.enable, rng.random() < steal)
            ctx.set(bench.pad.load.mask, 0)
            ctx.set(bench.pad.store.enable, rng.random() < steal)
        ctx.set(bench.pad.load.enable, 0)
        result["error"] = (ErrorCode(ctx.get(bench.engine.error.code)), ctx.get(bench.engine.error.index))
        result["busy"] = ctx.get(bench.engine.busy)
        result["waiting"] = ctx.get(bench.engine.waiting)
        memory = []
        for number in range(config.scratchpad_bytes // row):
            ctx.set(bench.pad.store.enable, 1)
            ctx.set(bench.pad.store.address, number)
            await ctx.tick()
            memory.append(ctx.get(bench.pad.store.data).to_bytes(row, "little"))
        result["memory"] = np.frombuffer(b"".join(memory), np.uint8)

    simulate(bench, feed, main, cycles=cycles + 10_000)
    return result, completions


def tiles(config, seed, kinds):
    """Commands that follow each other through one weight buffer, and what they leave in the scratchpad."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, config.scratchpad_bytes, dtype=np.uint8)
    memory, totals = image.copy(), {pixel: np.zeros(config.columns, np.int64) for pixel in range(64)}
    commands, images, row = [], [], 0
    for kind in kinds:
        while True:
            command, weights, parameters = random_tile(rng, config, **kind)
            if kind.get("accumulate") and (command.pixels > commands[-1].pixels or command.blocks > 1):
                continue
            rows = packed(config, command, weights, parameters)
            if (row + len(rows)) * config.weight_row_bytes <= config.weight_bytes:
                break
        command = dataclasses.replace(command, weight_address=row)
        compute(config, command, weights, parameters, memory, totals)
        commands.append(command)
        images.append(rows)
        row += len(rows)
    return image, commands, images, memory


@pytest.mark.parametrize("config", [SMALL, ODD, WIDE], ids=lambda c: c.name)
@pytest.mark.parametrize("steal", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_random_tiles(config, steal, seed):
    kinds = [{}, {"finish": False}, {"accumulate": True}] if seed else [{}, {}]
    image, commands, images, memory = tiles(config, seed, kinds)
    result, completions = run(config, commands, images, image, steal=steal)
    assert result["error"] == (ErrorCode.NONE, 0)
    np.testing.assert_array_equal(result["memory"], memory)
    assert len(completions) == len(commands)
    assert not result["busy"]
    if not steal:
        # A cycle for each word, R for the first tile's rows, and passes without a gap to the last pixel's slot.
        first = commands[0]
        idle_at_end = max(first.pixels, config.rows + PARAMETER_ROWS) - first.pixels
        last_slot = len(first.encode()) + config.rows + stated_cycles(config, first) - 1 - idle_at_end
        assert completions[0] == last_slot + Pipeline(config).completed


def test_a_command_follows_its_predecessor_without_a_gap():
    config = SMALL
    image, commands, images, memory = tiles(config, 11, [{}, {}])
    result, completions = run(config, commands, images, image)
    np.testing.assert_array_equal(result["memory"], memory)
    slots = [max(command.pixels, config.rows + PARAMETER_ROWS) - command.pixels for command in commands]
    assert completions[1] - completions[0] == slots[0] + stated_cycles(config, commands[1]) - slots[1]


def test_a_command_waits_for_its_dependencies():
    for waits in ({"wait_load": 3}, {"wait_store": 2}, {"wait_execute": 5}):
        image, commands, images, _ = tiles(SMALL, 2, [{}])
        commands = [dataclasses.replace(commands[0], **waits)]
        result, completions = run(SMALL, commands, images, image, counts=(2, 1), cycles=400)
        assert completions == []
        assert result["waiting"]
        assert result["busy"]
        result, completions = run(
            SMALL, [dataclasses.replace(commands[0], wait_execute=0)], images, image, counts=(3, 2)
        )
        assert len(completions) == 1


def test_outputs_are_awaited_before_they_are_read():
    """A second layer reads what the first one wrote."""
    image, commands, images, _ = tiles(SMALL, 4, [{}, {}])
    first, second = commands
    second = dataclasses.replace(second, source=first.destination, origin_x=0, origin_y=0, wait_execute=1)
    result, completions = run(SMALL, [first, second], images, image)
    assert result["error"][0] is ErrorCode.NONE
    assert completions[1] - completions[0] >= Pipeline(SMALL).completed


ILLEGAL = [
    ({"mode": 7}, ErrorCode.ILLEGAL_COMMAND),
    ({"blocks": 0}, ErrorCode.ILLEGAL_COMMAND),
    ({"last_channels": 0}, ErrorCode.ILLEGAL_COMMAND),
    ({"last_channels": SMALL.columns + 1}, ErrorCode.ILLEGAL_COMMAND),
    ({"pixels": 0}, ErrorCode.ILLEGAL_COMMAND),
    ({"columns": 0}, ErrorCode.ILLEGAL_COMMAND),
    ({"kernel_rows": 0}, ErrorCode.ILLEGAL_COMMAND),
    ({"kernel_columns": 0}, ErrorCode.ILLEGAL_COMMAND),
    ({"runs": 0}, ErrorCode.ILLEGAL_COMMAND),
    ({"pixels": SMALL.accumulator_depth + 1}, ErrorCode.ACCUMULATOR_RANGE),
    ({"weight_address": SMALL.weight_bytes // SMALL.weight_row_bytes - 3}, ErrorCode.WEIGHT_RANGE),
    ({"source": 4094, "origin_x": 0, "origin_y": 0}, ErrorCode.SCRATCHPAD_RANGE),
    ({"source": -2, "origin_x": 0, "origin_y": 0}, ErrorCode.SCRATCHPAD_RANGE),
    ({"destination": 4093}, ErrorCode.SCRATCHPAD_RANGE),
]


@pytest.mark.parametrize(("fields", "code"), ILLEGAL, ids=lambda value: str(value))
def test_illegal_commands_are_states_with_a_code(fields, code):
    image, commands, images, _ = tiles(SMALL, 6, [{}, {}])
    second = dataclasses.replace(commands[1], **fields)
    words = second.encode()
    words[0] |= 17 << 44  # the index, as the dispatcher fills it in

    class Numbered(Execute):
        def encode(self):
            return words

    result, completions = run(SMALL, [commands[0], Numbered()], images, image, cycles=3000)
    assert result["error"] == (code, 17)
    assert len(completions) <= 2
