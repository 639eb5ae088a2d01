"""A network's run as independent jobs, one per layer or per band of a long one, each from the golden runtime's tensors.

Every job's result is a file, named by a hash of all that it depends on. So a run that was interrupted goes on where it
was, and what has changed since is run anew.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.compilation import compile
from ..compiler.program import Program
from ..compiler.storage import to_bytes
from ..golden.runtime import run as run_golden
from .attribution import Cost
from .bands import Band, bands
from .divergence import Divergence
from .errors import SettingError, SimulatorError
from .image import exported
from .job import Job, JobResult, Outcome, read_result
from .model import profile
from .pools import in_processes, on_cluster
from .result import RunResult
from .rtl import DEFAULT_LATENCY
from .simulation import ALIASES, BACKENDS, RTL, Progress, Report, check_inputs, run_result

Array = npt.NDArray[Any]

LONGEST = 100_000
"""Cycles, by the cycle model, beyond which a layer is cut into bands."""


@dataclass(frozen=True, eq=False)
class _Shard:
    """A job, and what it is of the network."""

    operator: int
    band: Band
    job: Job
    cycles: int
    path: Path


def run_sharded(
    program: Program,
    inputs: npt.ArrayLike | Sequence[npt.ArrayLike],
    backend: str = "icarus",
    *,
    out: str | Path,
    jobs: int | None = None,
    scheduler: str | None = None,
    longest: int = LONGEST,
    latency: int = DEFAULT_LATENCY,
    stalls: float = 0.0,
    seed: int = 1,
    progress: Report | None = None,
) -> RunResult:
    """One inference, each layer of the array on its own and many at once.

    Values, and what is said of them, are those of `run`. A layer is compiled for itself and finds its inputs in DRAM:
    its cycles and counters are those of the layer alone, and where it is cut into bands, the sum of theirs.

    Parameters
    ----------
    program
        The compiled network.
    inputs
        One array per input of the network; a network with one input also takes the array itself.
    backend
        What computes the array's layers.
    out
        A folder for the jobs' results. Those that are there already are not computed again.
    jobs
        How many to perform at once on this computer; by default one per processor.
    scheduler
        The address of a Dask scheduler, for its workers to perform the jobs instead.
    longest
        Cycles, by the cycle model, beyond which a layer is cut into bands of rows.
    latency, stalls, seed
        As for `run`.
    progress
        Called whenever a job is done, from the calling thread.

    Raises
    ------
    ModelError, CompileError
        As for `run` and `compile`.
    SettingError
        A parameter is out of range.
    SimulatorError
        The folder cannot be written, or a job failed. The results of other jobs are kept.
    """
    backend = ALIASES.get(backend, backend)
    if backend not in BACKENDS:
        raise SettingError(f"backend is {backend!r}; one of {', '.join(BACKENDS)} was expected")
    if jobs is not None and jobs < 1:
        raise SettingError(f"jobs is {jobs}; 1 or more was expected")
    if longest < 1:
        raise SettingError(f"longest is {longest}; 1 cycle or more was expected")
    settings: dict[str, Any] = {"latency": latency, "stalls": stalls, "seed": seed}
    reference = run_golden(program.graph, check_inputs(program, inputs), program.profile).tensors
    folder = _folder(Path(out))
    shards = [] if backend == "golden" else list(_shards(program, reference, backend, settings, longest, folder))
    results = {place: found for place, shard in enumerate(shards) if (found := read_result(shard.path)) is not None}
    meter = _Meter(shards, progress)
    for place in results:
        meter.done(shards[place])
    missing = [place for place in range(len(shards)) if place not in results]
    todo = [shards[place].job for place in missing]
    outcomes: Iterator[tuple[int, Outcome]] = iter(())
    if todo and scheduler is not None:
        outcomes = on_cluster(todo, scheduler)
    elif todo:
        if backend in RTL:  # what is missing or out of range is said at once; builds what the workers share
            RTL[backend](program.config, memory_bytes=1, **settings).close()
        outcomes = in_processes(todo, min(jobs or os.cpu_count() or 1, len(todo)))
    for number, outcome in outcomes:
        shard = shards[missing[number]]
        if outcome.error:
            raise SimulatorError(f"{shard.job.name}: {outcome.error}")
        results[missing[number]] = _keep(shard.path, outcome.result)
        meter.done(shard)
    return _joined(program, reference, backend, settings, shards, results)


def _shards(
    program: Program,
    reference: Mapping[int, Array],
    backend: str,
    settings: Mapping[str, Any],
    longest: int,
    folder: Path,
) -> Iterator[_Shard]:
    """The jobs of a network, in its order."""
    graph, config = program.graph, program.config
    rtl = exported(config) if backend in RTL else ""
    for operator in sorted(program.machine_operators):
        part = graph.part(operator, operator + 1)
        values = [reference[tensor.index] for tensor in part.inputs]
        alone = compile(part, config, program.profile)
        cycles = profile(alone, settings["latency"]).cycles
        for band in bands(part, -(-cycles // longest)):
            if band.rows is not None:
                alone = compile(band.graph, config, program.profile)
                cycles = profile(alone, settings["latency"]).cycles
            name = band.graph.name
            job = Job(name, to_bytes(alone), tuple(band.inputs(values)), backend, **settings, rtl=rtl)
            plain = re.sub(r"[^\w.-]+", "_", name)
            yield _Shard(operator, band, job, cycles, folder / f"{plain}-{job.key}.npz")


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SimulatorError(f"{path} cannot be made: {error.strerror}") from None
    return path


def _keep(path: Path, content: bytes) -> JobResult:
    """Writes a result's file, whole or not at all, and reads it."""
    name = None
    try:
        handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except OSError as error:
        if name is not None:
            with suppress(OSError):
                os.unlink(name)
        raise SimulatorError(f"{path} cannot be written: {error.strerror}") from None
    result = read_result(path)
    if result is None:
        raise SimulatorError(f"{path}: what was written cannot be read again")
    return result


