"""The execute engine computes what its commands say, in the cycles that its documentation states."""

import dataclasses
import zlib

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect

from eightfold.hw.commands import PARAMETER_ROWS, Combine, Execute, Finish, Mode
from eightfold.hw.config import Config
from eightfold.hw.control import PATIENCE
from eightfold.hw.engine import CHECK_LATENCY
from eightfold.hw.execute import ExecuteEngine, Pipeline
from eightfold.hw.registers import ErrorCode
from eightfold.hw.scratchpad import STORE_LATENCY, Scratchpad
from eightfold.hw.weights import WeightBuffer
from eightfold.sim.interpreter import Interpreter
from eightfold.sim.refusal import refusal

from .simulate import pack, simulate

SMALL = Config(name="4x4", rows=4, columns=4, scratchpad_bytes=4096, weight_bytes=2048, accumulator_bytes=1024)
ODD = Config(name="5x3", rows=5, columns=3, scratchpad_bytes=4096, weight_bytes=2048, accumulator_bytes=12 * 64)
WIDE = Config(name="4x8", rows=4, columns=8, scratchpad_bytes=4096, weight_bytes=4096, accumulator_bytes=32 * 64)
ONE_LANE = dataclasses.replace(ODD, name="5x3, 1 lane", lanes=1)
TWO_LANES = dataclasses.replace(WIDE, name="4x8, 2 lanes", lanes=2)
# Room for so many pixels that lanes may have more than `PATIENCE` cycles left to do when their last one has streamed.
PATIENT = [
    dataclasses.replace(SMALL, name="4x4, 1 lane", lanes=1, accumulator_bytes=16 * 128),
    dataclasses.replace(TWO_LANES, accumulator_bytes=32 * 128),
    dataclasses.replace(WIDE, name="4x8, 4 lanes", lanes=4, accumulator_bytes=32 * 512),
]


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


