"""What the engines have in common: how commands reach them, wait for other engines, and err."""

from typing import Any, NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .commands import COUNT_BITS, INDEX_BITS, WORD_BITS, Command
from .registers import ErrorCode

CHECK_LATENCY = 1
"""Cycles from the first in which a command's words are there, and the counts it awaits reached, to its start."""

ERROR = data.StructLayout({"code": ErrorCode, "index": INDEX_BITS})
"""What stopped an engine, and at which command: all zero, or else unchanged until reset."""


def command_layout(kind: type[Command]) -> data.FlexibleLayout:
    """A command's words, the first one lowest, with the command's fields as members."""
    return data.FlexibleLayout(
        WORD_BITS * kind.words(),
        {
            field.name: data.Field(
                signed(field.bits) if field.signed else unsigned(field.bits), WORD_BITS * field.word + field.offset
            )
            for field in kind.layout()
        },
    )


def engine_members(*waits: str) -> dict[str, Any]:
    """The members that all engines have; `waits` names the other engines.

    commands : In(stream of 64-bit words)
    load_completed, ... : In(20)
        How many commands of the engines in `waits` have completed.
    completed : Out(20)
        How many commands of this engine have.
    busy : Out(1)
        A command has started that has not completed.
    waiting : Out(1)
        None is under way, and the next awaits other engines.
    next_index : Out(20)
        The place in the program of the command that waits.
    halt : In(1)
        Start no command; end what the bus has been promised.
    error : Out(ERROR)
        The engine has halted by itself.
    """
    return {
        "commands": In(stream.Signature(WORD_BITS)),
        **{f"{name}_completed": In(COUNT_BITS) for name in waits},
        "completed": Out(COUNT_BITS),
        "busy": Out(1),
        "waiting": Out(1),
        "next_index": Out(INDEX_BITS),
        "halt": In(1),
        "error": Out(ERROR),
    }


class Intake(wiring.Component):
    """Collects a command's words and offers the command once the counts that it awaits are reached.

    It takes one word per cycle; all are there in the cycle after the last. `CHECK_LATENCY` later, or that much later
    than the counts are reached, the command is offered: so comparisons have a cycle of their own, here as well as in
    the engine. The next command's first word is taken in the cycle after that in which the command was.

    Parameters
    ----------
    kind
        The engine's command.

    Members
    -------
    words : In(stream of 64-bit words)
    load_completed, ... : In(20)
        For each of the command's `waits`, how many commands have completed.
    command : Out(stream of the command's layout)
    waiting : Out(1)
        A command could be offered, but for a count that it awaits.
    """

    def __init__(self, kind: type[Command]) -> None:
        self._kind = kind
        super().__init__(
            {
                "words": In(stream.Signature(WORD_BITS)),
                **{f"{name.removeprefix('wait_')}_completed": In(COUNT_BITS) for name in kind.waits},
                "command": Out(stream.Signature(command_layout(kind))),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        count = self._kind.words()
        words = [Signal(WORD_BITS, name=f"word_{place}", reset_less=True) for place in range(count)]
        place = Signal(range(count))
        full = Signal()
        checked = Signal()
        reached = Cat(
            getattr(self, f"{name.removeprefix('wait_')}_completed") >= self.command.payload[name]
            for name in self._kind.waits
        )
        for number, word in enumerate(words):
            m.d.comb += self.command.payload.as_value().word_select(number, WORD_BITS).eq(word)
        m.d.comb += [
            self.words.ready.eq(~full),
            self.waiting.eq(checked & ~self.command.valid),
        ]
        m.d.sync += [checked.eq(full), self.command.valid.eq(full & reached.all())]
        with m.If(self.words.valid & ~full):
            with m.Switch(place):
                for number, word in enumerate(words):
                    with m.Case(number):
                        m.d.sync += word.eq(self.words.payload)
            with m.If(place == count - 1):
                m.d.sync += [full.eq(1), place.eq(0)]
            with m.Else():
                m.d.sync += place.eq(place + 1)
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [full.eq(0), checked.eq(0), self.command.valid.eq(0)]
        return m


def keep_account(m: Module, engine: Any, *, started: Any, finished: Any, most: int) -> None:
    """Drives `engine.completed` and `engine.busy`, with up to `most` commands under way."""
    under_way = Signal(range(most + 1))
    m.d.comb += engine.busy.eq(under_way != 0)
    with m.If(started ^ finished):
        m.d.sync += under_way.eq(Mux(started, under_way + 1, under_way - 1))
    with m.If(finished):
        m.d.sync += engine.completed.eq(engine.completed + 1)


class Error(NamedTuple):
    """What may have gone wrong: whether it has, the code, and the place in the program of the command."""

    there: Any
    code: ErrorCode | Any
    index: Any


def note_error(m: Module, engine: Any, failed: Signal, *errors: Error) -> None:
    """Sets `engine.error` to the first that is there, unless it is set, which the register `failed` tells.

    All errors come here together, so that what holds the register still is its enable.
    """
    *others, last = errors
    code, index = last.code, last.index
    for error in reversed(others):
        code, index = Mux(error.there, error.code, code), Mux(error.there, error.index, index)
    with m.If(~failed & Cat(error.there for error in errors).any()):
        m.d.sync += [failed.eq(1), engine.error.code.eq(code), engine.error.index.eq(index)]
