"""How a depthwise kernel is cut into passes: every tap once, and the fewest slots."""

from __future__ import annotations

import pytest

from eightfold.compiler.filters import Cut, cuts_of, filters_of
from eightfold.golden.kernels.windows import Axis
from eightfold.hw.config import Config

CONFIG = Config.named("16x16")
AXES = [
    Axis(24, kernel, stride, dilation, 0, 0, (24 - (kernel - 1) * dilation - 1) // stride + 1)
    for kernel in range(1, 8)
    for stride in range(1, 5)
    for dilation in (1, 2)
]


@pytest.mark.parametrize("axis", AXES, ids=lambda a: f"{a.kernel}-{a.stride}-{a.dilation}")
def test_every_position_is_one_tap_that_streams_its_pixels(axis: Axis) -> None:
    for cut in cuts_of(axis, 16):
        seen = set()
        for position in range(axis.kernel):
            number, tap = cut.place(position)
            assert 0 <= number < cut.passes
            assert 0 <= tap < cut.taps
            seen.add((number, tap))
            for output in range(axis.outputs):
                # The vector that gives the output, and how far before it the tap's pixel was streamed.
                vector = cut.skip + output * cut.every - (cut.taps - 1 - tap) * cut.apart
                pixel = number * cut.offset + vector * cut.step
                assert pixel == output * axis.stride + position * axis.dilation
                assert vector < cut.streamed(axis.outputs)
        assert len(seen) == axis.kernel


def test_phases_are_for_strides_shorter_than_the_kernel() -> None:
    def phases(kernel: int, stride: int, dilation: int) -> list[Cut]:
        return [cut for cut in cuts_of(Axis(24, kernel, stride, dilation, 0, 0, 8), 16) if cut.phases]

    assert [cut.taps for cut in phases(3, 2, 1)] == [2]
    assert [cut.taps for cut in phases(7, 3, 1)] == [3]
    assert not phases(3, 1, 1)
    assert not phases(3, 2, 2)
    assert not phases(2, 2, 1)


def test_a_3x3_kernel_with_stride_2_streams_every_other_row() -> None:
    """Two passes of 13 vectors for 6 outputs, where each row once takes 10 for 2."""
    filters = filters_of(Axis(48, 3, 2, 1, 0, 1, 24), Axis(48, 3, 2, 1, 0, 1, 24), CONFIG)
    assert filters is not None
    assert (filters.rows.phases, filters.columns.phases, filters.passes) == (True, False, (2, 1))
    assert (filters.width, filters.outputs, filters.rows.step, filters.columns.step) == (13, 6, 2, 1)


def test_few_rows_at_once_are_worth_no_second_pass() -> None:
    axis = Axis(112, 3, 2, 1, 0, 1, 56)
    whole, strip = (filters_of(axis, axis, CONFIG, rows) for rows in (56, 2))
    assert whole is not None
    assert strip is not None
    assert (whole.rows.phases, strip.rows.phases) == (True, False)


def test_a_3x3_kernel_with_stride_1_is_one_pass() -> None:
    axis = Axis(48, 3, 1, 1, 1, 1, 48)
    filters = filters_of(axis, axis, CONFIG)
    assert filters is not None
    assert (filters.passes, filters.width, filters.outputs) == ((1, 1), 6, 4)


@pytest.mark.parametrize(("columns", "width", "joined"), [(1, 3, False), (2, 3, True), (5, 6, True), (6, 5, False)])
def test_narrow_images_stream_the_border_between_two_rows_once(columns: int, width: int, joined: bool) -> None:
    """Nine taps in 16 rows of the array: 6 vectors are the widest row. In one of 2, two taps would meet."""
    filters = filters_of(Axis(25, 3, 1, 1, 1, 1, 25), Axis(columns, 3, 1, 1, 1, 1, columns), CONFIG)
    assert filters is not None
    assert (filters.width, filters.joined) == (width, joined)
    assert (filters.lead, filters.border) == (joined, joined)


def test_rows_are_joined_by_nothing_but_border() -> None:
    """Padding on the left alone, or less of it on the right, leaves no room for what the next row needs."""
    rows = Axis(25, 5, 1, 1, 2, 2, 25)
    for before, after in ((2, 0), (2, 1), (0, 2)):
        columns = Axis(7, 5, 1, 1, before, after, 3 + before + after)
        filters = filters_of(rows, columns, Config.named("32x32"))
        assert filters is not None
        assert not filters.joined


def test_a_border_wider_than_the_kernel_reaches_joins_no_rows() -> None:
    filters = filters_of(Axis(5, 1, 1, 1, 0, 0, 5), Axis(4, 2, 1, 1, 2, 2, 7), CONFIG)
    assert filters is not None
    assert not filters.joined
