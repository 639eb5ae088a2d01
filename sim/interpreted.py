"""The interpreter of commands as a machine: what a Program computes, without time and without RTL."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from ..compiler.program import MachineStep
from ..hw.commands import Opcode
from ..hw.config import Config
from .interpreter import Interpreter, InterpreterError
from .machine import Activity, Completion, Tick, Watch


class InterpretedMachine:
    """A machine that takes a command at a time, in the stream's order.

    Parameters
    ----------
    config
        The machine.
    memory_bytes
        Of DRAM.
    """

    name = "commands"

    def __init__(self, config: Config, memory_bytes: int) -> None:
        self._dram = np.zeros(memory_bytes, np.uint8)
        self._interpreter = Interpreter(config, self._dram)

    def write(self, address: int, data: bytes) -> None:
        """Writes bytes to DRAM."""
        self._dram[address : address + len(data)] = np.frombuffer(data, np.uint8)

    def read(self, address: int, length: int) -> bytes:
        """Bytes of DRAM."""
        return self._dram[address : address + length].tobytes()

    def run(self, step: MachineStep, *, watches: Sequence[Watch] = (), tick: Tick | None = None) -> Activity:
        """Runs a step's commands.

        Raises
        ------
        InterpreterError
            A command is illegal; the message names it.
        """
        done = dict.fromkeys(Opcode, 0)
        seen: dict[Watch, bytes] = {}
        for index, command in enumerate(step.commands):
            try:
                self._interpreter.step(command)
            except InterpreterError as error:
                raise InterpreterError(f"command {index}: {error}: {command}") from None
            done[command.opcode] += 1
            for watch in watches:
                if watch not in seen and done[Opcode.EXECUTE] >= watch.executes:
                    seen[watch] = self._interpreter.scratchpad[watch.address :][: watch.size].tobytes()
            if tick is not None:
                tick(Completion(0, done[Opcode.LOAD], done[Opcode.EXECUTE], done[Opcode.STORE]))
        return Activity(MappingProxyType({}), (), tuple(seen[watch] for watch in watches))

    def close(self) -> None:
        """Nothing is left to do."""
