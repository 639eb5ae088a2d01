"""The sequencer: decides, cycle by cycle, what enters the execute engine's pipeline."""

from typing import Any, NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from . import accumulators, backlog, scratchpad, weights
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
from .engine import ERROR, Error, command_layout, note_error
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

_GATHER_EVERY = accumulators.REVISIT
"""The fewest vectors from one output to the next, where they share an accumulator."""


class _Countdown:
    """Counts what is left, the one in hand included; whether that is the `last` is a bit of the register."""

    def __init__(self, bits: int, name: str) -> None:
        self._left = Signal(signed(bits + 1), name=f"{name}_left", reset_less=True)  # less two
        self.last = self._left[-1]

    def move(self, begin: Any, count: Any) -> Any:
        """The assignment that begins with a count of 1 or more, or else takes away one."""
        return self._left.eq(Mux(begin, count, self._left) + Cat(~begin, Const(-1, len(self._left) - 1)).as_signed())


class PassSlots(NamedTuple):
    """How many slots a pass has: as many as it streams vectors, but at least `least`, and `tail` more."""

    least: int
    tail: int


def return_tail(config: Config) -> int:
    """The fewest slots from the end of a pass whose results come back to the next pass, which may read them.

    A pass ends with its last vector or, if that is later, with the last turn of the lanes for it.
    """
    return backlog.return_latency(config) + accumulators.REVISIT - 1


def pass_slots(config: Config, *, apart: bool, finish: int) -> PassSlots:
    """The slots of a pass, in which the weights of the next and, if it finishes, its block's parameters move in.

    The array's north cannot take data and weights at once, nor can the scratchpad deliver both: a pass that is
    depthwise, or staged, ends before weights move in, and keeps the two `apart`.
    """
    parameters = PARAMETER_ROWS if finish else 0
    if apart:
        return PassSlots(parameters, max(config.rows, return_tail(config) if finish == Finish.RETURN else 0))
    return PassSlots(config.rows + parameters, 0)


class _TileRow(NamedTuple):
    """Whether a staged row of weights is to be read, and its byte address."""

    valid: Value
    address: Value


class _Vector(NamedTuple):
    """The vector of a slot, where it is `valid`: its place, and what comes of it.

    `begins`: it is the first of a pass that finishes. `emits`: it gives an output, whose place among the accumulators
    is `number`; `fresh`: none before it in the pass did. `leaves`: the total of its output goes to the lanes; `stores`:
    and from there to the address in the scratchpad that is `output` a cycle later.
    """

    valid: Value
    place: data.View
    begins: Value
    emits: Value
    number: Value
    fresh: Value
    leaves: Value
    stores: Value
    output: Value


def accumulate_layout(config: Config) -> data.StructLayout:
    """What a vector's step tells the accumulators, and the lanes behind them.

    `begin`: it is the first of a pass that finishes, and brings `pre_shift` and `square`. `pixel`: it gives an output,
    whose total, where it is the `last`, goes to the lanes. `through`: so do its sums alone, to come back as results.
    `enters`: the lanes take notice of it, be it only that it is the last of its pass.
    """
    return data.StructLayout(
        {
            "address": (config.accumulator_depth - 1).bit_length(),
            "combine": 2,
            "pre_shift": 5,
            **dict.fromkeys(("begin", "square", "pixel", "first", "last", "through", "enters"), 1),
        }
    )


def output_layout(config: Config) -> data.StructLayout:
    """What travels beside an output: where it goes, how it is clamped, and whether a command ends with it."""
    return data.StructLayout(
        {
            "write": 1,
            "last": 1,
            "address": (config.scratchpad_bytes - 1).bit_length(),
            "channels": range(config.columns + 1),
            "zero_point": signed(8),
            "lower": signed(8),
            "upper": signed(8),
        }
    )


