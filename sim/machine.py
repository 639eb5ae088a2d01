"""A machine that runs command streams, whatever simulates it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..compiler.program import MachineStep


@dataclass(frozen=True)
class Completion:
    """How many commands of each engine had completed, or started, at a cycle of a run."""

    cycle: int
    loads: int
    executes: int
    stores: int


@dataclass(frozen=True)
class Watch:
    """A wish to see bytes of the scratchpad once a number of execute commands has completed."""

    executes: int
    address: int
    size: int


@dataclass(frozen=True)
class Activity:
    """What a machine did in one run of a command stream.

    Parameters
    ----------
    counters
        The hardware's counters by name, in lower case; empty where time is not simulated.
    completions
        Every change of the number of completed commands, in order; empty where time is not simulated.
    observed
        The bytes that each `Watch` saw.
    starts
        Every change of the number of started commands, one cycle after its cause; empty where it was not seen.
    """

    counters: Mapping[str, int]
    completions: tuple[Completion, ...]
    observed: tuple[bytes, ...]
    starts: tuple[Completion, ...] = ()


Tick = Callable[[Completion], None]
"""Called now and then with how far a run is."""


class Machine(Protocol):
    """Memory that can be written and read, and command streams in it that can be run.

    Attributes
    ----------
    name
        What results call it.
    """

    @property
    def name(self) -> str: ...

    def write(self, address: int, data: bytes) -> None:
        """Writes bytes to DRAM."""

    def read(self, address: int, length: int) -> bytes:
        """Bytes of DRAM."""

    def run(self, step: MachineStep, *, watches: Sequence[Watch] = (), tick: Tick | None = None) -> Activity:
        """Runs a step's command stream, which lies in DRAM already.

        Raises
        ------
        MachineError
            The machine stopped with an error. It is ready for the next run.
        SimulatorError
            It could not be simulated to its end.
        """

    def close(self) -> None:
        """Ends the simulation."""
