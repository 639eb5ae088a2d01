"""One inference as files for a plain-Verilog test bench: what is in memory before and after each run of the machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.program import CompileError, MachineStep, Program, to_machine
from ..golden.runtime import run
from ..hw.registers import configuration_hash
from .model import profile
from .rtl import DEFAULT_LATENCY

Bytes = npt.NDArray[np.uint8]

_WORDS_PER_LINE = 4


def standalone_files(program: Program, inputs: Sequence[npt.ArrayLike]) -> Iterator[tuple[str, str]]:
    """File names and texts, for hw/templates/testbench.v.

    Parameters
    ----------
    program
        The compiled network. What the host computes of it is taken from the golden runtime.
    inputs
        One array per input of the network.

    Raises
    ------
    CompileError
        Nothing of the network runs on the machine.
    """
    steps = [step for step in program.steps if isinstance(step, MachineStep)]
    if not steps:
        raise CompileError(f"{program.graph.name}: nothing of it runs on the machine {program.config.name}")
    width = program.config.bus_bytes
    tensors = run(program.graph, inputs, program.profile).tensors
    cycles = [modelled.cycles for modelled in profile(program, DEFAULT_LATENCY).runs()]
    image = np.zeros(-(-program.memory.dram_bytes // width) * width, np.uint8)
    image[: program.memory.dram_bytes] = program.image()
    weights, streams = program.memory.weights, program.memory.streams
    spans = [(region.offset, region.size) for region in (weights, streams)]
    yield "memory.hex", _hex(image, np.ones_like(image, bool), spans, width)
    for number, step in enumerate(steps):
        for kind, ends in (("before", step.inputs), ("after", step.outputs)):
            known = np.zeros_like(image, bool)
            spans = []
            for tensor in ends:
                region = program.region(tensor)
                value = to_machine(tensors[program.roots.get(tensor, tensor)])
                image[region.offset :][: region.size] = value
                known[region.offset :][: region.size] = True
                spans.append((region.offset, region.size))
            if kind == "before":
                known[:] = True  # whole words, with their neighbours
            yield f"{kind}_{number}.hex", _hex(image, known, spans, width)
    rows = [(step.stream.offset, step.stream.size // 8, count) for step, count in zip(steps, cycles, strict=True)]
    yield "steps.hex", "".join("{:08x} {:08x} {:08x}\n".format(*row) for row in rows)
    yield "network.vh", _parameters(program, len(steps), len(image) // width)


def _parameters(program: Program, steps: int, words: int) -> str:
    values: dict[str, Any] = {
        "BUS_BYTES": program.config.bus_bytes,
        "MEMORY_WORDS": words,
        "STEPS": steps,
        "LATENCY": DEFAULT_LATENCY,
        "CONFIGURATION_HASH": f"32'h{configuration_hash(program.config):08x}",
    }
    lines = [f"// {program.graph.name} on {program.config.name}"]
    lines += [f"localparam {name} = {value};" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def _hex(image: Bytes, known: npt.NDArray[np.bool_], spans: Sequence[tuple[int, int]], width: int) -> str:
    """Words that hold the bytes in `spans`, for $readmemh; bytes that are not known are xx."""
    lines = []
    for offset, size in spans:
        first, end = offset // width, -(-(offset + size) // width)
        words = []
        for word in range(first, end):
            at = range(word * width, (word + 1) * width)
            words.append("".join(f"{image[byte]:02x}" if known[byte] else "xx" for byte in reversed(at)))
        lines.append(f"@{first:x}")
        lines += [" ".join(words[i : i + _WORDS_PER_LINE]) for i in range(0, len(words), _WORDS_PER_LINE)]
    return "".join(f"{line}\n" for line in lines)
