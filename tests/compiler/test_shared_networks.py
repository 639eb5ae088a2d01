"""The published networks: every layer that the machine computes equals golden."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from eightfold.compiler import HostStep, MachineStep, compile
from eightfold.golden.reader import read
from eightfold.hw.config import Config

from ..conftest import SHARED_NETWORKS, shared_models
from ..golden.models import random_inputs
from .checker import violations
from .networks import mismatches


def _compare(name: str, config: Config) -> None:
    graph = read(shared_models() / f"{name}.tflite")
    program = compile(graph, config)
    host = {graph.operators[step.operator].kind for step in program.steps if isinstance(step, HostStep)}
    assert not host & {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
    wrong = mismatches(program, random_inputs(graph, np.random.default_rng(7)), Random(7))
    assert wrong
    assert not any(wrong.values()), wrong


@pytest.mark.parametrize("name", SHARED_NETWORKS)
def test_on_16x16(name: str) -> None:
    _compare(name, Config.named("16x16"))


@pytest.mark.parametrize("config", ["4x4", "8x8", "32x32"])
@pytest.mark.parametrize("name", ["kws_ref_model", "pretrainedResnet_quant", "mobilenet_v2_0.35_160_int8"])
def test_on_other_machines(name: str, config: str) -> None:
    _compare(name, Config.named(config))


@pytest.mark.parametrize("name", ["kws_ref_model", "pretrainedResnet_quant", "ad01_int8"])
def test_every_dependency_is_awaited(name: str) -> None:
    config = Config.named("8x8")
    program = compile(read(shared_models() / f"{name}.tflite"), config)
    for step in program.steps:
        if isinstance(step, MachineStep):
            assert violations(step.commands, config, program.memory.dram_bytes) == []
