"""Whose cycles and whose bytes: shares a command stream's cost among its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..compiler.program import MachineStep
from ..hw.commands import WORD_BITS, Load, Opcode, Store
from ..hw.config import Config
from .machine import Activity, Completion


@dataclass(frozen=True)
class Cost:
    """What one layer took of the machine."""

    cycles: int
    read_bytes: int
    write_bytes: int


def completion_cycles(step: MachineStep, activity: Activity) -> list[int]:
    """For each command of a step, the cycle in which it completed."""
    return _cycles(step, activity.completions)


def start_cycles(step: MachineStep, activity: Activity) -> list[int]:
    """For each command of a step, the cycle in which it started."""
    return [cycle - 1 for cycle in _cycles(step, activity.starts)]


def _cycles(step: MachineStep, changes: Sequence[Completion]) -> list[int]:
    """For each command of a step, the cycle in which it was first counted."""
    queues = {opcode: [i for i, c in enumerate(step.commands) if c.opcode == opcode] for opcode in Opcode}
    done = dict.fromkeys(Opcode, 0)
    cycles = [0] * len(step.commands)
    for change in changes:
        for opcode, count in (
            (Opcode.LOAD, change.loads),
            (Opcode.EXECUTE, change.executes),
            (Opcode.STORE, change.stores),
        ):
            for index in queues[opcode][done[opcode] : count]:
                cycles[index] = change.cycle
            done[opcode] = count
    return cycles


def attribute(step: MachineStep, activity: Activity, config: Config) -> dict[int, Cost]:
    """The cost of each operator of a step.

    Layers overlap: while the array computes one, the outputs of the one before it are stored and the weights of the
    next are loaded. So the array decides: an execute command's cycles are those from the completion of the one before
    it to its own, a layer's those of its commands; the last layer has what remains of the run. They sum to the run's
    cycles. Bytes are those of whole bus beats; a beat in which the commands of two layers meet is the later one's.
    """
    completed = completion_cycles(step, activity)
    cycles = dict.fromkeys(step.operators, 0)
    before = 0
    for command, layer, cycle in zip(step.commands, step.command_layers, completed, strict=True):
        if command.opcode == Opcode.EXECUTE:
            cycles[layer] += cycle - before
            before = cycle
    cycles[step.operators[-1]] += activity.counters["cycles"] - before
    costs = {}
    words_before = 0
    for operator in step.operators:
        commands = [c for c, layer in zip(step.commands, step.command_layers, strict=True) if layer == operator]
        words = words_before + sum(command.words() for command in commands)
        fetched = _beats(0, words * WORD_BITS // 8, config) - _beats(0, words_before * WORD_BITS // 8, config)
        read = sum(_beats(c.dram_address, c.length, config) for c in commands if isinstance(c, Load))
        written = sum(_beats(c.dram_address, c.length, config) for c in commands if isinstance(c, Store))
        costs[operator] = Cost(cycles[operator], (read + fetched) * config.bus_bytes, written * config.bus_bytes)
        words_before = words
    return costs


def _beats(address: int, length: int, config: Config) -> int:
    """Bus beats that bytes of DRAM take."""
    return -(-(address + length) // config.bus_bytes) - address // config.bus_bytes
