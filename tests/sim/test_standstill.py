"""The words for a machine that stands still."""

from __future__ import annotations

from eightfold.hw.commands import Execute, Load, Store
from eightfold.sim.machine import Completion
from eightfold.sim.standstill import standstill

LOAD = Load(length=8, wait_execute=1)
STREAM = (Load(length=8), Execute(wait_load=1), LOAD, Store(length=8, wait_execute=2, wait_load=2))


def state(completed: tuple[int, int, int], started: tuple[int, int, int]) -> list[str]:
    return standstill(STREAM, Completion(9, *completed), Completion(9, *started)).split("; ")


def test_an_engine_at_work_names_its_command() -> None:
    load, following, *_ = state((0, 0, 0), (1, 0, 0))
    assert load == "load engine: 0 commands completed of 2, at work on command 0 (load length=8)"
    assert following.startswith("next is command 2 (load wait_execute=1 length=8), which awaits")
    assert following.endswith("awaits completed commands: 1 of execute (0 so far)")


def test_a_command_says_all_that_it_awaits_and_how_far_that_is() -> None:
    text = "; ".join(state((1, 1, 0), (2, 1, 0)))
    assert "store engine: 0 commands completed of 1; next is command 3 (store" in text
    assert "which awaits completed commands: 2 of load (1 so far), 2 of execute (1 so far)" in text


def test_a_command_that_could_start_and_did_not_is_told_apart() -> None:
    text = "; ".join(state((1, 0, 0), (1, 0, 0)))
    assert "next is command 1 (execute wait_load=1), which awaits nothing, and has not started" in text


def test_an_engine_without_work_is_short() -> None:
    assert standstill((), Completion(0, 0, 0, 0), Completion(0, 0, 0, 0)) == (
        "load engine: 0 commands completed of 0; execute engine: 0 commands completed of 0; "
        "store engine: 0 commands completed of 0"
    )
