"""The load engine: from DRAM to the scratchpad and the weight buffer."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from . import axi, scratchpad, weights
from .commands import INDEX_BITS, Load, Memory
from .config import Config
from .engine import Error, Intake, engine_members, keep_account, note_error
from .queue import Queue, is_full
from .registers import ErrorCode
from .transfer import BurstSplitter, Extent, beats_bits, lane_mask, modulo

WRITE_LATENCY = 1
"""Cycles from a beat's arrival to its write to an on-chip memory."""

COMPLETION_LATENCY = 2
"""Cycles from a command's last beat to the first in which it counts as completed."""


def _transfer_layout(config: Config) -> data.StructLayout:
    """What the receiver knows of a command."""
    memory_bytes = max(config.scratchpad_bytes, config.weight_bytes)
    lane_bits = (config.bus_bytes - 1).bit_length()
    return data.StructLayout(
        {
            "memory": 1,
            "place": (memory_bytes // config.bus_bytes - 1).bit_length(),  # of the first beat, in beats
            "more": beats_bits(config),  # beats behind the first
            "first_lane": lane_bits,
            "last_lane": lane_bits,
            "index": INDEX_BITS,
        }
    )


class LoadEngine(wiring.Component):
    """Executes `Load` commands in order, several at a time.

    A command starts `CHECK_LATENCY` cycles after its words and the counts it awaits are there, once the one before it
    has asked for its last burst. From the next cycle on it asks for one burst per cycle, as long as fewer than
    `outstanding_bursts` are under way.

    Beats are taken as they come. A beat that reaches the engine in cycle t is written to the weight buffer in t + 1;
    for the scratchpad, beats gather in a row that is written in the cycle after its last beat. The command completes
    with its last write: from the next cycle on `completed` counts it, and others see its bytes.

    Errors: ILLEGAL_COMMAND (length 0), ALIGNMENT, SCRATCHPAD_RANGE and WEIGHT_RANGE when a command would have started;
    READ_BUS when a beat brings bad news.

    Members
    -------
    ...
        `engine_members`.
    quiet : Out(1)
        The bus has been promised nothing.
    base_address : In(32)
        Added to commands' DRAM addresses; a multiple of the bus width, whose lower bits are ignored.
    read : Out(ReadChannels)
    scratchpad
        `enable` and, a cycle earlier, `upcoming`; `address` of a row, `data`, `mask`: always taken.
    weights
        `enable`, `address` of a line, `data`, `mask`: always taken.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__(
            {
                **engine_members("execute", "store"),
                "quiet": Out(1),
                "base_address": In(axi.ADDRESS_BITS),
                "read": Out(axi.ReadChannels(config.bus_bytes)),
                "scratchpad": Out(scratchpad.load_signature(config)),
                "weights": Out(weights.write_signature(config)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self._config
        m.submodules.intake = intake = Intake(Load)
        m.submodules.splitter = splitter = BurstSplitter(config)
        m.submodules.receiver = receiver = _Receiver(config)
        wiring.connect(m, wiring.flipped(self.commands), intake.words)
        wiring.connect(m, receiver.scratchpad, wiring.flipped(self.scratchpad))
        wiring.connect(m, receiver.weights, wiring.flipped(self.weights))
        wiring.connect(m, wiring.flipped(self.read.r), receiver.beats)
        stopped, failed = Signal(), Signal()
        m.d.comb += [
            stopped.eq(self.halt | failed),
            self.waiting.eq(intake.waiting & ~self.busy),
            self.next_index.eq(intake.command.payload.index),
            intake.execute_completed.eq(self.execute_completed),
            intake.store_completed.eq(self.store_completed),
        ]
        started, refusal = self._start(m, intake, splitter, receiver, stopped)
        self._ask(m, splitter, stopped)
        # Every command under way has a burst under way, is being split, or is being written.
        keep_account(m, self, started=started, finished=receiver.finished, most=config.outstanding_bursts + 2)
        note_error(m, self, failed, Error(receiver.failed, ErrorCode.READ_BUS, receiver.index), refusal)
        return m

    def _start(
        self, m: Module, intake: Intake, splitter: BurstSplitter, receiver: Any, stopped: Any
    ) -> tuple[Any, Error]:
        """Checks a command and passes it on; returns whether it does so in this cycle, and why not."""
        config = self._config
        command = intake.command.payload
        extent = Extent(
            m,
            command,
            base_address=self.base_address,
            bus_bytes=config.bus_bytes,
            outside=lambda end: Mux(
                command.memory == Memory.WEIGHTS,
                Mux(end > config.weight_bytes, ErrorCode.WEIGHT_RANGE, ErrorCode.NONE),
                Mux(end > config.scratchpad_bytes, ErrorCode.SCRATCHPAD_RANGE, ErrorCode.NONE),
            ),
        )
        able = Signal()
        started = Signal()
        transfer = receiver.transfers.payload
        m.d.comb += [
            able.eq(intake.command.valid & splitter.i.ready & ~stopped),
            started.eq(able & (extent.code == ErrorCode.NONE)),
            intake.command.ready.eq(started),
            splitter.i.valid.eq(started),
            splitter.i.payload.place.eq(extent.place),
            splitter.i.payload.more.eq(extent.more),
            receiver.transfers.valid.eq(started),
            transfer.memory.eq(command.memory),
            transfer.place.eq(command.address[len(transfer.first_lane) :]),
            transfer.more.eq(extent.more),
            transfer.first_lane.eq(extent.first_lane),
            transfer.last_lane.eq(extent.last_lane),
            transfer.index.eq(command.index),
        ]
        return started, Error(able & (extent.code != ErrorCode.NONE), extent.code, command.index)

    def _ask(self, m: Module, splitter: BurstSplitter, stopped: Any) -> None:
        """Asks for bursts, as many as may be under way."""
        bursts = Signal(range(self._config.outstanding_bursts + 1))
        allowed = Signal()
        ar, r = self.read.ar, self.read.r
        asked = ar.valid & ar.ready
        answered = r.valid & r.payload.last
        m.d.comb += [
            allowed.eq(~is_full(bursts, self._config.outstanding_bursts) & ~stopped),
            ar.valid.eq(splitter.o.valid & allowed),
            ar.payload.eq(splitter.o.payload.burst),
            splitter.o.ready.eq(ar.ready & allowed),
            self.quiet.eq(bursts == 0),
        ]
        with m.If(asked ^ answered):
            m.d.sync += bursts.eq(Mux(asked, bursts + 1, bursts - 1))


class _Receiver(wiring.Component):
    """Puts beats where they belong.

    Members
    -------
    transfers : In(stream)
        What the beats to come belong to, three cycles ahead of the first; always ready.
    beats : In(stream)
        Always ready.
    finished : Out(1)
        The last bytes of a transfer are being written. Nothing finishes after a failure.
    failed : Out(1)
        A beat brings bad news for the command of that `index`.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__(
            {
                "transfers": In(stream.Signature(_transfer_layout(config))),
                "beats": In(stream.Signature(axi.read_beat(config.bus_bytes))),
                "scratchpad": Out(scratchpad.load_signature(config)),
                "weights": Out(weights.write_signature(config)),
                "finished": Out(1),
                "failed": Out(1),
                "index": Out(INDEX_BITS),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self._config
        # Every transfer here has a burst under way, but for the one that is being split.
        m.submodules.queue = queue = Queue(shape=_transfer_layout(config), depth=config.outstanding_bursts + 1)
        wiring.connect(m, wiring.flipped(self.transfers), queue.i)
        transfer = Signal(_transfer_layout(config), reset_less=True)  # `place` is that of the beat to come
        left = Signal(signed(len(transfer.more) + 1), init=-1)  # beats behind it, less one; below 0 if there is none
        receiving = Signal()
        first = Signal(reset_less=True)
        last = Signal()
        good = Signal()
        mask = Signal(config.bus_bytes)
        beat = self.beats.payload
        m.d.comb += [
            self.beats.ready.eq(1),
            last.eq(left[-1]),
            good.eq(self.beats.valid & ~beat.response[1]),
            self.failed.eq(self.beats.valid & beat.response[1]),
            self.index.eq(transfer.index),
            queue.o.ready.eq(~receiving | (self.beats.valid & last)),
            mask.eq(lane_mask(config.bus_bytes, first, transfer.first_lane, last, transfer.last_lane)),
        ]
        with m.If(self.beats.valid):
            m.d.sync += [transfer.place.eq(transfer.place + 1), first.eq(0)]
        with m.If(self.beats.valid | queue.o.ready):
            m.d.sync += left.eq(Mux(last, queue.o.payload.more, left) - 1)
        with m.If(queue.o.ready):
            m.d.sync += receiving.eq(queue.o.valid)
            with m.If(queue.o.valid):
                m.d.sync += [transfer.eq(queue.o.payload), first.eq(1)]
            with m.Else():
                m.d.sync += left[-1].eq(1)
        broken = Signal()
        m.d.sync += [broken.eq(broken | self.failed), self.finished.eq(good & last & ~broken)]
        self._write_weights(m, good & (transfer.memory == Memory.WEIGHTS), transfer.place, mask)
        self._write_scratchpad(m, good & (transfer.memory == Memory.SCRATCHPAD), transfer.place, mask, first, last)
        return m

    def _write_weights(self, m: Module, enable: Any, place: Any, mask: Any) -> None:
        """Every beat by itself."""
        bus_bytes = self._config.bus_bytes
        parts = self._config.weight_line_bytes // bus_bytes
        part_bits = (parts - 1).bit_length()
        here = modulo(place, parts)
        line = self.weights
        value = Signal(8 * bus_bytes, reset_less=True)
        m.d.comb += line.data.eq(value.replicate(parts))
        m.d.sync += line.enable.eq(enable)
        with m.If(enable):
            m.d.sync += [value.eq(self.beats.payload.data), line.address.eq(place[part_bits:])]
            for part in range(parts):
                m.d.sync += line.mask.word_select(part, bus_bytes).eq(Mux(here == part, mask, 0))

    def _write_scratchpad(self, m: Module, enable: Any, place: Any, mask: Any, first: Any, last: Any) -> None:
        """A whole row at a time, so that the execute engine gives way once per row."""
        bus_bytes = self._config.bus_bytes
        parts = self._config.scratchpad_row_bytes // bus_bytes
        part_bits = (parts - 1).bit_length()
        here = modulo(place, parts)
        row = self.scratchpad
        m.d.comb += row.upcoming.eq(enable & (last | (here == parts - 1)))
        m.d.sync += row.enable.eq(row.upcoming)
        with m.If(enable):
            m.d.sync += row.address.eq(place[part_bits:])
            for part in range(parts):
                with m.If(here == part):
                    m.d.sync += [
                        row.data.word_select(part, 8 * bus_bytes).eq(self.beats.payload.data),
                        row.mask.word_select(part, bus_bytes).eq(mask),
                    ]
                with m.Elif(first | (here == 0)):
                    m.d.sync += row.mask.word_select(part, bus_bytes).eq(0)
