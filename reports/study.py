"""A network on a machine, looked at from all sides: what a report shows, as plain objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.compilation import compile
from ..compiler.program import CompileError, HostStep, MachineStep, Program
from ..golden.graph import Graph, ModelError
from ..golden.numerics import Profile
from ..golden.runtime import Session
from ..sim.errors import MachineError
from ..sim.model import CycleProfile, LayerCost, profile
from ..sim.result import RunResult
from ..sim.rtl import DEFAULT_LATENCY
from ..sim.simulation import Progress, Simulation
from .actions import Traffic, actions_of
from .causes import Causes, causes
from .distribution import Distribution, distributions
from .energy import DEFAULT_TABLE, TABLES, EnergyReport, EnergyTable, LayerEnergy, energy, float_energy
from .float_design import FloatDesign, float_design
from .occupancy import Occupant, occupancy, peak
from .peers import Peer, peers_of

FORMAT = "eightfold-report/1"
"""Names the JSON form of a report; the number changes when a reader of the old form would be misled."""

DEFAULT_CLOCK = 500e6
"""Hertz: for times and powers, where the user does not say."""

OTHER_RUNTIMES = (Profile.LITERT_OPT, Profile.XNNPACK)
"""Whose arithmetic is looked at beside the run's own: what phones and desktops compute with."""

Array = npt.NDArray[Any]
Told = Callable[[str], None]
"""Called with what is being done."""


