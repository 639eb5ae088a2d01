"""What published networks cost, beside what they could cost at least and what others need.

python benchmarks/network_cycles.py [MODEL.tflite...] [--config 16x16] [--bus 8] [--latency 64] [--json FILE]

Cycles are those of the cycle model, which the tests hold equal to the RTL: one inference, from the first load to the
last store, with weights streamed from DRAM. The floor is the larger of two: products over multipliers, and bytes of
weights over bytes of the bus. Aims and the best figure of Vela 5.2 for an Arm Ethos with 256 multipliers (U55 or U65
at 8 bytes per cycle, U85) stand beside them; they are of the 16x16 array with a bus of 8 bytes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from eightfold.compiler import CompileError, compile
from eightfold.golden.macs import macs
from eightfold.golden.reader import read
from eightfold.hw.config import Config
from eightfold.sim.model import profile

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL.tflite", help="default: the shared networks")
    parser.add_argument("--config", default="16x16", help="a configuration's name or TOML file")
    parser.add_argument("--bus", type=int, help="bytes of a bus beat, other than the configuration's")
    parser.add_argument("--latency", type=int, default=64)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    config = (
        Config.from_toml(arguments.config) if arguments.config.endswith(".toml") else Config.named(arguments.config)
    )
    if arguments.bus:
        config = dataclasses.replace(config, bus_bytes=arguments.bus)
    shared = Path(os.environ.get("EIGHTFOLD_MODELS", Path(__file__).parents[2] / "shared" / "models"))
    paths = arguments.models or sorted(shared.glob("*.tflite"))
    rows = [measure(path, config, arguments.latency) for path in paths]
    if arguments.json:
        arguments.json.write_text(json.dumps({"config": config.as_dict(), "latency": arguments.latency, "rows": rows}))
    print(f"{config!r}, memory latency {arguments.latency} cycles")
    columns = ("cycles", "array", "weights", "x floor", "aim", "Vela", "of Vela", "DRAM KiB")
    print(f"{'network':28}" + "".join(f"{name:>11}" for name in columns) + "  on the host")
    for row in rows:
        print(f"{row['network']:28}" + (row["error"] or line(row)))


def measure(path: Path, config: Config, latency: int) -> dict[str, Any]:
    """A network's figures, as plain values."""
    graph = read(path)
    row: dict[str, Any] = {"network": path.stem, "error": None}
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
    host = sorted({operator.kind for operator in graph.operators if program.where(operator.index) == "host"})
    return row | {
        "cycles": result.cycles,
        "array_floor": -(-array // config.multipliers),
        "weight_floor": -(-weights // config.bus_bytes),
        "aim": aim,
        "vela": vela,
        "dram_bytes": sum(layer.dram_read_bytes + layer.dram_write_bytes for layer in result.layers),
        "host": host,
    }


def line(row: dict[str, Any]) -> str:
    """A row of the table, behind the network's name."""

    def number(value: int | None) -> str:
        return f"{'-' if value is None else format(value, ','):>11}"

    floor = max(row["array_floor"], row["weight_floor"])
    return (
        "".join(number(row[name]) for name in ("cycles", "array_floor", "weight_floor"))
        + (f"{row['cycles'] / floor:11.2f}" if floor else number(None))
        + "".join(number(row[name]) for name in ("aim", "vela"))
        + (f"{row['cycles'] / row['vela']:11.2f}" if row["vela"] else number(None))
        + f"{row['dram_bytes'] / 1024:11,.0f}  "
        + ", ".join(row["host"])
    )


if __name__ == "__main__":
    main()
