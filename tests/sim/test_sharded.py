"""A network's run in independent jobs equals a single run, whatever happens to the jobs on the way."""

from __future__ import annotations

import dataclasses
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eightfold.cli import main
from eightfold.compiler import Program, compile
from eightfold.golden.reader import read
from eightfold.golden.runtime import run as run_golden
from eightfold.hw.config import Config
from eightfold.sim import pools
from eightfold.sim.errors import SettingError, SimulatorError
from eightfold.sim.job import Job, Outcome
from eightfold.sim.model import profile
from eightfold.sim.result import RunResult
from eightfold.sim.sharded import run_sharded
from eightfold.sim.simulation import Progress, run

from .processes import Family, wait_until

DIGITS = Path(__file__).parents[2] / "models" / "digits.tflite"

needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc")


@pytest.fixture(scope="module")
def program() -> Program:
    return compile(read(DIGITS), Config.named("4x4"))


def image(program: Program) -> np.ndarray:
    return np.random.default_rng(1).integers(-128, 128, program.graph.inputs[0].shape).astype(np.int8)


def check(program: Program, result: RunResult) -> None:
    """It is what a single run brings back, apart from the cycles."""
    single = run(program, image(program), "commands")
    assert result.bit_exact
    assert set(result.tensors) == set(single.tensors)
    for index, value in single.tensors.items():
        assert np.array_equal(result.tensors[index], value)
    timeless = {"cycles": None, "utilization": None, "dram_read_bytes": None, "dram_write_bytes": None}
    assert [dataclasses.replace(layer, **timeless) for layer in result.layers] == list(single.layers)


def test_it_equals_a_single_run(program: Program, tmp_path: Path) -> None:
    states: list[Progress] = []
    result = run_sharded(program, image(program), "commands", out=tmp_path, jobs=2, progress=states.append)
    check(program, result)
    assert result.jobs == len(program.machine_operators) == len(states) == len(os.listdir(tmp_path))
    assert [state.fraction for state in states] == sorted(state.fraction for state in states)
    assert states[-1].fraction == 1


@needs_icarus
def test_cycles_are_those_of_each_layer_alone(program: Program, tmp_path: Path) -> None:
    whole = run_golden(program.graph, [image(program)]).tensors
    program = compile(program.graph.part(3, 6), program.config)
    x = whole[program.graph.main.inputs[0]]
    result = run_sharded(program, x, "icarus", out=tmp_path, jobs=2, latency=7)
    assert result.bit_exact
    for place, layer in enumerate(result.layers):
        alone = profile(compile(program.graph.part(place, place + 1), program.config), 7)
        assert (layer.index, layer.cycles) == (3 + place, alone.cycles)
    assert result.cycles == sum(layer.cycles or 0 for layer in result.layers)
    assert (result.latency, result.stalls, result.backend) == (7, 0.0, "icarus")
    model = run_sharded(program, x, "model", out=tmp_path, jobs=1, latency=7)
    assert model.counters == result.counters


def test_long_layers_are_cut_into_bands(program: Program, tmp_path: Path) -> None:
    result = run_sharded(program, image(program), "commands", out=tmp_path, jobs=2, longest=4000)
    check(program, result)
    assert result.jobs is not None
    assert result.jobs > len(program.machine_operators)


