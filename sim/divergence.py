"""The first element in which a run differs from golden, and what led to it.

The commands are replayed by their interpreter over the very bytes that the machine had in its memory. Where the replay
gives what the machine gave, the bytes are at fault (weights, parameters, commands); where it does not, the machine is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.program import MachineStep, Program, to_machine
from ..golden.compare import accumulator_at
from ..golden.kernels import SUMS_OF_PRODUCTS
from ..hw.commands import Command, Execute, Opcode, Store
from ..hw.config import Config
from .interpreter import Interpreter, InterpreterError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Divergence:
    """The first wrong element of the first layer with any.

    Parameters
    ----------
    index, op, tensor
        The operator's place in the network, its kind, and its output.
    position
        The element, for images (n, y, x, c).
    expected, actual
        Its value in golden and in the run.
    expected_accumulator
        The sum of products with the bias, by the network's definition; None where the operator sums up no products.
    replayed_accumulator, replayed
        What the commands give over the machine's memory; None where they cannot be replayed.
    command, listing
        The index in its stream of the execute command that wrote the element, and its text.
    """

    index: int
    op: str
    tensor: int
    position: tuple[int, ...]
    expected: int
    actual: int
    expected_accumulator: int | None
    replayed_accumulator: int | None = None
    replayed: int | None = None
    command: int | None = None
    listing: str | None = None

    def __str__(self) -> str:
        sums = "" if self.expected_accumulator is None else f" (accumulator {self.expected_accumulator})"
        text = (
            f"layer {self.index} ({self.op}), element {list(self.position)}: expected {self.expected}{sums}, "
            f"got {self.actual}"
        )
        if self.command is None:
            return text
        cause = (
            "the machine's memory holds other bytes" if self.replayed == self.actual else "the machine computes wrong"
        )
        return (
            f"{text}; written by command {self.command} ({self.listing}), which gives {self.replayed} "
            f"(accumulator {self.replayed_accumulator}) over the machine's memory: {cause}"
        )


class _Witness(Interpreter):
    """Remembers for each byte of the scratchpad which command wrote it, and from which accumulator."""

    def __init__(self, config: Config, dram: npt.NDArray[np.uint8]) -> None:
        super().__init__(config, dram)
        self.writer = np.full(config.scratchpad_bytes, -1, np.int64)
        self.source = np.zeros(config.scratchpad_bytes, np.int64)
        self.current = -1

    def wrote(self, address: npt.NDArray[np.int64], accumulator: npt.NDArray[np.int32]) -> None:
        self.writer[address] = self.current
        self.source[address] = accumulator


def first_divergence(
    program: Program, tensors: Mapping[int, Array], reference: Mapping[int, Array], memory: bytes
) -> Divergence | None:
    """Finds it, among the layers that the array computed.

    Parameters
    ----------
    program
        What ran.
    tensors, reference
        By tensor index: the run's, golden's.
    memory
        The machine's DRAM after the run.
    """
    graph = program.graph
    for step in program.steps:
        if not isinstance(step, MachineStep):
            continue
        for index in step.operators:
            operator = graph.operators[index]
            for tensor in operator.outputs:
                if tensor not in tensors or np.array_equal(tensors[tensor], reference[tensor]):
                    continue
                flat = int(np.flatnonzero(tensors[tensor] != reference[tensor])[0])
                position = tuple(int(i) for i in np.unravel_index(flat, reference[tensor].shape))
                accumulator = None
                if operator.kind in SUMS_OF_PRODUCTS:
                    accumulator = accumulator_at(graph, operator, reference[operator.inputs[0]], position)
                found = Divergence(
                    index=graph.first + index,
                    op=operator.kind,
                    tensor=tensor,
                    position=position,
                    expected=int(reference[tensor].flat[flat]),
                    actual=int(tensors[tensor].flat[flat]),
                    expected_accumulator=accumulator,
                )
                return _explain(found, program, step, tensors, memory, flat)
    return None


def _explain(
    found: Divergence, program: Program, step: MachineStep, tensors: Mapping[int, Array], memory: bytes, flat: int
) -> Divergence:
    """Adds what the replay tells of an element."""
    dram = np.frombuffer(memory, np.uint8).copy()
    for index in step.inputs:
        data = to_machine(tensors[index]).tobytes()
        offset = program.region(index).offset
        dram[offset : offset + len(data)] = np.frombuffer(data, np.uint8)
    witness = _Witness(program.config, dram)
    residents = (r for r in step.residents if r.tensor == found.tensor and r.complete_after)
    resident = next((r for r in residents if r.start <= flat < r.start + r.size), None)
    target = program.region(found.tensor).offset + flat if found.tensor in step.outputs else None
    executes = 0
    for number, command in enumerate(step.commands):
        witness.current = number
        try:
            witness.step(command)
        except InterpreterError:
            return found
        executes += command.opcode == Opcode.EXECUTE
        address = None
        if isinstance(command, Store) and target is not None and 0 <= target - command.dram_address < command.length:
            address = command.address + target - command.dram_address
        elif isinstance(command, Execute) and target is None and resident is not None:
            address = resident.address + flat - resident.start if executes == resident.complete_after else None
        if address is not None and (writer := int(witness.writer[address])) >= 0:
            return _written(found, program, witness, address, writer, step.commands[writer])
    return found


def _written(
    found: Divergence, program: Program, witness: _Witness, address: int, writer: int, command: Command
) -> Divergence:
    byte = int(witness.scratchpad.view(np.int8)[address])
    unsigned = program.graph.tensors[found.tensor].dtype == np.uint8
    return Divergence(
        **{name: getattr(found, name) for name in ("index", "op", "tensor", "position", "expected", "actual")},
        expected_accumulator=found.expected_accumulator,
        replayed_accumulator=int(witness.source[address]),
        replayed=byte + 128 if unsigned else byte,
        command=writer,
        listing=" ".join(str(command).split()),
    )
