"""The execute engine: command words in, tiles of outputs in the scratchpad."""

from typing import Any

from amaranth.hdl import Cat, EnableInserter, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, Signature, connect, flipped

from . import accumulators, backlog, scratchpad, weights
from .accumulators import Accumulators
from .array import WEIGHT_BITS, SystolicArray
from .backlog import Backlog
from .commands import PARAMETER_ROWS
from .config import Config
from .delay import DelayLine
from .engine import engine_members
from .requantization import RequantizationLanes
from .sequencer import ISSUE_LATENCY, Sequencer

EVENTS = ("array_step", "output", "weight_read", "accumulator_read", "accumulator_write")


class Pipeline:
    """Where a step is how many cycles after its slot in the sequencer. The cycle model uses the same figures.

    Parameters
    ----------
    config
        The machine.
    """

    def __init__(self, config: Config) -> None:
        self.array = SystolicArray.latency(
            rows=config.rows, columns=config.columns, multiplier_stages=config.multiplier_stages
        )
        self.read = ISSUE_LATENCY
        self.operands = self.read + scratchpad.READ_LATENCY
        self.sums = self.operands + self.array
        self.totals = self.sums + accumulators.LATENCY
        self.lanes = self.totals + backlog.latency(config)
        self.outputs = self.lanes + backlog.result_latency(config) + 1
        self.banks = self.outputs + scratchpad.WRITE_LATENCY
        self.completed = self.banks + 1
        # A block's parameters arrive right behind the weights of its last pass. Until the lanes are through with the
        # block before, those of others may follow, at the distance of the shortest passes that finish.
        self.parameter_sets = 2 + self.lanes // (config.rows + PARAMETER_ROWS)


def _ports(config: Config) -> dict[str, Any]:
    return {
        **engine_members("load", "store"),
        "read": Out(scratchpad.read_signature(config)),
        "write": Out(scratchpad.write_signature(config)),
        "weights": Out(weights.read_signature(config)),
        "events": Out(Signature({name: Out(1) for name in EVENTS})),
    }


