"""The store engine: from the scratchpad to DRAM."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from . import axi, scratchpad
from .commands import INDEX_BITS, Store
from .config import Config
from .engine import Error, Intake, engine_members, keep_account, note_error
from .queue import READ_LATENCY, WRITE_LATENCY, Queue, is_full
from .registers import ErrorCode
from .transfer import BurstSplitter, Extent, beats_bits, bits_below, lane_mask, modulo

ROW_LATENCY = scratchpad.STORE_LATENCY + WRITE_LATENCY + READ_LATENCY
"""Cycles from the request of a row to the first of its beats that can move to the output."""

ROWS = ROW_LATENCY + 1
"""Scratchpad rows on their way or in use at once: a row of one beat is one of them from its request to the cycle behind
its beat, and so rows follow each other without a pause."""

TRANSFERS = 4
"""Commands whose bytes may wait behind those of the one that is being sent."""

COMPLETION_LATENCY = 2
"""Cycles from the answer to a command's last burst to the first in which the command counts as completed."""


def _parts(config: Config) -> int:
    """Beats in a row."""
    return config.scratchpad_row_bytes // config.bus_bytes


def _transfer_layout(config: Config) -> data.StructLayout:
    """What the sender knows of a command."""
    lane_bits = (config.bus_bytes - 1).bit_length()
    return data.StructLayout(
        {
            "place": bits_below(config.burst_beats),  # of the first beat in its aligned burst
            "part": bits_below(_parts(config)),  # and in its row
            "more": beats_bits(config),  # beats behind the first
            "first_lane": lane_bits,
            "last_lane": lane_bits,
        }
    )


