"""A report's files: whole, self-contained, equal to each other, and honest about what they lack."""

from __future__ import annotations

import csv
import json
import re
from functools import cache
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from eightfold.compiler import compile
from eightfold.golden.graph import Graph, Operator, Subgraph
from eightfold.golden.reader import read
from eightfold.hw.config import Config
from eightfold.reports.charts import CHARTS, PALETTE
from eightfold.reports.page import render, tiles
from eightfold.reports.peers import NETWORKS, peers_of
from eightfold.reports.study import FORMAT, Study, study
from eightfold.reports.tables import tables

from ..compiler.networks import Builder
from ..conftest import shared_models
from .test_reports import MODELS

DEFAULT = Config.named("16x16")


def of(graph: Graph, image: np.ndarray[Any, Any], config: Config = DEFAULT, **settings: Any) -> Study:
    return study(compile(graph, config), [image], **settings)


@cache
def digits(backend: str = "model") -> Study:
    image = np.load(MODELS / "digits.npz")["images"][:1]
    return of(read(MODELS / "digits.tflite"), image, backend=backend, file_bytes=1234)


@cache
def files() -> dict[str, str]:
    return render(digits())


def on_the_host() -> Study:
    """A network of which nothing runs on the machine, and which has no weights."""
    builder = Builder((1, 4, 4, 2))
    output = builder._activation((1, 4, 4, 2))
    logistic = Operator(0, "LOGISTIC", (builder.input,), (output,), {})
    main = Subgraph("main", tuple(builder.tensors), (logistic,), (builder.input,), (output,))
    return of(Graph("logistic", (main,)), builder.image())


