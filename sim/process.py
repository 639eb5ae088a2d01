"""The simulation's process and the line to it.

The simulation stands still between two requests. Its files are in a temporary folder that goes with it.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from .bench import SOCKET
from .errors import SimulatorError
from .image import environment
from .machine import Completion, Tick

_START_SECONDS = 120.0
_POLL_SECONDS = 0.1
_END_SECONDS = 30.0
_LEAST_DISK_BYTES = 1 << 16


class Operation(IntEnum):
    """What bench.v can be asked for."""

    RESET = 0
    READ_REGISTER = 1
    WRITE_REGISTER = 2
    FILL_MEMORY = 3
    DUMP_MEMORY = 4
    AWAIT = 5


class SimulationProcess(ABC):
    """A running simulation.

    Parameters
    ----------
    image
        The folder with the compiled simulation.
    waves
        A .vcd or .fst file for the waveforms of the whole machine.

    Attributes
    ----------
    folder
        Where the test bench reads and writes its files.

    Raises
    ------
    SimulatorError
        It does not start.
    """

    def __init__(self, image: Path, waves: Path | None) -> None:
        self._image, self._waves = image, waves
        self._temporary = tempfile.TemporaryDirectory(prefix="eightfold-")
        self.folder = Path(self._temporary.name)
        self._link: Path | None = None
        self._log = (self.folder / "log").open("wb")
        self._full: Path | None = None
        self._ended = threading.Event()
        if waves is not None:
            threading.Thread(target=self._watch_disk, args=(waves.resolve().parent,), daemon=True).start()
        self._child: subprocess.Popen[Any] | None = None
        self._requests: IO[str] | None = None
        self._replies: IO[str] | None = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _start(self) -> None:
        """Starts the child and opens the lines to and from it."""

    def _plusargs(self) -> list[str]:
        """What tells bench.v to write waves: through a link, as Verilog's strings do not hold every path."""
        if self._waves is None:
            return []
        self._link = self.folder / f"waves{self._waves.suffix}"
        self._link.symlink_to(self._waves.resolve())
        return [f"+waves={self._link.name}"]

    def _encode(self, operation: Operation, arguments: list[int], settings: Mapping[str, int]) -> str:
        """A request as a line of text."""
        return json.dumps({"operation": operation, "arguments": arguments, "set": dict(settings)})

    def request(
        self,
        operation: Operation,
        *arguments: int,
        set: Mapping[str, int] = MappingProxyType({}),
        tick: Tick | None = None,
    ) -> int:
        """Performs an operation of bench.v and returns its result.

        Parameters
        ----------
        operation, arguments
            What, and up to two numbers for it.
        set
            Signals of the test bench to set before.
        tick
            Called about once in 1,000 cycles while the machine runs.

        Raises
        ------
        SimulatorError
            The simulation broke off, or the machine broke the bus protocol.
        """
        if self._requests is None or self._replies is None:
            raise SimulatorError("the simulation has ended")
        request = self._encode(operation, [*arguments, 0, 0][:2], set)
        reply: dict[str, Any] = {}
        try:
            print(request, file=self._requests, flush=True)
            while line := self._replies.readline():
                reply = json.loads(line)
                if "tick" not in reply:
                    break
                if tick is not None:
                    tick(Completion(*reply["tick"]))
        except OSError:
            line = ""
        except BaseException:  # an interrupt, or an error of `tick`: the run would go on for nothing
            self._kill()
            raise
        if not line:
            raise self._broken("broke off")
        if violation := reply["violation"].strip():
            raise SimulatorError(f"the machine broke the bus protocol: {violation}")
        return int(reply["result"])

    def _watch_disk(self, place: Path) -> None:
        """Ends a simulation whose waveforms fill the disk: writers of them cut them off silently, or hang."""
        while not self._ended.wait(_POLL_SECONDS):
            if self._is_full(place) is not None:
                self._kill()
                return

    def _is_full(self, place: Path) -> Path | None:
        """Which of the folders that waveforms are written to has no room any more."""
        for folder in (place, self.folder):
            with suppress(OSError):
                disk = os.statvfs(folder)
                free = disk.f_bfree if os.geteuid() == 0 else disk.f_bavail
                if free * disk.f_frsize < _LEAST_DISK_BYTES:
                    self._full = folder
                    break
        return self._full

    def _broken(self, how: str) -> SimulatorError:
        if self._full is not None:
            return SimulatorError(f"the waveforms cannot be written: no space left in {self._full}")
        text = (self.folder / "log").read_text(errors="replace")
        last = [line.strip() for line in text.splitlines() if line.strip()][-3:]
        return SimulatorError(f"the simulation {how}: {' | '.join(last) or 'it said nothing'}")

    def close(self) -> None:
        """Ends the simulation and removes its files."""
        for lines in (self._requests, self._replies):
            if lines is not None:
                with suppress(OSError):  # it may be gone already
                    lines.close()  # which the other end takes as the end
        self._requests = self._replies = None
        if self._child is not None:
            try:
                self._child.wait(_END_SECONDS if self._child.poll() is None else 0)
            except subprocess.TimeoutExpired:
                self._kill()
            if self._child.stdin is not None:
                with suppress(OSError):
                    self._child.stdin.close()
            self._child = None
        self._ended.set()
        try:
            self._finish_waves()
        finally:
            self._log.close()
            self._temporary.cleanup()

    def _finish_waves(self) -> None:
        """Puts the waveforms in their place; what is not whole for want of room goes."""
        if self._waves is None or self._link is None:
            return
        try:
            if self._is_full(self._waves.resolve().parent) is None and not self._link.is_symlink():
                shutil.move(self._link, self._waves)  # the writer of .fst puts a file of its own in the link's place
        except OSError as error:
            self._full = self._full or (self._waves.parent if error.errno == errno.ENOSPC else None)
            if self._full is None:
                raise SimulatorError(f"the waveforms cannot be written: {error.strerror}") from None
        self._link = None
        if self._full is not None:
            with suppress(OSError):
                os.truncate(self._waves, 0)
            raise self._broken("")

    def _kill(self) -> None:
        if self._child is not None and self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()


