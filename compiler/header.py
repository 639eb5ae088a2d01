"""The first part of a Program file: all that a driver needs, in little-endian words that C reads as they lie.

docs/program-file.md is its specification for those who write drivers; hw/driver/eightfold.c is one.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..golden.graph import Graph, Operator, Tensor
from ..golden.kernels.softmax import Exponentials
from ..hw.commands import encode
from ..hw.registers import VERSION as MACHINE_VERSION
from ..hw.registers import configuration_hash
from .program import AliasStep, HostStep, MachineStep, Program, Region, Step

MAGIC = b"EIGHTFLD"
VERSION = 2
NOWHERE = 0xFFFF_FFFF
"""In place of an index or an offset that there is not."""

ALIGNMENT = 16
"""Of everything in the file and of tensors in memory, in bytes."""

MAX_RANK = 8

HEADER = (
    "version",
    "bytes",
    "checksum",
    "machine_version",
    "configuration",
    "base_alignment",
    "memory_bytes",
    "name",
    "steps",
    "step_count",
    "segments",
    "segment_count",
    "tensors",
    "tensor_count",
    "links",
    "link_count",
    "first_input",
    "input_count",
    "first_output",
    "output_count",
    "rest_bytes",
    "rest_checksum",
)
"""The words behind the magic number."""

STEP = (
    "kind",
    "operator",
    "name",
    "first_input",
    "input_count",
    "first_output",
    "output_count",
    "stream",
    "stream_words",
    "rows",
    "row_bytes",
    "table",
)
SEGMENT = ("file_offset", "memory_offset", "bytes")
TENSOR = (
    "index",
    "type",
    "offset",
    "bytes",
    "name",
    "scale",
    "zero_point",
    "rank",
    *(f"dimension_{axis}" for axis in range(MAX_RANK)),
)

_CHECKED_FROM = len(MAGIC) + 4 * (HEADER.index("checksum") + 1)
_HEADER_BYTES = len(MAGIC) + 4 * len(HEADER)


class Kind(enum.IntEnum):
    """What a step is."""

    MACHINE = 0
    COPY = 1
    SOFTMAX = 2
    OTHER = 3


class ElementType(enum.IntEnum):
    """Of a tensor."""

    OTHER = 0
    INT8 = 1
    UINT8 = 2
    INT16 = 3
    INT32 = 4
    INT64 = 5
    FLOAT32 = 6
    BOOL = 7


_COPIES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


@dataclass(frozen=True)
class Layout:
    """The first part of a file, and where in it the arrays lie that the second part refers to.

    Parameters
    ----------
    content
        Its bytes, without the header's words about the second part: see `finish`.
    weights
        Offset of the packed weights.
    streams
        Offset of each step's command stream; `NOWHERE` for a step that has none.
    """

    content: bytes
    weights: int
    streams: tuple[int, ...]


class HeaderError(ValueError):
    """A file whose first part cannot be used; the message says why, without the file's name."""


