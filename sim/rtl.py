"""The exported machine in simulation, as an object: memory to write and read, command streams to run."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import numpy as np

from ..compiler.program import MachineStep
from ..hw.config import Config
from ..hw.registers import COUNTERS, REGISTERS, Control, ErrorCode, Interrupt, Status, configuration_hash
from .errors import MachineError, SettingError, SimulatorError
from .machine import Activity, Completion, Tick, Watch
from .process import Operation, SimulationProcess
from .refusal import refusal
from .standstill import standstill
from .timing import longest_silence

DEFAULT_LATENCY = 20
"""Cycles from the acceptance of a read burst to its first beat, and from a write's last beat to its response."""

_LONGEST_LATENCY = 100_000
_LONGEST_WATCH = 0x7FFFFFFF  # what the test bench counts to
_NOWHERE = (0xFFFFFFFF, 0xFFFFFFFF)


class RtlMachine(ABC):
    """A machine in simulation, with a memory on its AXI port; a context manager.

    Parameters
    ----------
    config
        The machine.
    memory_bytes
        Bytes of memory that are needed; there may be more.
    latency
        Cycles from a burst's acceptance to its first read beat, or from its last write beat to its response; 1 to
        100,000.
    stalls
        The chance, 0 to 0.99, that a channel of the bus pauses in a cycle.
    seed
        Of those pauses.
    errors
        Addresses `(first, end)` that answer with a bus error.
    waves
        A .vcd or .fst file for the waveforms of the whole machine.
    verilog
        The machine's Verilog, where it is not to be exported from `config`.

    Raises
    ------
    SimulatorError
        There is no simulator, or it cannot be built.
    SettingError
        A parameter is out of range.
    """

    name: str

    def __init__(
        self,
        config: Config,
        *,
        memory_bytes: int,
        latency: int = DEFAULT_LATENCY,
        stalls: float = 0.0,
        seed: int = 1,
        errors: tuple[int, int] | None = None,
        waves: Path | None = None,
        verilog: str | None = None,
    ) -> None:
        if not 1 <= latency <= _LONGEST_LATENCY:
            raise SettingError(f"latency is {latency}; 1 to {_LONGEST_LATENCY} cycles were expected")
        if not 0 <= stalls <= 0.99:
            raise SettingError(f"stalls is {stalls}; a chance from 0 to 0.99 was expected")
        if waves is not None and waves.suffix not in (".vcd", ".fst"):
            raise SettingError(f"the file for waves ends in {waves.suffix!r}; .vcd or .fst was expected")
        if (chosen := os.environ.get("TMPDIR")) and not Path(chosen).is_dir():
            raise SimulatorError(f"TMPDIR is {chosen!r}, which is no folder: set it to one, or unset it")
        self.config = config
        self._memory_bytes = memory_bytes
        self.latency = latency
        self.stalls = stalls
        first, end = errors or _NOWHERE
        settings = {
            "latency": latency,
            "stall": round(256 * stalls),
            "seed": seed & 0xFFFFFFFF,
            "error_first": first,
            "error_end": end,
        }
        self._process = self._start(config, memory_bytes, verilog, waves)
        try:
            self._process.request(Operation.RESET, set=settings)
            self._identify()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _start(self, config: Config, memory_bytes: int, verilog: str | None, waves: Path | None) -> SimulationProcess:
        """The simulation's process, built if need be."""

    def close(self) -> None:
        """Ends the simulation."""
        self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def read_register(self, name: str) -> int:
        """The value of a register."""
        return self._process.request(Operation.READ_REGISTER, REGISTERS[name].offset)

    def write_register(self, name: str, value: int) -> None:
        """Writes a register."""
        self._process.request(Operation.WRITE_REGISTER, REGISTERS[name].offset, value)

    def _identify(self) -> None:
        found, wanted = self.read_register("CONFIGURATION"), configuration_hash(self.config)
        if found != wanted:
            raise SimulatorError(f"the machine was built as 0x{found:08x}, not as 0x{wanted:08x}")

    def write(self, address: int, data: bytes) -> None:
        """Writes bytes to the memory."""
        word = self.config.bus_bytes
        first, end = address // word, -(-(address + len(data)) // word)
        if head := address - first * word:
            data = self.read(first * word, head) + data
        if tail := end * word - first * word - len(data):
            data += self.read(end * word - tail, tail)
        # A word's first byte is its lowest on the bus, and comes last in the file.
        words = np.frombuffer(data, np.uint8).reshape(-1, word)[:, ::-1]
        (self._process.folder / "memory").write_bytes(words.tobytes())
        self._process.request(Operation.FILL_MEMORY, first, end - first)

    def read(self, address: int, length: int) -> bytes:
        """Bytes of the memory."""
        word = self.config.bus_bytes
        first, end = address // word, -(-(address + length) // word)
        self._process.request(Operation.DUMP_MEMORY, first, end - first)
        data = (self._process.folder / "memory").read_bytes()
        return data[address - first * word :][:length]

    def run(self, step: MachineStep, *, watches: Sequence[Watch] = (), tick: Tick | None = None) -> Activity:
        """Runs a step's command stream, which lies in memory already.

        Parameters
        ----------
        step
            The commands and where their encoding lies.
        watches
            What to see of the scratchpad, and when.
        tick
            Called about once in 1,000 cycles with how far the run is.

        Raises
        ------
        MachineError
            The machine stopped with an error. It is ready for the next run.
        SimulatorError
            The simulation broke off, the machine broke the bus protocol, or no command completed for too long.
        """
        self._watch(watches)
        watchdog = min(longest_silence(step.commands, self.config, self.latency, self.stalls), _LONGEST_WATCH)
        self.write_register("INTERRUPT_ENABLE", Interrupt.DONE | Interrupt.ERROR)
        self.write_register("PROGRAM_ADDRESS", step.stream.offset)
        self.write_register("PROGRAM_WORDS", sum(command.words() for command in step.commands))
        self.write_register("BASE_ADDRESS", 0)
        self.write_register("CONTROL", Control.START)
        silent = self._process.request(Operation.AWAIT, set={"watchdog": watchdog}, tick=tick)
        counters = {name.lower(): self.read_register(name) for name in COUNTERS}
        if silent:
            where = standstill(step.commands, self._last("completions"), self._last("starts"))
            raise SimulatorError(f"no command completed for {watchdog} cycles: {where}")
        status = self.read_register("STATUS")
        self.write_register("INTERRUPT_STATUS", Interrupt.DONE | Interrupt.ERROR)
        if status & Status.ERROR:
            code, index = ErrorCode(self.read_register("ERROR")), self.read_register("ERROR_COMMAND")
            self._reset()
            command = step.commands[index] if index < len(step.commands) else None
            refused = refusal(command, self.config, self._memory_bytes) if command is not None else None
            reason = refused.reason if refused is not None and refused.code == code else None
            raise MachineError(code, index, command, reason)
        return Activity(MappingProxyType(counters), self._log("completions"), self._observed(watches), self._starts())

    def _watch(self, watches: Sequence[Watch]) -> None:
        """Tells the test bench which rows of the scratchpad to write to its file, and when, in the order of time."""
        lines = [f"{watches[i].executes} {first} {count}\n" for i, first, count in self._watched_rows(watches)]
        (self._process.folder / "watches").write_text("".join(lines), encoding="ascii")

    def _observed(self, watches: Sequence[Watch]) -> tuple[bytes, ...]:
        width = self.config.scratchpad_row_bytes
        data = (self._process.folder / "observed").read_bytes()
        seen: dict[int, bytes] = {}
        start = 0
        for i, _, count in self._watched_rows(watches):
            seen[i] = data[start + watches[i].address % width :][: watches[i].size]
            start += count * width
        return tuple(seen[i] for i in range(len(watches)))

    def _watched_rows(self, watches: Sequence[Watch]) -> Iterator[tuple[int, int, int]]:
        """Which watch, its first row of the scratchpad, its number of rows."""
        width = self.config.scratchpad_row_bytes
        for i in sorted(range(len(watches)), key=lambda i: watches[i].executes):
            first = watches[i].address // width
            yield i, first, -(-(watches[i].address + watches[i].size) // width) - first

    def _reset(self) -> None:
        self.write_register("CONTROL", Control.RESET)
        for _ in range(1000):
            if not self.read_register("STATUS") & Status.BUSY:
                return
        raise SimulatorError("the machine does not come out of its reset")

    def _log(self, name: str) -> tuple[Completion, ...]:
        lines = (self._process.folder / name).read_text(encoding="ascii").splitlines()
        return tuple(Completion(*map(int, line.split())) for line in lines)

    def _last(self, name: str) -> Completion:
        return (Completion(0, 0, 0, 0), *self._log(name))[-1]

    def _starts(self) -> tuple[Completion, ...]:
        # A number that is a sum may change twice in a cycle: the last is it.
        return tuple({change.cycle: change for change in self._log("starts")}.values())
