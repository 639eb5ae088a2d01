"""What can go wrong in a run, apart from the model, the configuration and the compilation."""

from __future__ import annotations

from ..hw.commands import Command
from ..hw.registers import ErrorCode


class SimulatorError(RuntimeError):
    """The simulator is missing, cannot be built, or broke off. The message says what to do."""


class SettingError(ValueError):
    """A parameter of a run that is out of range. The message names it, its value and what was expected."""


class MachineError(RuntimeError):
    """The machine ended a run with an error of its own.

    Parameters
    ----------
    code
        What its ERROR register says.
    index
        The command's place in its program, as the ERROR_COMMAND register says.
    command
        That command, where the program is known and has one there.
    reason
        What it needs and what there is, where that is known.
    """

    def __init__(self, code: ErrorCode, index: int, command: Command | None = None, reason: str | None = None) -> None:
        self.code = code
        self.index = index
        self.command = command
        where = f"command {index}" + (f" ({' '.join(str(command).split())})" if command is not None else "")
        super().__init__(
            f"the machine stopped with {code.name} at {where}: {code.doc}{f' ({reason})' if reason else ''}"
        )
