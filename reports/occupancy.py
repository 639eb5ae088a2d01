"""What lies where in the scratchpad, and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..compiler.program import Program, Resident
from ..hw.commands import Command, Execute, Load, Memory, Store
from ..sim.model import CycleProfile, ModelledStep


@dataclass(frozen=True)
class Occupant:
    """Bytes of the scratchpad that something takes for a while.

    Parameters
    ----------
    tensor
        The tensor that lies there whole; None where strips of tensors pass through, or weights wait for their use.
    operator
        The operator that makes it, or for which it is loaded.
    address, size
        Where, in bytes.
    start, end
        From which cycle of the inference to which.
    weights
        Whether these are weights, loaded ahead of time.
    """

    tensor: int | None
    operator: int
    address: int
    size: int
    start: int
    end: int
    weights: bool = False


def occupancy(profile: CycleProfile) -> list[Occupant]:
    """All that the scratchpad holds in an inference, in the order of time."""
    found: list[Occupant] = []
    base = 0
    for step in profile.steps:
        found += _of_step(step, profile.program, base)
        base += step.timeline.counters["cycles"]
    return sorted(found, key=lambda occupant: (occupant.start, occupant.address))


def peak(occupants: Sequence[Occupant]) -> int:
    """The most bytes that are taken at once."""
    return max((_taken([o for o in occupants if o.start <= at.start < o.end]) for at in occupants), default=0)


def _taken(occupants: Sequence[Occupant]) -> int:
    """Bytes that they take together: a strip may take the place of a tensor that is almost done with."""
    total = until = 0
    for occupant in sorted(occupants, key=lambda o: o.address):
        stop = occupant.address + occupant.size
        total += max(0, stop - max(until, occupant.address))
        until = max(until, stop)
    return total


def _of_step(step: ModelledStep, program: Program, base: int) -> Iterator[Occupant]:
    by_tensor: dict[int, list[Occupant]] = {}
    for resident in step.step.residents:
        occupant = _resident(step, program, resident, base)
        if occupant is not None:
            by_tensor.setdefault(resident.tensor, []).append(occupant)
    residents = [found[0] if len(found) == 1 else _strips(found) for found in by_tensor.values()]
    yield from residents
    for operator in step.step.operators:
        own = [i for i, layer in enumerate(step.step.command_layers) if layer == operator]
        staged = {i: command for i in own if program.stages(command := step.step.commands[i])}
        yield from (_staged(step, i, load, own[-1], base) for i, load in staged.items())
        own = [i for i in own if i not in staged]
        strips = []
        for i in own:
            command = step.step.commands[i]
            if isinstance(command, Store) or (isinstance(command, Load) and command.memory == Memory.SCRATCHPAD):
                end = command.address + command.length
                if not any(r.address <= command.address and end <= r.address + r.size for r in residents):
                    strips.append((command.address, end))
        if strips:
            first, last = min(a for a, _ in strips), max(b for _, b in strips)
            times = [step.timeline.commands[i] for i in own]
            start, until = min(t.start for t in times), max(t.end for t in times)
            yield Occupant(None, operator, first, last - first, base + start, base + until)


def _staged(step: ModelledStep, index: int, load: Load, last: int, base: int) -> Occupant:
    """Weights, from their load, the command `index`, to the `last` command of their operator."""
    start, end = (base + time for time in (step.timeline.commands[index].start, step.timeline.commands[last].end))
    return Occupant(None, step.step.command_layers[index], load.address, load.length, start, end, weights=True)


def _strips(found: Sequence[Occupant]) -> Occupant:
    """The place through which fused layers pass a tensor on, strip by strip."""
    first = min(occupant.address for occupant in found)
    end = max(occupant.address + occupant.size for occupant in found)
    return replace(found[0], tensor=None, address=first, size=end - first)


def _resident(step: ModelledStep, program: Program, resident: Resident, base: int) -> Occupant | None:
    """When a tensor is there: from the first command that writes it to the last that reads it."""
    operators = [program.graph.operators[index] for index in step.step.operators]
    names = {resident.tensor, *(alias for alias, root in program.roots.items() if root == resident.tensor)}
    makers = {o.index for o in operators if names.intersection(o.outputs)}
    users = {o.index for o in operators if names.intersection(o.inputs)}
    starts, ends = [], []
    timed = zip(step.step.commands, step.step.command_layers, step.timeline.commands, strict=True)
    for command, layer, timing in timed:
        if isinstance(command, Execute):
            if layer in makers:
                starts.append(timing.start)
                ends.append(timing.end)
            if layer in users:
                ends.append(timing.end)
        elif layer in makers | users and _moves(command, resident):
            starts += [timing.start] if isinstance(command, Load) else []
            ends.append(timing.end)
    if not starts or not ends:
        return None
    operator = min(makers | users)
    return Occupant(resident.tensor, operator, resident.address, resident.size, base + min(starts), base + max(ends))


def _moves(command: Command, resident: Resident) -> bool:
    """Whether a command loads a part of the tensor, or stores one."""
    if isinstance(command, Load) and command.memory != Memory.SCRATCHPAD:
        return False
    inside = range(resident.address, resident.address + resident.size)
    return isinstance(command, (Load, Store)) and command.address in inside
