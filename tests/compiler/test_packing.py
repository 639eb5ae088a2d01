"""Packed weights, byte by byte against the definition in the docstring of `Execute`."""

from __future__ import annotations

import numpy as np
import pytest

from eightfold.compiler.convolution import Convolution
from eightfold.compiler.hazards import Channels
from eightfold.compiler.lowering import lower
from eightfold.compiler.packing import pack_work
from eightfold.compiler.units import cut_ends, weight_units
from eightfold.compiler.work import Layer
from eightfold.golden.numerics import Profile
from eightfold.hw.commands import PARAMETER_ROWS
from eightfold.hw.config import Config

from .networks import Builder

CASES = [
    ((1, 9, 9, 5), 7, (3, 3), (1, 1)),
    ((1, 9, 9, 5), 9, (2, 3), (1, 2)),
    ((1, 9, 9, 20), 3, (1, 1), (1, 1)),
    ((1, 9, 9, 1), 16, (7, 2), (2, 1)),
]
CONFIGS = [
    Config(rows=rows, columns=columns, accumulator_bytes=64 * columns * 4, bus_bytes=bus)
    for rows, columns, bus in ((4, 4, 8), (5, 3, 4), (8, 8, 32))
]


def layer_of(shape: tuple[int, ...], outputs: int, kernel: tuple[int, int], dilation: tuple[int, int]) -> Layer:
    graph = Builder(shape, dtype="uint8", seed=3).convolution(outputs, kernel, dilation=dilation).graph()
    # Lowering does not depend on the machine, as long as it is possible.
    (layer,) = lower(graph.operators[0], graph, CONFIGS[0], Profile.TFLM)
    return layer


def convolution_of(layer: Layer) -> Convolution:
    ((work,),) = layer.groups
    assert isinstance(work, Convolution)
    return work


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.rows}x{config.columns}")
@pytest.mark.parametrize(("shape", "outputs", "kernel", "dilation"), CASES)
def test_every_byte_is_where_the_array_expects_it(
    config: Config, shape: tuple[int, ...], outputs: int, kernel: tuple[int, int], dilation: tuple[int, int]
) -> None:
    layer = layer_of(shape, outputs, kernel, dilation)
    work = convolution_of(layer)
    packed = pack_work(work, config).view(np.int8)
    assert packed.nbytes == layer.packed_bytes(config)
    rows, columns = config.rows, config.columns
    channels = shape[3]
    for block, content in enumerate(packed):
        position = 0
        for kernel_row in range(kernel[0]):
            parts = [[x] for x in range(kernel[1])] if dilation[1] > 1 else [range(kernel[1])]
            for part in parts:
                taps = [(x, c) for x in part for c in range(channels)]
                for run in range(-(-len(taps) // rows)):
                    for row in range(rows):
                        for column in range(config.weight_row_bytes):
                            output, tap = block * columns + column, run * rows + row
                            expected = work.weight_zero_point
                            if column < columns and output < outputs and tap < len(taps):
                                x, c = taps[tap]
                                expected = work.weights[output, kernel_row, x, c]
                            assert content[position + rows - 1 - row, column] == expected
                    position += rows
        assert position == len(content) - PARAMETER_ROWS
        for column in range(min(columns, outputs - block * columns)):
            parameters = content[position:, column].tobytes()
            output = block * columns + column
            assert int.from_bytes(parameters[:4], "little", signed=True) == work.parameters.bias[output]
            assert int.from_bytes(parameters[4:8], "little", signed=True) == work.parameters.multiplier[output]
            assert int.from_bytes(parameters[8:], "little", signed=True) == work.parameters.shift[output]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.rows}x{config.columns}")
@pytest.mark.parametrize(("shape", "outputs", "kernel", "dilation"), CASES)
@pytest.mark.parametrize("share", [1, 3, 7, 1000])
def test_units_cover_the_packed_image_once_and_in_order(
    config: Config, shape: tuple[int, ...], outputs: int, kernel: tuple[int, int], dilation: tuple[int, int], share: int
) -> None:
    layer = layer_of(shape, outputs, kernel, dilation)
    limit = (config.rows + PARAMETER_ROWS) * config.weight_row_bytes * share
    offset = 0
    blocks = 0
    for chunks in weight_units(layer, config, limit):
        assert [chunk.finish for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert [chunk.accumulate for chunk in chunks] == [False] + [True] * (len(chunks) - 1)
        passes = 0
        for chunk in chunks:
            assert chunk.offset == offset
            assert 0 < chunk.size <= limit
            assert chunk.first_block == blocks
            offset += chunk.size
            passes += chunk.kernel_rows * chunk.kernel_columns * chunk.runs
        assert passes == convolution_of(layer).passes(config)
        blocks += chunks[-1].blocks
    assert offset == layer.packed_bytes(config)
    assert blocks == -(-outputs // config.columns)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.rows}x{config.columns}")
@pytest.mark.parametrize(("shape", "outputs", "kernel", "dilation"), CASES)
@pytest.mark.parametrize("share", [3, 7, 1000])
def test_ends_are_cut_off_the_units_that_are_loaded(
    config: Config, shape: tuple[int, ...], outputs: int, kernel: tuple[int, int], dilation: tuple[int, int], share: int
) -> None:
    layer = layer_of(shape, outputs, kernel, dilation)
    units = weight_units(layer, config, (config.rows + PARAMETER_ROWS) * config.weight_row_bytes * share)
    offset = 0
    for whole, chunks in zip(units, cut_ends(units, config), strict=True):
        assert {chunk.loaded or (chunk.offset, chunk.size) for chunk in chunks} == {(c.offset, c.size) for c in whole}
        for chunk in chunks:
            assert chunk.offset == offset
            assert chunk.accumulate == (chunk.run > 0 or chunk.kernel_column > 0 or chunk.kernel_row > 0)
            offset += chunk.size
    assert offset == layer.packed_bytes(config)
    assert chunks[-1].blocks == 1 or not chunks[-1].work.by_channels


def test_a_pointwise_layer_begins_without_its_last_channels() -> None:
    config = CONFIGS[2]
    units = weight_units(layer_of((1, 9, 9, 20), 30, (1, 1), (1, 1)), config, 1 << 20)
    (found,) = cut_ends(units, config)
    # 20 channels are two runs and a half, whose last reaches into the next pixel.
    assert [(c.first_block, c.blocks, c.run, c.runs, bool(c.finish)) for c in found] == [
        (0, 1, 0, 2, False),
        (0, 1, 2, 1, True),
        (1, 2, 0, 3, True),
        (3, 1, 0, 3, True),
    ]
    work = found[0].work
    assert [work.channels_read(chunk, config) for chunk in found] == [Channels(20, 0, 0, 16), None, None, None]


def test_the_fold_of_the_zero_point_wraps_like_the_accumulators() -> None:
    layer = convolution_of(layer_of(*CASES[0]))
    folded = layer.parameters.bias.astype(np.int64) + layer.fill * (
        layer.weights.astype(np.int64) - layer.weight_zero_point
    ).sum(axis=(1, 2, 3))
    graph = Builder(CASES[0][0], dtype="uint8", seed=3).convolution(CASES[0][1], CASES[0][2]).graph()
    bias = graph.tensors[graph.operators[0].inputs[2]].data
    assert bias is not None
    assert np.array_equal(folded.astype(np.int32), bias)