class ExecuteEngine(wiring.Component):
    """Runs `Execute` commands in order, overlapping the end of one with the beginning of the next.

    The whole engine holds still in a cycle that is `frozen`. Counted in the other cycles, its timing is:

    * a command's words are taken from `commands`, one per cycle, once the command before it has started;
    * it starts `CHECK_LATENCY` cycles after its words and its dependencies are there, no earlier than R cycles before
      the last pass of its predecessor ends: from then on the weights of its first pass move in, and R cycles later its
      first pass begins;
    * a pass of a convolution takes as many cycles as it streams vectors, but at least R, and R + 9 where it is the last
      of a block that finishes; passes follow each other without a gap;
    * a pass of a depthwise convolution, or of a staged command, takes R cycles more than it streams vectors; where it
      is the last of a block that finishes, at least 9 for the vectors, and where its results come back at least 12
      after them;
    * a staged command starts no earlier than the last vector of its predecessor has been read;
    * where columns share lanes, a pass that finishes begins no earlier than R cycles after the last vector of the one
      that finished before it, and not before the lanes are through with that; one whose results come back ends at
      least `sequencer.return_tail` cycles after the lanes are through with it;
    * `completed` counts the command `Pipeline.completed` cycles after the slot of its last pixel.

    Members
    -------
    ...
        `engine_members`; a command counts as completed when its outputs are all in the scratchpad, the engine is also
        `busy` while it takes in a command, and `waiting` while one waits, nothing streams, and lanes that columns share
        have next to nothing left to do.
    frozen : In(1)
        Hold still.
    read, write, weights
        To the scratchpad and the weight buffer.
    events
        One cycle high for each thing counted.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__({**_ports(config), "frozen": In(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        core = _Core(self._config)
        moving = ~self.frozen
        m.submodules.core = EnableInserter(moving)(core)
        held = ("commands", "read", "write", "weights", "events")
        for name in core.signature.members:
            if name in held:
                continue
            mine, inner = getattr(self, name), getattr(core, name)
            m.d.comb += inner.eq(mine) if core.signature.members[name].flow is In else mine.eq(inner)
        for name in ("read", "write", "weights"):
            connect(m, getattr(core, name), flipped(getattr(self, name)))
        m.d.comb += [
            core.commands.payload.eq(self.commands.payload),
            core.commands.valid.eq(self.commands.valid),
            self.commands.ready.eq(core.commands.ready & moving),
        ]
        m.d.comb += [getattr(self.events, name).eq(getattr(core.events, name) & moving) for name in EVENTS]
        return m


class _Core(wiring.Component):
    """The engine in its own time, which stands still while it is frozen."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._pipeline = Pipeline(config)
        super().__init__(_ports(config))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config, at = self._config, self._pipeline
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.array = array = SystolicArray(
            rows=config.rows,
            columns=config.columns,
            sum_bits=config.sum_bits,
            multiplier_stages=config.multiplier_stages,
        )
        m.submodules.accumulators = sums = Accumulators(config)
        m.submodules.requantization = lanes = RequantizationLanes(
            columns=config.columns,
            lanes=config.lane_count,
            rounding=config.rounding,
            multiplied=config.turns > 1,
            sets=at.parameter_sets,
        )
        m.submodules.backlog = waiting = Backlog(
            config, width=len(sequencer.output.as_value()), ahead=at.totals - at.read
        )

        connect(m, sequencer.commands, flipped(self.commands))
        connect(m, sequencer.read, flipped(self.read))
        connect(m, sequencer.weights, flipped(self.weights))
        m.d.comb += [
            self.error.eq(sequencer.error),
            self.waiting.eq(sequencer.waiting),
            self.next_index.eq(sequencer.next_index),
            self.busy.eq(sequencer.busy),
            sequencer.load_completed.eq(self.load_completed),
            sequencer.store_completed.eq(self.store_completed),
            sequencer.completed.eq(self.completed),
            sequencer.halt.eq(self.halt),
        ]
        # Operands and their control reach the array together.
        swap, depthwise = Signal(scratchpad.READ_LATENCY), Signal(scratchpad.READ_LATENCY)
        m.d.sync += [
            swap.eq((swap << 1) | sequencer.swap),
            depthwise.eq((depthwise << 1) | sequencer.depthwise),
        ]
        north = self._elaborate_north(m, sequencer, lanes)
        vector = Cat(Cat(byte, byte[-1]) for byte in (self.read.data.word_select(c, 8) for c in range(config.columns)))
        m.d.comb += [
            array.west.eq(self.read.data),
            array.north.eq(Mux(depthwise[-1], vector, north)),
            array.swap.eq(swap[-1]),
            array.depthwise.eq(depthwise[-1]),
            sums.sums.eq(array.south),
        ]

        m.submodules.accumulate_line = line = DelayLine(
            width=len(sequencer.accumulate.as_value()), cycles=at.sums - accumulators.LEAD - at.read, block=True
        )
        step = data.View(sequencer.accumulate.shape(), line.o_data)
        place = Cat(step.address, step.combine, step.first)
        pixel, through, begins = Signal(), Signal(), Signal()
        m.d.comb += [
            line.i_valid.eq(sequencer.accumulate_valid),
            line.i_data.eq(sequencer.accumulate),
            pixel.eq(line.o_valid & step.pixel),
            through.eq(pixel & step.through),
            begins.eq(line.o_valid & step.begin),
            # Sums that go through and results that come back are those of one pass; no other step is near.
            sums.through.eq(through),
            sums.back.eq(waiting.back),
            sums.valid.eq((pixel & ~step.through) | waiting.back),
            sums.last.eq(step.last & ~waiting.back),
            Cat(sums.address, sums.combine, sums.first).eq(Mux(waiting.back, waiting.o_place, place)),
            sums.results.eq(lanes.results),
            waiting.begins.eq(begins),
            waiting.enters.eq(line.o_valid & step.enters),
            waiting.returns.eq(through),
            waiting.place.eq(place),
            waiting.totals.eq(sums.totals),
            lanes.begin.eq(waiting.begin),
            lanes.valid.eq(waiting.valid),
            lanes.accumulators.eq(waiting.accumulators),
        ]
        if config.turns > 1:
            m.d.comb += [
                sums.part.eq(waiting.part),
                waiting.exchange.eq(step.through),
                waiting.passed.eq(sums.passed),
                lanes.turn.eq(waiting.turn),
            ]
        with m.If(begins):
            m.d.sync += [lanes.pre_shift.eq(step.pre_shift), lanes.square.eq(step.square)]
        self._elaborate_output(m, sequencer, waiting, lanes)
        # Of a pixel that comes back in parts, the last one counts.
        counted = sums.valid & (~waiting.back | (waiting.part == config.turns - 1))
        m.d.comb += [
            self.events.array_step.eq(sequencer.read.enable & ~sequencer.tile_row),
            self.events.weight_read.eq(sequencer.weights.enable),
            self.events.accumulator_read.eq(counted & ~sums.first),
            self.events.accumulator_write.eq(counted & ~sums.last),
        ]
        return m

    def _elaborate_north(self, m: Module, sequencer: Sequencer, lanes: RequantizationLanes) -> Signal:
        """Rows from the weight buffer: weights for the array, less their zero point; parameters to the lanes.

        Staged weights come from the scratchpad, as late as if they had come from the weight buffer.
        """
        columns, at = self._config.columns, self._pipeline
        staged = Signal(scratchpad.ROW_LATENCY)
        arriving = Signal(weights.READ_LATENCY)
        parameters = Signal(weights.READ_LATENCY)
        m.d.sync += [
            staged.eq((staged << 1) | sequencer.tile_row),
            arriving.eq((arriving << 1) | sequencer.tile_row | (sequencer.weights.enable & ~sequencer.parameter_row)),
            parameters.eq((parameters << 1) | (sequencer.weights.enable & sequencer.parameter_row)),
        ]
        zero_point = sequencer.weight_zero_point
        for stage in range(weights.READ_LATENCY):
            delayed = Signal(signed(8), name=f"zero_point_{stage}", reset_less=True)
            m.d.sync += delayed.eq(zero_point)
            zero_point = delayed
        row = self.weights.data
        tile_row = Mux(staged[-1], self.read.row[: 8 * columns], row)
        effective = Signal(WEIGHT_BITS * columns, reset_less=True)
        north = Signal(WEIGHT_BITS * columns, reset_less=True)
        with m.If(arriving[-1]):
            m.d.sync += effective.eq(
                Cat((tile_row.word_select(c, 8).as_signed() - zero_point)[:WEIGHT_BITS] for c in range(columns))
            )
        m.d.sync += north.eq(effective)

        if self._config.turns > 1:
            m.d.comb += [lanes.row_valid.eq(parameters[-1]), lanes.row.eq(row)]
            return north
        # The last of a block's parameter rows arrives right before its first pixel does.
        first_row = at.read + weights.READ_LATENCY
        m.submodules.parameter_line = line = DelayLine(
            width=8 * columns, cycles=(at.totals - 2) - (first_row + PARAMETER_ROWS - 1)
        )
        m.d.comb += [
            line.i_valid.eq(parameters[-1]),
            line.i_data.eq(row),
            lanes.row_valid.eq(line.o_valid),
            lanes.row.eq(line.o_data),
        ]
        return north

    def _elaborate_output(self, m: Module, sequencer: Sequencer, waiting: Backlog, lanes: RequantizationLanes) -> None:
        """Where outputs go travels beside them; so does what ends a command."""
        config = self._config
        # Clamping is told two cycles before the outputs are there; the rest is needed a cycle later.
        told = data.View(sequencer.output.shape(), waiting.o_note)
        output = Signal(told.shape(), reset_less=True)
        m.d.comb += [
            waiting.note_valid.eq(sequencer.output_valid),
            waiting.note.eq(sequencer.output),
            lanes.zero_point.eq(told.zero_point),
            lanes.lower.eq(told.lower),
            lanes.upper.eq(told.upper),
        ]
        write, whole = Signal(), Signal()
        address = Signal.like(output.address, reset_less=True)
        channels = Signal(range(config.columns + 1), reset_less=True)
        last = Signal(2)
        m.d.sync += [
            output.eq(told),
            write.eq(waiting.comes & output.write),
            whole.eq(waiting.final),
            last.eq(Cat(waiting.comes & waiting.final & output.last, last)),
            self.completed.eq(self.completed + last[1]),
        ]
        with m.If(waiting.comes & waiting.first):
            m.d.sync += [address.eq(output.address), channels.eq(output.channels)]
        if config.turns > 1:
            with m.Elif(waiting.comes):
                left = Mux(channels > config.lane_count, channels - config.lane_count, 0)
                m.d.sync += [address.eq(address + config.lane_count), channels.eq(left)]
        m.d.comb += [
            self.write.enable.eq(write),
            self.write.address.eq(address),
            self.write.data.eq(lanes.outputs),
            self.write.mask.eq(((1 << channels) - 1)[: config.lane_count]),
            self.events.output.eq(self.write.enable & whole),
        ]
