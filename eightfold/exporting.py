"""The export: a folder with the machine as Verilog, and everything that an FPGA flow or a test wants beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .compiler.compilation import compile
from .compiler.program import Program
from .compiler.storage import to_bytes
from .demo import MODELS
from .golden.numerics import Profile
from .golden.reader import read
from .hw.config import Config
from .hw.export import export as verilog
from .hw.integration import describe, identifier, integration_files
from .sim.standalone import standalone_files


def example(config: Config) -> tuple[Program, list[npt.ArrayLike]]:
    """The digits network with arithmetic that the machine has, and an image."""
    profile = next(profile for profile in Profile if profile.convolution_rounding is config.rounding)
    with np.load(MODELS / "digits.npz") as file:
        image = file["images"][:1]
    return compile(read(MODELS / "digits.tflite"), config, profile), [image]


def export_files(program: Program, inputs: Sequence[npt.ArrayLike]) -> Mapping[str, bytes]:
    """The folder's files by their names; the same bytes at every call.

    Parameters
    ----------
    program
        What the test bench runs; its configuration is the machine that is exported.
    inputs
        Of the network, one array per input.

    Raises
    ------
    CompileError
        Nothing of the program runs on the machine.
    """
    config = program.config
    network = {f"network/{name}": text for name, text in standalone_files(program, inputs)}
    texts = {
        "eightfold.v": verilog(config),
        "eightfold.toml": "".join(f"{name} = {json.dumps(value)}\n" for name, value in config.as_dict().items()),
        **dict(integration_files(config, list(network))),
        **network,
        "README.md": _readme(program),
    }
    files = {name: text.encode() for name, text in texts.items()}
    files["network/program.efp"] = to_bytes(program)
    return dict(sorted(files.items()))


def _readme(program: Program) -> str:
    config = program.config
    return f"""# Eightfold {config.name}

{describe(config)}. Made by `eightfold export`; `eightfold.toml` makes it again, to the byte.

    make test     # Icarus Verilog runs {program.graph.name} on the machine and compares every byte; no Python
    make waves    # the same, with waves.vcd
    make lint     # Verilator's lint with -Wall

| File | What it is |
| --- | --- |
| `eightfold.v` | the machine, Verilog-2005: module `eightfold` |
| `instance.v` | how it is instantiated |
| `ports.md`, `registers.md` | its ports and its registers |
| `constraints/` | the clock, as XDC, LPF and SDC |
| `eightfold.core` | for FuseSoC: `eightfold:accelerator:{identifier(config)}` |
| `package_vivado.tcl` | packages it as an IP for Vivado's block design |
| `eightfold_litex.py` | the same for LiteX: `add_eightfold(soc, origin)` |
| `driver/` | a driver in C99, and the registers as a C header |
| `testbench.v`, `surroundings.vh`, `Makefile` | the test |
| `network/` | what the test runs, as memory words; `program.efp` is the same for the driver |
| `files.sha256` | what was exported: `sha256sum -c files.sha256` |
"""
