"""Verilog: the machine as one file that any tool takes."""

import os

from amaranth.back import verilog

from .config import Config
from .machine import Machine

TOP = "eightfold"
"""Name of the top module. Its clock is `clk`; its synchronous reset, active high, is `rst`."""

# Yosys writes constants as narrow as they are, `!` for "is zero", and leaves out cases that change nothing.
_PRAGMAS = "".join(f"// verilator lint_off {warning}\n" for warning in ("WIDTHEXPAND", "WIDTHTRUNC", "CASEINCOMPLETE"))


def export(config: Config) -> str:
    """The machine as Verilog, the same text for the same configuration at every call."""
    # The Yosys that Amaranth's extra installs: whatever else is on the path may write other text.
    before = os.environ.get("AMARANTH_USE_YOSYS")
    os.environ["AMARANTH_USE_YOSYS"] = "builtin"
    try:
        text: str = verilog.convert(Machine(config), name=TOP, emit_src=False, strip_internal_attrs=True)
    finally:
        if before is None:
            del os.environ["AMARANTH_USE_YOSYS"]
        else:
            os.environ["AMARANTH_USE_YOSYS"] = before
    parameters = ", ".join(f"{key}={value}" for key, value in config.as_dict().items())
    return f"// Eightfold: {parameters}\n{_PRAGMAS}{text}"