def lay_out(program: Program) -> Layout:
    """The first part of a program's file."""
    main = program.graph.main
    places = _places(program)
    order = {tensor: record for record, tensor in enumerate(places)}
    links: list[int] = []

    def linked(tensors: Sequence[int]) -> tuple[int, int]:
        first = len(links)
        links.extend(order.get(tensor, NOWHERE) for tensor in tensors)
        return first, len(links) - first

    inputs, outputs = linked(main.inputs), linked(main.outputs)
    ends = [[linked(tensors) for tensors in _ends(program, step)] for step in program.steps]
    work = [step for step in program.steps if not isinstance(step, AliasStep)]
    file = _File(_HEADER_BYTES)
    tables = {
        "steps": file.reserve(4 * len(STEP) * len(work)),
        "tensors": file.reserve(4 * len(TENSOR) * len(places)),
        "links": file.add(np.array(links, "<u4").tobytes()),
    }
    streams = [step for step in program.steps if isinstance(step, MachineStep)]
    tables["segments"] = file.reserve(4 * len(SEGMENT) * (1 + len(streams)))
    name = file.text(program.graph.name)

    weights = file.add(program.weights.tobytes())
    segments = [(weights, program.memory.weights.offset, program.memory.weights.size)]
    steps: list[tuple[int, ...]] = []
    streams_at = []
    for step, (read, written) in zip(program.steps, ends, strict=True):
        at = NOWHERE
        if isinstance(step, MachineStep):
            stream = np.array(encode(step.commands), "<u8")
            at = file.add(stream.tobytes())
            segments.append((at, step.stream.offset, stream.nbytes))
            program_words = (step.stream.offset, stream.size, 0, 0, NOWHERE)
            steps.append((Kind.MACHINE, step.operators[0], file.text("machine"), *read, *written, *program_words))
        elif isinstance(step, HostStep):
            operator = _operator(program, step)
            kind, *details = _host_work(operator, program.graph, file)
            steps.append((kind, operator.index, file.text(operator.kind), *read, *written, NOWHERE, 0, *details))
        streams_at.append(at)
    tensors = [_tensor(program.graph.tensors[tensor], region, file) for tensor, region in places.items()]

    for table, records in (("steps", steps), ("tensors", tensors), ("segments", segments)):
        file.fill(tables[table], b"".join(struct.pack(f"<{len(record)}I", *record) for record in records))
    header = {
        "version": VERSION,
        "bytes": file.end(),
        "machine_version": MACHINE_VERSION,
        "configuration": configuration_hash(program.config),
        "base_alignment": program.config.bus_bytes,
        "memory_bytes": max([program.memory.dram_bytes, *(region.offset + region.size for region in places.values())]),
        "name": name,
        **tables,
        "step_count": len(steps),
        "segment_count": len(segments),
        "tensor_count": len(places),
        "link_count": len(links),
        "first_input": inputs[0],
        "input_count": inputs[1],
        "first_output": outputs[0],
        "output_count": outputs[1],
    }
    file.fill(0, MAGIC + struct.pack(f"<{len(HEADER)}I", *(header.get(field, 0) for field in HEADER)))
    return Layout(bytes(file.content), weights, tuple(streams_at))


def finish(layout: Layout, rest: bytes) -> bytes:
    """The whole file: the first part, its checksums filled in, and the second."""
    content = bytearray(layout.content)
    for field, value in (("rest_bytes", len(rest)), ("rest_checksum", zlib.crc32(rest))):
        struct.pack_into("<I", content, len(MAGIC) + 4 * HEADER.index(field), value)
    struct.pack_into("<I", content, _CHECKED_FROM - 4, zlib.crc32(content[_CHECKED_FROM:]))
    return bytes(content) + rest


def rest_of(content: bytes) -> tuple[int, int]:
    """Start and length of the second part of a file whose checksums have been found right.

    Raises
    ------
    HeaderError
        It is no such file, of another version, or damaged.
    """
    if len(content) < len(MAGIC) + 4 or not content.startswith(MAGIC):
        raise HeaderError("not an Eightfold program")
    (version,) = struct.unpack_from("<I", content, len(MAGIC))
    if version != VERSION:
        raise HeaderError(f"version {version} of the program format; this is version {VERSION}: compile anew")
    if len(content) < _HEADER_BYTES:
        raise HeaderError("damaged: it ends within its header")
    words = dict(zip(HEADER, struct.unpack_from(f"<{len(HEADER)}I", content, len(MAGIC)), strict=True))
    first, rest = words["bytes"], words["rest_bytes"]
    if len(content) < first or zlib.crc32(content[_CHECKED_FROM:first]) != words["checksum"]:
        raise HeaderError("damaged: its checksum does not match")
    if len(content) == first:
        raise HeaderError("only the part for drivers, without the network")
    if len(content) != first + rest or zlib.crc32(content[first:]) != words["rest_checksum"]:
        raise HeaderError("damaged: the checksum of its second part does not match")
    return first, rest


class _File:
    """Bytes that grow by aligned pieces."""

    def __init__(self, header_bytes: int) -> None:
        self.content = bytearray(header_bytes)

    def end(self) -> int:
        """Where the next piece begins."""
        self.content.extend(bytes(-len(self.content) % ALIGNMENT))
        return len(self.content)

    def reserve(self, size: int) -> int:
        """Room to be filled later; returns its offset."""
        return self.add(bytes(size))

    def add(self, data: bytes) -> int:
        """Returns the offset of `data`."""
        at = self.end()
        self.content.extend(data)
        return at

    def text(self, text: str) -> int:
        """Returns the offset of a NUL-terminated text in UTF-8."""
        at = len(self.content)
        self.content.extend(text.encode().replace(b"\0", b" ") + b"\0")
        return at

    def fill(self, at: int, data: bytes) -> None:
        """Puts bytes where room was reserved."""
        self.content[at : at + len(data)] = data