class Page(HTMLParser):
    """What a page refers to, and whether its tags match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "data", "action"):
                self.references.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in ("meta", "link", "br"):
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" not in self.open and "style" not in self.open:
            self.text.append(data.strip())


def parsed(text: str) -> Page:
    page = Page()
    page.feed(text)
    assert page.open == []
    return page


def test_the_page_needs_nothing_else() -> None:
    page = parsed(files()["report.html"])
    assert all(reference.startswith(("#", "data:")) for reference in page.references)
    assert "@import" not in files()["report.html"]
    assert not re.search(r"url\((?!#)", files()["report.html"])


def test_no_two_elements_share_a_name_and_every_reference_leads_somewhere() -> None:
    page = parsed(files()["report.html"])
    assert len(page.ids) == len(set(page.ids))
    inner = {reference[1:] for reference in page.references if reference.startswith("#")}
    inner |= set(re.findall(r"url\(#([^)]+)\)", files()["report.html"]))
    assert inner
    assert inner <= set(page.ids)


def test_figures_take_the_page_s_colours() -> None:
    html = files()["report.html"]
    body = html[html.index("<body>") :]
    for color in PALETTE.values():
        assert color not in body.lower()
    assert "var(--blue)" in body


def test_every_figure_is_there_with_a_sentence() -> None:
    text = " ".join(parsed(files()["report.html"]).text)
    for chart in CHARTS:
        assert f"figures/{chart.name}.svg" in files()
        assert chart.title in text
        ElementTree.fromstring(files()[f"figures/{chart.name}.svg"])


def test_the_same_study_gives_the_same_files() -> None:
    digits.cache_clear()
    assert render(digits()) == files()


def test_markdown_shows_the_same_figures_and_tables() -> None:
    markdown = files()["report.md"]
    assert set(re.findall(r"\]\((figures/[^)]+)\)", markdown)) == {name for name in files() if name.endswith(".svg")}
    lines = markdown.splitlines()
    for table in tables(digits()):
        start = lines.index(f"### {table.title}") + 4
        rows = lines[start : start + 2 + len(table.rows)]
        assert all(row.replace("\\|", "").count("|") == len(table.columns) + 1 for row in rows)


@pytest.mark.parametrize("table", tables(digits()), ids=lambda table: table.name)
def test_tables_are_whole_in_every_form(table: Any) -> None:
    assert len(set(table.columns)) == len(table.columns)
    assert all(len(row) == len(table.columns) for row in table.rows)
    rows = list(csv.reader(files()[f"tables/{table.name}.csv"].splitlines()))
    assert rows[0] == list(table.columns)
    assert len(rows) == 1 + len(table.rows)
    text = parsed(files()["report.html"]).text
    assert all(cell.text in text for row in table.rows for cell in row)


def test_the_json_holds_what_the_tables_show() -> None:
    value = json.loads(files()["report.json"])
    assert value["format"] == FORMAT
    layers = list(csv.DictReader(files()["tables/layers.csv"].splitlines()))
    assert len(layers) == len(value["layers"])
    for row, layer in zip(layers, value["layers"], strict=True):
        assert (row["operator"], int(row["MACs"])) == (layer["op"], layer["macs"])
        if layer["where"] == "array":
            assert int(row["cycles"]) == layer["cycles"] == pytest.approx(sum(layer["causes"].values()))
            assert int(row["bytes read"]) == layer["dram_read_bytes"]
    assert sum(layer["cycles"] for layer in value["layers"]) == value["cycles"]
    assert value["float32"]["traffic"]["total"] > 3 * value["traffic"]["total"]


def test_agreement_is_shown_where_it_was_measured() -> None:
    measured = digits("commands")
    assert any(tile.value == "exact" for tile in tiles(measured))
    assert not any(tile.value == "exact" for tile in tiles(digits()))
    numbers = next(table for table in tables(measured) if table.name == "numbers")
    column = numbers.columns.index("differ on commands")
    assert {row[column].value for row in numbers.rows} == {0}


def test_names_are_no_markup() -> None:
    image = np.load(MODELS / "digits.npz")["images"][:1]
    graph = read(MODELS / "digits.tflite")
    evil = Graph("<script>alert(1)</script>|`$x$`", graph.subgraphs)
    found = render(of(evil, image))
    assert "<script>alert" not in found["report.html"]
    assert "&lt;script&gt;" in found["report.html"]
    assert "<script>" not in found["report.md"]


def test_a_network_that_runs_on_the_host_says_so_for_every_figure() -> None:
    found = render(on_the_host())
    text = " ".join(parsed(found["report.html"]).text)
    assert text.count("No operator runs on the machine") >= 6
    assert "No operator has weights that are quantized to 8 bits." in text
    assert "LOGISTIC 0: the machine does not compute this operator" in text
    assert "figures/cycles.svg" not in found
    assert "figures/activations.svg" in found
    value = json.loads(found["report.json"])
    assert (value["cycles"], value["layers"][0]["where"]) == (0, "host")
    assert value["float32"]["reason"] == "no operator runs on the machine"


def test_a_machine_that_sums_up_no_products_says_so() -> None:
    builder = Builder((1, 8, 8, 3)).pool("MAX_POOL_2D", (2, 2))
    text = " ".join(parsed(render(of(builder.graph(), builder.image()))["report.html"]).text)
    assert text.count("No layer on the machine sums up products") == 2
    assert "of 0 layers" not in text


def test_fused_layers_are_compared_with_layers_one_after_the_other() -> None:
    builder = Builder((1, 20, 20, 24)).convolution(40, (3, 3)).convolution(40, (5, 5), depthwise=True)
    graph = builder.convolution(9, (1, 1)).graph()
    tight = Config(name="tight", scratchpad_bytes=24 * 1024, weight_bytes=8192)
    found = of(graph, builder.image(), tight)
    assert found.fused
    assert found.total_traffic.total < found.total_plain_traffic.total
    bandwidth = next(table for table in tables(found) if table.name == "bandwidth")
    assert "int8 with fused layers, B" in bandwidth.columns
    assert "with fused layers)" in render(found)["report.md"]
    value = found.to_json()
    assert value["int8_unfused"]["traffic"]["total"] == found.total_plain_traffic.total > value["traffic"]["total"]
    assert not digits().fused
    assert "int8 with fused layers, B" not in files()["tables/bandwidth.csv"]


def test_a_network_that_fits_in_int8_only_says_so() -> None:
    builder = Builder((1, 4, 512, 16)).convolution(16, (3, 3))
    config = Config(
        name="tight", rows=8, columns=8, scratchpad_bytes=48 * 1024, weight_bytes=8192, accumulator_bytes=8192
    )
    found = render(of(builder.graph(), builder.image(), config))
    text = " ".join(parsed(found["report.html"]).text)
    assert "In float32 the network cannot be laid out on this machine: network on tight: operator 0" in text
    assert "figures/saving.svg" not in found
    assert "figures/traffic.svg" in found
    assert "tables/quantization.csv" not in found


def test_a_float_network_has_a_page_that_says_why_nothing_runs_on_the_machine() -> None:
    found = of(read(MODELS / "digits_float.tflite"), np.load(MODELS / "digits_calibration.npz")["inputs"][:1])
    pages = render(found)
    text = " ".join(parsed(pages["report.html"]).text)
    assert "No operator runs on the machine" in text
    assert "float32" in text
    assert found.reasons
    assert not any(name.startswith("figures/cycles") for name in pages)


def test_operators_without_an_output_have_a_row() -> None:
    graph = read(shared_models() / "vad_streaming.tflite")
    (source,) = graph.inputs
    found = of(graph, np.zeros(source.shape, source.dtype))
    assert any(not operator.outputs for operator in graph.operators)
    assert len(render(found)["tables/layers.csv"].splitlines()) == 1 + len(graph.operators)


def test_what_is_done_is_told() -> None:
    told: list[str] = []
    render(
        of(read(MODELS / "digits.tflite"), np.load(MODELS / "digits.npz")["images"][:1], told=told.append), told.append
    )
    assert told[0] == "cycles"
    assert told[-1] == "page"


def test_peers_stand_beside_the_network_that_was_measured_only() -> None:
    network = NETWORKS[0]
    assert peers_of(network.files[0], network.steps * 256) == network.cycles
    assert peers_of(network.files[0], network.steps * 300) == {}
    assert peers_of("another", network.steps * 256) == {}
    assert "peers" not in {table.name for table in tables(digits())}
