"""Reads `.tflite` files, and believes nothing in them that it has not checked.

The generated bindings of the `tflite` package follow whatever offset a file contains. Here they read through a table
that checks every access against the file's bounds; the values are then checked for what they mean. A file that is
damaged in any way raises `ModelError` and nothing else.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, cast

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite
from flatbuffers import number_types

from . import option_tables as schema
from .arity import ARITY
from .graph import Graph, ModelError, Operator, Quantization, Subgraph, Tensor

_MAX_RANK = 8
_MOST_ELEMENTS = 2**40
_TYPE_NAMES = schema.enumeration(tflite.TensorType)


def read(path: str | Path) -> Graph:
    """The graph in a `.tflite` file.

    Constants are read-only views of the file's bytes.

    Raises
    ------
    ModelError
        The file cannot be read, is not a `.tflite` file, is damaged, or holds what no `Graph` can represent. The
        message names the file, the tensor or operator, and the field.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    return parse(data, name=path.name)


def parse(data: bytes, *, name: str = "model.tflite") -> Graph:
    """The graph in the bytes of a `.tflite` file; `name` is what messages call it.

    Raises
    ------
    ModelError
        As `read`.
    """
    if len(data) < 8 or data[4:8] != schema.FILE_IDENTIFIER:
        raise ModelError(f"{name}: not a .tflite file: the identifier TFL3 is missing")
    return _Reader(data, name).graph()


class _OutOfBoundsError(Exception):
    """An access beyond the file."""


class _CheckedTable(flatbuffers.table.Table):  # type: ignore[misc]
    """A flatbuffers table whose every access is checked against the file's bounds."""

    __slots__ = ()

    def _check(self, offset: int, size: int, what: str) -> None:
        if offset < 0 or offset + size > len(self.Bytes):
            raise _OutOfBoundsError(f"{what} at byte {offset}, {size} bytes long, leaves the file of {len(self.Bytes)}")

    def Get(self, flags: Any, off: int) -> Any:
        self._check(off, flags.bytewidth, "a value")
        return flags.packer_type.unpack_from(self.Bytes, off)[0]

    def Offset(self, vtableOffset: int) -> int:
        vtable = self.Pos - self.Get(number_types.SOffsetTFlags, self.Pos)
        size = self.Get(number_types.VOffsetTFlags, vtable)
        self._check(vtable, size, "a vtable")
        if size < 4:
            raise _OutOfBoundsError(f"the vtable at byte {vtable} says that it has {size} bytes")
        return cast(int, self.Get(number_types.VOffsetTFlags, vtable + vtableOffset)) if vtableOffset < size else 0

    def Indirect(self, off: int) -> int:
        target = off + cast(int, self.Get(number_types.UOffsetTFlags, off))
        self._check(target, 4, "a table")
        return target

    def String(self, off: int) -> bytes:
        start = self.Indirect(off)
        length = self.Get(number_types.UOffsetTFlags, start)
        self._check(start + 4, length, "a string")
        return bytes(self.Bytes[start + 4 : start + 4 + length])

    def VectorLen(self, off: int) -> int:
        start = self.Indirect(off + self.Pos)
        length = cast(int, self.Get(number_types.UOffsetTFlags, start))
        # No element is smaller than a byte; each element's own access is checked besides.
        self._check(start + 4, length, "a vector")
        return length

    def Vector(self, off: int) -> int:
        return self.Indirect(off + self.Pos) + 4

    def Union(self, t2: Any, off: int) -> None:
        t2.Pos = self.Indirect(off + self.Pos)
        t2.Bytes = self.Bytes

    def GetVectorAsNumpy(self, flags: Any, off: int) -> npt.NDArray[Any]:
        start, length = self.Vector(off), self.VectorLen(off)
        dtype = number_types.to_numpy_type(flags)
        self._check(start, length * dtype.itemsize, "a vector")
        return np.frombuffer(self.Bytes, dtype, length, start)


