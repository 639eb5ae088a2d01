"""Neighbouring pixels in columns that would be idle: what it saves, and that nothing else changes."""

from __future__ import annotations

from random import Random

import pytest

from eightfold.compiler import MachineStep, compile
from eightfold.compiler.convolution import Convolution
from eightfold.compiler.lowering import lower
from eightfold.golden.numerics import Profile
from eightfold.hw.config import Config

from .checker import violations
from .networks import Builder, mismatches

CONFIG = Config.named("16x16")


def shared(builder: Builder, config: Config = CONFIG) -> int:
    """How many pixels of a network's first layer are computed as one."""
    graph = builder.graph()
    (layer,) = lower(graph.operators[0], graph, config, Profile.TFLM)
    ((work,),) = layer.groups
    assert isinstance(work, Convolution)
    return work.outputs // graph.tensors[graph.operators[0].outputs[0]].shape[3]


@pytest.mark.parametrize(
    ("shape", "outputs", "kernel", "stride", "pixels"),
    [
        ((1, 24, 24, 3), 8, (3, 3), (2, 2), 2),  # 5 pixels of 3 channels fill 15 rows
        ((1, 24, 24, 3), 16, (3, 3), (2, 2), 1),
        ((1, 24, 24, 1), 4, (3, 3), (1, 1), 4),
        ((1, 9, 9, 1), 4, (3, 3), (1, 1), 3),  # of 9 pixels
        ((1, 9, 7, 1), 4, (3, 3), (1, 1), 7),  # two blocks for seven pixels
        ((1, 24, 24, 16), 8, (1, 3), (1, 1), 2),  # four passes for two pixels, in place of three for each
        ((1, 24, 24, 1), 24, (3, 3), (1, 1), 2),  # three blocks for two pixels, in place of four
    ],
)
def test_as_many_pixels_share_the_columns_as_save_most(
    shape: tuple[int, ...], outputs: int, kernel: tuple[int, int], stride: tuple[int, int], pixels: int
) -> None:
    assert shared(Builder(shape).convolution(outputs, kernel, stride=stride)) == pixels


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "pixels"),
    [
        ((1, 24, 24, 8), (3, 3), (1, 1), 2),
        ((1, 24, 24, 8), (3, 3), (2, 1), 2),
        ((1, 24, 24, 8), (3, 3), (1, 2), 1),  # neighbouring outputs see windows that are two pixels apart
        ((1, 24, 24, 16), (3, 3), (1, 1), 1),
        ((1, 24, 24, 3), (3, 3), (1, 1), 4),
    ],
)
def test_depthwise_pixels_share_columns_too(
    shape: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int], pixels: int
) -> None:
    assert shared(Builder(shape).convolution(0, kernel, stride=stride, depthwise=True)) == pixels


def test_columns_are_shared_neither_by_single_pixels_nor_by_dilated_kernels() -> None:
    assert shared(Builder((1, 24, 24, 1)).convolution(4, (1, 1))) == 1
    assert shared(Builder((1, 24, 24, 1)).convolution(4, (3, 3), dilation=(1, 2))) == 1


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(
    ("padding", "stride", "width"),
    [("SAME", (1, 1), 12), ("SAME", (2, 2), 12), ("SAME", (1, 3), 12), ("VALID", (1, 1), 12), ("VALID", (2, 2), 13)],
)
@pytest.mark.parametrize("name", ["8x8", "16x16"])
def test_they_give_what_golden_gives(dtype: str, padding: str, stride: tuple[int, int], width: int, name: str) -> None:
    config = Config.named(name)
    builder = Builder((2, 13, width, 1), dtype=dtype, seed=5).convolution(4, (3, 3), stride=stride, padding=padding)
    assert shared(builder, config) > 1
    wrong = mismatches(compile(builder.graph(), config), [builder.image()], Random(1))
    assert wrong
    assert not any(wrong.values()), wrong


@pytest.mark.parametrize("kernel", [(3, 3), (5, 2), (1, 4)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (2, 2), (3, 2), (1, 3), (4, 4)])
@pytest.mark.parametrize("shape", [(2, 13, 12, 2), (1, 20, 20, 16)])
def test_depthwise_ones_give_it_too(
    kernel: tuple[int, int], padding: str, stride: tuple[int, int], shape: tuple[int, ...]
) -> None:
    builder = Builder(shape, seed=6).convolution(0, kernel, stride=stride, padding=padding, depthwise=True)
    for config in (CONFIG, Config(rows=5, columns=8, scratchpad_bytes=4096, accumulator_bytes=16 * 32 * 4)):
        program = compile(builder.graph(), config)
        (step,) = program.steps
        assert isinstance(step, MachineStep)
        assert violations(step.commands, config, program.memory.dram_bytes) == []
        wrong = mismatches(program, [builder.image()], Random(1))
        assert wrong
        assert not any(wrong.values()), wrong
