"""A layer's cycles are divided among causes without remainder."""

from __future__ import annotations

import pytest

from eightfold.compiler import compile
from eightfold.hw.config import Config
from eightfold.reports.causes import LABELS, Causes, causes
from eightfold.sim.model import profile

from ..compiler.networks import Builder
from .test_actions import CASES


@pytest.mark.parametrize("name", CASES)
def test_causes_sum_to_the_layer_s_cycles_and_none_is_negative(name: str) -> None:
    found = causes(CASES[name])
    for layer in CASES[name].layers:
        if layer.where == "array":
            assert found[layer.index].total == pytest.approx(layer.cycles)
            assert min(found[layer.index].shares.values()) >= -1e-9
        else:
            assert layer.index not in found


@pytest.mark.parametrize("config", ["4x4", "8x8", "16x16", "32x32"])
def test_what_streams_behind_a_layer_s_last_output_is_the_next_one_s(config: str) -> None:
    # Strided depthwise convolutions stream rows that give no output, and move weights in behind them.
    builder = Builder((1, 17, 13, 40))
    for _ in range(3):
        builder.convolution(40, (3, 3), stride=(2, 1), depthwise=True).convolution(40, (1, 1))
    cost = profile(compile(builder.graph(), Config.named(config)))
    found = causes(cost)
    for layer in cost.layers:
        assert found[layer.index].total == pytest.approx(layer.cycles)
        assert min(found[layer.index].shares.values()) >= -1e-9


def test_a_layer_of_full_tiles_is_bound_by_its_products() -> None:
    cost = profile(compile(Builder((1, 32, 32, 64)).convolution(64, (3, 3)).graph(), Config.named("16x16")))
    (layer,) = causes(cost).values()
    assert layer.bound == "products"
    assert layer.padding == 0
    assert layer.products == cost.layers[0].macs / 256


def test_one_product_per_weight_is_bound_by_weights() -> None:
    cost = profile(compile(Builder((1, 1, 1, 512)).dense(256).graph(), Config.named("16x16")))
    (layer,) = causes(cost).values()
    assert layer.bound in ("weights", "loads")
    assert layer.loads + layer.weights > 0.8 * layer.total


def test_every_cause_has_a_name() -> None:
    assert list(LABELS) == list(Causes().shares)
