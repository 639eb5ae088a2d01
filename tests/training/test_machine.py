"""Networks that were quantized here run to the bit on the machine."""

from __future__ import annotations

import shutil

import pytest

import eightfold as ef
from eightfold.golden.graph import Graph
from eightfold.training.calibration import calibrate
from eightfold.training.evaluation import quantized_inputs
from eightfold.training.quantization import INT8, LEGACY, Scheme, quantize

from .networks import branches, chain, samples


def run_on_machine(graph: Graph, scheme: Scheme, backend: str) -> None:
    data = samples(graph, 8)
    quantized = quantize(graph, calibrate(graph, data), scheme)
    inputs = quantized_inputs(quantized, next(data.feeds(graph)))
    result = ef.run(ef.compile(quantized, ef.Config.named("8x8")), inputs, backend=backend)
    assert result.bit_exact
    assert result.array_macs > 10_000


@pytest.mark.parametrize("scheme", [INT8, Scheme(per_channel=False), Scheme(symmetric=True), LEGACY], ids=str)
@pytest.mark.parametrize("graph", [chain(), branches()], ids=lambda graph: graph.name)
def test_every_scheme_becomes_commands_that_compute_it(graph: Graph, scheme: Scheme) -> None:
    run_on_machine(graph, scheme, "commands")


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
@pytest.mark.parametrize("scheme", [INT8, LEGACY], ids=str)
def test_the_rtl_computes_it(scheme: Scheme) -> None:
    run_on_machine(branches(), scheme, "icarus")