class _Meter:
    """Turns finished jobs into a fraction of the run."""

    def __init__(self, shards: Sequence[_Shard], report: Report | None) -> None:
        self._total = sum(shard.cycles for shard in shards) or 1
        self._done = 0
        self._report = report

    def done(self, shard: _Shard) -> None:
        """Counts a finished job."""
        self._done += shard.cycles
        if self._report is not None:
            self._report(Progress(self._done / self._total, self._done, shard.operator))


def _joined(
    program: Program,
    reference: Mapping[int, Array],
    backend: str,
    settings: Mapping[str, Any],
    shards: Sequence[_Shard],
    results: Mapping[int, JobResult],
) -> RunResult:
    """The run of the whole network."""
    tensors = dict(reference)
    counters: dict[str, int] = {}
    costs: dict[int, Cost] = {}
    divergences: list[Divergence] = []
    for operator in sorted({shard.operator for shard in shards}):
        own = [(shard, results[place]) for place, shard in enumerate(shards) if shard.operator == operator]
        for position, index in enumerate(own[0][0].band.graph.main.outputs):
            parts = [shard.band.output(result.outputs[position]) for shard, result in own]
            tensors[index] = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        if results and own[0][1].run["counters"]:
            costs[operator] = Cost(
                *(
                    sum(layer[name] for _, result in own for layer in result.run["layers"])
                    for name in ("cycles", "dram_read_bytes", "dram_write_bytes")
                )
            )
        for shard, result in own:
            for name, count in result.run["counters"].items():
                counters[name] = counters.get(name, 0) + count
            divergences += _divergence(shard.band, result)
    whole = run_result(program, backend, settings, tensors, reference, costs, counters)
    return replace(whole, jobs=len(shards), divergence=next(iter(divergences), None))


def _divergence(band: Band, result: JobResult) -> Iterator[Divergence]:
    """Where a job's run went wrong first, by its place in the whole; none if that is beyond the rows that are used."""
    found = result.run["divergence"]
    if found is None:
        return
    position = tuple(found["position"])
    if band.rows is not None:
        row = position[1] - band.offset + band.rows[0]
        if not band.rows[0] <= row < band.rows[1]:
            return
        position = (position[0], row, *position[2:])
    yield Divergence(**{**found, "position": position})
