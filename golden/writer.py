"""Writes a graph as a standard `.tflite` file.

The `tflite` package knows the layout of every table; this module knows only how the graph's nouns map to them. Option
tables are filled by their field names, so an operator needs no code of its own here.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite

from . import option_tables as schema
from .graph import Graph, ModelError, Operator, Quantization, Subgraph, Tensor
from .versions import operator_version

_CUSTOM = "CUSTOM:"

_LARGEST_DEPRECATED_CODE = 127
"""Codes above it do not fit the old one-byte field, which then holds this placeholder."""


def write(graph: Graph) -> bytes:
    """The bytes of a `.tflite` file that holds `graph`.

    The same graph gives the same bytes. An operator of kind `CUSTOM:name` becomes a custom operator of that name; its
    option `custom_options` (bytes), if any, is stored as it is.

    Raises
    ------
    ModelError
        The graph cannot be expressed in the format: an operator, element type, option or enumeration name that the
        schema does not have, or a constant that does not match its tensor's type and shape.
    """
    return _Writer(graph).finish()


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Writes `graph` to a `.tflite` file. The file appears whole or not at all.

    Raises
    ------
    ModelError
        As `write`.
    OSError
        The file cannot be written.
    """
    data = write(graph)
    target = Path(path)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        # mkstemp makes the file private; a model is as readable as the umask lets any new file be.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


