"""The Program: everything that a run needs, in one frozen object, and as text that a person can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeGuard

import numpy as np
import numpy.typing as npt

from ..golden.graph import Graph, Tensor
from ..golden.kernels import SUMS_OF_PRODUCTS
from ..golden.numerics import Profile
from ..hw.commands import Command, Load, Memory, Opcode, encode
from ..hw.config import KIB, Config


class CompileError(ValueError):
    """A graph that cannot be compiled for a configuration. The message says what is needed and what there is."""


@dataclass(frozen=True)
class Region:
    """Bytes `[offset, offset + size)` of DRAM, relative to the machine's base address register."""

    offset: int
    size: int


@dataclass(frozen=True)
class TensorRegion(Region):
    """Where a tensor lies in DRAM: dense NHWC, one signed byte per element (see `to_machine`)."""

    tensor: int


@dataclass(frozen=True)
class MemoryMap:
    """The layout of DRAM.

    Parameters
    ----------
    weights
        The packed weights of all layers.
    streams
        The command streams of all machine steps.
    tensors
        The tensors that cross between host and machine, or that the scratchpad cannot hold.
    dram_bytes
        The whole, from offset 0.
    """

    weights: Region
    streams: Region
    tensors: tuple[TensorRegion, ...]
    dram_bytes: int


@dataclass(frozen=True)
class Resident:
    """A tensor that lies whole in the scratchpad; or some of one that passes through it in strips.

    Parameters
    ----------
    tensor
        Its index.
    address, size
        Where, in bytes.
    complete_after
        When so many execute commands of the step have completed, all of it is there; nothing of it has been overwritten
        yet, unless it is also among the step's outputs. 0 for a tensor that is loaded.
    start
        The first of the tensor's bytes.
    """

    tensor: int
    address: int
    size: int
    complete_after: int
    start: int = 0


@dataclass(frozen=True)
class HostStep:
    """An operator that the host computes, in the golden runtime.

    Parameters
    ----------
    operator
        Its index.
    reason
        Why the machine does not.
    """

    operator: int
    reason: str


@dataclass(frozen=True)
class AliasStep:
    """An operator that nobody computes: who reads its output reads an input's bytes.

    They have another shape, type or scale there; or they lack a PAD's border, which convolutions add themselves.

    Parameters
    ----------
    operator
        Its index.
    tensor
        The tensor whose bytes its output is, behind all other aliases.
    """

    operator: int
    tensor: int


@dataclass(frozen=True)
class Allocation:
    """How tensors that lie whole in the scratchpad use it; what is beside them holds strips of others.

    Parameters
    ----------
    peak_bytes
        The most bytes of such tensors that are needed at once: no allocator does with less.
    extent_bytes
        The bytes up to the end of the last of them.
    """

    peak_bytes: int = 0
    extent_bytes: int = 0

    @property
    def fragmentation(self) -> float:
        """The share of the extent that lies idle even at the peak."""
        return 1 - self.peak_bytes / self.extent_bytes if self.extent_bytes else 0.0


