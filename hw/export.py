"""Verilog: the machine as one file that any tool takes."""

from .config import Config
from .machine import Machine
from .verilog import convert

TOP = "eightfold"
"""Name of the top module. Its clock is `clk`; its synchronous reset, active high, is `rst`."""

# Yosys writes constants as narrow as they are, `!` for "is zero", leaves out cases that change nothing, and chooses by
# the first of several conditions; parts of one vector may depend on each other, bit by bit without a loop.
_PRAGMAS = "".join(
    f"// verilator lint_off {warning}\n"
    for warning in ("WIDTHEXPAND", "WIDTHTRUNC", "CASEINCOMPLETE", "CASEOVERLAP", "UNOPTFLAT")
)


def export(config: Config) -> str:
    """The machine as Verilog, the same text for the same configuration at every call."""
    parameters = ", ".join(f"{key}={value}" for key, value in config.as_dict().items())
    return f"// Eightfold: {parameters}\n{_PRAGMAS}{convert(Machine(config), name=TOP)}"
