"""Damaged files: mutations of real ones, and what a damaged file may do.

python -m tests.golden.fuzzing 100000 200000      # any range of seeds, each of which is one mutant
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from eightfold.golden import option_tables, reader
from eightfold.golden.graph import Graph, ModelError, Operator, Quantization, Subgraph, Tensor
from eightfold.golden.runtime import Session
from eightfold.golden.writer import write

from .cases import CASES
from .models import random_inputs

SECONDS = 5.0

Random = np.random.Generator


def bases() -> list[bytes]:
    """Files to damage: one of every operator, and the small networks at hand."""
    root = Path(__file__).resolve().parents[2]
    shared = root.parent / "shared" / "models"
    names = ("kws_ref_model", "micro_speech_quantized", "vad_streaming", "pretrainedResnet_quant")
    paths = [*sorted((root / "models").glob("*.tflite")), *(shared / f"{name}.tflite" for name in names)]
    networks = [path.read_bytes() for path in paths if path.is_file()]
    operators = [write(CASES[name](0)) for name in sorted(CASES)]
    return operators + networks * max(1, len(operators) // (3 * max(1, len(networks))))


def mutant(seed: int, files: list[bytes]) -> bytes:
    """The damaged file of a seed."""
    rng = np.random.default_rng(seed)
    data = files[rng.integers(len(files))]
    if rng.random() < 0.35:
        try:
            return write(mutated_graph(reader.parse(data), rng))
        except ModelError:
            pass  # the writer would not have it: damage the bytes instead
        except (ValueError, TypeError, AttributeError, SystemError, LookupError, ArithmeticError, Warning):
            pass
    for _ in range(int(rng.choice([1, 1, 1, 2, 5]))):
        data = BYTES[rng.integers(len(BYTES))](data, files, rng)
    return data


def flip_bits(data: bytes, _: list[bytes], rng: Random) -> bytes:
    array = bytearray(data)
    for position in rng.integers(0, len(array), int(rng.integers(1, 9))) if array else ():
        array[position] ^= 1 << int(rng.integers(8))
    return bytes(array)


def truncate(data: bytes, _: list[bytes], rng: Random) -> bytes:
    return data[: int(rng.integers(0, len(data) + 1))]


def change_word(data: bytes, _: list[bytes], rng: Random) -> bytes:
    """An aligned word becomes something that offsets, lengths and dimensions fear."""
    if len(data) < 8:
        return data
    array = bytearray(data)
    # The tables are at one end of the file, among or behind the buffers; look there more often.
    reach = len(array) if rng.random() < 0.4 else min(len(array), 6000)
    position = int(rng.integers(0, reach // 4)) * 4
    if rng.random() < 0.5:
        position = len(array) // 4 * 4 - 4 - position
    old = int.from_bytes(array[position : position + 4], "little")
    near = (old + int(rng.integers(-8, 9))) & 0xFFFFFFFF
    value = int(rng.choice([0, 1, near, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, len(array), old << 1 & 0xFFFFFFFF, 65536]))
    array[position : position + 4] = value.to_bytes(4, "little")
    return bytes(array)


def splice(data: bytes, files: list[bytes], rng: Random) -> bytes:
    """A piece of one file over a piece of another."""
    other = files[rng.integers(len(files))]
    size = int(rng.integers(1, 200))
    start, place = int(rng.integers(0, max(1, len(other) - size))), int(rng.integers(0, max(1, len(data))))
    return data[:place] + other[start : start + size] + data[place + (size if rng.random() < 0.8 else 0) :]


def erase(data: bytes, _: list[bytes], rng: Random) -> bytes:
    place, size = int(rng.integers(0, max(1, len(data)))), int(rng.integers(1, 64))
    filler = bytes([int(rng.choice([0, 0xFF]))])
    return data[:place] + filler * len(data[place : place + size]) + data[place + size :]


BYTES: list[Callable[[bytes, list[bytes], Random], bytes]] = [
    flip_bits,
    truncate,
    change_word,
    change_word,
    splice,
    erase,
]


def mutated_graph(graph: Graph, rng: Random) -> Graph:
    """A graph that is well-formed as a file and wrong in what it says."""
    number = int(rng.integers(len(graph.subgraphs)))
    subgraph = graph.subgraphs[number]
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        subgraph = GRAPHS[rng.integers(len(GRAPHS))](subgraph, rng)
    subgraphs = (*graph.subgraphs[:number], subgraph, *graph.subgraphs[number + 1 :])
    return replace(graph, subgraphs=subgraphs)


def _change_tensor(subgraph: Subgraph, rng: Random, change: Callable[[Tensor], Tensor]) -> Subgraph:
    index = int(rng.integers(len(subgraph.tensors)))
    tensors = list(subgraph.tensors)
    tensors[index] = change(tensors[index])
    return replace(subgraph, tensors=tuple(tensors))


def _change_operator(subgraph: Subgraph, rng: Random, change: Callable[[Operator], Operator]) -> Subgraph:
    if not subgraph.operators:
        return subgraph
    index = int(rng.integers(len(subgraph.operators)))
    operators = list(subgraph.operators)
    operators[index] = change(operators[index])
    return replace(subgraph, operators=tuple(operators))


def reshape_tensor(subgraph: Subgraph, rng: Random) -> Subgraph:
    def change(tensor: Tensor) -> Tensor:
        shape = list(tensor.shape)
        if shape and rng.random() < 0.8:
            shape[rng.integers(len(shape))] = int(rng.choice([0, 1, 2, 3, 7, 65536, 2**20, 2**31 - 1, -1]))
        elif rng.random() < 0.5:
            shape = shape[:-1]
        else:
            shape = [*shape, 2]
        data = None if tensor.data is None else np.zeros(1 << 12, tensor.dtype)
        if data is not None and 0 <= np.prod(shape, dtype=np.float64) <= data.size and min(shape, default=0) >= 0:
            data = data[: int(np.prod(shape))].reshape(shape)
        elif data is not None:
            return tensor
        return replace(tensor, shape=tuple(shape), data=data)

    return _change_tensor(subgraph, rng, change)


def retype_tensor(subgraph: Subgraph, rng: Random) -> Subgraph:
    kinds = list(option_tables.DTYPES.values())
    kind = kinds[rng.integers(len(kinds))]

    def change(tensor: Tensor) -> Tensor:
        data = tensor.data
        if data is not None:
            if kind.hasobject:
                return tensor
            data = data.astype(kind)
        return replace(tensor, dtype=kind, data=data)

    return _change_tensor(subgraph, rng, change)


def requantize_tensor(subgraph: Subgraph, rng: Random) -> Subgraph:
    def change(tensor: Tensor) -> Tensor:
        old = tensor.quantization
        if old is None or rng.random() < 0.2:
            return replace(
                tensor,
                quantization=None if old is not None else Quantization(np.ones(1, np.float32), np.zeros(1, np.int64)),
            )
        scale, zero_point, axis = old.scale.copy(), old.zero_point.copy(), old.axis
        place, choice = rng.integers(scale.size), rng.random()
        if choice < 0.5:
            scale[place] = rng.choice(
                np.array([0, -1, np.nan, np.inf, 1e-38, 1e-30, 1e30, 3e38, 1e-45, 0.5], np.float32)
            )
        elif choice < 0.8:
            zero_point[place] = rng.choice([-129, 256, 2**40, -(2**63), 127, -128, 1])
        elif choice < 0.9:
            axis = int(rng.choice([-1, 0, 1, 3, 4, 100]))
        else:
            scale, zero_point = np.repeat(scale, 2), np.repeat(zero_point, 2)
        return replace(tensor, quantization=Quantization(scale, zero_point, axis))

    return _change_tensor(subgraph, rng, change)


def overwrite_constant(subgraph: Subgraph, rng: Random) -> Subgraph:
    def change(tensor: Tensor) -> Tensor:
        if tensor.data is None or tensor.data.dtype.kind not in "iuf":
            return tensor
        data = tensor.data.copy()
        flat = data.reshape(-1)
        if flat.size:
            values = [0, 1, 2, 100, 127] if data.dtype.itemsize == 1 else [0, 1, -1, 2**30, -(2**31), 2**31 - 1, 1000]
            flat[rng.integers(flat.size)] = np.array(rng.choice(values)).astype(data.dtype)
        return replace(tensor, data=data)

    return _change_tensor(subgraph, rng, change)


def toggle_variable(subgraph: Subgraph, rng: Random) -> Subgraph:
    return _change_tensor(subgraph, rng, lambda tensor: replace(tensor, variable=not tensor.variable))


def drop_constant(subgraph: Subgraph, rng: Random) -> Subgraph:
    return _change_tensor(subgraph, rng, lambda tensor: replace(tensor, data=None))


def rewire(subgraph: Subgraph, rng: Random) -> Subgraph:
    def change(operator: Operator) -> Operator:
        field = str(rng.choice(["inputs", "outputs"]))
        ends = list(getattr(operator, field))
        choice = rng.random()
        if ends and choice < 0.7:
            ends[rng.integers(len(ends))] = int(rng.integers(-2, len(subgraph.tensors) + 1))
        elif ends and choice < 0.85:
            ends.pop()
        else:
            ends.append(int(rng.integers(0, len(subgraph.tensors))))
        return replace(operator, **{field: tuple(ends)})

    return _change_operator(subgraph, rng, change)


def rename_operator(subgraph: Subgraph, rng: Random) -> Subgraph:
    kinds = sorted({name.split("-")[0] for name in CASES if name.isupper()} | set(option_tables.OPERATOR_CODES))

    def change(operator: Operator) -> Operator:
        kind = kinds[rng.integers(len(kinds))]
        table = option_tables.option_table(kind)
        known = () if table is None else option_tables.option_fields(table)
        options = {name: value for name, value in operator.options.items() if name in known}
        return replace(operator, kind=kind, options=MappingProxyType(options))

    return _change_operator(subgraph, rng, change)


def change_option(subgraph: Subgraph, rng: Random) -> Subgraph:
    def change(operator: Operator) -> Operator:
        table = option_tables.option_table(operator.kind)
        fields = [] if table is None else list(option_tables.option_fields(table).values())
        if not fields:
            return operator
        field = fields[rng.integers(len(fields))]
        value: Any
        if field.enumeration is not None:
            names = list(field.enumeration.values())
            value = names[rng.integers(len(names))]
        elif field.vector:
            value = tuple(int(v) for v in rng.choice([-1, 0, 1, 2, 2**31 - 1], int(rng.integers(0, 5))))
        elif isinstance(field.default, bool):
            value = bool(rng.integers(2))
        elif isinstance(field.default, float):
            value = float(rng.choice([0.0, -1.0, float("nan"), float("inf"), 1e30, 1e-30]))
        elif isinstance(field.default, str):
            value = "x"
        else:
            value = int(rng.choice([0, 1, -1, 2, 3, 127, -128, 2**31 - 1, -(2**31)]))
        return replace(operator, options=MappingProxyType({**operator.options, field.name: value}))

    return _change_operator(subgraph, rng, change)


def reorder(subgraph: Subgraph, rng: Random) -> Subgraph:
    order = rng.permutation(len(subgraph.operators))
    if rng.random() < 0.5:
        order = order[:-1]
    operators = tuple(replace(subgraph.operators[i], index=n) for n, i in enumerate(order))
    return replace(subgraph, operators=operators)


def change_ends(subgraph: Subgraph, rng: Random) -> Subgraph:
    field = str(rng.choice(["inputs", "outputs"]))
    count = int(rng.integers(0, 4))
    return replace(subgraph, **{field: tuple(int(v) for v in rng.integers(0, len(subgraph.tensors), count))})


GRAPHS: list[Callable[[Subgraph, Random], Subgraph]] = [
    reshape_tensor,
    reshape_tensor,
    retype_tensor,
    requantize_tensor,
    requantize_tensor,
    overwrite_constant,
    toggle_variable,
    drop_constant,
    rewire,
    rename_operator,
    change_option,
    change_option,
    reorder,
    change_ends,
]


def survive(data: bytes) -> str:
    """Read a file and run it; the error's message, or "" where there was none. Nothing but ModelError may escape."""
    try:
        graph = reader.parse(data)
        session = Session(graph, memory_limit=2**26)
        session.run(random_inputs(graph, np.random.default_rng(0)), keep="outputs")
    except ModelError as error:
        return str(error)
    return ""


def main() -> None:
    """Try a range of seeds; print what is not as it should be."""
    first, last = (int(argument) for argument in sys.argv[1:3])
    files, errors, worst = bases(), 0, (0.0, -1)
    for seed in range(first, last):
        start = time.process_time()
        try:
            survive(mutant(seed, files))
        except Exception as error:
            errors += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            print(f"seed {seed}: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})")
        worst = max(worst, (time.process_time() - start, seed))
    print(f"{last - first} mutants, {errors} errors; the slowest took {worst[0]:.2f} s (seed {worst[1]})")


if __name__ == "__main__":
    main()
