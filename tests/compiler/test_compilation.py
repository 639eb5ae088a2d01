"""What a Program is made of: steps, places, traffic, refusals, text."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from eightfold.compiler import (
    Allocation,
    CompileError,
    HostStep,
    MachineStep,
    Program,
    compile,
    from_machine,
    streams,
    to_machine,
)
from eightfold.compiler.lowering import lower
from eightfold.golden.graph import Graph, Operator, Subgraph
from eightfold.golden.numerics import Profile, Rounding
from eightfold.golden.runtime import run
from eightfold.hw.commands import Command, Execute, Load, Memory, Store
from eightfold.hw.config import KIB, Config
from eightfold.sim.interpreter import Interpreter

from .networks import Builder, mismatches

DEFAULT = Config.named("16x16")


def commands(program: Program, kind: type[Command]) -> list[Any]:
    return [c for step in program.steps if isinstance(step, MachineStep) for c in step.commands if type(c) is kind]


def loaded(program: Program, memory: Memory) -> int:
    return sum(c.length for c in commands(program, Load) if c.memory == memory)


def stored(program: Program) -> int:
    return sum(c.length for c in commands(program, Store))


def with_tanh(builder: Builder) -> Graph:
    """The builder's network with a TANH, which the host computes, behind its first operator."""
    first, *rest = builder.operators
    output = builder.tensors[first.outputs[0]]
    bent = dataclasses.replace(output, index=len(builder.tensors), name="bent")
    tanh = Operator(1, "TANH", first.outputs, (bent.index,))
    moved = [
        dataclasses.replace(o, index=o.index + 1, inputs=(bent.index, *o.inputs[1:]) if o is rest[0] else o.inputs)
        for o in rest
    ]
    main = Subgraph("main", (*builder.tensors, bent), (first, tanh, *moved), (builder.input,), (builder.last,))
    return Graph("network", (main,))


def test_neighbours_share_a_stream_and_only_input_weights_and_output_cross_the_bus() -> None:
    builder = Builder((1, 12, 12, 16)).convolution(16, (3, 3)).convolution(24, (1, 1)).dense(10)
    program = compile(builder.graph(), DEFAULT)
    (step,) = program.steps
    assert isinstance(step, MachineStep)
    assert step.operators == (0, 1, 2)
    assert step.inputs == (builder.input,)
    assert step.outputs == (builder.last,)
    assert loaded(program, Memory.SCRATCHPAD) == 12 * 12 * 16
    assert loaded(program, Memory.WEIGHTS) == packed(program)
    assert stored(program) == 10


def test_a_program_says_how_tensors_use_the_scratchpad() -> None:
    builder = Builder((1, 8, 8, 16)).convolution(32, (1, 1)).convolution(16, (1, 1))
    program = compile(builder.graph(), DEFAULT)
    used = program.allocation
    # A layer's input and output live at once; the output of the second takes the place of the first's input.
    assert used == Allocation(8 * 8 * (16 + 32), 8 * 8 * (16 + 32))
    assert used.fragmentation == 0
    assert "3072 bytes of whole tensors at the peak, in 3072: 0.0% fragmentation" in program.listing()
    assert Allocation(30, 40).fragmentation == 0.25
    assert Allocation().fragmentation == 0


def packed(program: Program) -> int:
    """Bytes of weights and parameters, without what aligns the layers in DRAM."""
    graph, config = program.graph, program.config
    machine = (graph.operators[i] for i in sorted(program.machine_operators))
    layers = [layer for operator in machine for layer in lower(operator, graph, config, program.profile)]
    return sum(layer.packed_bytes(config) for layer in layers)


def test_a_host_operator_divides_the_streams() -> None:
    builder = Builder((1, 8, 8, 3)).convolution(8, (3, 3)).convolution(4, (1, 1)).dense(5)
    graph = with_tanh(builder)
    program = compile(graph, DEFAULT)
    assert [step.operators if isinstance(step, MachineStep) else step.operator for step in program.steps] == [
        (0,),
        1,
        (2, 3),
    ]
    host = program.steps[1]
    assert isinstance(host, HostStep)
    assert "does not compute" in host.reason
    assert not any(mismatches(program, [builder.image()]).values())