@dataclass(frozen=True, eq=False)
class Study:
    """A network on a machine.

    Parameters
    ----------
    program, profile
        The compiled network, and its cycles.
    clock
        Hertz.
    file_bytes
        Size of the network's file; None where it did not come from one.
    layers, traffic
        Causes of cycles, and bytes, by operator on the machine.
    energy
        Of an inference.
    plain, plain_traffic, plain_energy
        The same in int8 with layers one after the other, to compare with float32; where none were fused, as above.
    wide, wide_energy, wide_reason
        The same network in float32, with layers one after the other, and its energy; None, with the reason, where it
        cannot be laid out.
    occupants
        Of the scratchpad.
    distributions
        Of weights and activations.
    inputs
        Where the inputs of the inference came from.
    result
        The run that was compared with the golden runtime, if any.
    others
        For other runtimes, how many elements of each operator's output differ if it is given the same inputs.
    """

    program: Program
    profile: CycleProfile
    clock: float
    file_bytes: int | None
    causes: Mapping[int, Causes]
    traffic: Mapping[int, Traffic]
    energy: EnergyReport
    plain: CycleProfile
    plain_traffic: Mapping[int, Traffic]
    plain_energy: EnergyReport
    wide: FloatDesign | None
    wide_energy: EnergyReport | None
    wide_reason: str
    occupants: Sequence[Occupant]
    distributions: Sequence[Distribution]
    inputs: str
    result: RunResult | None
    others: Mapping[Profile, Mapping[int, int]]

    @property
    def graph(self) -> Graph:
        """The network."""
        return self.program.graph

    @property
    def layers(self) -> Sequence[LayerCost]:
        """Every operator, in order."""
        return self.profile.layers

    @property
    def on_machine(self) -> list[int]:
        """The operators that the machine computes, in order."""
        return [index for index, layer in enumerate(self.layers) if layer.where == "array"]

    @property
    def reasons(self) -> dict[int, str]:
        """Why the host computes what it does, by operator."""
        return {step.operator: step.reason for step in self.program.steps if isinstance(step, HostStep)}

    @property
    def total_traffic(self) -> Traffic:
        """Of an inference."""
        return sum(self.traffic.values(), Traffic())

    @property
    def total_plain_traffic(self) -> Traffic:
        """Of an inference with layers one after the other."""
        return sum(self.plain_traffic.values(), Traffic())

    @property
    def fused(self) -> bool:
        """Whether layers are computed together."""
        return self.plain is not self.profile

    @property
    def total_causes(self) -> dict[str, float]:
        """Cycles of an inference by cause."""
        names = Causes().shares
        return {name: sum(part.shares[name] for part in self.causes.values()) for name in names}

    @property
    def layer_energy(self) -> dict[int, LayerEnergy]:
        """By operator."""
        return dict(zip(self.on_machine, self.energy.layers, strict=True))

    @property
    def parameters(self) -> tuple[int, int]:
        """Bytes of the network's weights and biases: as they are, and as float32."""
        constants = [t for t in self.graph.tensors if t.data is not None and t.quantization is not None]
        return sum(t.data.nbytes for t in constants if t.data is not None), sum(
            4 * t.data.size for t in constants if t.data is not None
        )

    @property
    def peak_bytes(self) -> int:
        """The most that the scratchpad holds at once."""
        return peak(self.occupants)

    @property
    def peers(self) -> Mapping[Peer, int]:
        """Cycles of the same network elsewhere."""
        return peers_of(self.graph.name, sum(layer.macs for layer in self.layers))

    def seconds(self, cycles: int) -> float:
        """How long so many cycles take."""
        return cycles / self.clock

    def to_json(self) -> dict[str, Any]:
        """All figures as plain values; docs/report.md describes it."""
        wide, wide_energy, total = self.wide, self.wide_energy, self.total_traffic
        value = self.profile.to_json() | {
            "format": FORMAT,
            "profile": self.program.profile.value,
            "clock": self.clock,
            "seconds": self.seconds(self.profile.cycles),
            "inputs": self.inputs,
            "causes": self.total_causes,
            "traffic": asdict(total) | {"total": total.total},
            "energy": self.energy.to_json(),
            "peak_scratchpad_bytes": self.peak_bytes,
            "file_bytes": self.file_bytes,
            "parameter_bytes": self.parameters[0],
            "packed_weight_bytes": self.program.memory.weights.size,
            "peers": [{"name": p.name, "conditions": p.conditions, "cycles": c} for p, c in self.peers.items()],
            "bit_exact": None if self.result is None else self.result.bit_exact,
            "backend": None if self.result is None else self.result.backend,
            "int8_unfused": {
                "cycles": self.plain.cycles,
                "traffic": asdict(self.total_plain_traffic) | {"total": self.total_plain_traffic.total},
                "energy": self.plain_energy.to_json(),
            },
            "float32": {"reason": self.wide_reason},
        }
        if wide is not None and wide_energy is not None:
            value["float32"] = {
                "reason": None,
                "cycles": wide.cycles,
                "traffic": asdict(wide.traffic) | {"total": wide.traffic.total},
                "energy": wide_energy.to_json(),
                "parameter_bytes": self.parameters[1],
            }
        value["layers"] = [self._layer_json(index) for index in range(len(self.layers))]
        return value

    def _layer_json(self, index: int) -> dict[str, Any]:
        found = {(d.operator, d.kind): d for d in self.distributions}
        value: dict[str, Any] = asdict(self.layers[index])
        value["reason"] = self.reasons.get(index)
        if index in self.causes:
            value["causes"] = self.causes[index].shares
            value["traffic"] = asdict(self.traffic[index])
        if index in self.layer_energy:
            spent = self.layer_energy[index].total
            value["energy"] = [spent.low, spent.high]
        if self.wide is not None and index in self.wide.layers:
            value["int8_unfused_cycles"] = self.plain.layers[index].cycles
            value["int8_unfused_traffic"] = asdict(self.plain_traffic[index])
            value["float32_cycles"] = self.wide.layers[index].cycles
            value["float32_traffic"] = asdict(self.wide.layers[index].actions.traffic)
        for kind in ("weights", "activations"):
            distribution = found.get((index, kind))
            if distribution is not None:
                value[kind] = {
                    "sqnr": distribution.sqnr,
                    "saturated": distribution.saturated,
                    "levels": distribution.levels,
                }
        if self.result is not None:
            value["elements"] = self.result.layers[index].elements
            value["mismatches"] = self.result.layers[index].mismatches
        value["other_runtimes"] = {
            runtime.value: counts[index] for runtime, counts in self.others.items() if index in counts
        }
        return value


