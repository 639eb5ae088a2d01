"""What is in a network: operators, tensors, quantization, MACs, weight bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from ..golden.graph import Graph, ModelError, Operator, Tensor
from ..golden.kernels import SUMS_OF_PRODUCTS, Node, accumulator_bound
from ..golden.macs import macs
from .table import count, new_table

FORMAT = "eightfold-inspect/1"

Role = Literal["input", "output", "constant", "variable", "activation"]


@dataclass(frozen=True)
class OperatorFacts:
    """An operator in figures.

    Parameters
    ----------
    macs
        Products, those with taps outside the image included.
    weight_bytes
        Of the constants that it reads.
    accumulator_bound
        The greatest magnitude that an accumulator of it can have, whatever the input; None where it has none.
    options
        Of the operator, as the file names them.
    """

    index: int
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    macs: int
    weight_bytes: int
    accumulator_bound: int | None
    options: dict[str, Any]


@dataclass(frozen=True)
class TensorFacts:
    """A tensor in figures.

    Parameters
    ----------
    role
        What the network uses it for.
    scales, zero_points
        Empty where it is not quantized; one of each, or one per slice along `axis`.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    role: Role
    bytes: int
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int | None


@dataclass(frozen=True)
class Inspection:
    """A network in figures."""

    model: str
    description: str
    operators: tuple[OperatorFacts, ...]
    tensors: tuple[TensorFacts, ...]

    @property
    def macs(self) -> int:
        """Products of the whole network."""
        return sum(operator.macs for operator in self.operators)

    @property
    def weight_bytes(self) -> int:
        """Of all constants."""
        return sum(tensor.bytes for tensor in self.tensors if tensor.role == "constant")

    def to_json(self) -> dict[str, Any]:
        """The figures as plain values."""
        return {"format": FORMAT, "macs": self.macs, "weight_bytes": self.weight_bytes, **asdict(self)}


def inspect(graph: Graph) -> Inspection:
    """The figures of a network's main subgraph."""
    return Inspection(
        model=graph.name,
        description=graph.description,
        operators=tuple(_operator(operator, graph) for operator in graph.operators),
        tensors=tuple(_tensor(tensor, graph) for tensor in graph.tensors),
    )


def _operator(operator: Operator, graph: Graph) -> OperatorFacts:
    constants = {index for index in operator.inputs if index >= 0 and graph.tensors[index].constant}
    return OperatorFacts(
        index=operator.index,
        op=operator.kind,
        inputs=operator.inputs,
        outputs=operator.outputs,
        macs=macs(operator, graph),
        weight_bytes=sum(_bytes(graph.tensors[index]) for index in constants),
        accumulator_bound=_accumulator_bound(operator, graph),
        options={name: _plain(value) for name, value in operator.options.items()},
    )


def _accumulator_bound(operator: Operator, graph: Graph) -> int | None:
    try:
        return accumulator_bound(Node.of(operator, graph)) if operator.kind in SUMS_OF_PRODUCTS else None
    except ModelError:
        return None  # weights that are computed, or not quantized


def _tensor(tensor: Tensor, graph: Graph) -> TensorFacts:
    quantization = tensor.quantization
    role: Role = "activation"
    if tensor.index in graph.main.inputs:
        role = "input"
    elif tensor.constant:
        role = "constant"
    elif tensor.index in graph.main.outputs:
        role = "output"
    elif tensor.variable:
        role = "variable"
    return TensorFacts(
        index=tensor.index,
        name=tensor.name,
        dtype=str(tensor.dtype),
        shape=tensor.shape,
        role=role,
        bytes=_bytes(tensor),
        scales=() if quantization is None else tuple(float(scale) for scale in quantization.scale),
        zero_points=() if quantization is None else tuple(int(zero) for zero in quantization.zero_point),
        axis=quantization.axis if quantization is not None and quantization.per_axis else None,
    )


def _bytes(tensor: Tensor) -> int:
    return tensor.data.nbytes if tensor.data is not None else int(np.prod(tensor.shape)) * tensor.dtype.itemsize


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (tuple, list, np.ndarray)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def inspection_report(inspection: Inspection) -> RenderableType:
    """A network's operators and tensors as rich shows them."""
    operators = new_table(
        f"{inspection.model}: operators",
        ("#", ">"),
        ("operator", "<"),
        ("input", "<"),
        ("output", "<"),
        ("MACs", ">"),
        ("weight bytes", ">"),
        ("bits", ">"),
    )
    operators.add_column("options", overflow="fold")
    for operator in inspection.operators:
        sources = [i for i in operator.inputs if i >= 0 and inspection.tensors[i].role != "constant"]
        operators.add_row(
            str(operator.index),
            operator.op,
            Text("\n").join(_shape(inspection.tensors[i]) for i in sources),
            Text("\n").join(_shape(inspection.tensors[i]) for i in operator.outputs),
            count(operator.macs),
            count(operator.weight_bytes),
            _bits(operator.accumulator_bound),
            Text(", ".join(f"{k} {v}" for k, v in operator.options.items() if _telling(k, v)), style="dim"),
        )
    tensors = new_table(
        "tensors",
        ("#", ">"),
        ("type and shape", "<"),
        ("role", "<"),
        ("bytes", ">"),
    )
    for name in ("scale", "zero point", "name"):
        tensors.add_column(name, no_wrap=True)
    for tensor in inspection.tensors:
        tensors.add_row(
            str(tensor.index),
            _shape(tensor),
            tensor.role,
            count(tensor.bytes),
            _span(tensor.scales, ".6g", tensor.axis),
            _span(tensor.zero_points, "d", None),
            Text(tensor.name, style="dim"),
        )
    total = Text(
        f"{len(inspection.operators)} operators, {len(inspection.tensors)} tensors, {inspection.macs:,} MACs, "
        f"{inspection.weight_bytes:,} bytes of constants; bits: the most that an accumulator can need"
    )
    return Group(operators, tensors, total)


def _bits(bound: int | None) -> Text:
    """The bits that an accumulator with a sign needs; red beyond the machine's 32."""
    if bound is None:
        return Text("-")
    bits = bound.bit_length() + 1
    return Text(str(bits), style="bold red" if bits > 32 else "")


def _shape(tensor: TensorFacts) -> Text:
    # Text, as rich would take the brackets for markup.
    return Text(f"{tensor.dtype}[{', '.join(map(str, tensor.shape))}]")


def _telling(name: str, value: Any) -> bool:
    """Whether an option says something that a reader would not assume."""
    if name.startswith(("stride", "dilation")):
        return bool(value != 1)
    return name != "quantized_bias_type" and value not in (0, 0.0, False, None, "NONE", "DEFAULT", "")


def _span(values: tuple[Any, ...], form: str, axis: int | None) -> str:
    """One value, or the range of many."""
    if not values:
        return ""
    low, high = min(values), max(values)
    span = f"{low:{form}}" if low == high else f"{low:{form}} to {high:{form}}"
    return span if axis is None else f"{span} ({len(values)} along axis {axis})"
