"""The compiler: a graph and a configuration in, a Program out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from ..golden.graph import Graph
from ..golden.kernels import check_supported
from ..golden.numerics import Profile
from ..hw.commands import WORD_BITS, Load, Memory
from ..hw.config import Config
from .aliases import is_alias, roots_of
from .borders import absorb_borders
from .lowering import HostReason, lower
from .packing import pack
from .patches import gathered
from .program import (
    AliasStep,
    CompileError,
    HostStep,
    MachineStep,
    MemoryMap,
    Program,
    Region,
    Step,
)
from .staging import Piece, Staging
from .streams import Dram, machine_step
from .work import Layer


def compile(
    graph: Graph, config: Config, profile: Profile = Profile.TFLM, *, fuse: bool = True, resident: bool = False
) -> Program:
    """Compiles a network for a machine.

    Neighbouring operators that the machine computes become one command stream; the host computes the others. Operators
    that change no byte, but its place in a shape or what it stands for, cost nothing, and part no neighbours.

    Parameters
    ----------
    graph
        The network.
    config
        The machine.
    profile
        Whose arithmetic to follow. Operators whose rounding the machine does not have stay with the host.
    fuse
        Whether layers may be computed together, strip by strip, where a tensor between them does not fit the scratchpad
        and that saves time.
    resident
        All weights are to be on the chip before the first inference, and stay there: see `Program.preload`.

    Raises
    ------
    CompileError
        Something does not fit the machine's memories.
    ModelError
        The network is not supported, or inconsistent.
    """
    plan = make_plan(graph, config, profile, fuse=fuse, resident=resident)
    dram = plan.dram
    weights = np.zeros(plan.weights.size, np.uint8)
    for layer, offset in plan.weights_at.items():
        image = pack(layer, config, plan.staging.get(layer, ()))
        weights[offset:][: image.size] = image
    streams_at = dram.size
    preload = _preload(plan.weights, dram) if resident else None
    steps = tuple(_with_streams(plan.steps, dram))
    return Program(
        config=config,
        profile=profile,
        graph=graph,
        steps=steps,
        memory=MemoryMap(
            weights=plan.weights,
            streams=Region(streams_at, dram.size - streams_at),
            tensors=tuple(dram.tensors.values()),
            dram_bytes=dram.size,
        ),
        weights=weights,
        preload=preload,
        fuse=fuse,
    )


@dataclass(frozen=True, eq=False)
class Plan:
    """All decisions about a network on a machine: what `compile` makes a Program of.

    Parameters
    ----------
    steps
        What host and machine do, in order; command streams have no place yet.
    weights
        Where all packed weights lie in DRAM.
    weights_at
        The offset of those of each layer.
    dram
        What of DRAM is taken.
    staging
        What of which layer's weights is loaded ahead of time.
    """

    steps: Sequence[Step]
    weights: Region
    weights_at: Mapping[Layer, int]
    dram: Dram
    staging: Staging


def make_plan(graph: Graph, config: Config, profile: Profile, *, fuse: bool = True, resident: bool = False) -> Plan:
    """Decides where everything lies and what the commands are; parameters and errors are those of `compile`."""
    check_supported(graph)
    roots = dict(roots_of(graph, profile))
    computed = [operator for operator in graph.operators if not is_alias(operator, roots)]
    lowered: dict[int, Layer] = {}
    before: dict[int, Sequence[Layer]] = {}
    reasons: dict[int, str] = {}
    for operator in computed:
        try:
            *first, last = (_rooted(layer, roots) for layer in lower(operator, graph, config, profile))
            before[operator.index], lowered[operator.index] = first, last
        except HostReason as reason:
            reasons[operator.index] = str(reason)
    lowered, borders = absorb_borders(lowered, graph)
    roots |= borders
    computed = [operator for operator in computed if not is_alias(operator, roots)]
    # Tensors between layers of one operator have negative numbers.
    layers = {i: (*before[i], *gathered(layer, config, strips=-1 - i)) for i, layer in lowered.items()}
    dram = Dram()
    weights_at = {layer: dram.take(layer.packed_bytes(config)).offset for some in layers.values() for layer in some}
    weights = Region(0, dram.size)
    if resident and weights.size > config.weight_bytes:
        raise CompileError(
            f"{graph.name} on {config.name}: all weights need {weights.size} bytes of weight buffer to stay there; "
            f"there are {config.weight_bytes}"
        )
    steps: list[Step] = []
    staging: dict[Layer, Sequence[Piece]] = {}
    for on_machine, group in groupby(computed, key=lambda operator: operator.index in layers):
        operators = [operator.index for operator in group]
        if on_machine:
            chain = [layer for operator in operators for layer in layers[operator]]
            try:
                leaving = _leaving(graph, operators, roots)
                step, staged = machine_step(chain, leaving, config, weights_at, dram, fuse=fuse, resident=resident)
            except CompileError as error:
                raise CompileError(f"{graph.name} on {config.name}: {error}") from None
            steps.append(step)
            staging |= staged
        else:
            steps += [HostStep(i, reasons[i]) for i in operators]
    return Plan(_with_aliases(steps, graph, roots), weights, weights_at, dram, staging)


def _rooted(layer: Layer, roots: Mapping[int, int]) -> Layer:
    """A layer that reads what its sources are aliases of."""
    return replace(layer, sources=tuple(roots.get(source, source) for source in layer.sources))


def _with_aliases(steps: Sequence[Step], graph: Graph, roots: Mapping[int, int]) -> list[Step]:
    """The steps, with an alias right after what its tensor comes from."""
    aliases = [operator for operator in graph.operators if is_alias(operator, roots)]
    known = set(graph.main.inputs)
    done: list[Step] = []
    for step in (None, *steps):
        match step:
            case HostStep():
                known.update(graph.operators[step.operator].outputs)
            case MachineStep():
                known.update(t for operator in step.operators for t in graph.operators[operator].outputs)
        if step is not None:
            done.append(step)
        ready = [alias for alias in aliases if roots[alias.outputs[0]] in known]
        done += [AliasStep(alias.index, roots[alias.outputs[0]]) for alias in ready]
        aliases = [alias for alias in aliases if alias not in ready]
    return done


def _preload(weights: Region, dram: Dram) -> MachineStep | None:
    """The stream that brings all weights to the addresses that are their offsets; None if there are none."""
    if not weights.size:
        return None
    load = Load(dram_address=weights.offset, length=weights.size, address=weights.offset, memory=Memory.WEIGHTS)
    return MachineStep(
        operators=(),
        commands=(load,),
        command_layers=(),
        notes=("all weights",),
        inputs=(),
        outputs=(),
        residents=(),
        stream=dram.take(load.words() * WORD_BITS // 8),
    )


def _with_streams(steps: Sequence[Step], dram: Dram) -> Iterator[Step]:
    """The steps, with a place for every command stream."""
    for step in steps:
        if isinstance(step, MachineStep):
            words = sum(command.words() for command in step.commands)
            step = replace(step, stream=dram.take(words * WORD_BITS // 8))
        yield step


def _leaving(graph: Graph, operators: Sequence[int], roots: Mapping[int, int]) -> set[int]:
    """The tensors that something outside a stream needs: another operator, or whoever runs the network."""
    leaving = set(graph.main.outputs)
    for operator in graph.operators:
        if operator.index not in operators and not is_alias(operator, roots):
            leaving.update(tensor for tensor in operator.inputs if tensor >= 0)
    return {roots.get(tensor, tensor) for tensor in leaving}