def _operator(program: Program, step: HostStep) -> Operator:
    return program.graph.operators[step.operator]


def _ends(program: Program, step: Step) -> tuple[Sequence[int], Sequence[int]]:
    """The tensors that a step reads and writes."""
    if isinstance(step, AliasStep):
        return (), ()
    end = step if isinstance(step, MachineStep) else _operator(program, step)
    return end.inputs, end.outputs


def _places(program: Program) -> dict[int, Region]:
    """Where tensors lie in memory: the program's places, and behind them those for what only the host touches."""
    graph = program.graph
    used = [*graph.main.inputs, *graph.main.outputs]
    for step in program.steps:
        inputs, outputs = _ends(program, step)
        used += [*inputs, *outputs]
    places: dict[int, Region] = {region.tensor: region for region in program.memory.tensors}
    at = program.memory.dram_bytes
    for tensor in used:
        root = program.roots.get(tensor, tensor)
        if tensor >= 0 and root not in places and not graph.tensors[root].constant:
            at += -at % ALIGNMENT
            places[root] = Region(at, _bytes(graph.tensors[root]))
            at += places[root].size
    roots = {tensor: program.roots.get(tensor, tensor) for tensor in used}
    return {tensor: places[root] for tensor, root in roots.items() if root in places}


def _element_type(tensor: Tensor) -> ElementType:
    return ElementType.__members__.get(tensor.dtype.name.upper(), ElementType.OTHER)


def _bytes(tensor: Tensor) -> int:
    if _element_type(tensor) is ElementType.OTHER or -1 in tensor.shape:
        return 0
    return int(np.prod(tensor.shape, dtype=np.int64)) * tensor.dtype.itemsize


def _tensor(tensor: Tensor, region: Region, file: _File) -> tuple[int, ...]:
    scale, zero_point = 0.0, 0
    if tensor.quantization is not None and tensor.quantization.scale.size == 1:
        scale, zero_point = float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0])
    (scale_word,) = struct.unpack("<I", struct.pack("<f", scale))
    shape = tensor.shape if len(tensor.shape) <= MAX_RANK else (region.size,)
    return (
        tensor.index,
        _element_type(tensor),
        region.offset,
        region.size,
        file.text(tensor.name),
        scale_word,
        zero_point & 0xFFFF_FFFF,
        len(shape),
        *(dimension & 0xFFFF_FFFF for dimension in shape),
        *[0] * (MAX_RANK - len(shape)),
    )


def _host_work(operator: Operator, graph: Graph, file: _File) -> tuple[int, int, int, int]:
    """Of a host's step: its kind, rows, bytes of a row, and where its table lies."""
    bytewise = (ElementType.INT8, ElementType.UINT8)
    if operator.kind in _COPIES:
        source, destination = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
        if not source.constant and source.dtype == destination.dtype and _bytes(source) == _bytes(destination) > 0:
            return Kind.COPY, 1, _bytes(source), NOWHERE
    if operator.kind == "SOFTMAX":
        source, destination = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
        size = _bytes(source)
        if not source.constant and source.dtype == destination.dtype and _element_type(source) in bytewise and size:
            table = _exponentials(float(source.quantization.scale[0]) if source.quantization else 0.0, operator)
            row = source.shape[-1]
            return Kind.SOFTMAX, size // row, row, file.add(table.tobytes())
    return Kind.OTHER, 0, 0, NOWHERE


def _exponentials(scale: float, operator: Operator) -> npt.NDArray[np.uint32]:
    """The exponential in Q0.31 of each difference to a row's maximum, 0 to 255; 0 where it does not count."""
    exponentials = Exponentials(float(operator.options["beta"]) * scale)
    return np.where(np.arange(256) < exponentials.counted, exponentials.values, 0).astype("<u4")