class CocotbProcess(SimulationProcess):
    """A simulation in Icarus: child, in it vvp, in it cocotb with `bench`. Parameters as for `SimulationProcess`."""

    def _start(self) -> None:
        image, waves = self._image, self._waves
        address = self.folder / "socket"
        additions = {SOCKET: str(address)}
        if waves is not None:
            additions["SIM_CMD_SUFFIX"] = f"-{waves.suffix[1:]}"  # the format; what comes last counts
        with socket.socket(socket.AF_UNIX) as listener:
            try:
                listener.bind(str(address))
            except OSError as error:
                raise SimulatorError(
                    f"no socket at {address}: {error}; set TMPDIR to a folder with a short name"
                ) from None
            listener.listen(1)
            listener.settimeout(_POLL_SECONDS)
            self._child = subprocess.Popen(
                [sys.executable, "-m", "eightfold.sim.child", "test", image, self.folder, json.dumps(self._plusargs())],
                stdin=subprocess.PIPE,  # whose end tells the child that nobody waits for it any more
                stdout=self._log,
                stderr=subprocess.STDOUT,
                env=environment(additions),
                start_new_session=True,  # so that it can be ended with all its children
            )
            with self._accept(listener) as connection:
                self._requests = self._replies = connection.makefile("rw", encoding="ascii")

    def _accept(self, listener: socket.socket) -> socket.socket:
        for _ in range(int(_START_SECONDS / _POLL_SECONDS)):
            try:
                connection, _address = listener.accept()
            except TimeoutError:
                if self._child is None or self._child.poll() is not None:
                    break
            else:
                connection.settimeout(None)
                return connection
        raise self._broken("did not start")
