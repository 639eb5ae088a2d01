"""The names of the `.tflite` schema: which option table an operator has, what its fields are called and what they hold.

Everything here is derived from the classes of the `tflite` package, so a newer schema needs no new code. The graph
writes names in snake case (`stride_w`); the generated accessors have the same names in camel case (`StrideW`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import tflite

FILE_IDENTIFIER = b"TFL3"
VERSION = 3
"""The schema version that every published `.tflite` file states."""

BUFFER_ALIGNMENT = 16
"""Bytes: the schema's `force_align` of a buffer's data, which the generated Python code does not apply by itself."""


def enumeration(schema_class: type) -> Mapping[int, str]:
    """The members of one of the schema's enumerations, number to name."""
    return MappingProxyType({v: k for k, v in vars(schema_class).items() if isinstance(v, int)})


OPERATORS = enumeration(tflite.BuiltinOperator)
OPERATOR_CODES: Mapping[str, int] = MappingProxyType({name: code for code, name in OPERATORS.items()})
OPTION_TABLES = enumeration(tflite.BuiltinOptions)
OPTION_TABLE_CODES: Mapping[str, int] = MappingProxyType({name: code for code, name in OPTION_TABLES.items()})

DTYPES: Mapping[int, np.dtype[Any]] = MappingProxyType(
    {
        **{
            code: np.dtype(name.lower())
            for code, name in enumeration(tflite.TensorType).items()
            if name not in ("STRING", "RESOURCE", "VARIANT", "INT4", "BFLOAT16")
        },
        # A handle to a variable has no elements to compute on; numpy's opaque type stands for it.
        tflite.TensorType.RESOURCE: np.dtype(object),
    }
)
"""The element types that a graph can hold, by the schema's number."""

DTYPE_CODES: Mapping[np.dtype[Any], int] = MappingProxyType({dtype: code for code, dtype in DTYPES.items()})

# Most option tables are named after their operator; these are not.
_SHARED_TABLES = {
    "Pool2DOptions": "AVERAGE_POOL_2D MAX_POOL_2D L2_POOL_2D",
    "ReducerOptions": "MEAN SUM REDUCE_PROD REDUCE_MAX REDUCE_MIN REDUCE_ANY REDUCE_ALL",
    "MaximumMinimumOptions": "MAXIMUM MINIMUM",
    "L2NormOptions": "L2_NORMALIZATION",
    "SequenceRNNOptions": "UNIDIRECTIONAL_SEQUENCE_RNN",
    "Conv3DOptions": "CONV_3D_TRANSPOSE",
    "RandomOptions": "RANDOM_STANDARD_NORMAL RANDOM_UNIFORM MULTINOMIAL",
}
_TABLE_OF = {name.removesuffix("Options").lower(): name for name in OPTION_TABLE_CODES} | {
    kind.replace("_", "").lower(): table for table, kinds in _SHARED_TABLES.items() for kind in kinds.split()
}

# The generated code stores an enumeration as a plain int8, without a word on which one.
_ENUMERATIONS: Mapping[str, type] = {
    "padding": tflite.Padding,
    "fused_activation_function": tflite.ActivationFunctionType,
    "weights_format": tflite.FullyConnectedOptionsWeightsFormat,
    "kernel_type": tflite.LSTMKernelType,
    "combiner": tflite.CombinerType,
    "mode": tflite.MirrorPadMode,
    "type": tflite.LSHProjectionType,
    "output_type": tflite.TensorType,
    "out_type": tflite.TensorType,
    "idx_out_type": tflite.TensorType,
    "in_data_type": tflite.TensorType,
    "out_data_type": tflite.TensorType,
    "key_dtype": tflite.TensorType,
    "value_dtype": tflite.TensorType,
    "quantized_bias_type": tflite.TensorType,
}


@dataclass(frozen=True)
class OptionField:
    """One field of an option table.

    Parameters
    ----------
    name
        In snake case, as the graph has it.
    accessor
        In camel case: `getattr(table, accessor)()` reads it.
    default
        What a file that leaves it out means: a number, a bool, an enumeration's name, `""` or `()`.
    enumeration
        Number to name, where the field is one.
    """

    name: str
    accessor: str
    default: Any
    enumeration: Mapping[int, str] | None = None

    @property
    def vector(self) -> bool:
        """Whether it holds a vector of numbers."""
        return isinstance(self.default, tuple)


def option_table(kind: str) -> str | None:
    """The option table of an operator, for example `Conv2DOptions` of `CONV_2D`; None where it has none."""
    return _TABLE_OF.get(kind.replace("_", "").lower())


@cache
def option_fields(table: str) -> Mapping[str, OptionField]:
    """The fields of an option table by their names, in the schema's order."""
    found = {}
    for name, add in vars(tflite).items():
        if match := re.fullmatch(rf"{table}Add(\w+)", name):
            slot, field = _describe(table, match[1], add)
            found[slot] = field
    return MappingProxyType({found[slot].name: found[slot] for slot in sorted(found)})


def camel(name: str) -> str:
    """A field's name as the generated code has it: `stride_w` becomes `StrideW`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _describe(table: str, accessor: str, add: Callable[[Any, int], None]) -> tuple[int, OptionField]:
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", accessor).lower()
    recorder = _Recorder()
    add(recorder, 0)
    wire, slot, default = recorder.wire, recorder.slot, recorder.default
    names = enumeration(_ENUMERATIONS[name]) if wire == "Int8" and name in _ENUMERATIONS else None
    if hasattr(tflite, f"{table}Start{accessor}Vector"):
        default = ()
    elif wire == "UOffsetTRelative":
        default = ""
    elif wire == "Bool":
        default = bool(default)
    elif wire == "Float32":
        default = float(default)
    elif names is not None:
        default = names[default]
    return slot, OptionField(name, accessor, default, names)


class _Recorder:
    """Stands in for the flatbuffer builder: the generated code tells it a field's wire type, slot and default."""

    wire: str
    slot: int
    default: Any

    def __getattr__(self, method: str) -> Callable[[int, Any, Any], None]:
        def prepend(slot: int, value: Any, default: Any) -> None:
            self.wire = method.removeprefix("Prepend").removesuffix("Slot")
            self.slot, self.default = slot, default

        return prepend