def study(
    program: Program,
    inputs: Sequence[Array],
    *,
    described: str = "given arrays",
    backend: str = "model",
    latency: int = DEFAULT_LATENCY,
    table: EnergyTable = TABLES[DEFAULT_TABLE],
    clock: float = DEFAULT_CLOCK,
    file_bytes: int | None = None,
    wide: Callable[[], FloatDesign] | None = None,
    told: Told = lambda what: None,
    progress: Callable[[Progress], None] | None = None,
) -> Study:
    """Looks at a network from all sides.

    Parameters
    ----------
    program
        The compiled network.
    inputs
        One array per input of the network.
    described
        Where they come from, for people.
    backend
        What runs the network to compare it with the golden runtime; `model` computes no values and compares nothing.
    latency
        Of the memory, in cycles.
    table
        What actions cost.
    clock
        Hertz, for times and powers.
    file_bytes
        Size of the network's file.
    wide
        Gives the network in float32 where that is under way already, as with `float_design_beside`; None: it is made
        here.
    told, progress
        Called with what is being done, and with how far a run is.

    Raises
    ------
    ModelError
        The inputs do not fit the network.
    MachineError, SimulatorError, SettingError
        As for a run; SimulatorError also where a process that makes the network in float32 breaks off.
    """
    told("cycles")
    cost = profile(program, latency)
    plain = cost
    if any(step.fusions for step in program.steps if isinstance(step, MachineStep)):
        told("layers one after the other")
        plain = profile(compile(program.graph, program.config, program.profile, fuse=False), latency)
    result = None
    if backend == "model":
        told("golden runtime")
        tensors = Session(program.graph, program.profile).run(inputs).tensors
    else:
        told(f"run on {backend}")
        with Simulation(program, backend, latency=latency) as simulation:
            result = simulation.run(inputs, progress=progress)
        tensors = result.tensors
    told("other runtimes")
    others = {
        runtime: differences(program.graph, tensors, runtime)
        for runtime in OTHER_RUNTIMES
        if runtime is not program.profile
    }
    told("float32 on the same memories")
    design, reason = _wide(wide or partial(float_design, program, latency))
    return Study(
        program=program,
        profile=cost,
        clock=clock,
        file_bytes=file_bytes,
        causes=causes(cost),
        traffic={operator: done.traffic for operator, done in actions_of(cost)[0].items()},
        energy=energy(cost, table),
        plain=plain,
        plain_traffic={operator: done.traffic for operator, done in actions_of(plain)[0].items()},
        plain_energy=energy(plain, table),
        wide=design,
        wide_energy=None if design is None else float_energy(design, table),
        wide_reason=reason,
        occupants=occupancy(cost),
        distributions=tuple(distributions(program.graph, tensors)),
        inputs=described,
        result=result,
        others=others,
    )


def _wide(made: Callable[[], FloatDesign]) -> tuple[FloatDesign | None, str]:
    try:
        return made(), ""
    except (CompileError, MachineError, ValueError) as error:
        return None, str(error)


def differences(graph: Graph, tensors: Mapping[int, Array], runtime: Profile) -> dict[int, int]:
    """By operator, how many elements of its first output differ under another runtime, given the same inputs.

    Operators that keep state, or that the runtime cannot compute from these tensors, are left out.
    """
    session = Session(graph, runtime)
    found = {}
    for operator in graph.operators:
        if not operator.outputs or operator.outputs[0] not in tensors:
            continue
        try:
            value = session.run_operator(operator, tensors)[0]
        except (ModelError, IndexError):
            continue
        expected = tensors[operator.outputs[0]]
        if value.dtype != object and value.shape == expected.shape:
            found[operator.index] = int(np.count_nonzero(value != expected))
    return found