_PLACE = data.StructLayout({"x": signed(ADDRESS_BITS), "line": signed(ADDRESS_BITS), "y": signed(18)})
"""Where a vector lies: the place of its first byte in its image row, the address of that row, and the row's number."""


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

        self._failed = Signal()
        self._begin = Signal()  # the front is new

        # The pass that the front prepares.
        self._upcoming = Signal(_PLACE, reset_less=True)
        self._upcoming_destination = Signal(ADDRESS_BITS, reset_less=True)
        self._runs = _Countdown(16, "runs")
        self._kernel_columns = _Countdown(12, "kernel_columns")
        self._kernel_rows = _Countdown(12, "kernel_rows")
        self._blocks = _Countdown(12, "blocks")
        self._upcoming_first = Signal(reset_less=True)
        self._finishing = Signal()

        # The pass that streams. `_slots` are those to come, this one included, beyond the `rows + 1` in which the next
        # pass may prepare. `_pixel`: this slot has a vector.
        self._streaming = Signal()
        self._first_slot = Signal()
        self._first = Signal(reset_less=True)
        self._finish = Signal(reset_less=True)
        self._final = Signal(reset_less=True)
        self._channels = Signal(range(config.columns + 1), reset_less=True)
        self._slots = Signal(signed(18), reset_less=True)
        self._pixel = Signal()
        self._pixels = _Countdown(16, "pixels")

        # Whether what a vector leads to goes to the lanes; whether a pass that finishes may begin in R slots; whether
        # this pass waits for the lanes before it ends.
        self._enters = Signal()
        self._free = Signal()
        self._held = Signal()

    def _slots_left(self, count: int) -> Value:
        """Whether so many slots of the pass are left, this one included: `rows` or fewer."""
        rows = self._config.rows
        bits = rows.bit_length()
        return (self._slots < 0) & (self._slots[:bits] == (count - rows - 1) % (1 << bits))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        illegal = self._elaborate_commands(m)
        self._elaborate_upcoming(m)
        self._elaborate_passes(m)
        tile, row_errors = self._elaborate_rows(m)
        vector_errors = self._elaborate_steps(m, self._elaborate_vectors(m), tile)
        self._elaborate_backlog(m)
        # What lies further back in the pipeline is of an earlier command.
        note_error(m, self, self._failed, *vector_errors, *row_errors, illegal)
        return m

    def _elaborate_commands(self, m: Module) -> Error:
        """Gathers words, and hands the command to the front when it may start; returns why it may never."""
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

        # What the command is, and whether it may start, is looked at for a cycle before it does.
        checked, reached, legal, at_once = (Signal(name=n) for n in ("checked", "reached", "legal", "at_once"))
        depthwise = words.mode == Mode.DEPTHWISE
        single = Cat(words[name] == 1 for name in ("kernel_rows", "kernel_columns", "runs")).all()
        m.d.sync += [
            checked.eq(full),
            reached.eq(
                (self.load_completed >= words.wait_load)
                & (self.store_completed >= words.wait_store)
                & (self.completed >= words.wait_execute)
            ),
            at_once.eq(single & (words.finish != Finish.KEEP)),
            legal.eq(
                (words.opcode == Opcode.EXECUTE)
                & ((words.mode == Mode.CONVOLUTION) | (depthwise & (words.runs == 1)))
                & Cat(words[name] != 0 for name in _AT_LEAST_ONE).all()
                & (words.last_channels <= config.columns)
                & (words.finish <= Finish.RETURN)
                & (words.combine <= Combine.SUBTRACT)
                & ((words.finish != Finish.RETURN) | (depthwise & single & (words.blocks == 1) & ~words.gather))
                & (
                    ~words.gather
                    | (depthwise & (words.pixels <= words.columns) & (words.every_column >= _GATHER_EVERY))
                )
            ),
        ]
        room = ~self._streaming | (self._final & (self._slots < 0) & ~self._held)
        # Staged weights come through the port that the vectors take.
        room &= ~words.staged | ~self._pixel
        able = Signal()
        entering = self._entering
        rows_left = Signal(range(config.rows))
        m.d.comb += [
            able.eq(checked & room & ~entering & ~self.halt & ~self._failed),
            self._take.eq(able & reached & legal & (self._free | ~at_once)),
            # Lanes that columns share may be at work for longer than the control's patience.
            self.waiting.eq(able & ~reached & ~self._streaming & self._free),
            self.next_index.eq(words.index),
            self.busy.eq((filled != 0) | (started != self.completed)),
        ]
        m.d.sync += self._begin.eq(self._take)
        with m.If(self._take):
            m.d.sync += [filled.eq(0), checked.eq(0), started.eq(started + 1)]
        # Where there is room for a command, the front has done with its own, and may have what is no command yet.
        with m.If(room & ~entering):
            m.d.sync += self._front.eq(words)

        # The front: R rows of weights, then the pass that uses them.
        m.d.comb += self._follow.eq(
            self._streaming & ~self._final & self._slots_left(config.rows) & (self._free | ~self._finishing)
        )
        m.d.sync += self._start_pass.eq(entering & (rows_left == 2))
        with m.If(self._take | self._follow):
            m.d.sync += [entering.eq(1), rows_left.eq(config.rows - 1)]
        with m.Elif(entering):
            m.d.sync += [entering.eq(~self._start_pass), rows_left.eq(rows_left - 1)]

        return Error(able & ~legal, ErrorCode.ILLEGAL_COMMAND, words.index)

    def _elaborate_upcoming(self, m: Module) -> None:
        """Walks through blocks, kernel rows, kernel columns and runs, one pass ahead of the stream.

        Each coordinate has one adder; what differs from step to step is chosen before it.
        """
        config, upcoming, front = self._config, self._upcoming, self._front
        column_x, block_x = (Signal(signed(ADDRESS_BITS), name=f"{n}_x", reset_less=True) for n in ("column", "block"))
        x = Signal(signed(ADDRESS_BITS), name="following_x")
        # Where passes may have to wait for the lanes, the kind of the next must be known in the first slot of the last.
        begin, first_slot = self._begin, self._start_pass if config.turns > 1 else self._first_slot
        counts = {
            "run": (self._runs, front.runs),
            "column": (self._kernel_columns, front.kernel_columns),
            "row": (self._kernel_rows, front.kernel_rows),
            "block": (self._blocks, front.blocks),
        }
        # A step in one of them lets those before it begin anew. Which one it will be comes from registers: a command
        # begins three cycles before its first step, and passes are four apart or more, as R is 4 at least.
        step = {name: Signal(name=f"step_{name}") for name in counts}
        before: Value = Const(1, 1)
        ended: Value = Const(1, 1)
        for name, (left, count) in counts.items():
            with m.If(begin | (first_slot & ended)):
                m.d.sync += left.move(begin | left.last, count)
            ends = Signal(name=f"{name}_ends", reset_less=True)
            before = before & left.last
            m.d.sync += ends.eq(before)
            m.d.comb += step[name].eq(first_slot & ended & ~ends)
            ended = ends

        new_block = step["block"]
        anew = begin | new_block
        run, column, row = (~counts[name][0].last for name in ("run", "column", "row"))  # where there is no new block
        m.d.comb += x.eq(
            Mux(run, upcoming.x, Mux(column, column_x, block_x))
            + Mux(
                run,
                config.rows,
                # Every block of a depthwise convolution has channels of its own.
                Mux(
                    column,
                    front.kernel_column_step,
                    Mux(~row & (front.mode == Mode.DEPTHWISE), config.columns, 0),
                ),
            )
        )
        with m.If(begin | first_slot):
            m.d.sync += upcoming.x.eq(Mux(begin, front.origin_x, x))
            with m.If(~step["run"]):
                m.d.sync += column_x.eq(Mux(begin, front.origin_x, x))
            with m.If(anew):
                m.d.sync += block_x.eq(Mux(begin, front.origin_x, x))
        with m.If(anew):
            m.d.sync += [upcoming.y.eq(front.origin_y), self._upcoming_first.eq(~front.accumulate)]
        with m.Elif(first_slot):
            m.d.sync += self._upcoming_first.eq(0)
            with m.If(step["row"]):
                m.d.sync += upcoming.y.eq(upcoming.y + front.kernel_row_y)
        with m.If(anew | step["row"]):
            m.d.sync += upcoming.line.eq(
                Mux(anew, front.source, upcoming.line) + Mux(anew, ~front.origin_x, front.kernel_row_step) + anew
            )
        # Outputs are a cycle behind their vectors.
        begun, moved = Signal(), Signal()
        m.d.sync += [begun.eq(begin), moved.eq(anew)]
        with m.If(moved):
            m.d.sync += self._upcoming_destination.eq(
                Mux(begun, front.destination, self._upcoming_destination) + Mux(begun, 0, config.columns)
            )

    def _elaborate_passes(self, m: Module) -> None:
        """Starts passes, and counts their slots and vectors."""
        config, front = self._config, self._front
        last = self._runs.last & self._kernel_columns.last & self._kernel_rows.last
        finish = self._finishing
        m.d.comb += finish.eq(last & (front.finish != Finish.KEEP))
        m.d.sync += self._first_slot.eq(self._start_pass)

        # One adder does for all kinds of pass, on numbers that are known as soon as the front is. Whether a pass
        # finishes is known two cycles before it starts, or earlier.
        apart = (front.mode == Mode.DEPTHWISE) | front.staged
        slots = {(a, kind): pass_slots(config, apart=a, finish=kind) for a in (False, True) for kind in Finish}
        addends = []
        for name, kind in (("plain", Const(Finish.KEEP.value, 2)), ("finishing", front.finish)):
            # Vectors, if they are more than `least`, and a number.
            longer, number = Signal(name=f"{name}_longer"), Signal(signed(8), name=f"{name}_number")
            with m.Switch(Cat(apart, kind)):
                for (is_apart, which), (least, tail) in slots.items():
                    with m.Case(int(is_apart) | which.value << 1):
                        m.d.comb += longer.eq(front.pixels > least)
                        m.d.comb += number.eq(Mux(longer, tail, least + tail) - (config.rows + 1))
            held = Signal(len(number) + 1, name=f"{name}_addend", reset_less=True)
            m.d.sync += held.eq(Cat(longer, number))
            addends.append(held)
        addend = Mux(finish, addends[1], addends[0])
        length = Signal.like(self._slots, name="upcoming_slots")
        m.d.sync += length.eq(Mux(addend[0], front.pixels, 0) + addend[1:].as_signed())
        passes = self._streaming & ~self._held
        with m.If(self._start_pass):
            m.d.sync += [
                self._pass.eq(front),
                self._streaming.eq(1),
                self._final.eq(last & self._blocks.last),
                self._finish.eq(finish),
                self._first.eq(self._upcoming_first),
                self._channels.eq(Mux(self._blocks.last, front.last_channels, config.columns)),
            ]
        with m.Elif(passes):
            m.d.sync += self._streaming.eq(~self._slots_left(1))
        with m.If(self._start_pass | passes):
            m.d.sync += self._slots.eq(Mux(self._start_pass, length, self._slots) - ~self._start_pass)
        with m.If(self._start_pass | self._pixel):
            m.d.sync += [
                self._pixel.eq(self._start_pass | ~self._pixels.last),
                self._pixels.move(self._start_pass, front.pixels),
            ]

    def _elaborate_rows(self, m: Module) -> tuple[_TileRow, list[Error]]:
        """Reads weights, and a block's parameters behind them, in the order in which they lie.

        Returns the reads of staged ones, one cycle before the scratchpad is to see them, and what is wrong with rows.
        """
        config, front = self._config, self._front
        parameters_left = Signal(range(PARAMETER_ROWS + 1))
        with m.If(self._start_pass):
            m.d.sync += parameters_left.eq(Mux(self._finishing, PARAMETER_ROWS, 0))
        with m.Elif(parameters_left != 0):
            m.d.sync += parameters_left.eq(parameters_left - 1)

        # First register: whether there is a row. By then the front is the command that it belongs to.
        weight, parameter = Signal(name="weight_row"), Signal(name="parameter_row_follows")
        m.d.sync += [
            weight.eq(self._take | self._follow | self._entering),
            parameter.eq(parameters_left != 0),
        ]
        # Second register: which one.
        bits = len(front.weight_address) + 1
        following, address = (Signal(bits, name=f"row_{n}", reset_less=True) for n in ("following", "address"))
        tile_following, tile_address = (Signal(bits, name=f"tile_{n}", reset_less=True) for n in ("following", "at"))
        index = Signal(INDEX_BITS, name="row_index", reset_less=True)
        here = Mux(self._begin, front.weight_address, following)
        tile_here = Mux(self._begin, front.tile_address, tile_following)
        buffered, staged = Signal(), Signal()
        m.d.comb += [staged.eq(weight & front.staged), buffered.eq((weight & ~front.staged) | parameter)]
        m.d.sync += [self.weights.enable.eq(buffered), self.tile_row.eq(staged), self.parameter_row.eq(parameter)]
        with m.If(weight | parameter):
            m.d.sync += [
                following.eq(here + buffered),
                tile_following.eq(tile_here + staged),
                address.eq(here),
                tile_address.eq(tile_here),
                index.eq(front.index),
                self.weight_zero_point.eq(front.weight_zero_point),
            ]
        m.d.comb += self.weights.address.eq(address)

        row_bytes = config.weight_row_bytes
        beyond = address >= config.weight_bytes // row_bytes
        outside = tile_address >= config.scratchpad_bytes // row_bytes
        return _TileRow(staged, tile_here << (row_bytes - 1).bit_length()), [
            Error(self.weights.enable & beyond, ErrorCode.WEIGHT_RANGE, index),
            Error(self.tile_row & outside, ErrorCode.SCRATCHPAD_RANGE, index),
        ]

    def _elaborate_backlog(self, m: Module) -> None:
        """Lets passes wait for the lanes, where columns take turns there: two that finish may not meet in them."""
        config = self._config
        if config.turns == 1:
            m.d.comb += self._free.eq(1)
            return
        # Slots from this one on for which the lanes have enough to do.
        backlog = Signal(range((config.accumulator_depth + 2) * config.turns))
        with m.If(self._enters):
            m.d.sync += backlog.eq(backlog + config.turns - 1)
        with m.Elif(backlog != 0):
            m.d.sync += backlog.eq(backlog - 1)

        # Vectors of this pass may still add to it.
        adds = (self._finish | self._final) & self._pixel
        tail = return_tail(config)
        limit = max(config.rows, tail)
        returns = self._finish & (self._pass.finish == Finish.RETURN)
        m.d.comb += [
            self._free.eq((backlog <= config.rows) & ~adds),
            self._held.eq(
                (returns & (self._slots == limit - config.rows - 1) & (backlog > limit - tail))
                | (~self._final & self._slots_left(config.rows) & ~self._free & self._finishing)
            ),
        ]

    def _elaborate_vectors(self, m: Module) -> _Vector:
        """Walks through the vectors of a pass: where they lie, which give outputs and where."""
        upcoming, front, command = self._upcoming, self._front, self._pass
        place = Signal(_PLACE, name="vector", reset_less=True)
        strip_x = Signal(signed(ADDRESS_BITS), reset_less=True)
        pass_line = Signal(signed(ADDRESS_BITS), reset_less=True)
        pass_y = Signal.like(upcoming.y, name="pass_y", reset_less=True)
        output, output_row, output_strip = (
            Signal(ADDRESS_BITS, name=f"output_{n}", reset_less=True) for n in ("at", "row", "strip")
        )
        columns, rows = _Countdown(16, "columns"), _Countdown(16, "strip_rows")
        # Rows, or vectors of a row, before the next with an output, less one.
        before_row, before_column = (Signal(signed(9), name=f"before_{n}", reset_less=True) for n in ("row", "column"))
        row_counts, column_counts = before_row[-1], before_column[-1]
        number = Signal(16, reset_less=True)
        fresh = Signal(reset_less=True)
        emits, begin, leaves, stores = (Signal(name=n) for n in ("emits", "begin", "leaves", "stores"))
        pixel = self._pixel
        m.d.comb += [
            emits.eq(pixel & row_counts & column_counts),
            begin.eq(self._finish & self._first_slot),
            leaves.eq(self._finish & (~command.gather | self._pixels.last)),
            stores.eq(leaves & (command.finish == Finish.STORE)),
            self._enters.eq(emits & leaves),
        ]
        if self._config.turns > 1:
            ends = pixel & self._pixels.last & (self._finish | self._final)
            m.d.comb += self._enters.eq((emits & leaves) | ends)

        in_row, in_strip = ~columns.last, ~rows.last
        new_row, new_strip = Signal(), Signal()
        m.d.comb += [new_row.eq(pixel & ~in_row & in_strip), new_strip.eq(pixel & ~in_row & ~in_strip)]
        with m.If(self._start_pass):
            m.d.sync += [
                place.eq(upcoming),
                strip_x.eq(upcoming.x),
                pass_line.eq(upcoming.line),
                pass_y.eq(upcoming.y),
                number.eq(0),
                fresh.eq(1),
            ]
        with m.Elif(pixel):
            x = Mux(in_row, place.x, strip_x) + Mux(in_row, command.column_step, Mux(in_strip, 0, command.strip_step))
            m.d.sync += place.x.eq(x)
            with m.If(new_strip):
                m.d.sync += [strip_x.eq(x), place.line.eq(pass_line), place.y.eq(pass_y)]
            with m.If(new_row):
                m.d.sync += [place.line.eq(place.line + command.row_step), place.y.eq(place.y + command.row_y)]
            with m.If(emits):
                m.d.sync += [number.eq(number + (~command.gather)[0]), fresh.eq(0)]

        # What is left of a row or strip, and before the next output in it. A strip of 0 rows is one without end.
        endless = Signal(reset_less=True)
        m.d.sync += endless.eq(front.strip_rows == 0)
        source = {
            name: Mux(self._start_pass, front[name], command[name])
            for name in ("columns", "strip_rows", "skip_columns", "skip_rows")
        }
        source["strip_rows"] = Cat(source["strip_rows"], endless & self._start_pass)
        for left, ahead, count, skip, every, moves, ends in (
            (columns, before_column, "columns", "skip_columns", "every_column", pixel, ~in_row),
            (rows, before_row, "strip_rows", "skip_rows", "every_row", pixel & ~in_row, ~in_strip),
        ):
            anew = self._start_pass | ends
            counts = ahead < 0
            with m.If(self._start_pass | moves):
                m.d.sync += [
                    left.move(anew, source[count]),
                    ahead.eq(
                        Mux(anew, source[skip], Mux(counts, command[every], ahead))
                        + Cat(~(counts & ~anew), Const(-1, len(ahead) - 1)).as_signed()
                    ),
                ]

        # An output leads to the next; at the end of its row or strip, to the first of the next row or strip. Which of
        # these it is, is decided a cycle before: outputs are a cycle behind their vectors.
        starts, moves, ends_row, ends_strip, column_moves, row_moves = (
            Signal(name=f"output_{n}")
            for n in ("starts", "moves", "ends_row", "ends_strip", "column_moves", "row_moves")
        )
        m.d.sync += [
            starts.eq(self._start_pass),
            moves.eq(self._start_pass | pixel),
            ends_row.eq(~in_row),
            ends_strip.eq(~in_row & ~in_strip),
            column_moves.eq(in_row & column_counts),
            row_moves.eq(~in_row & in_strip & row_counts),
        ]
        origin = Mux(ends_strip, output_strip, Mux(ends_row, output_row, output))
        move = (
            Mux(column_moves, command.destination_column_step, 0)
            | Mux(row_moves, command.destination_row_step, 0)
            | Mux(ends_strip, command.destination_strip_step, 0)
        )
        following = Signal(ADDRESS_BITS, name="following_output")
        m.d.comb += following.eq(Mux(starts, self._upcoming_destination, origin + move))
        with m.If(moves):
            m.d.sync += output.eq(following)
            with m.If(starts | ends_row):
                m.d.sync += output_row.eq(following)
            with m.If(starts | ends_strip):
                m.d.sync += output_strip.eq(following)
        return _Vector(pixel, place, begin, emits, number, fresh, leaves, stores, output)

    def _elaborate_steps(self, m: Module, vector: _Vector, tile: _TileRow) -> list[Error]:
        """Reads the vectors: which of their bytes exist, and what the later stages need to know.

        Returns what is wrong with vectors.
        """
        config, command = self._config, self._pass
        lanes, shared = config.vector_bytes, config.turns > 1
        pixel, place, emits, number, stores = vector.valid, vector.place, vector.emits, vector.number, vector.stores

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
        out = Signal(self.output.shape(), reset_less=True)  # but for the address, which comes a cycle later
        index, read_index = (Signal(INDEX_BITS, name=name, reset_less=True) for name in ("vector_index", "read_index"))
        room = Signal(signed(ADDRESS_BITS + 2))
        near = lanes.bit_length()  # numbers of so many bits reach from no lane to all, and further
        missing = (1 << near) - place.x[:near]
        last = self._final & self._pixels.last
        m.d.comb += room.eq(command.row_bytes - place.x)
        m.d.sync += [
            valid.eq(Cat(pixel, valid)),
            swap.eq(Cat(self._first_slot, swap)),
            depthwise.eq(Cat(pixel & (command.mode == Mode.DEPTHWISE), depthwise)),
            accumulate_valid.eq(Cat(emits | vector.begins | self._enters, accumulate_valid)),
            output_valid.eq(Cat(self._enters if shared else (emits & stores) | (pixel & last), output_valid)),
        ]
        with m.If(pixel):
            m.d.sync += [
                low.eq(
                    Mux(place.x >= 0, 0, Mux(place.x[near:].all() & (missing < lanes), missing, lanes)),
                ),
                high.eq(Mux(room < 0, 0, Mux(room[near:].any() | (room[:near] >= lanes), lanes, room[:near]))),
                inside.eq((place.y >= 0) & (place.y[:-1] < command.height)),
                address.eq(place.line + place.x),
                fill.eq(command.fill),
                accumulate.address.eq(number),
                accumulate.combine.eq(command.combine),
                accumulate.pre_shift.eq(command.pre_shift),
                accumulate.begin.eq(vector.begins),
                accumulate.square.eq(command.square),
                accumulate.pixel.eq(emits),
                accumulate.first.eq(self._first & (vector.fresh | ~command.gather)),
                accumulate.last.eq(vector.leaves),
                accumulate.through.eq(vector.leaves & (command.finish == Finish.RETURN)),
                accumulate.enters.eq(self._enters),
                out.write.eq(stores & emits),
                out.last.eq(last),
                out.channels.eq(self._channels),
                out.zero_point.eq(command.zero_point),
                out.lower.eq(command.lower),
                out.upper.eq(command.upper),
                index.eq(command.index),
            ]

        # Second register: the lanes as a mask, and whether they all lie in the scratchpad, and the outputs.
        outside, beyond, spills = Signal(), Signal(), Signal()
        # The memory is a multiple of `1 << near` bytes, as well as of the outputs' `1 << span`: few bits are added.
        span = config.columns.bit_length()
        piece, pieces = address[near:-1], config.scratchpad_bytes >> near
        early = (address < 0) & ~(piece.all() & (address[:near] + low)[near])
        late = (address >= 0) & ((piece >= pieces) | ((piece == pieces - 1) & (address[:near] + high > 1 << near)))
        written = vector.output
        block, blocks = written[span:], config.scratchpad_bytes >> span
        m.d.comb += [
            spills.eq((block >= blocks) | ((block == blocks - 1) & (written[:span] + out.channels > 1 << span))),
            self.read.upcoming.eq(valid[0] | tile.valid),
            self.swap.eq(swap[1]),
            self.depthwise.eq(depthwise[1]),
            self.accumulate_valid.eq(accumulate_valid[1]),
            self.output_valid.eq(output_valid[1]),
        ]
        m.d.sync += self.read.enable.eq(self.read.upcoming)
        with m.If(self.read.upcoming):
            m.d.sync += self.read.address.eq(Mux(tile.valid, tile.address, address))
        with m.If(valid[0]):
            m.d.sync += [
                self.read.fill.eq(fill),
                self.read.mask.eq(Cat(inside & (low <= lane) & (high > lane) for lane in range(lanes))),
                self.accumulate.eq(accumulate),
                self.output.eq(out),
                self.output.address.eq(written),
                self.output.write.eq(out.write & ~spills),
                read_index.eq(index),
                outside.eq((inside & (low < high) & (early | late)) | (out.write & spills)),
            ]
        # Sums of a pass that is the first as well as the last go past the accumulators, but may have to wait for lanes.
        held = 1 if shared else ~(self._first & stores)
        m.d.sync += beyond.eq(emits & held & (number >= config.accumulator_depth))
        return [
            Error(valid[1] & outside, ErrorCode.SCRATCHPAD_RANGE, read_index),
            Error(beyond, ErrorCode.ACCUMULATOR_RANGE, index),
        ]
