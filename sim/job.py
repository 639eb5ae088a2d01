"""Work that needs nothing but itself: it can be done in any process, on any computer, twice. A network's run is one."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..compiler.storage import from_bytes
from ..golden.graph import ModelError
from .errors import MachineError, SettingError, SimulatorError
from .simulation import Simulation

Array = npt.NDArray[Any]

_RESULT = "result"


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the bytes of its result's file, or why there is none."""

    result: bytes = b""
    error: str = ""


class Task(Protocol):
    """Something for a worker: it is pickled, needs nothing but itself, and can be done twice."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def perform(self) -> Outcome:
        """Does it.

        Raises
        ------
        SimulatorError
            It broke off: it may be worth another try, or another computer.
        """


@dataclass(frozen=True, eq=False)
class Job:
    """A Program to run once.

    Parameters
    ----------
    name
        What messages call it.
    program
        The bytes of its file.
    inputs
        One array per input.
    backend, latency, stalls, seed
        As for `Simulation`.
    rtl
        The Verilog that is simulated, so that a result of another is not taken for this one's; empty if there is none.
    """

    name: str
    program: bytes
    inputs: tuple[Array, ...]
    backend: str
    latency: int
    stalls: float
    seed: int
    rtl: str = ""

    @property
    def key(self) -> str:
        """A hash of everything that the result depends on."""
        settings = [self.backend, self.latency, self.stalls, self.seed]
        shapes = [[x.dtype.str, x.shape] for x in self.inputs]
        digest = hashlib.sha256(json.dumps([settings, shapes]).encode())
        for part in (self.program, self.rtl.encode(), *(x.tobytes() for x in self.inputs)):
            digest.update(hashlib.sha256(part).digest())
        return digest.hexdigest()[:32]

    def perform(self) -> Outcome:
        """Runs it.

        Raises
        ------
        SimulatorError
            The simulation broke off, or there is none: it may be worth another try, or another computer.
        """
        try:
            with Simulation(
                from_bytes(self.program, self.name),
                self.backend,
                latency=self.latency,
                stalls=self.stalls,
                seed=self.seed,
            ) as simulation:
                result = simulation.run(self.inputs)
        except SimulatorError:
            raise
        except (MachineError, SettingError, ModelError) as error:
            return Outcome(error=str(error))
        except Exception as error:
            return Outcome(error=f"{type(error).__name__}: {error}")
        file = io.BytesIO()
        arrays: dict[str, Any] = {f"output{i}": value for i, value in enumerate(result.outputs)}
        arrays[_RESULT] = np.array(json.dumps(result.to_json()))
        np.savez(file, **arrays)
        return Outcome(file.getvalue())


@dataclass(frozen=True, eq=False)
class JobResult:
    """What a job brings back: the JSON form of its run, and the network's outputs."""

    run: dict[str, Any]
    outputs: tuple[Array, ...]


def read_result(path: Path) -> JobResult | None:
    """The result in a file; None if there is none, or a damaged one."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            outputs = tuple(file[f"output{i}"] for i in range(len(file.files) - 1))
            return JobResult(json.loads(str(file[_RESULT])), outputs)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
