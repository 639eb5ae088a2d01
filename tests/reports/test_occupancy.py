"""What lies in the scratchpad when: against what the commands touch."""

from __future__ import annotations

import dataclasses

from eightfold.compiler import compile
from eightfold.golden.reader import read
from eightfold.hw.config import KIB, Config
from eightfold.reports.occupancy import Occupant, occupancy, peak
from eightfold.sim.model import profile

from ..compiler.networks import Builder
from ..compiler.test_staging import SMALL, classifier
from .test_reports import MODELS

DEFAULT = Config.named("16x16")


def test_tensors_are_there_from_their_first_writer_to_their_last_reader() -> None:
    builder = Builder((1, 8, 8, 16))
    first, last = builder.input, builder.convolution(16, (3, 3)).convolution(16, (3, 3)).last
    cost = profile(compile(builder.graph(), DEFAULT))
    found = {o.tensor: o for o in occupancy(cost)}
    middle = builder.operators[0].outputs[0]
    assert set(found) == {first, middle, last}
    assert all(o.size == 1024 for o in found.values())
    assert found[first].start < found[middle].start < found[first].end <= found[last].end <= cost.cycles
    assert found[last].end > cost.cycles - 10
    assert found[middle].end > found[last].start


def test_strips_are_shown_where_tensors_do_not_fit() -> None:
    config = dataclasses.replace(DEFAULT, scratchpad_bytes=16 * KIB)
    builder = Builder((1, 48, 48, 16)).convolution(16, (3, 3))
    found = occupancy(profile(compile(builder.graph(), config)))
    assert [o.tensor for o in found] == [None]
    assert 0 < peak(found) <= config.scratchpad_bytes


def test_what_fused_layers_pass_on_is_a_strip() -> None:
    config = dataclasses.replace(DEFAULT, scratchpad_bytes=24 * KIB, weight_bytes=8 * KIB)
    builder = Builder((1, 20, 20, 24)).convolution(40, (3, 3)).convolution(40, (5, 5), depthwise=True)
    cost = profile(compile(builder.convolution(9, (1, 1)).graph(), config))
    passed_on = {tensor for step in cost.steps for fusion in step.step.fusions for tensor in fusion.tensors}
    assert passed_on
    found = occupancy(cost)
    assert passed_on.isdisjoint(o.tensor for o in found)
    assert len(found) == len({(o.tensor, o.operator, o.address) for o in found})


def test_weights_lie_there_from_their_load_to_their_use() -> None:
    cost = profile(compile(classifier().graph(), SMALL))
    staged = [o for o in occupancy(cost) if o.weights]
    (operator,) = {o.operator for o in staged}
    assert sum(o.size for o in staged) == cost.program.staged[operator] > 0
    assert all(o.tensor is None and o.end > cost.cycles // 2 for o in staged)
    assert peak(occupancy(cost)) <= SMALL.scratchpad_bytes
    assert cost.to_json()["staged"] == [{"index": operator, "bytes": cost.program.staged[operator]}]


def test_an_alias_is_its_root() -> None:
    cost = profile(compile(read(MODELS / "digits.tflite"), DEFAULT))
    assert {o.tensor for o in occupancy(cost)}.isdisjoint(cost.program.roots)


def test_the_peak_counts_no_byte_twice() -> None:
    a, b, c = (
        Occupant(1, 0, 0, 100, 0, 10),
        Occupant(2, 1, 50, 100, 5, 20),
        Occupant(3, 2, 500, 10, 20, 30),
    )
    assert peak([a, b, c]) == 150
    assert peak([]) == 0
