"""Where a machine stands in which nothing completes any more, in words."""

from __future__ import annotations

from collections.abc import Sequence

from ..hw.commands import Command, Opcode
from .machine import Completion


def standstill(commands: Sequence[Command], completed: Completion, started: Completion) -> str:
    """The state of each engine and of what waits for it.

    Parameters
    ----------
    commands
        The command stream.
    completed, started
        How many commands of each engine have been so far.
    """
    done, begun = _counts(completed), _counts(started)
    return "; ".join(_engine(opcode, commands, done, begun) for opcode in Opcode)


def _counts(at: Completion) -> dict[Opcode, int]:
    return {Opcode.LOAD: at.loads, Opcode.EXECUTE: at.executes, Opcode.STORE: at.stores}


def _engine(opcode: Opcode, commands: Sequence[Command], done: dict[Opcode, int], begun: dict[Opcode, int]) -> str:
    own = [index for index, command in enumerate(commands) if command.opcode == opcode]
    text = f"{opcode.name.lower()} engine: {done[opcode]} commands completed of {len(own)}"
    busy = own[done[opcode] : begun[opcode]]
    if busy:
        text += ", at work on " + " and ".join(_named(index, commands) for index in busy)
    if begun[opcode] >= len(own):
        return text
    waiting = own[max(begun[opcode], done[opcode])]
    missing = [
        f"{count} of {other.name.lower()} ({done[other]} so far)"
        for other, count in commands[waiting].awaits.items()
        if done[other] < count
    ]
    what = f"awaits completed commands: {', '.join(missing)}" if missing else "awaits nothing, and has not started"
    return f"{text}; next is {_named(waiting, commands)}, which {what}"


def _named(index: int, commands: Sequence[Command]) -> str:
    return f"command {index} ({' '.join(str(commands[index]).split())})"
