"""How long a report takes, from the command to its last file: by the clock, and of processors.

python benchmarks/report_speed.py MODEL.tflite [--config 16x16] [--runs 3]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--config", default="16x16")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{arguments.model.stem} on {arguments.config}; {os.cpu_count()} processors, {load:.1f} processes before")
    print("seconds  CPU seconds")
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory() as out:
            command = ["report", str(arguments.model), "--config", arguments.config, "--out", out, "--quiet"]
            begin, used = time.monotonic(), _processor_seconds()
            subprocess.run([sys.executable, "-m", "eightfold.cli", *command], check=True)
            print(f"{time.monotonic() - begin:7.1f} {_processor_seconds() - used:12.1f}")


def _processor_seconds() -> float:
    """Of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
