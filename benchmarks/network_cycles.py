"""What published networks cost, beside what they could cost at least and what others need.

python benchmarks/network_cycles.py [MODEL.tflite...] [--config 16x16] [--bus 8] [--latency 64] [--json FILE]
python benchmarks/network_cycles.py [MODEL.tflite...] --machines          # on machines of several sizes and buses
python benchmarks/network_cycles.py [MODEL.tflite...] --rtl verilator     # simulated as well: bits and cycles
python benchmarks/network_cycles.py --document docs/networks.md           # writes that page's tables anew

Cycles are those of the cycle model, which the tests hold equal to the RTL: one inference, from the first load to the
last store, with weights streamed from DRAM. The floor is the larger of two: products over multipliers, and bytes of
weights over bytes of the bus. Aims and the best figure of Vela 5.2 for an Arm Ethos with 256 multipliers (U55 or U65
at 8 bytes per cycle, U85) stand beside them; they are of the 16x16 array with a bus of 8 bytes. Below is the share of
the array that works in layers of three kinds, by which the mapping is measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eightfold.compiler import CompileError, Program, compile
from eightfold.golden.graph import Graph, Operator
from eightfold.golden.macs import macs
from eightfold.golden.reader import read
from eightfold.hw.config import Config
from eightfold.sim.model import CycleProfile, profile
from eightfold.sim.simulation import run

AIMS = {
    "kws_ref_model": (19_000, 46_118),
    "vww_96_int8": (53_000, 120_954),
    "pretrainedResnet_quant": (61_000, 98_315),
    "ad01_int8": (36_500, 40_905),
    "mobilenet_v1_0.25_128_uint8": (94_000, 250_964),
    "mobilenet_v1_1.0_224_uint8": (2_700_000, 3_414_512),
    "mobilenet_v2_0.35_160_int8": (245_000, None),
}
"""By network: cycles to reach, and the best that Vela gives."""

SHARES = {
    "depthwise 3x3": 0.30,
    "depthwise 3x3 by 2": 0.11,
    "pointwise": 0.97,
}
"""By kind of layer: the share of the 16x16 array that is to work."""

MACHINES = (
    ("8x8-mini", 8),
    ("8x8-small", 8),
    ("8x8", 8),
    ("16x16", 4),
    ("16x16", 8),
    ("16x16", 16),
    ("16x16", 32),
    ("32x32", 16),
)
"""Configurations, and bytes of their buses."""

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL.tflite", help="default: the shared networks")
    parser.add_argument("--config", default="16x16", help="a configuration's name or TOML file")
    parser.add_argument("--bus", type=int, help="bytes of a bus beat, other than the configuration's")
    parser.add_argument("--latency", type=int, default=64)
    parser.add_argument("--machines", action="store_true", help="cycles on several machines")
    parser.add_argument("--rtl", metavar="BACKEND", help="icarus or verilator: simulate, too, and compare")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--document", type=Path, metavar="FILE.md", help="put the tables where the file has them")
    arguments = parser.parse_args()
    shared = Path(os.environ.get("EIGHTFOLD_MODELS", Path(__file__).parents[2] / "shared" / "models"))
    # The largest comes last.
    paths = sorted(arguments.models or shared.glob("*.tflite"), key=lambda path: path.stat().st_size)
    one = Config.from_toml(arguments.config) if arguments.config.endswith(".toml") else Config.named(arguments.config)
    one = with_bus(one, arguments.bus or one.bus_bytes)
    several = arguments.machines or arguments.document
    machines = [with_bus(Config.named(name), bus) for name, bus in MACHINES] if several else [one]
    rows = [
        measure(path, config, arguments.latency, arguments.rtl)
        for path in paths
        for config in sorted(machines, key=lambda config: config != one)
    ]
    here = [row for row in rows if row["machine"] == name_of(one)]
    if arguments.json:
        arguments.json.write_text(json.dumps({"latency": arguments.latency, "rows": rows}))
    tables = {"networks": networks(here), "kinds": kinds(here)}
    if several:
        tables["machines"] = by_machine(rows)
    if arguments.document:
        fill_in(arguments.document, {name: markdown(table) for name, table in tables.items()})
        return
    print(f"{one!r}, memory latency {arguments.latency} cycles")
    for table in tables.values():
        print("\n" + text(table))


def with_bus(config: Config, size: int) -> Config:
    """The machine with a bus of so many bytes."""
    return config if size == config.bus_bytes else dataclasses.replace(config, bus_bytes=size)


def name_of(config: Config) -> str:
    """What tables call a machine."""
    return f"{config.name}, {config.bus_bytes} bytes"


def measure(path: Path, config: Config, latency: int, rtl: str | None = None) -> Row:
    """A network's figures on a machine, as plain values."""
    graph = read(path)
    row: Row = {"network": path.stem, "machine": name_of(config), "config": config.as_dict(), "error": None}
    try:
        program = compile(graph, config)
    except CompileError as error:
        return row | {"error": str(error)}
    result = profile(program, latency)
    operators = {operator.index: operator for operator in graph.operators}
    array = sum(macs(operators[i], graph) for i in program.machine_operators)
    weights = sum(
        graph.tensors[index].data.nbytes
        for i in program.machine_operators
        for index in operators[i].inputs[1:2]
        if index >= 0 and graph.tensors[index].data is not None
    )
    comparable = (config.multipliers, config.bus_bytes) == (256, 8)
    aim, vela = AIMS.get(path.stem, (None, None)) if comparable else (None, None)
    return row | {
        "cycles": result.cycles,
        "array_floor": -(-array // config.multipliers),
        "weight_floor": -(-weights // config.bus_bytes),
        "aim": aim,
        "vela": vela,
        "dram_bytes": sum(layer.dram_read_bytes + layer.dram_write_bytes for layer in result.layers),
        "host": sorted({o.kind for o in graph.operators if program.where(o.index) == "host"}),
        "layers": list(shares(graph, result, config)),
        "rtl": simulated(program, latency, rtl, result.cycles) if rtl else None,
    }


def shares(graph: Graph, result: CycleProfile, config: Config) -> Iterator[Row]:
    """The layers that are of a kind: products, and cycles."""
    for layer in result.layers:
        operator = graph.operators[layer.index]
        if layer.cycles and (kind := kind_of(operator, graph, config)):
            yield {"layer": layer.index, "kind": kind, "macs": layer.macs, "cycles": layer.cycles}


def kind_of(operator: Operator, graph: Graph, config: Config) -> str | None:
    """The kind of a layer; None where it is none of `SHARES`."""
    if operator.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return None
    weights = graph.tensors[operator.inputs[1]].shape
    strides = operator.options["stride_h"], operator.options["stride_w"]
    if operator.kind == "CONV_2D":
        whole = weights[1:3] == (1, 1) and not weights[0] % config.columns and not weights[3] % config.rows
        return "pointwise" if whole and strides == (1, 1) else None
    one = weights[1:3] == (3, 3) and weights[3] == graph.tensors[operator.inputs[0]].shape[3]
    return {(1, 1): "depthwise 3x3", (2, 2): "depthwise 3x3 by 2"}.get(strides) if one else None


def simulated(program: Program, latency: int, backend: str, cycles: int) -> str:
    """What the RTL says of a Program: `exact`, or what differs."""
    result = run(program, random_inputs(program.graph), backend, latency=latency)
    if not result.bit_exact:
        return "other bits"
    return "exact" if not program.machine_operators or result.cycles == cycles else f"{result.cycles} cycles"


def random_inputs(graph: Graph) -> list[np.ndarray]:
    """Any numbers of the inputs' types."""
    random, inputs = np.random.default_rng(0), []
    for tensor in graph.inputs:
        if tensor.dtype.kind == "f":
            inputs.append(random.uniform(-1, 1, tensor.shape).astype(tensor.dtype))
        else:
            limits = np.iinfo(tensor.dtype)
            inputs.append(random.integers(limits.min, limits.max, tensor.shape, tensor.dtype, endpoint=True))
    return inputs


Table = list[list[str]]
"""Rows of cells; the first has the columns' names."""


def networks(rows: Sequence[Row]) -> Table:
    """What each network costs on one machine."""
    columns = ("cycles", "MACs / multipliers", "weights / bus", "x floor", "aim", "Vela", "of Vela", "DRAM KiB")
    table = [["network", *columns, "on the host"]]
    if any(row.get("rtl") for row in rows):
        table[0].append("RTL")
    for row in rows:
        if row["error"]:
            table.append([row["network"], row["error"]])
            continue
        floor = max(row["array_floor"], row["weight_floor"])
        cells = [row["network"], *(number(row[name]) for name in ("cycles", "array_floor", "weight_floor"))]
        cells += [f"{row['cycles'] / floor:.2f}" if floor else "", number(row["aim"]), number(row["vela"])]
        cells += [f"{row['cycles'] / row['vela']:.2f}" if row["vela"] else "", f"{row['dram_bytes'] / 1024:,.0f}"]
        table.append([*cells, ", ".join(row["host"]), *([row["rtl"]] if row["rtl"] else [])])
    return table


def by_machine(rows: Sequence[Row]) -> Table:
    """The cycles of each network on each machine."""
    machines = [name_of(with_bus(Config.named(name), bus)) for name, bus in MACHINES]
    found = {(row["network"], row["machine"]): row for row in rows}
    table = [["network", *machines]]
    for network in dict.fromkeys(row["network"] for row in rows):
        some = [found[network, machine] for machine in machines]
        cells = [row["error"] or number(row["cycles"]) for row in some]
        table.append(
            [network, *(f"{cell} {row.get('rtl') or ''}".strip() for cell, row in zip(cells, some, strict=True))]
        )
    return table


def kinds(rows: Sequence[Row]) -> Table:
    """The share of the array that works in layers of each kind: all of a network's together, the worst and the best."""
    table = [["network", *(f"{kind} ({share:.0%})" for kind, share in SHARES.items())]]
    for row in rows:
        cells = []
        for kind in SHARES:
            layers = [layer for layer in row.get("layers", ()) if layer["kind"] == kind]
            multipliers = row["config"]["rows"] * row["config"]["columns"]
            each = [layer["macs"] / layer["cycles"] / multipliers for layer in layers]
            total = sum(layer["macs"] for layer in layers) / max(1, sum(layer["cycles"] for layer in layers))
            cells.append(f"{total / multipliers:.1%} ({min(each):.1%} to {max(each):.1%})" if layers else "")
        if any(cells):
            table.append([row["network"], *cells])
    return table


def number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def text(table: Table) -> str:
    """A table for a terminal."""
    widths = [max(len(row[i]) for row in table if i < len(row)) for i in range(len(table[0]))]
    lines = []
    for row in table:
        # A network that does not fit has no figures.
        first, *others = zip(row, widths, strict=False)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """A table for a page."""
    first, *others = table
    return "\n".join(f"| {' | '.join(row)} |" for row in (first, ["---"] * len(first), *others))


def fill_in(path: Path, tables: dict[str, str]) -> None:
    """Replaces the tables of a page: each follows a line `<!-- NAME -->`, and text follows it."""
    page = path.read_text(encoding="utf-8")
    for name, table in tables.items():
        page, count = re.subn(rf"(<!-- {name} -->\n\n)((\|.*\n)+\n)?", rf"\1{table}\n\n", page)
        if count != 1:
            raise SystemExit(f"{path} has {count} places for the table {name!r}")
    path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
