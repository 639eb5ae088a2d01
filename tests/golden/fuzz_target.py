"""An atheris target, for developers who leave a fuzzer running.

pip install atheris
python -m tests.golden.fuzz_target --seeds corpus     # once: write the undamaged files as a first corpus
python -m tests.golden.fuzz_target corpus
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    if sys.argv[1:2] == ["--seeds"]:
        from .fuzzing import bases

        folder = Path(sys.argv[2])
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(bases()):
            (folder / f"{number:03}.tflite").write_bytes(data)
        return
    import atheris

    with atheris.instrument_imports(include=["eightfold.golden"]):
        from .fuzzing import survive

    def target(data: bytes) -> None:
        survive(data)

    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