@dataclass(frozen=True)
class Fusion:
    """Operators that are computed together, strip by strip.

    Parameters
    ----------
    operators
        Their indices, in order.
    tensors
        What they pass on to each other, and what is never whole in memory.
    """

    operators: tuple[int, ...]
    tensors: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class MachineStep:
    """Operators that one command stream computes.

    Parameters
    ----------
    operators
        Their indices, in order.
    commands
        The stream.
    command_layers
        For each command, the index of the operator that it works for.
    notes
        For each command, what it is about, for people.
    inputs
        Tensors that must be in DRAM before; none is an alias.
    outputs
        Tensors that are in DRAM after; likewise.
    residents
        Tensors that lie in the scratchpad for a while, and strips of those that fused operators pass on.
    stream
        Where the encoded stream lies in DRAM.
    fusions
        Which of its operators are computed together.
    saved_bytes
        By how many bytes these make all loads and stores shorter.
    allocation
        Of its scratchpad.
    """

    operators: tuple[int, ...]
    commands: tuple[Command, ...]
    command_layers: tuple[int, ...]
    notes: tuple[str, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    residents: tuple[Resident, ...]
    stream: Region
    fusions: tuple[Fusion, ...] = ()
    saved_bytes: int = 0
    allocation: Allocation = Allocation()


Where = Literal["array", "host", "none"]
"""What computes an operator; nothing does where it only gives its input another shape."""

Step = HostStep | AliasStep | MachineStep


@dataclass(frozen=True, eq=False)
class Program:
    """A network compiled for a machine.

    Parameters
    ----------
    config, profile, graph
        What it was made for and of.
    steps
        What host and machine do, in order.
    memory
        Where everything lies in DRAM.
    weights
        The packed weights, uint8.
    preload
        What brings all weights on the chip, once before any number of inferences, whose streams load none; None where
        every inference loads its weights.
    fuse
        Whether layers might be computed together, which they are only where that saves time: see `fusions`.
    """

    config: Config
    profile: Profile
    graph: Graph
    steps: tuple[Step, ...]
    memory: MemoryMap
    weights: npt.NDArray[np.uint8]
    preload: MachineStep | None = None
    fuse: bool = True

    def region(self, tensor: int) -> TensorRegion:
        """Where a tensor lies in DRAM.

        Raises
        ------
        KeyError
            It never does.
        """
        tensor = self.roots.get(tensor, tensor)
        for region in self.memory.tensors:
            if region.tensor == tensor:
                return region
        raise KeyError(f"tensor {tensor} never lies in DRAM")

    def image(self) -> npt.NDArray[np.uint8]:
        """DRAM before a run: weights and command streams; zeros where tensors will be. uint8, `(dram_bytes,)`."""
        image = np.zeros(self.memory.dram_bytes, np.uint8)
        image[self.memory.weights.offset :][: self.memory.weights.size] = self.weights
        for step in (self.preload, *self.steps):
            if isinstance(step, MachineStep):
                words = np.array(encode(step.commands), "<u8").view(np.uint8)
                image[step.stream.offset :][: words.size] = words
        return image

    @cached_property
    def roots(self) -> Mapping[int, int]:
        """For each tensor that is an alias, the one whose bytes it is."""
        aliases = (step for step in self.steps if isinstance(step, AliasStep))
        return {self.graph.operators[step.operator].outputs[0]: step.tensor for step in aliases}

    @cached_property
    def aliases(self) -> frozenset[int]:
        """The operators that nobody computes."""
        return frozenset(step.operator for step in self.steps if isinstance(step, AliasStep))

    @property
    def fusions(self) -> tuple[Fusion, ...]:
        """Which operators are computed together."""
        return tuple(fusion for step in self.steps if isinstance(step, MachineStep) for fusion in step.fusions)

    @property
    def saved_bytes(self) -> int:
        """By how many bytes that makes all loads and stores shorter."""
        return sum(step.saved_bytes for step in self.steps if isinstance(step, MachineStep))

    @cached_property
    def staged(self) -> Mapping[int, int]:
        """By operator, the bytes of its weights that are loaded ahead of time, into the scratchpad."""
        found: dict[int, int] = {}
        for step in self.steps:
            if isinstance(step, MachineStep):
                for command, operator in zip(step.commands, step.command_layers, strict=True):
                    if self.stages(command):
                        found[operator] = found.get(operator, 0) + command.length
        return found

    def stages(self, command: Command) -> TypeGuard[Load]:
        """Whether a command loads weights into the scratchpad."""
        if not isinstance(command, Load) or command.memory != Memory.SCRATCHPAD:
            return False
        return 0 <= command.dram_address - self.memory.weights.offset < self.memory.weights.size

    @property
    def allocation(self) -> Allocation:
        """Of the scratchpad, in the command stream that needs most."""
        steps = (step.allocation for step in self.steps if isinstance(step, MachineStep))
        return max(steps, key=lambda allocation: allocation.extent_bytes, default=Allocation())

    def where(self, operator: int) -> Where:
        """What computes an operator."""
        if operator in self.machine_operators:
            return "array"
        return "none" if operator in self.aliases else "host"

    @cached_property
    def machine_operators(self) -> frozenset[int]:
        """The operators that run on the machine."""
        return frozenset(o for step in self.steps if isinstance(step, MachineStep) for o in step.operators)

    def save(self, path: str | Path) -> None:
        """Writes an `.efp` file."""
        from .storage import save

        save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Program:
        """Reads an `.efp` file.

        Raises
        ------
        ProgramError
            It is no such file, of another version, or corrupted.
        """
        from .storage import load

        return load(path)

    def listing(self) -> str:
        """The program as text: memory, steps, and every command with what it is for."""
        return "\n".join(_listing(self)) + "\n"

    def __str__(self) -> str:
        return self.listing()

    def __repr__(self) -> str:
        machine = [step for step in self.steps if isinstance(step, MachineStep)]
        commands = sum(len(step.commands) for step in machine)
        operators = len(self.machine_operators)
        return (
            f"<Program {self.graph.name} for {self.config.name}: {operators} of {len(self.graph.operators)} operators "
            f"on the machine, {len(machine)} command streams, {commands} commands, "
            f"{self.memory.dram_bytes / KIB:.1f} KiB of DRAM>"
        )


def to_machine(value: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A tensor's value as the machine's bytes in DRAM, uint8, flat: uint8 tensors become int8 by their top bit."""
    data = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    return data ^ np.uint8(0x80) if value.dtype == np.uint8 else data.copy()


def from_machine(data: npt.NDArray[np.uint8], tensor: Tensor, shape: tuple[int, ...] | None = None) -> npt.NDArray[Any]:
    """The value of `tensor` from the machine's bytes; the inverse of `to_machine`."""
    shape = tensor.shape if shape is None else shape
    value = data ^ np.uint8(0x80) if tensor.dtype == np.uint8 else data.view(np.int8)
    return value.copy().reshape(shape)


def _listing(program: Program) -> list[str]:
    graph, memory = program.graph, program.memory

    def tensor(index: int) -> str:
        t = graph.tensors[index]
        return f"tensor {index} {t.dtype}{list(t.shape)} {t.name}"

    lines = [
        f"program    {graph.name}",
        f"config     {program.config!r}",
        f"profile    {program.profile.value}",
        f"dram       {memory.dram_bytes} bytes",
        f"  {memory.weights.offset:#010x} {memory.weights.size:>9}  packed weights",
        f"  {memory.streams.offset:#010x} {memory.streams.size:>9}  command streams",
    ]
    lines += [f"  {r.offset:#010x} {r.size:>9}  {tensor(r.tensor)}" for r in memory.tensors]
    if program.preload is not None:
        stream = program.preload.stream
        lines += ["", "before the first inference: machine", f"  stream {stream.offset:#010x}, {stream.size} bytes"]
        lines += [f"  {i:>5}  {command}" for i, command in enumerate(program.preload.commands)]
    for number, step in enumerate(program.steps):
        lines.append("")
        if isinstance(step, HostStep):
            kind = graph.operators[step.operator].kind
            lines.append(f"step {number}: host: operator {step.operator} {kind}: {step.reason}")
            continue
        if isinstance(step, AliasStep):
            operator = graph.operators[step.operator]
            lines.append(
                f"step {number}: none: operator {step.operator} {operator.kind}: {tensor(operator.outputs[0])} "
                f"is {tensor(step.tensor)}"
            )
            continue
        names = ", ".join(f"{o} {graph.operators[o].kind}" for o in step.operators)
        lines.append(f"step {number}: machine: operators {names}")
        lines.append(f"  stream {step.stream.offset:#010x}, {step.stream.size} bytes, {len(step.commands)} commands")
        lines += [f"  reads  {tensor(t)}" for t in step.inputs]
        lines += [f"  writes {tensor(t)}" for t in step.outputs]
        used = step.allocation
        lines.append(
            f"  scratchpad {used.peak_bytes} bytes of whole tensors at the peak, in {used.extent_bytes}: "
            f"{used.fragmentation:.1%} fragmentation"
        )
        strips = {t for fusion in step.fusions for t in fusion.tensors}
        for fusion in step.fusions:
            lines.append(f"  fused  operators {', '.join(map(str, fusion.operators))}")
            lines += [f"    never whole  {tensor(t)}" for t in fusion.tensors]
        if step.fusions:
            lines.append(f"  fusion saves {step.saved_bytes} bytes of loads and stores")
        lines += [
            f"  scratchpad {r.address:#08x} {r.size:>9}  {tensor(r.tensor)}"
            for r in step.residents
            if r.tensor not in strips
        ]
        lines += _disassembly(step, graph)
    return lines


def _operator(graph: Graph, index: int) -> str:
    operator = graph.operators[index]
    inputs = [graph.tensors[t] for t in operator.inputs if t >= 0]
    read = " and ".join(str(list(t.shape)) for t in inputs if not t.constant)
    weights = f" by weights {list(inputs[1].shape)}" if operator.kind in SUMS_OF_PRODUCTS else ""
    return f"operator {index} {operator.kind}: {read}{weights} to {list(graph.tensors[operator.outputs[0]].shape)}"


def _disassembly(step: MachineStep, graph: Graph) -> list[str]:
    """One line per command: its index, its number within its engine, the command, what it is for."""
    lines = []
    counts = dict.fromkeys(Opcode, 0)
    layer = None
    for index, (command, operator, note) in enumerate(zip(step.commands, step.command_layers, step.notes, strict=True)):
        if operator != layer:
            lines.append(f"  ; {_operator(graph, operator)}")
            layer = operator
        counts[command.opcode] += 1
        lines.append(f"  {index:>5} {counts[command.opcode]:>5}  {command}  ; {note}")
    return lines
