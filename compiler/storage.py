"""Programs as files (`.efp`): a first part for drivers (see `header`), then arrays and a JSON description for Python.

The second part holds, in turn, arrays; the description, UTF-8 JSON; its length in 4 bytes, little-endian. The
description refers to arrays in either part by their offset in the file.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..golden.graph import Graph, Operator, Quantization, Subgraph, Tensor
from ..golden.numerics import Profile, Rounding
from ..hw.commands import decode
from ..hw.config import Config
from .header import HeaderError, finish, lay_out, rest_of
from .program import (
    AliasStep,
    Allocation,
    Fusion,
    HostStep,
    MachineStep,
    MemoryMap,
    Program,
    Region,
    Resident,
    Step,
    TensorRegion,
)

Array = npt.NDArray[Any]


_LENGTH_BYTES = 4


class ProgramError(ValueError):
    """A file that is no usable Program. The message names it."""


def save(program: Program, path: str | Path) -> None:
    """Writes a Program; a file is either written whole or not at all."""
    path = Path(path)
    content = to_bytes(program)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def to_bytes(program: Program) -> bytes:
    """What a Program's file holds; the same Program gives the same bytes.

    Raises
    ------
    ProgramError
        Its weights are to stay on the chip, which a file cannot say.
    """
    if program.preload is not None:
        raise ProgramError(
            f"{program.graph.name}: a program whose weights stay on the chip cannot be written to a file"
        )
    layout = lay_out(program)
    arrays = _Arrays(len(layout.content))
    description = {
        "config": program.config.as_dict(),
        "profile": program.profile.value,
        "fuse": program.fuse,
        "graph": _plain(program.graph, arrays),
        "steps": [_step_out(step, at) for step, at in zip(program.steps, layout.streams, strict=True)],
        "memory": dataclasses.asdict(program.memory),
        "weights": _reference(program.weights, layout.weights),
    }
    text = json.dumps(description, separators=(",", ":")).encode()
    return finish(layout, b"".join([*arrays.parts, text, len(text).to_bytes(_LENGTH_BYTES, "little")]))


def load(path: str | Path) -> Program:
    """Reads a Program.

    Raises
    ------
    ProgramError
        The file cannot be read, is no Program, of another version, or corrupted.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ProgramError(f"{path}: {error.strerror}") from None
    return from_bytes(content, str(path))


def from_bytes(content: bytes, name: str) -> Program:
    """The Program in a file's bytes; errors, which name it, are those of `load`."""
    try:
        first, rest = rest_of(content)
    except HeaderError as error:
        raise ProgramError(f"{name}: {error}") from None
    end = first + rest - _LENGTH_BYTES
    length = int.from_bytes(content[end:], "little")
    try:
        return _program_in(json.loads(content[max(end - length, 0) : end]), memoryview(content))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ProgramError(f"{name}: not a consistent program: {error}") from None


class _Arrays:
    """Arrays outside the JSON, from that offset in the file on."""

    def __init__(self, offset: int) -> None:
        self.parts: list[bytes] = []
        self._end = offset

    def add(self, array: Array) -> dict[str, Any]:
        """Keeps an array; returns what the JSON says of it."""
        # Not ascontiguousarray, which gives a scalar a dimension.
        data = array.tobytes()
        reference = _reference(array, self._end)
        self.parts.append(data)
        self._end += len(data)
        return reference


def _reference(array: Array, offset: int) -> dict[str, Any]:
    """What the JSON says of an array there."""
    return {"array": offset, "dtype": array.dtype.str, "shape": list(array.shape)}


def _array_in(reference: Mapping[str, Any], data: memoryview) -> Array:
    dtype, shape, start = np.dtype(reference["dtype"]), tuple(reference["shape"]), reference["array"]
    count = int(np.prod(shape, dtype=np.int64))
    array = np.frombuffer(data, dtype, count, start) if count else np.zeros(0, dtype)
    array = array.reshape(shape)
    array.flags.writeable = False
    return array


# The graph: its dataclasses as JSON objects by their fields, arrays as references.