def random_tile(
    rng, config, *, mode=Mode.CONVOLUTION, finish=Finish.STORE, accumulate=False, gather=False, long=False, **fields
):
    """A command with the weights and parameters that belong to it, on a random small image."""

    def draw(low, high):
        return int(rng.integers(low, high))

    depthwise = mode == Mode.DEPTHWISE
    kernel_rows, kernel_columns, runs = draw(1, 4), draw(1, 4), 1 if depthwise else draw(1, 4)
    if finish == Finish.RETURN or long:
        kernel_rows = kernel_columns = runs = 1
    columns, rows = draw(1, 6), draw(1, 6)
    every_column = draw(1, 4)
    row_bytes, height = draw(8, 40), draw(1, 12)
    blocks = draw(1, 3) if finish == Finish.STORE and not accumulate else 1
    origin_y, origin_x = draw(-2, 2), draw(-8, 4)
    dilation, row_y = draw(1, 3), draw(1, 3)
    skip_rows, skip_columns, strips = draw(0, 2), draw(0, columns), draw(1, 3)
    if depthwise:
        # The first output weighs vectors that have been streamed.
        skip_rows = -(-(config.rows - 1) // columns)
        rows += skip_rows
    if gather:
        columns, rows, strips, skip_rows = draw(config.rows, 40), 1, 1, 0
        skip_columns, every_column = draw(config.rows - 1, columns), draw(4, 9)
    pixels = rows * columns * strips
    command = Execute(
        mode=mode,
        accumulate=int(accumulate),
        finish=finish,
        blocks=blocks,
        last_channels=draw(1, config.columns + 1),
        fill=draw(-128, 128),
        weight_zero_point=draw(-128, 128),
        source=origin_y * row_bytes + origin_x,
        row_bytes=row_bytes,
        height=height,
        origin_y=origin_y,
        origin_x=origin_x,
        pixels=max(1, pixels - draw(0, 2)),
        row_y=row_y,
        row_step=row_y * row_bytes,
        columns=columns,
        column_step=draw(1, 9),
        kernel_rows=kernel_rows,
        kernel_row_y=dilation,
        kernel_row_step=dilation * row_bytes,
        kernel_columns=kernel_columns,
        kernel_column_step=draw(1, 7),
        runs=runs,
        destination=draw(2048, 2300),
        destination_row_step=draw(100, 120),
        destination_column_step=20,
        zero_point=draw(-128, 128),
        lower=draw(-128, -60),
        upper=draw(60, 128),
        strip_rows=rows if strips > 1 else draw(0, 2) * rows,
        strip_step=draw(-6, 7),
        destination_strip_step=draw(0, 300),
        skip_rows=skip_rows,
        skip_columns=skip_columns,
        every_row=draw(1, 3),
        every_column=every_column,
        gather=int(gather),
        **fields,
    )
    passes = kernel_rows * kernel_columns * runs
    weights = rng.integers(-128, 128, (blocks, passes, config.rows, config.columns))
    parameters = {
        "bias": rng.integers(-(2**14), 2**14, (blocks, config.columns)),
        "multiplier": rng.integers(2**30, 2**31, (blocks, config.columns)),
        "shift": rng.integers(-14, -8, (blocks, config.columns)),
    }
    return command, weights, parameters


def outputs(command):
    """Pixels of a tile: vectors that give an output."""
    row, column = np.divmod(np.arange(command.pixels), command.columns)
    row = row % command.strip_rows if command.strip_rows else row
    row, column = row - command.skip_rows, column - command.skip_columns
    count = np.sum((row >= 0) & (row % command.every_row == 0) & (column >= 0) & (column % command.every_column == 0))
    return min(1, int(count)) if command.gather else int(count)


def packed(config, command, weights, parameters):
    """Rows of the weight buffer for one command, and those that are staged."""
    rows, staged = [], []
    for block in range(command.blocks):
        for tile in weights[block]:
            (staged if command.staged else rows).extend(tile[::-1])
        if command.finish:
            channels = [
                b"".join(
                    int(parameters[name][block, c]).to_bytes(size, "little", signed=True)
                    for name, size in (("bias", 4), ("multiplier", 4), ("shift", 1))
                )
                for c in range(config.columns)
            ]
            rows += [[channel[i] for channel in channels] for i in range(PARAMETER_ROWS)]

    def padded(some):
        result = np.zeros((len(some), config.weight_row_bytes), np.uint8)
        result[:, : config.columns] = np.array(some, np.int64).reshape(-1, config.columns) & 255
        return result

    return padded(rows), padded(staged)


def stated_cycles(config, command):
    """Slots of a command's passes, and those after its last vector, by the engine's documentation."""
    passes = command.kernel_rows * command.kernel_columns * command.runs
    if command.mode == Mode.DEPTHWISE or command.staged:
        plain = command.pixels + config.rows
        tail = max(config.rows, 12) if command.finish == Finish.RETURN else config.rows
        last = max(command.pixels, PARAMETER_ROWS) + tail if command.finish else plain
    else:
        plain = max(command.pixels, config.rows)
        last = max(command.pixels, config.rows + PARAMETER_ROWS) if command.finish else plain
    return command.blocks * ((passes - 1) * plain + last), last - command.pixels


def run(config, commands, images, image, *, steal=0.0, counts=(0, 0), cycles=40_000):
    """The scratchpad after the commands, the cycles in which each completed and in which one waited, and the error."""
    bench = Bench(config)
    rng = np.random.default_rng(1)
    completions, result = [], {"waits": []}
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
            if ctx.get(bench.engine.waiting):
                result["waits"].append(cycle)
            if ctx.get(bench.engine.error.code) or done == len(commands):
                break
            # Reads and writes of nothing, which only take the ports.
            ctx.set(bench.pad.load.enable, ctx.get(bench.pad.load.upcoming))
            ctx.set(bench.pad.load.upcoming, rng.random() < steal)
            ctx.set(bench.pad.load.mask, 0)
            ctx.set(bench.pad.store.enable, rng.random() < steal)
        ctx.set(bench.pad.load.enable, 0)
        ctx.set(bench.pad.load.upcoming, 0)
        result["error"] = (ErrorCode(ctx.get(bench.engine.error.code)), ctx.get(bench.engine.error.index))
        result["busy"] = ctx.get(bench.engine.busy)
        result["waiting"] = ctx.get(bench.engine.waiting)
        memory = []
        for number in range(config.scratchpad_bytes // row):
            ctx.set(bench.pad.store.enable, 1)
            ctx.set(bench.pad.store.address, number)
            await ctx.tick().repeat(STORE_LATENCY)
            memory.append(ctx.get(bench.pad.store.data).to_bytes(row, "little"))
        result["memory"] = np.frombuffer(b"".join(memory), np.uint8)

    simulate(bench, feed, main, cycles=cycles + 10_000)
    return result, completions


def tiles(config, seed, kinds):
    """Commands that follow each other through one weight buffer, and what they leave in the scratchpad."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, config.scratchpad_bytes, dtype=np.uint8)
    commands, images, row, staged_row = [], [], 0, STAGED // config.weight_row_bytes
    interpreter = Interpreter(config, np.zeros(0, np.uint8))
    interpreter.scratchpad[:] = image
    for kind in kinds:
        while True:
            command, weights, parameters = random_tile(rng, config, **kind)
            rows, staged = packed(config, command, weights, parameters)
            fits = (row + len(rows)) * config.weight_row_bytes <= config.weight_bytes
            least, most = 1, config.accumulator_depth
            if kind.get("accumulate"):
                most = outputs(next(c for c in reversed(commands) if c.finish != Finish.STORE))
            elif kind.get("long"):
                least, most = most + 1, command.pixels
            if fits and least <= outputs(command) <= most:
                break
        command = dataclasses.replace(command, weight_address=row)
        if command.staged:
            command = dataclasses.replace(command, tile_address=staged_row)
            for memory in (image, interpreter.scratchpad):
                memory[staged_row * config.weight_row_bytes :][: staged.size] = staged.ravel()
            staged_row += len(staged)
        interpreter.weights[row * config.weight_row_bytes :][: rows.size] = rows.ravel()
        interpreter.step(command)
        commands.append(command)
        images.append(rows)
        row += len(rows)
    return image, commands, images, interpreter.scratchpad


CONVOLVE, FILTER = {"mode": Mode.CONVOLUTION}, {"mode": Mode.DEPTHWISE}
KEEP, BACK, GATHER = {"finish": Finish.KEEP}, {"finish": Finish.RETURN}, {"gather": True}
MORE, LONG = {"accumulate": True}, {"long": True}
STAGE = {"staged": 1}
LARGEST, LESS = {"combine": Combine.MAXIMUM}, {"combine": Combine.SUBTRACT}
STAGED = 4096
"""Where staged tiles begin in the scratchpad: behind everything else."""
SEQUENCES = {
    "convolutions": [CONVOLVE, CONVOLVE],
    "partial sums": [CONVOLVE, CONVOLVE | KEEP, CONVOLVE | MORE],
    "depthwise": [FILTER, FILTER],
    "depthwise partial sums": [FILTER, FILTER | KEEP, FILTER | MORE],
    "one after the other": [CONVOLVE, FILTER, CONVOLVE],
    "largest": [CONVOLVE | LARGEST, FILTER | LARGEST, FILTER | LARGEST | KEEP, FILTER | LARGEST | MORE],
    "less": [CONVOLVE | LESS, FILTER | LESS, FILTER | LESS | KEEP, FILTER | LESS | MORE],
    "results come back": [FILTER | BACK, FILTER | BACK | MORE, FILTER | MORE],
    "largest results": [FILTER | BACK, FILTER | BACK | MORE | LARGEST, FILTER | MORE | LARGEST],
    "less results": [FILTER | BACK, FILTER | BACK | MORE | LESS, CONVOLVE | MORE | LESS],
    "squares": [FILTER | BACK | {"square": 1, "pre_shift": 9}, FILTER | MORE | {"pre_shift": 2}, FILTER],
    "gathered": [FILTER | GATHER, FILTER, FILTER | GATHER | KEEP, FILTER | GATHER | MORE, CONVOLVE],
    "staged": [CONVOLVE | STAGE, CONVOLVE | STAGE, CONVOLVE, CONVOLVE | STAGE],
    "staged and not": [CONVOLVE, FILTER | STAGE, FILTER, CONVOLVE | STAGE],
    "staged partial sums": [CONVOLVE | KEEP, CONVOLVE | MORE | STAGE, FILTER | KEEP | STAGE, FILTER | MORE],
    "staged of all kinds": [FILTER | BACK | STAGE, FILTER | BACK | MORE | STAGE, FILTER | GATHER | STAGE, CONVOLVE],
    "gathered largest": [FILTER | GATHER | LARGEST, FILTER | GATHER | LARGEST | KEEP, FILTER | MORE | LARGEST],
}


BENCHES = [(SMALL, 0.0), (ODD, 0.0), (ODD, 0.3), (WIDE, 0.3), (ONE_LANE, 0.0), (TWO_LANES, 0.3)]


@pytest.mark.parametrize(("config", "steal"), BENCHES, ids=[f"{config.name}-{steal}" for config, steal in BENCHES])
@pytest.mark.parametrize("kinds", SEQUENCES)
def test_random_tiles(config, steal, kinds):
    if any("staged" in kind for kind in SEQUENCES[kinds]):
        config = dataclasses.replace(config, scratchpad_bytes=2 * STAGED)
    image, commands, images, memory = tiles(config, zlib.crc32(kinds.encode()), SEQUENCES[kinds])
    result, completions = run(config, commands, images, image, steal=steal)
    assert result["error"] == (ErrorCode.NONE, 0)
    np.testing.assert_array_equal(result["memory"], memory)
    assert len(completions) == len(commands)
    assert not result["busy"]
    if not steal and config.turns == 1:
        # A cycle for each word, one to look at them, R for the first tile's rows, and passes without a gap to the last
        # vector's slot.
        slots, after_last = stated_cycles(config, commands[0])
        last_slot = len(commands[0].encode()) + CHECK_LATENCY + config.rows + slots - 1 - after_last
        assert completions[0] == last_slot + Pipeline(config).completed


@pytest.mark.parametrize("first", ["a convolution", "results"])
def test_a_command_follows_its_predecessor_without_a_gap(first):
    config = SMALL
    image, commands, images, memory = tiles(config, 11, [{"results": FILTER | BACK}.get(first, {}), {}])
    result, completions = run(config, commands, images, image)
    np.testing.assert_array_equal(result["memory"], memory)
    (_, rest), (slots, after_last) = (stated_cycles(config, command) for command in commands)
    assert completions[1] - completions[0] == rest + slots - after_last


@pytest.mark.parametrize("kind", [CONVOLVE, FILTER], ids=("convolution", "depthwise"))
def test_sums_of_one_pass_go_past_the_accumulators(kind):
    """There may be more of them than accumulators, and these keep what they hold."""
    config = dataclasses.replace(SMALL, accumulator_bytes=16 * 16)
    image, commands, images, memory = tiles(config, 3, [CONVOLVE | KEEP, kind | LONG, CONVOLVE | MORE])
    assert outputs(commands[1]) > config.accumulator_depth
    result, completions = run(config, commands, images, image)
    assert (result["error"][0], len(completions)) == (ErrorCode.NONE, 3)
    np.testing.assert_array_equal(result["memory"], memory)


def test_sums_that_wait_for_lanes_are_no_more_than_accumulators():
    plenty = dataclasses.replace(SMALL, accumulator_bytes=16 * 16)
    config = dataclasses.replace(plenty, lanes=2)
    image, commands, images, _ = tiles(plenty, 3, [CONVOLVE | LONG])
    assert outputs(commands[0]) > config.accumulator_depth
    result, _ = run(config, commands, images, image)
    assert result["error"] == (ErrorCode.ACCUMULATOR_RANGE, 0)
    assert refusal(commands[0], config).code == ErrorCode.ACCUMULATOR_RANGE


def test_a_long_dot_product_hides_the_wait_for_lanes():
    """With as many passes as a pixel takes turns, only the last block's pixels are waited for."""
    rng = np.random.default_rng(5)
    while True:
        command, weights, parameters = random_tile(rng, WIDE)
        passes = command.kernel_rows * command.kernel_columns * command.runs
        if command.blocks == 2 and passes >= WIDE.columns // 2 and outputs(command) >= 16:
            break
    rows, _ = packed(WIDE, command, weights, parameters)
    image = rng.integers(0, 256, WIDE.scratchpad_bytes, dtype=np.uint8)
    ends = {}
    for config in (WIDE, dataclasses.replace(WIDE, lanes=2)):
        _, completions = run(config, [command], [rows], image)
        ends[config.turns] = completions[0] - Pipeline(config).completed
    first = command.skip_rows * command.columns + command.skip_columns  # the vector of the first output
    waited = first + outputs(command) * 4 - command.pixels
    assert ends[4] - ends[1] == waited


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


def one_pass(rng, config, count, **fields):
    """A command with one pass of so many vectors, each of which gives an output; its weights and parameters."""
    command, weights, parameters = random_tile(rng, config, finish=Finish.RETURN)
    row = {"columns": count, "pixels": count, "strip_rows": 0, "row_bytes": 2048, "height": 1}
    places = {"source": 0, "origin_x": 0, "origin_y": 0, "destination_column_step": config.columns}
    command = dataclasses.replace(command, **EVERY_VECTOR | row | places | {"column_step": 1} | fields)
    # Most outputs stay within their bounds, and so tell of any change of their sums; of results that come back, the
    # smallest counts.
    command = dataclasses.replace(command, zero_point=0, lower=-128, upper=127, last_channels=config.columns)
    shift = 0 if command.finish == Finish.RETURN else -7
    parameters |= {"bias": parameters["bias"] >> 6, "shift": np.full_like(parameters["shift"], shift)}
    weights[:, :, 1:] = command.weight_zero_point  # if it is depthwise, no output weighs a vector before the first
    return command, weights, parameters


def one_pass_each(config, passes):
    """Commands that follow each other through one weight buffer, and what they leave in the scratchpad."""
    rng = np.random.default_rng(9)
    image = rng.integers(0, 256, config.scratchpad_bytes, dtype=np.uint8)
    interpreter = Interpreter(config, np.zeros(0, np.uint8))
    interpreter.scratchpad[:] = image
    commands, images, row = [], [], 0
    for fields in passes:
        command, weights, parameters = one_pass(rng, config, **fields)
        command = dataclasses.replace(command, weight_address=row)
        rows, _ = packed(config, command, weights, parameters)
        interpreter.weights[row * config.weight_row_bytes :][: rows.size] = rows.ravel()
        interpreter.step(command)
        commands.append(command)
        images.append(rows)
        row += len(rows)
    return image, commands, images, interpreter.scratchpad


@pytest.mark.parametrize(("config", "waits"), [*zip(PATIENT, ("load", "execute", "store"), strict=True)])
def test_no_command_counts_as_waiting_while_lanes_take_their_turns(config, waits):
    """They may do so for longer than it takes to call a deadlock. A command that waits for ever does afterwards."""
    count = (PATIENCE + 50) // (config.turns - 1)
    store = {"count": count, "finish": Finish.STORE, "destination_column_step": 1}
    image, commands, images, _ = one_pass_each(config, [store, store | {f"wait_{waits}": 1}])
    result, completions = run(config, commands, images, image, cycles=count * config.turns + 500)
    first = result["waits"][0]
    turned = completions[0] - Pipeline(config).completed  # the slot of the last turn
    assert first == turned + 1 - config.rows
    assert first > turned - (config.turns - 1) * count + PATIENCE
    assert result["waits"] == list(range(first, first + len(result["waits"])))
    if waits == "execute":
        assert len(completions) == 2
        assert result["waits"][-1] == completions[0]
    else:
        assert len(completions) == 1
        assert result["waiting"]


@pytest.mark.parametrize("config", PATIENT, ids=lambda config: config.name)
def test_the_last_turn_of_a_block_is_its_own(config):
    """Though a block whose results come back begins in the very slot in which the lanes are free for it."""
    passes, end = [], 2048
    for count in (5, 9, 13, 14, 30):
        store, back = {"count": count, "finish": Finish.STORE}, {"count": count, "finish": Finish.RETURN, "mode": 1}
        passes += [back, store | {"destination": end}, back | {"accumulate": 1}]
        end += count * config.columns
        passes += [store | {"destination": end, "accumulate": 1}]
        end += count * config.columns
    image, commands, images, memory = one_pass_each(config, passes)
    result, _ = run(config, commands, images, image)
    assert result["error"] == (ErrorCode.NONE, 0)
    np.testing.assert_array_equal(result["memory"], memory)


@pytest.mark.parametrize("config", [SMALL, ONE_LANE, TWO_LANES], ids=lambda config: config.name)
def test_the_next_pass_adds_to_the_last_result_that_came_back(config):
    """Though it comes as soon as it may, and begins with the accumulator that the pass before ended with."""
    back = {"finish": Finish.RETURN, "mode": 1, "accumulate": 1}
    for gap in range(4):
        first, last = {"count": 1, "finish": Finish.KEEP}, {"count": 12 + gap, "skip_columns": 11 + gap}
        passes = [first, back | last, {"count": 1, "accumulate": 1, "finish": Finish.STORE, "destination": 2048}]
        image, commands, images, memory = one_pass_each(config, passes)
        result, _ = run(config, commands, images, image)
        np.testing.assert_array_equal(result["memory"], memory)


def test_outputs_are_awaited_before_they_are_read():
    """A second layer reads what the first one wrote."""
    image, commands, images, _ = tiles(SMALL, 4, [{}, {}])
    first, second = commands
    second = dataclasses.replace(second, source=first.destination, origin_x=0, origin_y=0, wait_execute=1)
    result, completions = run(SMALL, [first, second], images, image)
    assert result["error"][0] is ErrorCode.NONE
    assert completions[1] - completions[0] >= Pipeline(SMALL).completed


EVERY_VECTOR = {  # gives an output
    "skip_rows": 0,
    "skip_columns": 0,
    "every_row": 1,
    "every_column": 1,
    "column_step": 0,
    "row_step": 0,
    "row_y": 0,
}
RETURN = {
    "mode": Mode.DEPTHWISE,
    "finish": Finish.RETURN,
    "blocks": 1,
    "kernel_rows": 1,
    "kernel_columns": 1,
    "runs": 1,
}
MANY = {"pixels": 600, "columns": 3, "strip_rows": 0, "blocks": 1} | EVERY_VECTOR
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
    ({"every_row": 0}, ErrorCode.ILLEGAL_COMMAND),
    ({"every_column": 0}, ErrorCode.ILLEGAL_COMMAND),
    ({"mode": Mode.DEPTHWISE, "runs": 2}, ErrorCode.ILLEGAL_COMMAND),
    ({"finish": 3}, ErrorCode.ILLEGAL_COMMAND),
    ({"combine": 3}, ErrorCode.ILLEGAL_COMMAND),
    (RETURN | {"mode": Mode.CONVOLUTION}, ErrorCode.ILLEGAL_COMMAND),
    (RETURN | {"blocks": 2}, ErrorCode.ILLEGAL_COMMAND),
    (RETURN | {"kernel_rows": 2}, ErrorCode.ILLEGAL_COMMAND),
    (RETURN | {"kernel_columns": 2}, ErrorCode.ILLEGAL_COMMAND),
    (RETURN | {"gather": 1, "columns": 99, "every_column": 4}, ErrorCode.ILLEGAL_COMMAND),
    ({"gather": 1, "columns": 99, "every_column": 4}, ErrorCode.ILLEGAL_COMMAND),
    ({"mode": Mode.DEPTHWISE, "runs": 1, "gather": 1, "columns": 99, "every_column": 3}, ErrorCode.ILLEGAL_COMMAND),
    ({"mode": Mode.DEPTHWISE, "runs": 1, "gather": 1, "pixels": 9, "columns": 8}, ErrorCode.ILLEGAL_COMMAND),
    (MANY | {"accumulate": 1}, ErrorCode.ACCUMULATOR_RANGE),
    (MANY | {"finish": Finish.KEEP}, ErrorCode.ACCUMULATOR_RANGE),
    (MANY | {"runs": 2}, ErrorCode.ACCUMULATOR_RANGE),
    (MANY | RETURN, ErrorCode.ACCUMULATOR_RANGE),
    ({"weight_address": SMALL.weight_bytes // SMALL.weight_row_bytes - 3}, ErrorCode.WEIGHT_RANGE),
    ({"staged": 1, "tile_address": SMALL.scratchpad_bytes // SMALL.weight_row_bytes - 3}, ErrorCode.SCRATCHPAD_RANGE),
    ({"source": 4094, "origin_x": 0, "origin_y": 0}, ErrorCode.SCRATCHPAD_RANGE),
    ({"source": -2, "origin_x": 0, "origin_y": 0}, ErrorCode.SCRATCHPAD_RANGE),
    ({"destination": 4093}, ErrorCode.SCRATCHPAD_RANGE),
]


@pytest.mark.parametrize(("fields", "code"), ILLEGAL, ids=lambda value: str(value))
def test_illegal_commands_are_states_with_a_code(fields, code):
    image, commands, images, _ = tiles(SMALL, 6, [CONVOLVE, CONVOLVE])
    second = dataclasses.replace(commands[1], **fields)
    words = second.encode()
    words[0] |= 17 << 44  # the index, as the dispatcher fills it in

    class Numbered(Execute):
        def encode(self):
            return words

    result, completions = run(SMALL, [commands[0], Numbered()], images, image, cycles=3000)
    assert result["error"] == (code, 17)
    assert len(completions) <= 1


END = 2048
EDGES = [
    Config(
        name=f"{rows}x{columns}",
        rows=rows,
        columns=columns,
        bus_bytes=32,
        scratchpad_bytes=END,
        weight_bytes=END,
        accumulator_bytes=64 * columns,
    )
    for rows, columns in ((5, 3), (7, 6))
]


@pytest.mark.parametrize("config", EDGES, ids=lambda config: config.name)
@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        (lambda lanes, _: {"source": END - lanes, "row_bytes": lanes}, {"source": 1}),
        (lambda *_: {"source": END - 2, "row_bytes": 2}, {"row_bytes": 1}),
        (lambda lanes, _: {"source": -3, "origin_x": -3, "row_bytes": lanes}, {"origin_x": 1}),
        (lambda _, columns: {"destination": END - columns}, {"destination": 1}),
        (lambda *_: {"destination": END - 1, "last_channels": 1}, {"last_channels": 1}),
    ],
    ids=["read", "read of two bytes", "read from before", "write", "write of one byte"],
)
def test_a_tile_may_reach_the_ends_of_the_scratchpad(config, within, beyond):
    """And not a byte further, whatever the array's sides."""
    one = {
        "blocks": 1,
        "last_channels": config.columns,
        "height": 1,
        "pixels": 1,
        "columns": 1,
        "kernel_rows": 1,
        "kernel_columns": 1,
        "runs": 1,
        "every_row": 1,
        "every_column": 1,
        "row_bytes": config.vector_bytes,
        "finish": Finish.STORE,
    } | within(config.vector_bytes, config.columns)
    image = np.zeros(END, np.uint8)
    rows = np.zeros((config.rows + PARAMETER_ROWS, config.weight_row_bytes), np.uint8)
    for fields, code in ((one, ErrorCode.NONE), (further(one, beyond), ErrorCode.SCRATCHPAD_RANGE)):
        result, completions = run(config, [Execute(**fields)], [rows], image, cycles=400)
        assert result["error"][0] is code
        assert completions or code is not ErrorCode.NONE


def further(fields, moved):
    return fields | {name: fields[name] + by for name, by in moved.items()}
