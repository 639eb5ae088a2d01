"""Where jobs are done: in processes of this computer, or on a Dask cluster. A job whose worker breaks is done again."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any

from .errors import SimulatorError
from .image import environment
from .job import Outcome, Task

ATTEMPTS = 3
"""How often a job is tried whose worker or simulation breaks off."""

_CONNECT_SECONDS = 10
_END_SECONDS = 10.0


def in_processes(jobs: Sequence[Task], count: int) -> Iterator[tuple[int, Outcome]]:
    """Performs jobs in so many processes of this computer.

    Yields
    ------
    A job's place and its outcome, as they come.

    Raises
    ------
    SimulatorError
        A job broke off as often as it was tried.
    """
    workers = _Workers()
    with ThreadPoolExecutor(count) as pool:
        places = {pool.submit(workers.perform, job): place for place, job in enumerate(jobs)}
        try:
            pending: set[Future[Outcome]] = set(places)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield places[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            workers.close()


@contextmanager
def beside(job: Task) -> Iterator[Future[Outcome]]:
    """Performs a job in a process of its own, which ends with the context; its future may hold a SimulatorError."""
    workers = _Workers()
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit(workers.perform, job)
        finally:
            workers.close()


def _perform(job: Task) -> Outcome:
    return job.perform()


class _Workers:
    """One worker per thread that asks for one."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._all: list[_Worker] = []
        self._lock = threading.Lock()
        self._closed = False

    def perform(self, job: Task) -> Outcome:
        """Performs a job in the worker of the calling thread."""
        why = ""
        for _ in range(ATTEMPTS):
            worker: _Worker | None = getattr(self._own, "worker", None)
            if worker is None or not worker.alive:
                with self._lock:
                    if self._closed:
                        break
                    worker = self._own.worker = _Worker()
                    self._all.append(worker)
            reply = worker.perform(job)
            if isinstance(reply, Outcome):
                return reply
            why = reply
        raise SimulatorError(f"{job.name}: tried {ATTEMPTS} times: {why}")

    def close(self) -> None:
        """Ends all workers and what they are doing."""
        with self._lock:
            self._closed = True
        for worker in self._all:
            worker.ask_to_end()
        for worker in self._all:
            worker.end()


class _Worker:
    """A process that performs jobs, one after the other."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `end`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "eightfold.sim.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment({}),
            start_new_session=True,  # an interrupt is the caller's to handle
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def perform(self, job: Task) -> Outcome | str:
        """The outcome, or why there is none."""
        requests, replies = self._process.stdin, self._process.stdout
        if requests is None or replies is None:
            raise RuntimeError("the worker was started without its pipes")
        try:
            pickle.dump(job, requests)
            requests.flush()
            reply: Outcome | str = pickle.load(replies)
            return reply
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            self._process.wait(_END_SECONDS)
            words = self._last_words()
            return f"its worker ended with {self.end()}{words}"

    def ask_to_end(self) -> None:
        """Closes its input, which ends it, be it busy or not."""
        if self._process.stdin is not None:
            with suppress(OSError, ValueError):
                self._process.stdin.close()

    def end(self) -> int:
        """Ends it, if need be by force; its exit status."""
        self.ask_to_end()
        try:
            status = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        for lines in (self._process.stdout, self._errors):
            if lines is not None:
                lines.close()
        return status

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        return f": {lines[-1].strip()}" if lines else ""


def on_cluster(jobs: Sequence[Task], address: str) -> Iterator[tuple[int, Outcome]]:
    """Performs jobs on a Dask cluster, whose workers have Eightfold and the simulator installed.

    Parameters
    ----------
    jobs
        What to do.
    address
        Of the scheduler, as in `tcp://host:8786`.

    Yields
    ------
    A job's place and its outcome, as they come.

    Raises
    ------
    SimulatorError
        Dask is not installed, there is no scheduler, or a job broke off as often as it was tried.
    """
    try:
        import distributed
    except ImportError:
        raise SimulatorError("Dask is missing: install it with `pip install distributed`") from None
    try:
        client = distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise SimulatorError(f"there is no Dask scheduler at {address}: {error}") from None
    with client:
        places: dict[Any, int] = {
            client.submit(_perform, job, pure=False, retries=ATTEMPTS - 1): place for place, job in enumerate(jobs)
        }
        try:
            for future in distributed.as_completed(places, loop=client.loop):
                try:
                    yield places[future], future.result()
                except (SimulatorError, distributed.KilledWorker) as error:
                    raise SimulatorError(f"{jobs[places[future]].name}: tried {ATTEMPTS} times: {error}") from None
        finally:
            client.cancel(list(places))
