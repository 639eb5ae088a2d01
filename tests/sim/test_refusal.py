"""What the machine refuses of a command; that the RTL does the same is shown in test_rtl."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.hw.commands import Execute, Finish, Load
from eightfold.hw.config import Config
from eightfold.hw.registers import ErrorCode
from eightfold.sim.interpreted import InterpretedMachine
from eightfold.sim.interpreter import InterpreterError, _Stream
from eightfold.sim.refusal import refusal
from eightfold.sim.timing import longest_silence

from .test_model import step

CONFIG = Config.named("4x4")
SMALL = st.integers(0, 9)


def test_a_reason_says_what_is_needed_and_what_there_is() -> None:
    refused = refusal(Load(address=CONFIG.scratchpad_bytes - 8, length=16), CONFIG)
    assert refused is not None
    assert refused.code == ErrorCode.SCRATCHPAD_RANGE
    there = CONFIG.scratchpad_bytes
    assert refused.reason == f"outside the scratchpad: {there + 8} bytes are needed; there are {there}"
    assert refusal(Load(address=CONFIG.scratchpad_bytes - 8, length=8), CONFIG) is None


def test_the_memory_behind_the_bus_ends_somewhere() -> None:
    assert refusal(Load(dram_address=64, length=8), CONFIG, 72) is None
    refused = refusal(Load(dram_address=64, length=9), CONFIG, 72)
    assert refused is not None
    assert refused.code == ErrorCode.READ_BUS


@given(
    pixels=st.integers(1, 200), columns=st.integers(1, 12), every=st.tuples(*[st.integers(1, 4)] * 2), rest=st.data()
)
def test_outputs_are_counted(pixels: int, columns: int, every: tuple[int, int], rest: st.DataObject) -> None:
    strip_rows, skip_rows, skip_columns = (rest.draw(SMALL) for _ in range(3))
    command = Execute(
        pixels=pixels,
        columns=columns,
        every_row=every[0],
        every_column=every[1],
        strip_rows=strip_rows,
        skip_rows=skip_rows,
        skip_columns=skip_columns,
    )
    outputs = np.count_nonzero(_Stream.of(command).emits)
    assert command.output_pixels == outputs
    assert replace(command, gather=1).output_pixels == min(outputs, 1)


@pytest.mark.parametrize("field", ["columns", "every_row", "every_column"])
def test_what_is_illegal_has_a_bound_in_time_too(field: str) -> None:
    command = replace(Execute(pixels=8, columns=4, finish=Finish.STORE), **{field: 0})
    shared = replace(CONFIG, lanes=2)
    refused = refusal(command, shared)
    assert refused is not None
    assert refused.code == ErrorCode.ILLEGAL_COMMAND
    assert longest_silence([command], shared, latency=20, stalls=0) > 0


def test_the_backend_of_commands_names_the_command() -> None:
    stream = step([Load(length=8), Load(length=0)])
    with pytest.raises(InterpreterError, match=r"command 1: nothing to copy: length is 0: load"):
        InterpretedMachine(CONFIG, 64).run(stream)
