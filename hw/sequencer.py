"""The sequencer: decides, cycle by cycle, what enters the execute engine's pipeline."""

from typing import Any, NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from . import accumulators, requantization, scratchpad, weights
from .commands import (
    ADDRESS_BITS,
    COUNT_BITS,
    INDEX_BITS,
    PARAMETER_ROWS,
    WORD_BITS,
    Combine,
    Execute,
    Finish,
    Mode,
    Opcode,
)
from .config import Config
from .engine import ERROR, command_layout
from .registers import ErrorCode

ISSUE_LATENCY = 2
"""Cycles from a step's slot to its read of the scratchpad or of the weight buffer."""

_AT_LEAST_ONE = (
    "blocks",
    "last_channels",
    "pixels",
    "columns",
    "kernel_rows",
    "kernel_columns",
    "runs",
    "every_row",
    "every_column",
)

RETURN_LATENCY = accumulators.LATENCY + requantization.RESULT_LATENCY
"""Cycles from a pixel's sums to its results, where they come back to the accumulators."""

_RETURN_TAIL = RETURN_LATENCY + accumulators.REVISIT - 1
"""The fewest slots between a pass whose results come back and the next pass, which may read them."""

_GATHER_EVERY = accumulators.REVISIT
"""The fewest vectors from one output to the next, where they share an accumulator."""


class PassSlots(NamedTuple):
    """How many slots a pass has: as many as it streams vectors, but at least `least`, and `tail` more."""

    least: int
    tail: int


def pass_slots(config: Config, *, apart: bool, finish: int) -> PassSlots:
    """The slots of a pass, in which the weights of the next and, if it finishes, its block's parameters move in.

    The array's north cannot take data and weights at once, nor can the scratchpad deliver both: a pass that is
    depthwise, or staged, ends before weights move in, and keeps the two `apart`.
    """
    parameters = PARAMETER_ROWS if finish else 0
    if apart:
        return PassSlots(parameters, max(config.rows, _RETURN_TAIL if finish == Finish.RETURN else 0))
    return PassSlots(config.rows + parameters, 0)


class _TileRow(NamedTuple):
    """Whether a staged row of weights is to be read, and its byte address."""

    valid: Value
    address: Value


def accumulate_layout(config: Config) -> data.StructLayout:
    """What a vector's step tells the accumulators, and the lanes behind them.

    `begin`: it is the first of a pass that finishes, and brings `pre_shift` and `square`. `pixel`: it gives an output,
    whose total, where it is the `last`, goes to the lanes. `through`: so do its sums alone, to come back as results.
    """
    return data.StructLayout(
        {
            "address": (config.accumulator_depth - 1).bit_length(),
            "combine": 2,
            "pre_shift": 5,
            **dict.fromkeys(("begin", "square", "pixel", "first", "last", "through"), 1),
        }
    )


def output_layout(config: Config) -> data.StructLayout:
    """What travels beside an output: where it goes, how it is clamped, and whether a command ends with it."""
    return data.StructLayout(
        {
            "write": 1,
            "last": 1,
            "address": ADDRESS_BITS,
            "channels": range(config.columns + 1),
            "zero_point": signed(8),
            "lower": signed(8),
            "upper": signed(8),
            "index": INDEX_BITS,
        }
    )


