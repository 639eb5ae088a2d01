"""The products of published networks."""

from __future__ import annotations

import pytest

from eightfold.golden.macs import macs
from eightfold.golden.reader import read

from ..conftest import shared_models


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("kws_ref_model", 2.66),
        ("vww_96_int8", 7.49),
        ("pretrainedResnet_quant", 12.50),
        ("ad01_int8", 0.26),
        ("mobilenet_v1_0.25_128_uint8", 13.57),
        ("mobilenet_v1_1.0_224_uint8", 568.74),
        ("mobilenet_v2_0.35_160_int8", 29.60),
        ("micro_speech_quantized", 0.34),
    ],
)
def test_networks_need_as_many_products_as_their_authors_say(name: str, millions: float) -> None:
    graph = read(shared_models() / f"{name}.tflite")
    assert sum(macs(operator, graph) for operator in graph.operators) / 1e6 == pytest.approx(millions, abs=0.005)
