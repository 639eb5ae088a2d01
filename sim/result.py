"""What a run brings back: every tensor, every layer's cost and agreement, the hardware's counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy.typing as npt

from ..compiler.program import Where
from ..golden.numerics import Profile
from ..hw.config import Config
from .divergence import Divergence
from .trace import Run

FORMAT = "eightfold-run/1"
"""Names the JSON form of a result; the number changes when a reader of the old form would be misled."""


@dataclass(frozen=True)
class LayerResult:
    """One operator of a run.

    Parameters
    ----------
    index, op, name
        The operator's place, its kind, and its first output's name.
    where
        What computed it; `none` for an operator that only gives its input another shape.
    reason
        Why the host did; None elsewhere.
    macs
        Products.
    cycles
        Of the machine: for each of its execute commands, from the completion of the one before to its own, so
        that the cycles of all layers sum to those of the run. 0 off the array. None where time was not simulated.
    utilization
        `macs / (cycles * multipliers)`; None where there are no cycles.
    dram_read_bytes, dram_write_bytes
        Of the bus beats that its commands and their fetch took; None where the bus was not simulated.
    elements, mismatches
        Of its outputs, and how many of them differ from the golden runtime. None where a tensor was never whole in
        memory.
    """

    index: int
    op: str
    name: str
    where: Where
    reason: str | None
    macs: int
    cycles: int | None
    utilization: float | None
    dram_read_bytes: int | None
    dram_write_bytes: int | None
    elements: int
    mismatches: int | None


@dataclass(frozen=True, eq=False)
class RunResult:
    """One inference.

    Parameters
    ----------
    model
        The network's name.
    config, profile, backend
        The machine, whose arithmetic, and what simulated it.
    latency, stalls, seed
        Of the memory; None where it was not simulated.
    layers
        Every operator, in order.
    counters
        The hardware's counters, summed over the run's command streams. Empty where time was not simulated.
    tensors
        Every tensor of the graph by its index, constants included.
    outputs
        The network's outputs, in its order.
    runs
        What every command stream did when, for a trace. Empty where time was not simulated.
    divergence
        Where the array first differs from the golden runtime; None where it does not.
    resident
        Whether all weights were on the chip before the inference, and took none of its time.
    jobs
        Of a sharded run: of how many runs it is the sum, each of one layer or a band of it; None for a single run.
    """

    model: str
    config: Config
    profile: Profile
    backend: str
    latency: int | None
    stalls: float | None
    seed: int | None
    layers: tuple[LayerResult, ...]
    counters: Mapping[str, int]
    tensors: Mapping[int, npt.NDArray[Any]] = field(repr=False)
    outputs: tuple[npt.NDArray[Any], ...] = field(repr=False)
    runs: tuple[Run, ...] = field(default=(), repr=False)
    divergence: Divergence | None = field(default=None, repr=False)
    jobs: int | None = None
    resident: bool = False

    @property
    def cycles(self) -> int | None:
        """Of the machine, in all its command streams; None where time was not simulated."""
        return self.counters["cycles"] if self.counters else None

    @property
    def macs(self) -> int:
        """Products of the whole network."""
        return sum(layer.macs for layer in self.layers)

    @property
    def array_macs(self) -> int:
        """Products that the array computed."""
        return sum(layer.macs for layer in self.layers if layer.where == "array")

    @property
    def utilization(self) -> float | None:
        """The array's products over those it could have computed in the run's cycles."""
        return self.array_macs / (self.cycles * self.config.multipliers) if self.cycles else None

    @property
    def dram_read_bytes(self) -> int | None:
        """Bytes of the bus beats that the machine read, commands included."""
        if not self.counters:
            return None
        return (self.counters["read_beats"] + self.counters["fetch_beats"]) * self.config.bus_bytes

    @property
    def dram_write_bytes(self) -> int | None:
        """Bytes of the bus beats that the machine wrote."""
        return self.counters["write_beats"] * self.config.bus_bytes if self.counters else None

    @property
    def bit_exact(self) -> bool | None:
        """Whether every element of every layer equals the golden runtime's; None where the backend computes nothing."""
        return None if self.backend == "model" else all(layer.mismatches == 0 for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        """The result as plain values; docs/run-json.md describes it."""
        return {
            "format": FORMAT,
            "model": self.model,
            "config": self.config.name,
            "parameters": {key: value for key, value in self.config.as_dict().items() if key != "name"},
            "backend": self.backend,
            "profile": self.profile.value,
            "latency": self.latency,
            "stalls": self.stalls,
            "seed": self.seed,
            "jobs": self.jobs,
            "resident": self.resident,
            "cycles": self.cycles,
            "macs": self.macs,
            "array_macs": self.array_macs,
            "utilization": self.utilization,
            "dram_read_bytes": self.dram_read_bytes,
            "dram_write_bytes": self.dram_write_bytes,
            "bit_exact": self.bit_exact,
            "divergence": None if self.divergence is None else asdict(self.divergence),
            "counters": dict(self.counters),
            "layers": [asdict(layer) for layer in self.layers],
        }

    def dump(self) -> dict[str, npt.NDArray[Any]]:
        """Every tensor as `tensor{index}` and every output as `output{i}`, as an .npz file names them."""
        tensors = {f"tensor{index}": value for index, value in sorted(self.tensors.items())}
        return tensors | {f"output{i}": value for i, value in enumerate(self.outputs)}

    def __repr__(self) -> str:
        facts = [f"{len(self.layers)} layers", f"{self.macs:,} MACs"]
        if self.cycles is not None:
            facts.append(f"{self.cycles:,} cycles")
        if self.utilization is not None:
            facts.append(f"{self.utilization:.1%} of the array")
        if self.bit_exact is not None:
            facts.append("bit exact" if self.bit_exact else f"{self._mismatches():,} mismatches")
        return f"<RunResult {self.model} on {self.config.name} ({self.backend}): {', '.join(facts)}>"

    def _mismatches(self) -> int:
        return sum(layer.mismatches or 0 for layer in self.layers)
