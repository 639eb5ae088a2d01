"""A process that performs jobs, one after the other: `python -m eightfold.sim.worker`.

It takes pickled jobs from stdin, and answers each on stdout with an `Outcome`, or with text where another try may help.
When stdin closes, because whoever started it ends or dies, it ends too, with what it is doing.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import IO

from .errors import SimulatorError
from .job import Outcome, Task

_GRACE_SECONDS = 5.0


def main() -> None:
    """Performs jobs until stdin closes."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is written must not get between the replies
    for job in _jobs(sys.stdin.buffer):
        try:
            reply: Outcome | str = job.perform()
        except SimulatorError as error:
            reply = str(error)
        pickle.dump(reply, replies)
        replies.flush()


def _jobs(requests: IO[bytes]) -> Iterator[Task]:
    """What comes in. Its end interrupts the job that is under way: nobody waits for it any more."""
    queue: SimpleQueue[Task | None] = SimpleQueue()

    def receive() -> None:
        with suppress(EOFError, pickle.UnpicklingError):
            while True:
                queue.put(pickle.load(requests))
        queue.put(None)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(_GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=receive, daemon=True).start()
    while (job := queue.get()) is not None:
        yield job


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