def test_a_network_without_machine_operators_has_no_streams() -> None:
    builder = Builder((1, 8, 8, 3)).convolution(8, (3, 3))
    graph = builder.graph()
    program = compile(graph, dataclasses.replace(DEFAULT, rounding=Rounding.SINGLE))
    (step,) = program.steps
    assert isinstance(step, HostStep)
    assert step.reason == "profile tflm rounds double here; the machine rounds single"
    assert program.image().size == program.memory.dram_bytes == 0


def test_only_operators_with_the_machine_s_rounding_run_there() -> None:
    graph = Builder((1, 8, 8, 3)).convolution(8, (3, 3)).dense(4).graph()
    assert compile(graph, DEFAULT, Profile.TFLM).machine_operators == {0, 1}
    assert compile(graph, DEFAULT, Profile.LITERT_REF).machine_operators == {0}
    assert compile(graph, DEFAULT, Profile.SINGLE).machine_operators == frozenset()


@pytest.mark.parametrize(
    ("builder", "limits"),
    [
        pytest.param(
            Builder((1, 1, 1, 256)).convolution(2048, (1, 1)), {"weight_bytes": 16 * KIB}, id="weights exceed buffer"
        ),
        pytest.param(
            Builder((1, 64, 64, 32)).convolution(32, (3, 3)), {"scratchpad_bytes": 512 * KIB}, id="everything fits"
        ),
    ],
)
def test_nothing_is_loaded_twice_where_it_need_not_be(builder: Builder, limits: dict[str, int]) -> None:
    program = compile(builder.graph(), dataclasses.replace(DEFAULT, **limits))
    source, destination = builder.tensors[builder.input], builder.tensors[builder.last]
    assert loaded(program, Memory.WEIGHTS) == packed(program)
    assert loaded(program, Memory.SCRATCHPAD) == int(np.prod(source.shape))
    assert stored(program) == int(np.prod(destination.shape))


def test_strips_reload_only_the_rows_that_windows_share() -> None:
    builder = Builder((1, 64, 64, 32)).convolution(32, (3, 3))
    program = compile(builder.graph(), dataclasses.replace(DEFAULT, scratchpad_bytes=64 * KIB))
    assert loaded(program, Memory.WEIGHTS) == packed(program)
    assert 64 * 64 * 32 < loaded(program, Memory.SCRATCHPAD) < 1.3 * 64 * 64 * 32
    assert not any(mismatches(program, [builder.image()]).values())


def test_a_tensor_in_the_scratchpad_is_complete_when_the_program_says_so() -> None:
    builder = Builder((1, 12, 12, 16), seed=5).convolution(16, (3, 3)).convolution(24, (1, 1)).dense(10)
    image = builder.image()
    program = compile(builder.graph(), DEFAULT)
    golden = run(program.graph, [image]).tensors
    (step,) = program.steps
    assert isinstance(step, MachineStep)
    dram = program.image()
    region = program.region(builder.input)
    dram[region.offset : region.offset + region.size] = to_machine(image)
    interpreter = Interpreter(program.config, dram)
    checked = set()
    executes = 0
    for command in step.commands:
        interpreter.step(command)
        executes += isinstance(command, Execute)
        for resident in step.residents:
            if resident.tensor not in checked and resident.complete_after == executes > 0:
                data = interpreter.scratchpad[resident.address : resident.address + resident.size]
                tensor = program.graph.tensors[resident.tensor]
                assert np.array_equal(from_machine(data, tensor), golden[resident.tensor])
                checked.add(resident.tensor)
    assert len(checked) == 3


def test_a_row_that_does_not_fit_is_refused() -> None:
    builder = Builder((1, 4, 4096, 16)).convolution(16, (3, 3))
    with pytest.raises(CompileError, match=r"operator 0: .* need 262158 bytes of scratchpad; there are 131072"):
        compile(builder.graph(), dataclasses.replace(DEFAULT, scratchpad_bytes=128 * KIB))