def count_jobs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the jobs that are performed from now on."""
    performed: list[str] = []
    perform = pools._Worker.perform

    def counted(self: pools._Worker, job: Job) -> Outcome | str:
        performed.append(job.name)
        return perform(self, job)

    monkeypatch.setattr(pools._Worker, "perform", counted)
    return performed


def test_what_is_done_stays_done(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    performed = count_jobs(monkeypatch)
    run_sharded(program, image(program), "commands", out=tmp_path, jobs=2)
    assert len(performed) == 5
    performed.clear()
    check(program, run_sharded(program, image(program), "commands", out=tmp_path, jobs=2))
    assert performed == []
    first, second, third, *_ = sorted(tmp_path.iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:-100])
    third.write_text("something else")
    check(program, run_sharded(program, image(program), "commands", out=tmp_path, jobs=2))
    assert len(performed) == 3
    performed.clear()
    # Whatever the result depends on makes it another job.
    run_sharded(program, image(program) ^ np.int8(1), "commands", out=tmp_path, jobs=2)
    assert len(performed) == 5
    run_sharded(program, image(program), "commands", out=tmp_path, jobs=2, latency=9)
    assert len(performed) == 10


def test_a_job_whose_worker_is_killed_is_done_again(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform = pools._Worker.perform
    killed: list[str] = []

    def fatal(self: pools._Worker, job: Job) -> Outcome | str:
        if len(killed) < 2:
            killed.append(job.name)
            threading.Timer(0.1, self._process.kill).start()  # before it has even loaded
        return perform(self, job)

    monkeypatch.setattr(pools._Worker, "perform", fatal)
    check(program, run_sharded(program, image(program), "commands", out=tmp_path, jobs=1))
    assert len(killed) == 2


def test_a_job_that_kills_every_worker_is_given_up(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform = pools._Worker.perform

    def fatal(self: pools._Worker, job: Job) -> Outcome | str:
        if job.name == "digits[2:3]":
            self._process.kill()
        return perform(self, job)

    monkeypatch.setattr(pools._Worker, "perform", fatal)
    with pytest.raises(SimulatorError, match=r"^digits\[2:3\]: tried 3 times: its worker ended with -9"):
        run_sharded(program, image(program), "commands", out=tmp_path, jobs=1)
    kept = len(os.listdir(tmp_path))
    assert kept == 2  # the layers before it
    monkeypatch.setattr(pools._Worker, "perform", perform)
    performed = count_jobs(monkeypatch)
    check(program, run_sharded(program, image(program), "commands", out=tmp_path, jobs=1))
    assert len(performed) == 5 - kept


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, number: signal.Signals) -> None:
    family, out = Family(), tmp_path / "out"
    arguments = ["run", str(DIGITS), "--backend", "commands", "--sharded", "--jobs", "1", "--out", str(out)]
    options = [*arguments, "--config", "4x4", "--json", str(tmp_path / "r.json")]
    slow = (
        "import sys, time\n"
        "from eightfold.sim import sharded\n"
        "keep = sharded._keep\n"
        "def slow(*a):\n"
        "    time.sleep(0.3)\n"
        "    return keep(*a)\n"
        "sharded._keep = slow\n"
        "from eightfold.cli import main\n"
        f"sys.exit(main({options!r}))\n"
    )
    with subprocess.Popen([sys.executable, "-c", slow], env=family.environment) as process:
        assert wait_until(lambda: list(out.glob("*.npz")))
        process.send_signal(number)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert family.await_end() == {}
    done = {path: path.stat().st_mtime_ns for path in out.glob("*.npz")}
    assert 0 < len(done) < 5
    assert main(options) == 0
    assert (tmp_path / "r.json").exists()
    assert len(list(out.glob("*.npz"))) == 5
    assert {path: path.stat().st_mtime_ns for path in done} == done


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    command = ["run", str(DIGITS), "--backend", "commands", "--sharded", "--jobs", "1", "--out", str(tmp_path)]
    program = f"import sys; from eightfold.cli import main; sys.exit(main({command!r}))"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.endswith("cannot be written: File too large")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"jobs": 0}, "jobs is 0"),
        ({"longest": 0}, "longest is 0"),
        ({"latency": 0}, "latency is 0"),
        ({"backend": "cloud"}, "backend is 'cloud'"),
    ],
)
def test_settings_out_of_range_are_refused(
    program: Program, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        run_sharded(program, image(program), **{"backend": "commands", "out": tmp_path, **settings})  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_made_is_said(program: Program, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SimulatorError, match=r"file/out cannot be made: Not a directory"):
        run_sharded(program, image(program), "commands", out=tmp_path / "file" / "out")


# On a cluster.


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


@pytest.mark.filterwarnings("default")
def test_a_cluster_gives_the_same_though_a_worker_is_killed(program: Program, tmp_path: Path, cluster: Any) -> None:
    victims = [worker.pid for worker in cluster.workers.values()][:1]

    def kill(state: Progress) -> None:
        if victims:
            os.kill(victims.pop(), signal.SIGKILL)

    address = cluster.scheduler_address
    result = run_sharded(
        program, image(program), "commands", out=tmp_path, scheduler=address, longest=4000, progress=kill
    )
    check(program, result)
    assert len(os.listdir(tmp_path)) == result.jobs
    expected = run_golden(program.graph, [image(program)]).outputs[0]
    assert np.array_equal(result.outputs[0], expected)


@pytest.mark.filterwarnings("default")
def test_a_scheduler_that_is_not_there_is_said(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(pools, "_CONNECT_SECONDS", 0.5)
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(SimulatorError, match=f"there is no Dask scheduler at {address}"):
            run_sharded(program, image(program), "commands", out=tmp_path, scheduler=address)


def test_without_dask_it_says_what_to_install(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SimulatorError, match="Dask is missing: install it with `pip install distributed`"):
        run_sharded(program, image(program), "commands", out=tmp_path, scheduler="tcp://x:1")
