"""What networks are to cost at most, by the cycle model, which equals the RTL."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from eightfold.compiler import compile
from eightfold.hw.config import Config
from eightfold.sim.model import profile

from ..conftest import shared_models
from .networks import Builder

LATENCY = 64
SHORT = {"mobilenet_v1_0.25_128_uint8": 101_000}
"""Networks that fall short of their aim, and what they take at most."""


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "network_cycles.py"
    spec = importlib.util.spec_from_file_location("network_cycles", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_published_networks_take_no_more_than_is_aimed_at(benchmark: ModuleType) -> None:
    folder = shared_models()
    rows = [benchmark.measure(folder / f"{name}.tflite", Config.named("16x16"), LATENCY) for name in benchmark.AIMS]
    most = {name: SHORT.get(name, aim) for name, (aim, _) in benchmark.AIMS.items()}
    assert {row["network"]: row["cycles"] for row in rows if row["cycles"] > most[row["network"]]} == {}
    for row in rows:
        assert row["cycles"] >= max(row["array_floor"], row["weight_floor"])
    lines = benchmark.markdown(benchmark.networks(rows)).splitlines()
    assert len(lines) == 2 + len(rows)
    assert len({line.count("|") for line in lines}) == 1


def test_layers_keep_as_much_of_the_array_busy_as_is_aimed_at(benchmark: ModuleType) -> None:
    builder = Builder((1, 32, 32, 32)).convolution(32, (1, 1)).convolution(0, (3, 3), depthwise=True)
    builder.convolution(0, (3, 3), depthwise=True, stride=(2, 2)).convolution(256, (1, 1)).convolution(32, (1, 1))
    graph, config = builder.graph(), Config.named("16x16")
    result = profile(compile(graph, config), LATENCY)
    # The first layer waits for its input, the last one's output leaves.
    _, *layers, _ = benchmark.shares(graph, result, config)
    assert {layer["kind"] for layer in layers} == set(benchmark.SHARES)
    for layer in layers:
        assert layer["macs"] / layer["cycles"] / 256 >= benchmark.SHARES[layer["kind"]], layer


def test_tables_take_the_place_of_those_before(benchmark: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\n<!-- a -->\n\n## B\n\n<!-- b -->\n\n| old | table |\n| --- | --- |\n| 1 | 2 |\n\nEnd.\n")
    tables = {"a": benchmark.markdown([["x"], ["1"]]), "b": benchmark.markdown([["y"], ["2"]])}
    expected = "# A\n\n<!-- a -->\n\n| x |\n| --- |\n| 1 |\n\n## B\n\n<!-- b -->\n\n| y |\n| --- |\n| 2 |\n\nEnd.\n"
    for _ in range(2):
        benchmark.fill_in(page, tables)
        assert page.read_text() == expected
    with pytest.raises(SystemExit, match="0 places for the table 'c'"):
        benchmark.fill_in(page, {"c": ""})