def _plain(value: Any, arrays: _Arrays) -> Any:
    if isinstance(value, np.ndarray):
        return arrays.add(value)
    if isinstance(value, np.dtype):
        return value.str
    if isinstance(value, np.generic):
        return value.item()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name), arrays) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item, arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, arrays) for item in value]
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    raise TypeError(f"a graph holds a {type(value).__name__}, which a program file cannot")


def _graph_in(description: Mapping[str, Any], data: memoryview) -> Graph:
    def value(item: Any) -> Any:
        if isinstance(item, dict) and "array" in item:
            return _array_in(item, data)
        return tuple(map(value, item)) if isinstance(item, list) else item

    def fields(item: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value(entry) for name, entry in item.items()}

    def tensor(item: Mapping[str, Any]) -> Tensor:
        quantization = item["quantization"]
        return Tensor(
            **{
                **fields(item),
                "dtype": np.dtype(item["dtype"]),
                "quantization": None if quantization is None else Quantization(**fields(quantization)),
            }
        )

    def operator(item: Mapping[str, Any]) -> Operator:
        return Operator(**{**fields(item), "options": MappingProxyType(fields(item["options"]))})

    def subgraph(item: Mapping[str, Any]) -> Subgraph:
        return Subgraph(
            **{
                **fields(item),
                "tensors": tuple(map(tensor, item["tensors"])),
                "operators": tuple(map(operator, item["operators"])),
            }
        )

    return Graph(**{**fields(description), "subgraphs": tuple(map(subgraph, description["subgraphs"]))})


# Steps.


def _step_out(step: Step, stream: int) -> dict[str, Any]:
    if isinstance(step, HostStep):
        return {"host": dataclasses.asdict(step)}
    if isinstance(step, AliasStep):
        return {"alias": dataclasses.asdict(step)}
    return {
        "machine": {
            "operators": step.operators,
            "commands": {"array": stream, "dtype": "<u8", "shape": [sum(c.words() for c in step.commands)]},
            "command_layers": step.command_layers,
            "notes": step.notes,
            "inputs": step.inputs,
            "outputs": step.outputs,
            "residents": [dataclasses.asdict(resident) for resident in step.residents],
            "stream": dataclasses.asdict(step.stream),
            "fusions": [dataclasses.asdict(fusion) for fusion in step.fusions],
            "saved_bytes": step.saved_bytes,
            "allocation": dataclasses.asdict(step.allocation),
        }
    }


def _step_in(item: Mapping[str, Any], data: memoryview) -> Step:
    if "host" in item:
        return HostStep(**item["host"])
    if "alias" in item:
        return AliasStep(**item["alias"])
    fields = item["machine"]

    def integers(values: Sequence[int]) -> tuple[int, ...]:
        return tuple(map(int, values))

    return MachineStep(
        operators=integers(fields["operators"]),
        commands=tuple(decode(_array_in(fields["commands"], data).tolist())),
        command_layers=integers(fields["command_layers"]),
        notes=tuple(fields["notes"]),
        inputs=integers(fields["inputs"]),
        outputs=integers(fields["outputs"]),
        residents=tuple(Resident(**resident) for resident in fields["residents"]),
        stream=Region(**fields["stream"]),
        fusions=tuple(Fusion(integers(f["operators"]), integers(f["tensors"])) for f in fields["fusions"]),
        saved_bytes=int(fields["saved_bytes"]),
        allocation=Allocation(**fields["allocation"]),
    )


def _program_in(description: Mapping[str, Any], data: memoryview) -> Program:
    memory = description["memory"]
    config = description["config"]
    return Program(
        config=Config(**{**config, "rounding": Rounding(config["rounding"])}),
        profile=Profile(description["profile"]),
        graph=_graph_in(description["graph"], data),
        steps=tuple(_step_in(step, data) for step in description["steps"]),
        memory=MemoryMap(
            weights=Region(**memory["weights"]),
            streams=Region(**memory["streams"]),
            tensors=tuple(TensorRegion(**region) for region in memory["tensors"]),
            dram_bytes=int(memory["dram_bytes"]),
        ),
        weights=_array_in(description["weights"], data),
        fuse=bool(description.get("fuse", True)),
    )
