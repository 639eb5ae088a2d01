"""The test bench around a machine so small that every cycle is foreseen."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from eightfold.compiler.program import MachineStep, Region
from eightfold.hw.commands import Load
from eightfold.hw.config import Config
from eightfold.hw.registers import ErrorCode, configuration_hash
from eightfold.sim.errors import MachineError, SettingError, SimulatorError
from eightfold.sim.icarus import Icarus
from eightfold.sim.machine import Activity, Completion
from eightfold.sim.rtl import RtlMachine

COPIER = Path(__file__).with_name("copier.v")
TARGET = 4096
WORDS = Load.words()

pytestmark = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")


def config(bus_bytes: int = 8) -> Config:
    return Config(name="copier", bus_bytes=bus_bytes)


def copier(
    bus_bytes: int = 8,
    *,
    change: tuple[str, str] = ("", ""),
    simulator: type[RtlMachine] = Icarus,
    **settings: object,
) -> RtlMachine:
    machine = config(bus_bytes)
    text = COPIER.read_text().replace("`BITS", str(8 * bus_bytes))
    text = text.replace("`HASH", f"32'd{configuration_hash(machine)}")
    assert change[0] in text
    text = text.replace(*change)
    return simulator(machine, memory_bytes=1 << 20, verilog=text, **settings)  # type: ignore[arg-type]


def stream(commands: int, offset: int = 0) -> MachineStep:
    """The copier copies as many beats as the stream has words."""
    loads = tuple(Load(length=1) for _ in range(commands))
    return MachineStep(
        operators=(0,),
        commands=loads,
        command_layers=(0,) * commands,
        notes=("",) * commands,
        inputs=(),
        outputs=(),
        residents=(),
        stream=Region(offset, 8 * WORDS * commands),
    )


def copy(machine: RtlMachine, commands: int, offset: int = 0) -> Activity:
    """Copies random bytes and checks that they arrive."""
    size = WORDS * commands * machine.config.bus_bytes
    data = np.random.default_rng(commands).bytes(size)
    machine.write(offset, data)
    machine.write(TARGET + offset, bytes(size))
    activity = machine.run(stream(commands, offset))
    assert machine.read(TARGET + offset, size) == data
    return activity


@pytest.fixture(scope="module")
def plain() -> Iterator[RtlMachine]:
    with copier(latency=7) as machine:
        yield machine


@pytest.mark.parametrize("latency", [1, 2, 10, 100])
def test_latency_counts_from_acceptance_to_first_beat_and_from_last_beat_to_response(latency: int) -> None:
    with copier(latency=latency) as machine:
        counters = copy(machine, 8).counters
        assert counters["load_busy"] == latency
        assert counters["store_busy"] == latency


def test_beats_come_one_per_cycle(plain: RtlMachine) -> None:
    for commands in (1, 5, 40):
        assert copy(plain, commands).counters["load_wait"] == WORDS * commands - 1


def test_every_completion_is_seen_with_its_cycle(plain: RtlMachine) -> None:
    before = copy(plain, 4).completions[-1]
    activity = copy(plain, 4)
    load, store = activity.completions
    assert (load.loads, load.stores) == (before.loads + 1, before.stores)
    assert (store.loads, store.stores) == (before.loads + 1, before.stores + 1)
    # Read: address, latency, beats. Write: address, beats, latency.
    assert store.cycle - load.cycle == 1 + WORDS * 4 + 7


@pytest.mark.parametrize("bus_bytes", [4, 8, 16, 32])
def test_bytes_arrive_on_every_bus(bus_bytes: int) -> None:
    with copier(bus_bytes, latency=3) as machine:
        copy(machine, 10, offset=64)


def test_bytes_are_written_and_read_at_any_address(plain: RtlMachine) -> None:
    plain.write(0, bytes(range(64)))
    plain.write(13, b"eleven bytes"[:11])
    plain.write(40, b"")
    assert plain.read(0, 64) == bytes(range(13)) + b"eleven byte" + bytes(range(24, 64))
    assert plain.read(14, 3) == b"lev"
    assert plain.read(14, 0) == b""


def test_pauses_cost_cycles_and_no_bits() -> None:
    with copier(latency=1) as machine:
        fast = copy(machine, 40).counters["cycles"]
    seen = set()
    for seed in (1, 2):
        for _ in range(2):
            with copier(latency=1, stalls=0.5, seed=seed) as machine:
                seen.add((seed, copy(machine, 40).counters["cycles"]))
    assert len(seen) == 2, "the same seed gives the same pauses"
    assert all(cycles > 1.5 * fast for _, cycles in seen)


@pytest.mark.parametrize(("first", "code"), [(0, ErrorCode.READ_BUS), (TARGET, ErrorCode.WRITE_BUS)])
def test_a_bus_error_ends_the_run_and_the_next_one_works(first: int, code: ErrorCode) -> None:
    with copier(errors=(first, first + 64)) as machine:
        with pytest.raises(MachineError, match=rf"stopped with {code.name} at command 0 \(load length=1\)") as error:
            machine.run(stream(1))
        assert (error.value.code, error.value.index) == (code, 0)
        copy(machine, 1, offset=128)


def test_a_read_beyond_the_memory_is_a_bus_error(plain: RtlMachine) -> None:
    with pytest.raises(MachineError, match="READ_BUS"):
        plain.run(stream(1, offset=1 << 30))


def test_a_machine_that_stands_still_is_given_up_with_words() -> None:
    with copier() as machine, pytest.raises(SimulatorError, match=r"no command completed for 10.* load engine: 0 com"):
        machine.run(stream(0))


def test_progress_is_told_while_the_machine_runs() -> None:
    ticks: list[Completion] = []
    with copier(latency=5000) as machine:
        machine.write(0, bytes(64))
        machine.run(stream(2), tick=ticks.append)
    assert len(ticks) >= 8
    assert [tick.cycle for tick in ticks] == sorted({tick.cycle for tick in ticks})
    assert ticks[0].loads == 0
    assert ticks[-1].loads == 1


class InterruptedTestError(Exception):
    pass


def test_an_interrupted_run_ends_at_once_and_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def interrupt(_: Completion) -> None:
        raise InterruptedTestError

    with copier(latency=60000) as machine:
        machine.write(0, bytes(64))
        with pytest.raises(InterruptedTestError):
            machine.run(stream(2), tick=interrupt)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("m_axi_arsize = $clog2(64 / 8)", "m_axi_arsize = 2"), "a burst of a size other than the bus width"),
        (("m_axi_arburst = 1", "m_axi_arburst = 0"), "a burst that is not INCR"),
        (("m_axi_araddr = source", "m_axi_araddr = source + 1"), "a burst at an address off the bus width"),
        (("m_axi_araddr = source", "m_axi_araddr = source + 4088"), "a burst that crosses a 4 KiB boundary"),
        (("m_axi_araddr = source", "m_axi_araddr = 32'bx"), "an address with unknown bits"),
        (("m_axi_araddr = source", "m_axi_araddr = cycles"), "a read address that changed before it was taken"),
        (("m_axi_awaddr = target", "m_axi_awaddr = cycles"), "a write address that changed before it was taken"),
        (("m_axi_wstrb = ~0", "m_axi_wstrb = cycles"), "a write beat that changed before it was taken"),
        (("m_axi_wstrb = ~0", "m_axi_wstrb = 8'bx"), "a write strobe with unknown bits"),
        (("m_axi_wdata = buffer[beat]", "m_axi_wdata = 64'bx"), "written bytes with unknown bits"),
        (("m_axi_wlast = beat == beats - 1", "m_axi_wlast = beat == 0"), "WLAST off the last beat"),
    ],
)
def test_breaches_of_the_bus_protocol_are_errors(change: tuple[str, str], message: str) -> None:
    with copier(change=change, stalls=0.9) as machine:
        machine.write(0, bytes(2 * TARGET))
        with pytest.raises(SimulatorError, match=f"the machine broke the bus protocol: {message}"):
            machine.run(stream(8))


@pytest.mark.parametrize("suffix", [".vcd", ".fst"])
def test_waveforms_are_written(tmp_path: Path, suffix: str) -> None:
    waves = tmp_path / f'größe %d "$"{suffix}'
    with copier(waves=waves) as machine:
        copy(machine, 1)
    data = waves.read_bytes()
    assert (b"$enddefinitions" in data) == (suffix == ".vcd")
    assert len(data) > 300
    assert os.listdir(tmp_path) == [waves.name]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latency": 0}, "latency is 0; 1 to 100000"),
        ({"stalls": 1.0}, "stalls is 1.0; a chance from 0 to 0.99"),
        ({"stalls": -0.1}, "stalls is -0.1"),
        ({"waves": Path("waves.txt")}, "the file for waves ends in '.txt'; .vcd or .fst was expected"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        copier(**settings)


def test_a_machine_of_another_configuration_is_refused() -> None:
    text = COPIER.read_text().replace("`BITS", "64").replace("`HASH", "32'd7")
    with pytest.raises(SimulatorError, match="built as 0x00000007"):
        Icarus(config(), memory_bytes=1 << 16, verilog=text)


def test_verilog_that_does_not_compile_is_an_error() -> None:
    with pytest.raises(SimulatorError, match=r"did not compile the machine: .*error"):
        Icarus(config(), memory_bytes=1 << 16, verilog="module eightfold (; endmodule")


def test_a_missing_simulator_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SimulatorError, match=r"no iverilog in PATH.*apt-get install iverilog"):
        copier()


def test_settings_of_other_cocotb_users_do_not_disturb(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WAVES", "GUI", "COCOTB_TEST_FILTER", "COCOTB_TESTCASE", "SIM_CMD_SUFFIX"):
        monkeypatch.setenv(name, "1")
    with copier() as machine:
        copy(machine, 1)