class StoreEngine(wiring.Component):
    """Executes `Store` commands in order, several at a time.

    A command starts `CHECK_LATENCY` cycles after its words and the counts it awaits are there, once the one before it
    has announced its last burst and asked for its last row, and fewer than `TRANSFERS` wait to be sent. From the next
    cycle on it announces one burst per cycle, as long as the bus takes them and fewer than `outstanding_bursts` are
    unanswered, and asks for rows: see `Sender`. The command completes with the answer to its last burst: if that comes
    in cycle t, `completed` counts it from t + `COMPLETION_LATENCY` on.

    Errors: ILLEGAL_COMMAND (length 0), ALIGNMENT and SCRATCHPAD_RANGE when a command would have started; WRITE_BUS when
    a burst's answer brings bad news.

    Members
    -------
    ...
        `engine_members`.
    quiet : Out(1)
        The bus has been promised nothing.
    base_address : In(32)
        Added to commands' DRAM addresses; a multiple of the bus width, whose lower bits are ignored.
    write : Out(WriteChannels)
    scratchpad
        `enable`, `address` of a row: always taken; `data` in the cycle after next.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__(
            {
                **engine_members("load", "execute"),
                "quiet": Out(1),
                "base_address": In(axi.ADDRESS_BITS),
                "write": Out(axi.WriteChannels(config.bus_bytes)),
                "scratchpad": Out(scratchpad.store_signature(config)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self._config
        m.submodules.intake = intake = Intake(Store)
        m.submodules.splitter = splitter = BurstSplitter(config)
        m.submodules.sender = sender = Sender(config)
        wiring.connect(m, wiring.flipped(self.commands), intake.words)
        wiring.connect(m, sender.scratchpad, wiring.flipped(self.scratchpad))
        wiring.connect(m, sender.beats, wiring.flipped(self.write.w))
        stopped, failed = Signal(), Signal()
        index = Signal(INDEX_BITS, reset_less=True)
        m.d.comb += [
            stopped.eq(self.halt | failed),
            self.waiting.eq(intake.waiting & ~self.busy),
            self.next_index.eq(intake.command.payload.index),
            intake.load_completed.eq(self.load_completed),
            intake.execute_completed.eq(self.execute_completed),
        ]
        started, refusal = self._start(m, intake, splitter, sender, stopped)
        with m.If(started):
            m.d.sync += index.eq(intake.command.payload.index)
        finished, bad_news = self._announce(m, splitter, sender, index, stopped)
        note_error(m, self, failed, bad_news, refusal)
        # Every command under way has an unanswered burst, or is being split.
        keep_account(m, self, started=started, finished=finished, most=config.outstanding_bursts + 1)
        return m

    def _start(
        self, m: Module, intake: Intake, splitter: BurstSplitter, sender: "Sender", stopped: Any
    ) -> tuple[Any, Error]:
        """Checks a command and passes it on; returns whether it does so in this cycle, and why not."""
        config = self._config
        command = intake.command.payload
        extent = Extent(
            m,
            command,
            base_address=self.base_address,
            bus_bytes=config.bus_bytes,
            outside=lambda end: Mux(end > config.scratchpad_bytes, ErrorCode.SCRATCHPAD_RANGE, ErrorCode.NONE),
        )
        able = Signal()
        started = Signal()
        transfer = sender.i.payload.transfer
        m.d.comb += [
            able.eq(intake.command.valid & splitter.i.ready & sender.i.ready & ~stopped),
            started.eq(able & (extent.code == ErrorCode.NONE)),
            intake.command.ready.eq(started),
            splitter.i.valid.eq(started),
            splitter.i.payload.place.eq(extent.place),
            splitter.i.payload.more.eq(extent.more),
            sender.i.valid.eq(started),
            sender.i.payload.row.eq(command.address >> (config.scratchpad_row_bytes - 1).bit_length()),
            transfer.place.eq(modulo(extent.place, config.burst_beats)),
            transfer.part.eq(modulo(command.address[len(transfer.first_lane) :], _parts(config))),
            transfer.more.eq(extent.more),
            transfer.first_lane.eq(extent.first_lane),
            transfer.last_lane.eq(extent.last_lane),
        ]
        return started, Error(able & (extent.code != ErrorCode.NONE), extent.code, command.index)

    def _announce(
        self, m: Module, splitter: BurstSplitter, sender: "Sender", index: Any, stopped: Any
    ) -> tuple[Any, Error]:
        """Announces bursts, as many as may be unanswered; returns whether a command completes, and bad news."""
        limit = self._config.outstanding_bursts
        # For each burst under way: does its answer complete a command, and which?
        answer = data.StructLayout({"last": 1, "index": INDEX_BITS})
        m.submodules.answers = answers = Queue(shape=answer, depth=max(2, limit))
        bursts = Signal(range(limit + 1))
        announced = Signal()
        answered = Signal()
        failed = Signal(reset_less=True)
        finished = Signal()
        aw, b, o = self.write.aw, self.write.b, splitter.o
        free = ~aw.valid | aw.ready
        m.d.comb += [
            o.ready.eq(free & ~is_full(bursts, limit) & ~stopped),
            announced.eq(o.valid & o.ready),
            answers.i.valid.eq(announced),
            answers.i.payload.last.eq(o.payload.last),
            answers.i.payload.index.eq(index),
            answers.o.ready.eq(answered),
            sender.announced.eq(announced),
            b.ready.eq(1),
            finished.eq(answered & ~failed & answers.o.payload.last & (self.error.code != ErrorCode.WRITE_BUS)),
            self.quiet.eq(bursts == 0),
        ]
        with m.If(free):
            m.d.sync += aw.valid.eq(announced)
        with m.If(announced):
            m.d.sync += aw.payload.eq(o.payload.burst)
        m.d.sync += answered.eq(b.valid)
        with m.If(b.valid):
            m.d.sync += failed.eq(b.payload[1])
        with m.If(announced ^ answered):
            m.d.sync += bursts.eq(Mux(announced, bursts + 1, bursts - 1))
        return finished, Error(answered & failed, ErrorCode.WRITE_BUS, answers.o.payload.index)


class Sender(wiring.Component):
    """Reads rows of the scratchpad and sends their bytes as the beats of a bus.

    From the cycle after a transfer was taken on, it asks for one row per cycle as long as fewer than `ROWS` are on
    their way or in use. A row that was asked for in cycle t can be sent from t + `ROW_LATENCY` on, one beat per cycle:
    a beat moves to the output's register when that is free, its burst is announced and the beats before it have moved.

    Members
    -------
    i : In(stream)
        `row` that holds the first byte, and `transfer`.
    announced : In(1)
        A burst is announced in this cycle. Its beats may be sent from the next cycle on.
    beats : Out(stream)
        For the bus.
    scratchpad
        `enable`, `address` of a row: always taken; `data` in the cycle after next.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        row_bits = (config.scratchpad_bytes // config.scratchpad_row_bytes - 1).bit_length()
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout({"row": row_bits, "transfer": _transfer_layout(config)}))),
                "announced": In(1),
                "beats": Out(stream.Signature(axi.write_beat(config.bus_bytes))),
                "scratchpad": Out(scratchpad.store_signature(config)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self._config
        m.submodules.queue = queue = Queue(shape=_transfer_layout(config), depth=TRANSFERS)
        # One of the rows is at the queue's output: its memory always has room.
        m.submodules.rows = rows = Queue(shape=8 * config.scratchpad_row_bytes, depth=ROWS - 1, block=True)
        reserved = Signal(range(ROWS + 1))
        arriving = Signal(scratchpad.STORE_LATENCY)
        asking = self._ask(m, queue, reserved)
        released = self._send(m, queue, rows)
        m.d.comb += [rows.i.valid.eq(arriving[-1]), rows.i.payload.eq(self.scratchpad.data)]
        m.d.sync += arriving.eq(Cat(asking, arriving))
        with m.If(asking ^ released):
            m.d.sync += reserved.eq(Mux(asking, reserved + 1, reserved - 1))
        return m

    def _ask(self, m: Module, queue: Queue, reserved: Any) -> Any:
        """Asks for the rows of one transfer after the other."""
        config = self._config
        i = self.i.payload
        parts = _parts(config)
        # Rows behind the next one: those that the beats behind the first fill, and one if what they leave begins
        # another. One adder counts them, and counts down.
        left = Signal(signed(len(i.transfer.more) + 1), reset_less=True)  # less one
        part_bits = (parts - 1).bit_length()
        another = (i.transfer.more[:part_bits] + i.transfer.part)[part_bits]
        taken = Signal()
        reading = Signal()
        m.d.comb += [
            self.i.ready.eq(~reading & queue.i.ready),
            queue.i.valid.eq(self.i.valid & ~reading),
            queue.i.payload.eq(i.transfer),
            self.scratchpad.enable.eq(reading & (reserved != ROWS)),
            taken.eq(self.i.valid & self.i.ready),
        ]
        with m.If(taken | self.scratchpad.enable):
            m.d.sync += [
                reading.eq(~reading | (left >= 0)),
                self.scratchpad.address.eq(Mux(reading, self.scratchpad.address + 1, i.row)),
                left.eq(Mux(reading, left, i.transfer.more >> part_bits) - (reading | ~another)),
            ]
        return self.scratchpad.enable

    def _send(self, m: Module, queue: Queue, rows: Queue) -> Any:
        """Sends rows as beats; returns whether a row is done with in this cycle."""
        config = self._config
        transfer = Signal(_transfer_layout(config), reset_less=True)  # `place` and `part` are those of the beat to come
        left = Signal(signed(len(transfer.more) + 1), init=-1)  # beats behind it, less one; below 0 if there is none
        sending = Signal()
        first = Signal(reset_less=True)
        last = Signal()
        edge = Signal(reset_less=True)  # it ends an aligned burst
        whole = Signal()  # with it, its burst
        moving = Signal()
        released = Signal()
        parts = _parts(config)
        following = modulo(transfer.place + 1, config.burst_beats)
        promised = Signal(range(config.outstanding_bursts + 1))  # bursts
        beat = self.beats.payload
        free = ~self.beats.valid | self.beats.ready
        m.d.comb += [
            last.eq(left[-1]),
            whole.eq(last | edge),
            moving.eq(sending & rows.o.valid & (promised != 0) & free),
            released.eq(moving & (last | (transfer.part == parts - 1))),
            rows.o.ready.eq(released),
            queue.o.ready.eq(~sending | (moving & last)),
        ]
        with m.If(free):
            m.d.sync += self.beats.valid.eq(moving)
        with m.If(moving):
            m.d.sync += [
                beat.data.eq(rows.o.payload.word_select(transfer.part, 8 * config.bus_bytes)),
                beat.strobe.eq(lane_mask(config.bus_bytes, first, transfer.first_lane, last, transfer.last_lane)),
                beat.last.eq(whole),
                transfer.place.eq(following),
                edge.eq(following == config.burst_beats - 1),
                transfer.part.eq(modulo(transfer.part + 1, parts)),
                first.eq(0),
            ]
        with m.If(moving | queue.o.ready):
            m.d.sync += left.eq(Mux(last, queue.o.payload.more, left) - 1)
        with m.If(queue.o.ready):
            m.d.sync += sending.eq(queue.o.valid)
            with m.If(queue.o.valid):
                m.d.sync += [
                    transfer.eq(queue.o.payload),
                    edge.eq(queue.o.payload.place == config.burst_beats - 1),
                    first.eq(1),
                ]
            with m.Else():
                m.d.sync += left[-1].eq(1)
        with m.If(self.announced ^ (moving & whole)):
            m.d.sync += promised.eq(Mux(self.announced, promised + 1, promised - 1))
        return released
