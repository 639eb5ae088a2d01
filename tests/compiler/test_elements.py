"""The same network with wider elements on the same memories: what crosses the bus."""

from __future__ import annotations

import dataclasses

import pytest

from eightfold.compiler import MachineStep, compile, streams
from eightfold.compiler.chains import Chain, ChainSite, ChainTiling
from eightfold.compiler.choice import Choices, choices_for
from eightfold.compiler.elements import WideConfig, WidePlan, plan_wide
from eightfold.compiler.emission import Site
from eightfold.compiler.program import Program
from eightfold.compiler.tiling import Tiling
from eightfold.compiler.work import Layer
from eightfold.hw.commands import PARAMETER_ROWS, Command, Execute, Finish, Load, Memory, Store
from eightfold.hw.config import KIB, Config
from eightfold.sim.refusal import refusal

from .checker import violations
from .networks import Builder

DEFAULT = Config.named("16x16")
SMALL = Builder((1, 16, 16, 16)).convolution(32, (3, 3)).convolution(32, (3, 3), depthwise=True).dense(10)
LARGE = Builder((1, 56, 56, 64)).convolution(64, (3, 3)).convolution(64, (3, 3), depthwise=True).convolution(64, (1, 1))


def commands(plan: Program | WidePlan) -> list[Command]:
    return [command for step in plan.steps if isinstance(step, MachineStep) for command in step.commands]


def moved(plan: Program | WidePlan) -> tuple[int, int, int]:
    """Bytes of weights and activations loaded, and of activations stored."""
    size = plan.config.element_bytes if isinstance(plan.config, WideConfig) else 1
    loads = [c for c in commands(plan) if isinstance(c, Load)]
    return (
        size * sum(c.length for c in loads if c.memory == Memory.WEIGHTS),
        size * sum(c.length for c in loads if c.memory == Memory.SCRATCHPAD),
        size * sum(c.length for c in commands(plan) if isinstance(c, Store)),
    )


def test_where_all_fits_activations_take_as_many_times_the_bytes_as_their_elements() -> None:
    narrow, wide = moved(compile(SMALL.graph(), DEFAULT)), moved(plan_wide(SMALL.graph(), DEFAULT))
    assert wide[1:] == (4 * narrow[1], 4 * narrow[2]) == (4 * 16 * 16 * 16, 4 * 10)


def test_packed_weights_keep_their_places_and_of_the_parameters_a_bias() -> None:
    narrow, wide = moved(compile(SMALL.graph(), DEFAULT)), moved(plan_wide(SMALL.graph(), DEFAULT))
    blocks = 2 + 2 + 1
    assert wide[0] == 4 * (narrow[0] - 8 * 16 * blocks)


def test_what_fits_in_int8_only_saves_more_than_the_width_of_an_element() -> None:
    config = dataclasses.replace(DEFAULT, scratchpad_bytes=512 * KIB)
    narrow, wide = moved(compile(LARGE.graph(), config)), moved(plan_wide(LARGE.graph(), config))
    assert sum(wide[1:]) > 1.5 * 4 * sum(narrow[1:])


@pytest.mark.parametrize("element_bytes", [1, 2, 4])
def test_wide_commands_stay_within_the_memories_and_await_each_other(element_bytes: int) -> None:
    config = dataclasses.replace(DEFAULT, scratchpad_bytes=64 * KIB, weight_bytes=32 * KIB)
    builder = (
        Builder((1, 24, 24, 48)).convolution(64, (3, 3)).convolution(64, (3, 3), depthwise=True).convolution(9, (1, 1))
    )
    plan = plan_wide(builder.graph(), config, element_bytes=element_bytes)
    stream = commands(plan)
    assert len(stream) > 20
    reach = max(c.dram_address + c.length for c in stream if isinstance(c, (Load, Store)))
    assert violations(stream, plan.config, reach) == []
    for command in stream:
        if isinstance(command, (Load, Store)):
            weights = isinstance(command, Load) and command.memory == Memory.WEIGHTS
            room = plan.config.weight_bytes if weights else plan.config.scratchpad_bytes
            assert command.address + command.length <= room


def test_the_wide_machine_has_the_same_memories_and_as_many_partial_sums() -> None:
    wide = WideConfig.of(DEFAULT, 4)
    assert (4 * wide.scratchpad_bytes, 4 * wide.weight_bytes) == (DEFAULT.scratchpad_bytes, DEFAULT.weight_bytes)
    assert (wide.accumulator_depth, 4 * wide.bus_bytes) == (DEFAULT.accumulator_depth, DEFAULT.bus_bytes)


def test_weights_that_fill_the_buffer_are_accepted_with_the_parameters_that_wide_elements_have() -> None:
    wide = WideConfig.of(DEFAULT, 4)
    counts = ("pixels", "columns", "last_channels", "kernel_rows", "kernel_columns", "runs", "blocks")
    for config, parameters in ((wide, 1), (DEFAULT, PARAMETER_ROWS)):
        lines = config.weight_bytes // config.weight_row_bytes
        last = lines - config.rows - parameters
        execute = Execute(**dict.fromkeys(counts, 1), finish=Finish.STORE, weight_address=last)
        assert refusal(execute, config) is None
        assert refusal(dataclasses.replace(execute, weight_address=last + 1), config) is not None


@pytest.mark.parametrize("element_bytes", [0, 3, 16])
def test_elements_that_no_bus_beat_holds_are_refused(element_bytes: int) -> None:
    with pytest.raises(ValueError, match=f"element_bytes is {element_bytes}; a power of two up to 8 was expected"):
        plan_wide(SMALL.graph(), DEFAULT, element_bytes=element_bytes)


def test_layers_of_one_shape_are_cut_as_each_would_be_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = Builder((1, 28, 28, 64))
    for _ in range(6):
        builder.convolution(64, (1, 1))
    config = dataclasses.replace(DEFAULT, scratchpad_bytes=32 * KIB)
    remembered = compile(builder.graph(), config)

    class Forgetful(Choices):
        def choose(self, layer: Layer, site: Site) -> Tiling:
            return Choices(config).choose(layer, site)

        def choose_chain(self, chain: Chain, site: ChainSite) -> ChainTiling:
            return Choices(config).choose_chain(chain, site)

    monkeypatch.setattr(streams, "choices_for", lambda config, resident: Forgetful(config))
    assert commands(compile(builder.graph(), config)) == commands(remembered)


def test_networks_compiled_for_one_machine_do_not_change_each_other() -> None:
    config = dataclasses.replace(DEFAULT, scratchpad_bytes=32 * KIB)
    choices_for.cache_clear()
    alone = commands(compile(LARGE.graph(), config))
    choices_for.cache_clear()
    compile(Builder((1, 28, 28, 64)).convolution(64, (1, 1)).convolution(64, (3, 3)).graph(), config)
    compile(SMALL.graph(), config)
    assert commands(compile(LARGE.graph(), config)) == alone
