"""The cocotb side of the test bench: performs the operations that another process asks for.

Requests and replies are lines of JSON on a Unix socket. A request names an operation of bench.v, its two arguments and
signals to set before; the reply holds its result. While the operation AWAIT runs, a line with the key "tick" tells now
and then how far the machine is. Between two requests the simulation stands still.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any

import cocotb
from cocotb.triggers import First, ValueChange

SOCKET = "EIGHTFOLD_SOCKET"
"""The environment variable with the socket's path."""


@cocotb.test()  # type: ignore[untyped-decorator]
async def serve(bench: Any) -> None:
    """Performs operations until the other end closes the connection."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[SOCKET])
        with connection.makefile("rw", encoding="ascii") as lines:
            while line := lines.readline():
                request = json.loads(line)
                for name, value in request["set"].items():
                    getattr(bench, name).value = value
                bench.operation.value = request["operation"]
                bench.argument_0.value, bench.argument_1.value = request["arguments"]
                bench.request.value = 1 - int(bench.request.value)
                while await First(reply := ValueChange(bench.reply), ValueChange(bench.tick)) is not reply:
                    tick = [int(signal.value) for signal in (bench.cycle, bench.loads, bench.executes, bench.stores)]
                    print(json.dumps({"tick": tick}), file=lines, flush=True)
                violation = int(bench.violation.value).to_bytes(48, "big").decode("ascii").strip("\0")
                print(json.dumps({"result": int(bench.result.value), "violation": violation}), file=lines, flush=True)