def test_a_weight_buffer_without_room_for_one_tile_is_refused() -> None:
    config = Config(rows=4, columns=4, bus_bytes=32, weight_bytes=64)
    with pytest.raises(CompileError, match="need 80 bytes of weight buffer; there are 64"):
        compile(Builder((1, 2, 2, 1)).convolution(1, (1, 1)).graph(), config)


def test_a_stride_that_no_field_holds_stays_with_the_host() -> None:
    builder = Builder((1, 600, 2, 1)).convolution(1, (1, 1), stride=(300, 1))
    (step,) = compile(builder.graph(), DEFAULT).steps
    assert isinstance(step, HostStep)
    assert step.reason == "300 exceeds 255, the machine's largest row_y"


def test_more_commands_than_the_machine_can_count_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "COUNT_BITS", 1)
    with pytest.raises(CompileError, match=r"operators 0 to 0 take \d+ commands; the machine counts fewer than 2"):
        compile(Builder((1, 2, 2, 1)).convolution(1, (1, 1)).graph(), DEFAULT)


def test_addresses_keep_their_lanes_of_the_bus() -> None:
    builder = Builder((1, 9, 7, 3)).convolution(5, (3, 3)).convolution(3, (2, 2), stride=(2, 2))
    program = compile(builder.graph(), Config(rows=4, columns=4, bus_bytes=32, scratchpad_bytes=512))
    transfers = [*commands(program, Load), *commands(program, Store)]
    assert len(transfers) > 4
    assert all((c.dram_address - c.address) % 32 == 0 for c in transfers)


def test_regions_of_dram_do_not_overlap() -> None:
    builder = Builder((1, 9, 7, 3)).convolution(5, (3, 3)).dense(4)
    memory = compile(builder.graph(), Config.named("4x4")).memory
    regions = sorted([memory.weights, memory.streams, *memory.tensors], key=lambda region: region.offset)
    assert all(region.offset % 64 == 0 for region in regions)
    ends = [region.offset + region.size for region in regions]
    assert all(end <= after.offset for end, after in zip(ends, regions[1:], strict=False))
    assert ends[-1] <= memory.dram_bytes


def test_the_same_network_gives_the_same_program() -> None:
    builder = Builder((1, 9, 7, 3)).convolution(40, (3, 3)).dense(4)
    assert str(compile(builder.graph(), DEFAULT)) == str(compile(builder.graph(), DEFAULT))


def test_the_listing_names_steps_layers_tiles_and_every_command() -> None:
    builder = Builder((1, 9, 7, 3)).convolution(40, (3, 3)).dense(4)
    program = compile(builder.graph(), DEFAULT)
    text = str(program)
    (step,) = program.steps
    assert isinstance(step, MachineStep)
    for expected in (
        "step 0: machine: operators 0 CONV_2D, 1 FULLY_CONNECTED",
        "; operator 0 CONV_2D: [1, 9, 7, 3] by weights [40, 3, 3, 3] to [1, 9, 7, 40]",
        "packed weights",
        f"{len(step.commands)} commands",
        *(f"{command}  ; " for command in step.commands),
    ):
        assert expected in text
    assert repr(program).startswith("<Program network for 16x16: 2 of 2 operators on the machine")


def test_tensors_keep_their_values_on_the_way_to_the_machine_and_back() -> None:
    graph = Builder((2, 16, 8, 1), dtype="uint8").convolution(1, (1, 1)).graph()
    value = np.arange(256, dtype=np.uint8).reshape(graph.inputs[0].shape)
    data = to_machine(value)
    assert data.view(np.int8)[0] == -128
    assert np.array_equal(from_machine(data, graph.inputs[0]), value)
    signed = value.view(np.int8)
    assert np.array_equal(to_machine(signed), value.reshape(-1))


def test_a_stream_ends_with_little_to_compute() -> None:
    """Of the last of many units of weights no more than one block is left to compute when it has arrived."""
    config = Config.named("16x16")
    builder = Builder((1, 1, 1, 128)).convolution(640, (1, 1))
    (step,) = compile(builder.graph(), config).steps
    assert isinstance(step, MachineStep)
    blocks = [command.blocks for command in step.commands if isinstance(command, Execute)]
    assert blocks[-1] == 1 < blocks[-2]
