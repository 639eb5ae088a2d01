"""The bands of a layer give the rows of the whole, whatever the window."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from eightfold.golden.runtime import run
from eightfold.sim.bands import bands

from ..compiler.networks import Builder

WINDOWS = [
    (size, kernel, stride, dilation, padding)
    for size, kernel, stride, dilation, padding in product(
        (1, 7, 12, 13), (1, 2, 3, 5), (1, 2, 3), (1, 2), ("SAME", "VALID")
    )
    if padding == "SAME" or (kernel - 1) * dilation < size
]


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
def test_bands_give_the_rows_of_the_whole(depthwise: bool, batch: int) -> None:
    for size, kernel, stride, dilation, padding in WINDOWS:
        builder = Builder((batch, size, 5, 3), seed=size).convolution(
            4, (kernel, 2), stride=(stride, 1), dilation=(dilation, 1), padding=padding, depthwise=depthwise
        )
        graph, image = builder.graph(), builder.image()
        expected = run(graph, [image]).outputs[0]
        for count in (1, 2, 3, 40):
            cut = list(bands(graph, count))
            assert len(cut) == min(count, expected.shape[1])
            rows = [band.output(run(band.graph, band.inputs([image])).outputs[0]) for band in cut]
            assert np.array_equal(np.concatenate(rows, axis=1), expected), (size, kernel, stride, dilation, padding)
            if count == 3 == len(cut) and kernel == 1:  # none computes all
                assert all(band.graph.outputs[0].shape[1] < expected.shape[1] for band in cut)


def test_what_has_no_rows_stays_whole() -> None:
    graph = Builder((1, 4, 4, 3)).dense(5).graph()
    (band,) = bands(graph, 7)
    assert band.graph is graph
    assert band.rows is None