class _Writer:
    """Builds the file from the leaves up, as flatbuffers are built."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        constants = sum(t.data.nbytes for s in graph.subgraphs for t in s.tensors if t.data is not None)
        self.builder = flatbuffers.Builder(constants + 65536)
        self.buffers: list[npt.NDArray[Any] | None] = [None]  # buffer 0 is empty by convention
        self.codes: dict[tuple[str, int], int] = {}  # (kind, version) to its index

    def finish(self) -> bytes:
        subgraphs = [self.subgraph(subgraph) for subgraph in self.graph.subgraphs]
        buffers = [self.buffer(data) for data in self.buffers]
        codes = [self.operator_code(kind, version) for kind, version in self.codes]
        model = self.table(
            "Model",
            version=schema.VERSION,
            operator_codes=self.offsets(codes),
            subgraphs=self.offsets(subgraphs),
            description=self.builder.CreateString(self.graph.description),
            buffers=self.offsets(buffers),
        )
        self.builder.Finish(model, schema.FILE_IDENTIFIER)
        return bytes(self.builder.Output())

    def subgraph(self, subgraph: Subgraph) -> int:
        for position, tensor in enumerate(subgraph.tensors):
            if tensor.index != position:
                raise self.error(f"tensor {position} ({tensor.name}): its index is {tensor.index}, not its position")
        return self.table(
            "SubGraph",
            tensors=self.offsets([self.tensor(tensor) for tensor in subgraph.tensors]),
            inputs=self.numbers(subgraph.inputs, np.int32),
            outputs=self.numbers(subgraph.outputs, np.int32),
            operators=self.offsets([self.operator(operator, subgraph) for operator in subgraph.operators]),
            name=self.builder.CreateString(subgraph.name),
        )

    def tensor(self, tensor: Tensor) -> int:
        where = f"tensor {tensor.index} ({tensor.name})"
        if tensor.dtype not in schema.DTYPE_CODES:
            raise self.error(f"{where}: the format has no element type {tensor.dtype}")
        buffer = 0
        if tensor.data is not None:
            if tensor.data.dtype != tensor.dtype or tensor.data.shape != tensor.shape:
                has, wants = (
                    f"{d}{list(s)}" for d, s in ((tensor.data.dtype, tensor.data.shape), (tensor.dtype, tensor.shape))
                )
                raise self.error(f"{where}: its data is {has}, expected {wants}")
            buffer = len(self.buffers)
            self.buffers.append(tensor.data)
        return self.table(
            "Tensor",
            shape=self.numbers(tensor.shape, np.int32),
            type=schema.DTYPE_CODES[tensor.dtype],
            buffer=buffer,
            name=self.builder.CreateString(tensor.name),
            quantization=None if tensor.quantization is None else self.quantization(tensor.quantization),
            is_variable=tensor.variable,
            shape_signature=self.optional(tensor.shape_signature),
        )

    def quantization(self, quantization: Quantization) -> int:
        return self.table(
            "QuantizationParameters",
            scale=self.numbers(quantization.scale, np.float32),
            zero_point=self.numbers(quantization.zero_point, np.int64),
            quantized_dimension=quantization.axis,
        )

    def operator(self, operator: Operator, subgraph: Subgraph) -> int:
        custom = operator.kind.startswith(_CUSTOM)
        if not custom and operator.kind not in schema.OPERATOR_CODES:
            raise self.error(f"operator {operator.index}: the format has no operator {operator.kind}")
        version = operator_version(operator, subgraph.tensors)
        fields: dict[str, int | None] = {
            "opcode_index": self.codes.setdefault((operator.kind, version), len(self.codes)),
            "inputs": self.numbers(operator.inputs, np.int32),
            "outputs": self.numbers(operator.outputs, np.int32),
            "intermediates": self.optional(operator.intermediates),
        }
        if custom:
            fields["custom_options"] = self.blob(np.frombuffer(operator.options.get("custom_options", b""), np.uint8))
        elif (table := schema.option_table(operator.kind)) is not None:
            # An absent table and a table of defaults mean the same to a runtime. Absent stays absent, unless the table
            # has no fields and so nothing could tell.
            if operator.options or not schema.option_fields(table):
                fields["builtin_options"] = self.options(operator, table)
                fields["builtin_options_type"] = schema.OPTION_TABLE_CODES[table]
        elif operator.options:
            raise self.error(
                f"operator {operator.index} ({operator.kind}): it takes no options, not {[*operator.options]}"
            )
        return self.table("Operator", **fields)

    def options(self, operator: Operator, table: str) -> int:
        known = schema.option_fields(table)
        encoded: dict[str, Any] = {}
        for name, value in operator.options.items():
            where = f"operator {operator.index} ({operator.kind}), option {name}"
            if name not in known:
                raise self.error(f"{where}: unknown, expected one of {', '.join(known)}")
            field = known[name]
            if field.enumeration is not None:
                codes = {label: code for code, label in field.enumeration.items()}
                if value not in codes:
                    raise self.error(f"{where}: {value!r} is none of {', '.join(codes)}")
                encoded[name] = codes[value]
            elif field.vector:
                dtype = np.float32 if any(isinstance(v, float) for v in value) else np.int32
                encoded[name] = self.numbers(value, dtype)
            elif isinstance(field.default, str):
                encoded[name] = self.builder.CreateString(value)
            else:
                encoded[name] = value
        return self.table(table, **encoded)

    def operator_code(self, kind: str, version: int) -> int:
        code = schema.OPERATOR_CODES.get(kind)
        custom = self.builder.CreateString(kind.removeprefix(_CUSTOM)) if code is None else None
        number = tflite.BuiltinOperator.CUSTOM if code is None else code
        return self.table(
            "OperatorCode",
            deprecated_builtin_code=min(number, _LARGEST_DEPRECATED_CODE),
            custom_code=custom,
            version=version,
            builtin_code=number,
        )

    def buffer(self, data: npt.NDArray[Any] | None) -> int:
        return self.table("Buffer", data=None if data is None else self.blob(data))

    def table(self, name: str, /, **fields: Any) -> int:
        """Writes one table; a field that is None is left out."""
        getattr(tflite, f"{name}Start")(self.builder)
        for field, value in fields.items():
            if value is not None:
                getattr(tflite, f"{name}Add{schema.camel(field)}")(self.builder, value)
        return int(getattr(tflite, f"{name}End")(self.builder))

    def numbers(self, values: Iterable[Any], dtype: npt.DTypeLike) -> int:
        return int(self.builder.CreateNumpyVector(np.asarray(list(values), dtype)))

    def optional(self, values: tuple[int, ...] | None) -> int | None:
        return self.numbers(values, np.int32) if values else None

    def offsets(self, offsets: Sequence[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def blob(self, data: npt.NDArray[Any]) -> int:
        """A vector of bytes, aligned as the schema demands: runtimes read weights in place."""
        payload = data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()
        self.builder.StartVector(1, len(payload), schema.BUFFER_ALIGNMENT)
        self.builder.head -= len(payload)
        self.builder.Bytes[self.builder.head : self.builder.head + len(payload)] = payload
        return int(self.builder.EndVector())

    def error(self, message: str) -> ModelError:
        return ModelError(f"{self.graph.name}: {message}")
