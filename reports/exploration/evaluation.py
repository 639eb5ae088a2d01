"""What a machine costs, network by network: the work of one point, for any process on any computer."""

from __future__ import annotations

import hashlib
import json
import marshal
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from ...compiler.compilation import compile
from ...compiler.program import CompileError
from ...golden.graph import Graph, ModelError
from ...golden.numerics import Profile, Rounding
from ...golden.reader import parse
from ...sim.errors import MachineError
from ...sim.job import Outcome
from ...sim.model import profile as model_cycles
from ..energy import EnergyTable, energy
from .space import Point

ROOMS = ("golden", "hw", "compiler", "sim", "reports")
"""Whose code a point's figures come from."""

_PARSED = 16


@dataclass(frozen=True)
class Network:
    """A network as its file holds it; `name` is what tables call it."""

    name: str
    content: bytes

    @cached_property
    def digest(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def graph(self) -> Graph:
        """The network; ModelError if the file is none."""
        return _parsed(self.name, self.content)


@lru_cache(_PARSED)
def _parsed(name: str, content: bytes) -> Graph:
    return parse(content, name=name)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one network costs on one machine.

    Parameters
    ----------
    cycles
        Of the machine.
    utilization
        Share of the array's products that the network needs; None where nothing runs there.
    dram_bytes
        Read and written, of whole bus beats, commands included.
    energy_low, energy_high
        Picojoules.
    on_machine, operators
        Operators that the machine computes or that cost nothing, and all.
    """

    cycles: int
    utilization: float | None
    dram_bytes: int
    energy_low: float
    energy_high: float
    on_machine: int
    operators: int

    @property
    def energy(self) -> float:
        """Picojoules, the middle of the range."""
        return (self.energy_low + self.energy_high) / 2


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The figures of all networks at one point; its result is JSON: a list of figures, or of reasons for none.

    Parameters
    ----------
    point
        The machine.
    networks
        What runs there.
    profile
        Whose arithmetic; None: the one that the machine's rounding suits.
    latency
        Of the memory, in cycles.
    table
        What actions cost in energy.
    """

    point: Point
    networks: Sequence[Network]
    profile: Profile | None
    latency: int
    table: EnergyTable

    @property
    def name(self) -> str:
        return self.point.name

    @property
    def key(self) -> str:
        """A hash of everything that the figures depend on."""
        config = {name: value for name, value in self.point.config.as_dict().items() if name != "name"}
        settings = [config, self.point.fuse, self._profile.value, self.latency, asdict(self.table)]
        settings += [source_digest(), *([network.digest, network.name] for network in self.networks)]
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def _profile(self) -> Profile:
        return self.profile or profile_for(self.point.config.rounding)

    def perform(self) -> Outcome:
        """Compiles every network and asks the cycle model."""
        found: list[dict[str, Any]] = []
        try:
            for network in self.networks:
                try:
                    found.append(asdict(self._figures(network)))
                except (CompileError, ModelError, MachineError) as error:
                    found.append({"reason": f"{network.name}: {error}"})
        except Exception as error:
            return Outcome(error=f"{type(error).__name__}: {error}")
        return Outcome(json.dumps(found).encode())

    def _figures(self, network: Network) -> Figures:
        program = compile(network.graph, self.point.config, self._profile, fuse=self.point.fuse)
        cost = model_cycles(program, self.latency)
        spent = energy(cost, self.table).total
        counted = (cost.counters.get(f"{way}_beats", 0) for way in ("read", "fetch", "write"))
        hosted = sum(program.where(operator.index) == "host" for operator in program.graph.operators)
        return Figures(
            cycles=cost.cycles,
            utilization=cost.utilization,
            dram_bytes=sum(counted) * self.point.config.bus_bytes,
            energy_low=spent.low,
            energy_high=spent.high,
            on_machine=len(program.graph.operators) - hosted,
            operators=len(program.graph.operators),
        )


def profile_for(rounding: Rounding) -> Profile:
    """The profile whose convolutions round so."""
    return next(profile for profile in Profile if profile.convolution_rounding is rounding)


@cache
def source_digest() -> str:
    """Of all code that figures come from, so that those of other code are not taken for this one's."""
    digest = hashlib.sha256()
    top = Path(__file__).resolve().parents[2]
    places = [top / room for room in ROOMS]
    for path in sorted(path for place in places for path in place.rglob("*.py")):
        digest.update(marshal.dumps((path.relative_to(top).as_posix(), path.read_bytes())))
    return digest.hexdigest()
