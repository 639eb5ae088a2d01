"""Kernel rows that are short: patches are gathered where that takes fewer cycles, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from eightfold.compiler import HostStep, MachineStep, Program, compile
from eightfold.hw.commands import Execute, Mode
from eightfold.hw.config import Config

from .checker import violations
from .networks import Builder, mismatches

CONFIG = Config.named("16x16")


def executes(program: Program) -> list[Execute]:
    (step,) = program.steps
    assert isinstance(step, MachineStep)
    return [command for command in step.commands if isinstance(command, Execute)]


def gathers(program: Program) -> bool:
    return any(command.mode == Mode.DEPTHWISE for command in executes(program))


def test_a_tall_kernel_of_few_bytes_a_row_takes_a_third_of_the_passes() -> None:
    program = compile(Builder((1, 49, 10, 1)).convolution(64, (10, 4), stride=(2, 2)).graph(), CONFIG)
    assert gathers(program)
    last = executes(program)[-1]
    assert last.kernel_rows * last.kernel_columns * last.runs == 3
    step = program.steps[0]
    assert isinstance(step, MachineStep)
    assert step.operators == (0,)
    assert all(resident.tensor >= 0 for resident in step.residents)


def test_whole_rows_and_single_rows_are_not_gathered() -> None:
    for kernel in ((3, 16), (1, 4)):
        assert not gathers(compile(Builder((1, 24, 24, 1)).convolution(64, kernel).graph(), CONFIG))
    assert not gathers(compile(Builder((1, 96, 96, 3)).convolution(16, (3, 3)).graph(), CONFIG))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride"),
    [((1, 49, 10, 1), (10, 4), (2, 2)), ((1, 30, 6, 3), (7, 3), (1, 1)), ((1, 21, 5, 1), (9, 5), (3, 1))],
)
def test_they_give_what_golden_gives(
    dtype: str, padding: str, shape: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int]
) -> None:
    builder = Builder(shape, dtype=dtype, seed=2).convolution(70, kernel, stride=stride, padding=padding).dense(5)
    seen = False
    small = Config(rows=16, columns=8, scratchpad_bytes=16384, weight_bytes=4096, accumulator_bytes=24 * 32)
    for config in (CONFIG, small):
        program = compile(builder.graph(), config)
        (step,) = program.steps
        assert isinstance(step, MachineStep)
        assert violations(step.commands, config, program.memory.dram_bytes) == []
        wrong = mismatches(program, [builder.image()], Random(1))
        assert wrong
        assert not any(wrong.values()), wrong
        seen |= gathers(program)
    assert seen


def test_rows_behind_a_patch_that_a_run_takes_along_are_there() -> None:
    builder = Builder((1, 12, 6, 3)).convolution(8, (5, 3))
    program = compile(builder.graph(), Config.named("4x4"))
    assert gathers(program)
    (step,) = program.steps
    assert isinstance(step, MachineStep)
    assert violations(step.commands, program.config, program.memory.dram_bytes) == []


def test_strips_are_not_what_an_absent_bias_elsewhere_means() -> None:
    """Tensors between layers have negative numbers, and so has an input that is not there."""
    builder = Builder((1, 49, 10, 1)).convolution(64, (10, 4), stride=(2, 2))
    builder.apply("TANH", (builder.last,), builder.tensors[builder.last].shape).convolution(4, (1, 1))
    builder.operators[-1] = replace(builder.operators[-1], inputs=(*builder.operators[-1].inputs[:2], -1))
    program = compile(builder.graph(), CONFIG)
    gathering, host, _ = program.steps
    assert isinstance(gathering, MachineStep)
    assert isinstance(host, HostStep)
    assert gathering.outputs == (builder.operators[0].outputs[0],)


def test_strips_that_leave_no_room_for_a_row_are_not_gathered() -> None:
    graph = Builder((1, 24, 24, 1)).convolution(64, (10, 4)).graph()
    for scratchpad in (2048, 4096, 8192, 16384, 32768):
        assert compile(graph, replace(CONFIG, scratchpad_bytes=scratchpad)).steps
