"""Processes that tests start, and what becomes of their children."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

MARK = "EIGHTFOLD_TEST_MARK"


class Family:
    """A process and all that come from it, known by a variable in their environment."""

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self.environment = {**os.environ, MARK: self.mark}

    def members(self) -> dict[int, str]:
        """The living ones: the command line of each by its number."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={self.mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                    line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if line:
                        found[int(process.name)] = line
            except OSError:
                continue
        return found

    def await_end(self, seconds: float = 15) -> dict[int, str]:
        """Waits until none lives; those that still do."""
        wait_until(lambda: not self.members(), seconds)
        return self.members()


def wait_until(condition: Callable[[], object], seconds: float = 60) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