class _Checked:
    """A generated object that reads through `_CheckedTable`; errors say which object and field they are about."""

    def __init__(self, raw: Any, where: str) -> None:
        raw._tab = _CheckedTable(raw._tab.Bytes, raw._tab.Pos)
        self.raw = raw
        self.where = where

    def fail(self, problem: str) -> ModelError:
        return ModelError(f"{self.where}: {problem}")

    def get(self, accessor: str, *arguments: int) -> Any:
        try:
            return getattr(self.raw, accessor)(*arguments)
        except _OutOfBoundsError as error:
            raise self.fail(f"{_field(accessor)}: {error}") from None

    def text(self, accessor: str) -> str:
        value = self.get(accessor)
        return value.decode("utf-8", "replace") if value is not None else ""

    def length(self, accessor: str) -> int:
        return cast(int, self.get(f"{accessor}Length"))

    def vector(self, accessor: str) -> npt.NDArray[Any]:
        """A vector of numbers, empty where it is absent."""
        if self.get(f"{accessor}IsNone"):
            return np.zeros(0, np.int64)
        return cast(npt.NDArray[Any], self.get(f"{accessor}AsNumpy"))

    def integers(self, accessor: str) -> tuple[int, ...]:
        return tuple(self.vector(accessor).tolist())


class _Reader:
    """One pass over one file."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        # Tables may be shared, so a small file can name many; each reference takes a 4-byte offset, and an honest table
        # takes at least 4 bytes more.
        self.tables_left = len(data) // 8

    def children(self, parent: _Checked, accessor: str, label: str) -> list[_Checked]:
        """The tables in a vector of tables."""
        count = parent.length(accessor)
        self.tables_left -= count
        if self.tables_left < 0:
            raise parent.fail(f"{_field(accessor)}: {count} entries are more than a file of this size can hold")
        return [_Checked(parent.get(accessor, i), f"{parent.where}, {label} {i}") for i in range(count)]

    def graph(self) -> Graph:
        root = flatbuffers.encode.Get(flatbuffers.packer.uoffset, self.data, 0)
        if root + 4 > len(self.data):
            raise ModelError(f"{self.name}: truncated: the root table at byte {root} leaves the file")
        raw = tflite.Model()
        raw.Init(self.data, root)
        model = _Checked(raw, self.name)
        version = model.get("Version")
        if version != schema.VERSION:
            raise model.fail(f"version is {version}; expected {schema.VERSION}")
        self.buffers = [self.buffer(child) for child in self.children(model, "Buffers", "buffer")]
        self.kinds = [self.kind(child) for child in self.children(model, "OperatorCodes", "operator code")]
        subgraphs = tuple(self.subgraph(child) for child in self.children(model, "Subgraphs", "subgraph"))
        if not subgraphs:
            raise model.fail("subgraphs: there is none")
        return Graph(name=Path(self.name).stem, subgraphs=subgraphs, description=model.text("Description"))

    def buffer(self, table: _Checked) -> npt.NDArray[np.uint8]:
        # Files beyond 2 GiB keep large buffers behind the flatbuffer, at an offset from the file's start.
        offset, size = table.get("Offset"), table.get("Size")
        if offset > 1:
            if offset + size > len(self.data):
                raise table.fail(f"offset: {size} bytes at byte {offset} leave the file of {len(self.data)}")
            return np.frombuffer(self.data, np.uint8, size, offset)
        return table.vector("Data").view(np.uint8)

    def kind(self, table: _Checked) -> str:
        # Codes up to 127 once were one byte wide; whoever writes a file today fills both fields.
        code = max(table.get("BuiltinCode"), table.get("DeprecatedBuiltinCode"))
        if code == tflite.BuiltinOperator.CUSTOM:
            return f"CUSTOM:{table.text('CustomCode')}"
        return schema.OPERATORS.get(code, f"BUILTIN_{code}")

    def subgraph(self, table: _Checked) -> Subgraph:
        tensors = tuple(self.tensor(child, i) for i, child in enumerate(self.children(table, "Tensors", "tensor")))
        operators = tuple(
            self.operator(child, i, tensors) for i, child in enumerate(self.children(table, "Operators", "operator"))
        )
        inputs = self.indices(table, "Inputs", len(tensors))
        outputs = self.indices(table, "Outputs", len(tensors))
        subgraph = Subgraph(table.text("Name"), tensors, operators, inputs, outputs)
        _check_order(subgraph, table.where)
        return subgraph

    def indices(self, table: _Checked, accessor: str, count: int, *, optional: bool = False) -> tuple[int, ...]:
        indices = table.integers(accessor)
        for position, index in enumerate(indices):
            if not (0 <= index < count or (optional and index == -1)):
                raise table.fail(f"{_field(accessor)}[{position}] is tensor {index}; the subgraph has {count} tensors")
        return indices

    def tensor(self, table: _Checked, index: int) -> Tensor:
        name = table.text("Name")
        table.where += f" ({name})" if name else ""
        code = table.get("Type")
        if code not in schema.DTYPES:
            raise table.fail(f"type is {_TYPE_NAMES.get(code, code)}, which is not supported")
        dtype = schema.DTYPES[code]
        shape = table.integers("Shape")
        if len(shape) > _MAX_RANK or any(dimension < 0 for dimension in shape):
            raise table.fail(f"shape is {list(shape)}; expected at most {_MAX_RANK} dimensions, none negative")
        if math.prod(dimension or 1 for dimension in shape) > _MOST_ELEMENTS:
            raise table.fail(f"shape is {list(shape)}, more than {_MOST_ELEMENTS} elements")
        signature = table.integers("ShapeSignature")
        if signature and (
            len(signature) != len(shape) or any(s not in (-1, d) for s, d in zip(signature, shape, strict=True))
        ):
            raise table.fail(f"shape_signature is {list(signature)}, which the shape {list(shape)} does not fit")
        if table.get("Sparsity") is not None:
            raise table.fail("sparsity: sparse tensors are not supported")
        return Tensor(
            index=index,
            name=name,
            shape=shape,
            dtype=dtype,
            quantization=self.quantization(table, dtype, shape),
            data=self.constant(table, dtype, shape),
            variable=bool(table.get("IsVariable")),
            shape_signature=signature if -1 in signature else None,
        )

    def constant(self, table: _Checked, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any] | None:
        number = table.get("Buffer")
        if number >= len(self.buffers):
            raise table.fail(f"buffer is {number}; the file has {len(self.buffers)} buffers")
        data = self.buffers[number]
        if data.size == 0:
            return None
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or data.size != size:
            raise table.fail(f"buffer {number} has {data.size} bytes; the shape {list(shape)} of {dtype} needs {size}")
        constant: npt.NDArray[Any] = data.view(dtype).reshape(shape)
        return constant

    def quantization(self, table: _Checked, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Quantization | None:
        raw = table.get("Quantization")
        if raw is None:
            return None
        parameters = _Checked(raw, f"{table.where}, quantization")
        if parameters.get("DetailsType") != tflite.QuantizationDetails.NONE:
            raise parameters.fail("details: custom quantization is not supported")
        scale = parameters.vector("Scale").astype(np.float32)
        zero_point = parameters.vector("ZeroPoint").astype(np.int64)
        if scale.size == 0:
            return None
        if zero_point.size != scale.size:
            raise parameters.fail(f"there are {zero_point.size} zero points for {scale.size} scales")
        if not (np.all(np.isfinite(scale)) and np.all(scale > 0)):
            worst = scale[~(np.isfinite(scale) & (scale > 0))][0]
            raise parameters.fail(f"scale is {worst}; expected a finite number above 0")
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            outside = zero_point[(zero_point < int(limits.min)) | (zero_point > min(int(limits.max), 2**63 - 1))]
            if outside.size:
                raise parameters.fail(f"zero_point is {outside[0]}; {dtype} holds {limits.min} to {limits.max}")
        axis = parameters.get("QuantizedDimension")
        if axis < 0 or (shape and axis >= len(shape)):
            raise parameters.fail(f"quantized_dimension is {axis}; the tensor has {len(shape)} dimensions")
        if scale.size > 1 and (not shape or shape[axis] != scale.size):
            raise parameters.fail(f"there are {scale.size} scales along dimension {axis} of the shape {list(shape)}")
        return Quantization(scale, zero_point, axis)

    def operator(self, table: _Checked, index: int, tensors: tuple[Tensor, ...]) -> Operator:
        code = table.get("OpcodeIndex")
        if code >= len(self.kinds):
            raise table.fail(f"opcode_index is {code}; the file has {len(self.kinds)} operator codes")
        kind = self.kinds[code]
        table.where += f" ({kind})"
        inputs = self.indices(table, "Inputs", len(tensors), optional=True)
        outputs = self.indices(table, "Outputs", len(tensors))
        if kind in ARITY:
            fewest_in, most_in, fewest_out, most_out = ARITY[kind]
            if not fewest_in <= len(inputs) <= most_in:
                raise table.fail(f"inputs: there are {len(inputs)}; expected {_range(fewest_in, most_in)}")
            if not fewest_out <= len(outputs) <= most_out:
                raise table.fail(f"outputs: there are {len(outputs)}; expected {_range(fewest_out, most_out)}")
        return Operator(
            index=index,
            kind=kind,
            inputs=inputs,
            outputs=outputs,
            options=self.options(table, kind),
            intermediates=self.indices(table, "Intermediates", len(tensors), optional=True),
        )

    def options(self, table: _Checked, kind: str) -> dict[str, Any]:
        if kind.startswith("CUSTOM:"):
            return {"custom_options": table.vector("CustomOptions").tobytes()}
        code, union = table.get("BuiltinOptionsType"), table.get("BuiltinOptions")
        if code == 0 or union is None:
            return {}
        name = schema.OPTION_TABLES.get(code)
        if name is None:
            raise table.fail(f"builtin_options_type is {code}, which the schema does not have")
        raw = getattr(tflite, name)()
        raw.Init(union.Bytes, union.Pos)
        fields = _Checked(raw, f"{table.where}, {name}")
        return {field.name: _option(fields, field) for field in schema.option_fields(name).values()}


def _option(fields: _Checked, field: schema.OptionField) -> Any:
    if field.vector:
        if not hasattr(fields.raw, f"{field.accessor}AsNumpy"):
            raise fields.fail(f"{field.name}: a vector of tables is not supported")
        return tuple(fields.vector(field.accessor).tolist())
    if isinstance(field.default, str) and field.enumeration is None:
        return fields.text(field.accessor)
    value = fields.get(field.accessor)
    if field.enumeration is not None:
        if value not in field.enumeration:
            raise fields.fail(f"{field.name} is {value}; expected one of {', '.join(map(str, field.enumeration))}")
        return field.enumeration[value]
    return value


def _field(accessor: str) -> str:
    """An accessor's name as the schema spells it."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", accessor).lower()


def _range(fewest: int, most: int) -> str:
    return str(fewest) if fewest == most else f"{fewest} to {most}" if most < 2**16 else f"at least {fewest}"


def _check_order(subgraph: Subgraph, where: str) -> None:
    """Operators run in the order of the file: each value must exist before it is read, and is written once."""
    ready = set(subgraph.inputs) | {-1}
    ready |= {tensor.index for tensor in subgraph.tensors if tensor.constant or tensor.variable}
    for operator in subgraph.operators:
        label = f"{where}, operator {operator.index} ({operator.kind})"
        for position, index in enumerate(operator.inputs):
            if index not in ready:
                raise ModelError(
                    f"{label}: inputs[{position}] is tensor {index}, which no earlier operator writes: "
                    "the operators form a cycle or are out of order"
                )
        for position, index in enumerate(operator.outputs):
            if index in ready:
                raise ModelError(f"{label}: outputs[{position}] is tensor {index}, which already has a value")
            ready.add(index)
    for position, index in enumerate(subgraph.outputs):
        if index not in ready:
            raise ModelError(f"{where}: outputs[{position}] is tensor {index}, which no operator writes")