class Sequencer(wiring.Component):
    """Turns `Execute` commands into steps, one slot in each cycle.

    Three commands can be in here at once. The words of the next are gathered. The *front* has taken the one before it,
    and lets the weights of each pass move in during the R slots before that pass begins. The *pass* streams pixels of
    the same command, or still those of its predecessor.

    Members
    -------
    commands : In
        64-bit words.
    load_completed, store_completed, completed : In
        Commands that the three engines have completed.
    halt : In(1)
        Take no further command.
    outside, outside_index : In
        An output of this command does not fall into the scratchpad.
    busy, waiting, next_index, error : Out
        As the engine's.
    weights, parameter_row, weight_zero_point : Out
        `ISSUE_LATENCY` cycles after its slot, the read of a row of weights or, with `parameter_row`, of parameters.
    read, tile_row, swap, depthwise : Out
        `ISSUE_LATENCY` cycles after its slot, the read of a vector or, with `tile_row`, of a row of weights; whether
        the vector is the first of a pass, and whether it goes to the array's north.
    accumulate, output : Out
        With the read, what the later stages need to know of the pixel that comes of it.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__(
            {
                "commands": In(stream.Signature(WORD_BITS)),
                "load_completed": In(COUNT_BITS),
                "store_completed": In(COUNT_BITS),
                "completed": In(COUNT_BITS),
                "halt": In(1),
                "outside": In(1),
                "outside_index": In(INDEX_BITS),
                "busy": Out(1),
                "waiting": Out(1),
                "next_index": Out(INDEX_BITS),
                "error": Out(ERROR),
                "weights": Out(weights.read_signature(config)),
                "parameter_row": Out(1),
                "weight_zero_point": Out(signed(8)),
                "read": Out(scratchpad.read_signature(config)),
                "tile_row": Out(1),
                "swap": Out(1),
                "depthwise": Out(1),
                "accumulate_valid": Out(1),
                "accumulate": Out(accumulate_layout(config)),
                "output_valid": Out(1),
                "output": Out(output_layout(config)),
            }
        )
        # The next command, the front's and the pass's.
        self._next = Signal(command_layout(Execute), reset_less=True)
        self._front = Signal(command_layout(Execute), reset_less=True)
        self._pass = Signal(command_layout(Execute), reset_less=True)
        self._take = Signal()
        self._follow = Signal()
        self._entering = Signal()
        self._start_pass = Signal()

        # The pass that the front prepares.
        address = {"address": signed(ADDRESS_BITS), "x": signed(ADDRESS_BITS)}
        place = data.StructLayout({**address, "y": signed(18)})
        self._upcoming = Signal(place, reset_less=True)
        self._upcoming_destination = Signal(ADDRESS_BITS, reset_less=True)
        self._runs_left = Signal(16, reset_less=True)
        self._kernel_columns_left = Signal(12, reset_less=True)
        self._kernel_rows_left = Signal(12, reset_less=True)
        self._blocks_left = Signal(12, reset_less=True)
        self._upcoming_first = Signal(reset_less=True)
        self._finishing = Signal()

        # The pass that streams; slots and pixels still to come, this one included.
        self._streaming = Signal()
        self._first_slot = Signal()
        self._first = Signal(reset_less=True)
        self._finish = Signal(reset_less=True)
        self._final = Signal(reset_less=True)
        self._channels = Signal(range(config.columns + 1), reset_less=True)
        self._slots_left = Signal(16, reset_less=True)
        self._pixels_left = Signal(16)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        self._elaborate_commands(m)
        self._elaborate_upcoming(m)
        self._elaborate_passes(m)
        tile = self._elaborate_rows(m)
        self._elaborate_pixels(m, tile)
        return m

    def _elaborate_commands(self, m: Module) -> None:
        """Gathers words, and hands the command to the front when it may start."""
        config, words = self._config, self._next
        filled = Signal(range(Execute.words() + 1))
        full = filled == Execute.words()
        started = Signal(COUNT_BITS)
        m.d.comb += self.commands.ready.eq(~full)
        with m.If(self.commands.valid & ~full):
            m.d.sync += [
                words.eq(Cat(words.as_value()[WORD_BITS:], self.commands.payload)),
                filled.eq(filled + 1),
            ]

        dependencies = (
            (self.load_completed >= words.wait_load)
            & (self.store_completed >= words.wait_store)
            & (self.completed >= words.wait_execute)
        )
        depthwise = words.mode == Mode.DEPTHWISE
        single = Cat(words[name] == 1 for name in ("blocks", "kernel_rows", "kernel_columns")).all()
        legal = (
            (words.opcode == Opcode.EXECUTE)
            & ((words.mode == Mode.CONVOLUTION) | (depthwise & (words.runs == 1)))
            & Cat(words[name] != 0 for name in _AT_LEAST_ONE).all()
            & (words.last_channels <= config.columns)
            & (words.finish <= Finish.RETURN)
            & (words.combine <= Combine.SUBTRACT)
            & ((words.finish != Finish.RETURN) | (depthwise & single & ~words.gather))
            & (~words.gather | (depthwise & (words.pixels <= words.columns) & (words.every_column >= _GATHER_EVERY)))
        )
        room = ~self._streaming | (self._final & (self._slots_left <= config.rows))
        # Staged weights come through the port that the vectors take.
        room &= ~words.staged | (self._pixels_left == 0)
        able = Signal()
        entering = self._entering
        rows_left = Signal(range(config.rows))
        m.d.comb += [
            able.eq(full & room & ~entering & ~self.halt & (self.error.code == ErrorCode.NONE)),
            self._take.eq(able & dependencies & legal),
            self.waiting.eq(able & ~dependencies & ~self._streaming),
            self.next_index.eq(words.index),
            self.busy.eq((filled != 0) | (started != self.completed)),
        ]
        with m.If(self._take):
            m.d.sync += [self._front.eq(words), filled.eq(0), started.eq(started + 1)]

        # The front: R rows of weights, then the pass that uses them.
        m.d.comb += [
            self._follow.eq(self._streaming & ~self._final & (self._slots_left == config.rows)),
            self._start_pass.eq(entering & (rows_left == 1)),
        ]
        with m.If(self._take | self._follow):
            m.d.sync += [entering.eq(1), rows_left.eq(config.rows - 1)]
        with m.Elif(entering):
            m.d.sync += [entering.eq(~self._start_pass), rows_left.eq(rows_left - 1)]

        with m.If(self.error.code == ErrorCode.NONE):
            with m.If(self.outside):
                m.d.sync += [self.error.code.eq(ErrorCode.SCRATCHPAD_RANGE), self.error.index.eq(self.outside_index)]
            with m.Elif(able & ~legal):
                m.d.sync += [self.error.code.eq(ErrorCode.ILLEGAL_COMMAND), self.error.index.eq(words.index)]

    def _elaborate_upcoming(self, m: Module) -> None:
        """Walks through blocks, kernel rows, kernel columns and runs, one pass ahead of the stream."""
        following, words, front = self._upcoming, self._next, self._front
        row = Signal(following.shape(), reset_less=True)
        column = Signal(following.shape(), reset_less=True)
        block = Signal(following.shape(), reset_less=True)

        def begin_block(command: Any, address: Value, x: Value) -> list[Any]:
            return [
                *(place.address.eq(address) for place in (following, row, column, block)),
                *(place.x.eq(x) for place in (following, row, column, block)),
                *(place.y.eq(command.origin_y) for place in (following, row, column)),
                self._runs_left.eq(command.runs - 1),
                self._kernel_columns_left.eq(command.kernel_columns - 1),
                self._kernel_rows_left.eq(command.kernel_rows - 1),
                self._upcoming_first.eq(~command.accumulate),
            ]

        def moved(place: Any, step: Value, x_step: Value | int, y_step: Value | int, *targets: Any) -> list[Any]:
            return [
                assignment
                for target in targets
                for assignment in (
                    target.address.eq(place.address + step),
                    target.x.eq(place.x + x_step),
                    target.y.eq(place.y + y_step),
                )
            ]

        with m.If(self._take):
            m.d.sync += begin_block(words, words.source, words.origin_x)
            m.d.sync += [self._blocks_left.eq(words.blocks - 1), self._upcoming_destination.eq(words.destination)]
        with m.Elif(self._first_slot):
            m.d.sync += self._upcoming_first.eq(0)
            with m.If(self._runs_left != 0):
                m.d.sync += self._runs_left.eq(self._runs_left - 1)
                m.d.sync += moved(following, self._config.rows, self._config.rows, 0, following)
            with m.Elif(self._kernel_columns_left != 0):
                step = front.kernel_column_step
                m.d.sync += [
                    self._kernel_columns_left.eq(self._kernel_columns_left - 1),
                    self._runs_left.eq(front.runs - 1),
                ]
                m.d.sync += moved(column, step, step, 0, column, following)
            with m.Elif(self._kernel_rows_left != 0):
                m.d.sync += [
                    self._kernel_rows_left.eq(self._kernel_rows_left - 1),
                    self._kernel_columns_left.eq(front.kernel_columns - 1),
                    self._runs_left.eq(front.runs - 1),
                ]
                m.d.sync += moved(row, front.kernel_row_step, 0, front.kernel_row_y, row, column, following)
            with m.Else():
                # Every block of a depthwise convolution has channels of its own.
                channels = Mux(front.mode == Mode.DEPTHWISE, self._config.columns, 0)
                m.d.sync += begin_block(front, block.address + channels, block.x + channels)
                m.d.sync += [
                    self._blocks_left.eq(self._blocks_left - 1),
                    self._upcoming_destination.eq(self._upcoming_destination + self._config.columns),
                ]

    def _elaborate_passes(self, m: Module) -> None:
        """Starts passes, and counts their slots and vectors."""
        config, front = self._config, self._front
        last = (self._runs_left == 0) & (self._kernel_columns_left == 0) & (self._kernel_rows_left == 0)
        finish = self._finishing
        m.d.comb += finish.eq(last & (front.finish != Finish.KEEP))
        m.d.sync += self._first_slot.eq(self._start_pass)

        def slots(finish: Finish) -> Value:
            counts = []
            for apart in (True, False):
                least, tail = pass_slots(config, apart=apart, finish=finish)
                counts.append((Mux(front.pixels > least, front.pixels, least) if least else front.pixels) + tail)
            return Mux((front.mode == Mode.DEPTHWISE) | front.staged, *counts)

        with m.If(self._start_pass):
            m.d.sync += [
                self._pass.eq(front),
                self._streaming.eq(1),
                self._final.eq(last & (self._blocks_left == 0)),
                self._slots_left.eq(
                    Mux(
                        finish,
                        Mux(front.finish == Finish.RETURN, slots(Finish.RETURN), slots(Finish.STORE)),
                        slots(Finish.KEEP),
                    )
                ),
                self._pixels_left.eq(front.pixels),
                self._finish.eq(finish),
                self._first.eq(self._upcoming_first),
                self._channels.eq(Mux(self._blocks_left == 0, front.last_channels, config.columns)),
            ]
        with m.Else():
            with m.If(self._streaming):
                m.d.sync += [self._slots_left.eq(self._slots_left - 1), self._streaming.eq(self._slots_left != 1)]
            with m.If(self._pixels_left != 0):
                m.d.sync += self._pixels_left.eq(self._pixels_left - 1)

    def _elaborate_rows(self, m: Module) -> _TileRow:
        """Reads weights, and a block's parameters behind them, in the order in which they lie.

        Returns the reads of staged ones, one cycle before the scratchpad is to see them.
        """
        config, words = self._config, self._next
        bits = len(words.weight_address) + 1
        following = Signal(bits, reset_less=True)
        following_tile = Signal(bits, reset_less=True)
        zero_point = Signal(signed(8), reset_less=True)
        staged = Signal(reset_less=True)
        parameters_left = Signal(range(PARAMETER_ROWS + 1))
        entering = Signal()
        m.d.comb += entering.eq(self._take | self._follow | self._entering)
        with m.If(self._take):
            m.d.sync += [zero_point.eq(words.weight_zero_point), staged.eq(words.staged)]

        slot = {
            "enable": Signal(),
            "tile": Signal(),
            "parameter": Signal(),
            "address": Signal(bits),
            "tile_address": Signal(bits),
            "zero_point": Signal(signed(8)),
            "index": Signal(INDEX_BITS),
        }
        m.d.comb += [
            slot["parameter"].eq(parameters_left != 0),
            slot["tile"].eq(entering & Mux(self._take, words.staged, staged)),
            slot["enable"].eq((entering & ~slot["tile"]) | slot["parameter"]),
            slot["address"].eq(Mux(self._take, words.weight_address, following)),
            slot["tile_address"].eq(Mux(self._take, words.tile_address, following_tile)),
            slot["zero_point"].eq(Mux(self._take, words.weight_zero_point, zero_point)),
            slot["index"].eq(Mux(self._take, words.index, self._front.index)),
        ]
        with m.If(slot["enable"] | self._take):
            m.d.sync += following.eq(slot["address"] + slot["enable"])
        with m.If(slot["tile"]):
            m.d.sync += following_tile.eq(slot["tile_address"] + 1)
        with m.If(self._start_pass):
            m.d.sync += parameters_left.eq(Mux(self._finishing, PARAMETER_ROWS, 0))
        with m.Elif(slot["parameter"]):
            m.d.sync += parameters_left.eq(parameters_left - 1)

        stages = [slot]
        for stage in range(ISSUE_LATENCY):
            registers = {name: Signal.like(value, name=f"row_{name}_{stage}") for name, value in slot.items()}
            m.d.sync += [register.eq(stages[-1][name]) for name, register in registers.items()]
            stages.append(registers)
        slot, before = stages[-1], stages[-2]
        m.d.comb += [
            self.weights.enable.eq(slot["enable"]),
            self.weights.address.eq(slot["address"]),
            self.parameter_row.eq(slot["parameter"]),
            self.weight_zero_point.eq(slot["zero_point"]),
        ]
        row_bytes = config.weight_row_bytes
        beyond = slot["address"] >= config.weight_bytes // row_bytes
        outside = slot["tile_address"] >= config.scratchpad_bytes // row_bytes
        with m.If(self.error.code == ErrorCode.NONE):
            with m.If(slot["enable"] & beyond):
                m.d.sync += [self.error.code.eq(ErrorCode.WEIGHT_RANGE), self.error.index.eq(slot["index"])]
            with m.Elif(slot["tile"] & outside):
                m.d.sync += [self.error.code.eq(ErrorCode.SCRATCHPAD_RANGE), self.error.index.eq(slot["index"])]
        return _TileRow(before["tile"], before["tile_address"] << (row_bytes - 1).bit_length())

    def _elaborate_pixels(self, m: Module, tile: _TileRow) -> None:
        """Walks through the vectors of a pass: where they lie, which bytes exist, which give outputs and where."""
        config, upcoming, front, command = self._config, self._upcoming, self._front, self._pass
        lanes = config.vector_bytes
        place, row, strip = (
            Signal(upcoming.shape(), name=f"vector_{n}", reset_less=True) for n in ("at", "row", "strip")
        )
        output, output_row, output_strip = (
            Signal(ADDRESS_BITS, name=f"output_{n}", reset_less=True) for n in ("at", "row", "strip")
        )
        columns_left, rows_left = (Signal(16, name=f"{n}_left", reset_less=True) for n in ("columns", "rows"))
        until_row, until_column = (Signal(8, name=f"until_{n}", reset_less=True) for n in ("row", "column"))
        number = Signal(16, reset_less=True)
        fresh = Signal(reset_less=True)
        pixel, emits, begin, leaves, stores = (Signal(name=n) for n in ("pixel", "emits", "begin", "leaves", "stores"))
        m.d.comb += [
            pixel.eq(self._pixels_left != 0),
            emits.eq(pixel & (until_row == 0) & (until_column == 0)),
            begin.eq(self._finish & self._first_slot),
            leaves.eq(self._finish & (~command.gather | (self._pixels_left == 1))),
            stores.eq(leaves & (command.finish == Finish.STORE)),
        ]

        def go_to(address: Value, x: Value, y: Value, *targets: Any) -> list[Any]:
            fields = (("address", address), ("x", x), ("y", y))
            return [getattr(target, name).eq(value) for target in targets for name, value in fields]

        with m.If(self._start_pass):
            m.d.sync += [
                *(target.eq(upcoming) for target in (place, row, strip)),
                *(target.eq(self._upcoming_destination) for target in (output, output_row, output_strip)),
                columns_left.eq(front.columns),
                rows_left.eq(front.strip_rows),
                until_row.eq(front.skip_rows),
                until_column.eq(front.skip_columns),
                number.eq(0),
                fresh.eq(1),
            ]
        with m.Elif(pixel):
            with m.If(emits):
                m.d.sync += [number.eq(number + (~command.gather)[0]), fresh.eq(0)]
            with m.If(columns_left != 1):
                m.d.sync += go_to(place.address + command.column_step, place.x + command.column_step, place.y, place)
                m.d.sync += [
                    columns_left.eq(columns_left - 1),
                    until_column.eq(Mux(until_column == 0, command.every_column, until_column) - 1),
                ]
                with m.If(until_column == 0):
                    m.d.sync += output.eq(output + command.destination_column_step)
            with m.Else():
                m.d.sync += [columns_left.eq(command.columns), until_column.eq(command.skip_columns)]
                with m.If(rows_left != 1):
                    step = command.row_step
                    m.d.sync += go_to(row.address + step, row.x, row.y + command.row_y, place, row)
                    m.d.sync += [
                        rows_left.eq(rows_left - 1),
                        until_row.eq(Mux(until_row == 0, command.every_row, until_row) - 1),
                    ]
                    following = Mux(until_row == 0, output_row + command.destination_row_step, output_row)
                    m.d.sync += [output.eq(following), output_row.eq(following)]
                with m.Else():
                    step = command.strip_step
                    m.d.sync += go_to(strip.address + step, strip.x + step, strip.y, place, row, strip)
                    m.d.sync += [rows_left.eq(command.strip_rows), until_row.eq(command.skip_rows)]
                    following = output_strip + command.destination_strip_step
                    m.d.sync += [target.eq(following) for target in (output, output_row, output_strip)]

        # First register: lanes `low` to `high` lie in the image's row.
        valid, swap, depthwise, accumulate_valid, output_valid = (
            Signal(2, name=n)
            for n in ("vector", "first_vector", "depthwise_vector", "accumulate_vector", "output_vector")
        )
        low, high = (Signal(range(lanes + 1), name=n, reset_less=True) for n in ("low", "high"))
        inside = Signal(reset_less=True)
        address = Signal(signed(ADDRESS_BITS), reset_less=True)
        fill = Signal(8, reset_less=True)
        accumulate = Signal(self.accumulate.shape(), reset_less=True)
        out = Signal(self.output.shape(), reset_less=True)
        room = Signal(signed(ADDRESS_BITS + 2))
        last = self._final & (self._pixels_left == 1)
        m.d.comb += room.eq(command.row_bytes - place.x)
        m.d.sync += [
            valid.eq(Cat(pixel, valid)),
            swap.eq(Cat(self._first_slot, swap)),
            depthwise.eq(Cat(pixel & (command.mode == Mode.DEPTHWISE), depthwise)),
            accumulate_valid.eq(Cat(emits | begin, accumulate_valid)),
            output_valid.eq(Cat((emits & stores) | (pixel & last), output_valid)),
        ]
        with m.If(pixel):
            m.d.sync += [
                low.eq(Mux(place.x >= 0, 0, Mux(place.x <= -lanes, lanes, -place.x))),
                high.eq(Mux(room <= 0, 0, Mux(room >= lanes, lanes, room))),
                inside.eq((place.y >= 0) & (place.y < command.height)),
                address.eq(place.address),
                fill.eq(command.fill),
                accumulate.address.eq(number),
                accumulate.combine.eq(command.combine),
                accumulate.pre_shift.eq(command.pre_shift),
                accumulate.begin.eq(begin),
                accumulate.square.eq(command.square),
                accumulate.pixel.eq(emits),
                accumulate.first.eq(self._first & (fresh | ~command.gather)),
                accumulate.last.eq(leaves),
                accumulate.through.eq(leaves & (command.finish == Finish.RETURN)),
                out.write.eq(stores & emits),
                out.last.eq(last),
                out.address.eq(output),
                out.channels.eq(self._channels),
                out.zero_point.eq(command.zero_point),
                out.lower.eq(command.lower),
                out.upper.eq(command.upper),
                out.index.eq(command.index),
            ]

        # Second register: the lanes as a mask, and whether they all lie in the scratchpad.
        outside, beyond = Signal(), Signal()
        m.d.comb += [
            self.read.enable.eq(valid[1] | self.tile_row),
            self.swap.eq(swap[1]),
            self.depthwise.eq(depthwise[1]),
            self.accumulate_valid.eq(accumulate_valid[1]),
            self.output_valid.eq(output_valid[1]),
        ]
        m.d.sync += self.tile_row.eq(tile.valid)
        with m.If(valid[0] | tile.valid):
            m.d.sync += self.read.address.eq(Mux(tile.valid, tile.address, address))
        with m.If(valid[0]):
            m.d.sync += [
                self.read.fill.eq(fill),
                self.read.mask.eq(Mux(inside, ((1 << high) - 1) & ~((1 << low) - 1), 0)),
                self.accumulate.eq(accumulate),
                self.output.eq(out),
                outside.eq(inside & (low < high) & ((address + low < 0) | (address + high > config.scratchpad_bytes))),
            ]
        # Sums of a pass that is the first as well as the last go past the accumulators.
        held = ~(self._first & stores)
        m.d.sync += beyond.eq(emits & held & (number >= config.accumulator_depth))
        with m.If(self.error.code == ErrorCode.NONE):
            with m.If(valid[1] & outside):
                m.d.sync += [self.error.code.eq(ErrorCode.SCRATCHPAD_RANGE), self.error.index.eq(self.output.index)]
            with m.Elif(beyond):
                m.d.sync += [self.error.code.eq(ErrorCode.ACCUMULATOR_RANGE), self.error.index.eq(out.index)]
