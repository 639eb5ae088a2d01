"""Verilog: the machine as one file that any tool takes."""

from .config import Config
from .machine import Machine
from .verilog import convert

TOP = "eightfold"
"""Name of the top module. Its clock is `clk`; its synchronous reset, active high, is `rst`."""

LINT = {
    "DECLFILENAME": "all modules are in one file",
    "WIDTHEXPAND": "constants are written as narrow as they are",
    "WIDTHTRUNC": 'a word and `!` stand for "is not zero" and "is zero"',
    "CASEINCOMPLETE": "cases that change nothing are left out",
    "CASEOVERLAP": "of several conditions the first counts",
    "UNOPTFLAT": "parts of one vector depend on each other, bit by bit without a loop",
    "UNUSEDSIGNAL": "parts of a record have names of their own, for waveforms; AXI has signals that nothing here needs",
    "PROCASSINIT": "registers have initial values as well as resets, which an FPGA loads",
    "VARHIDDEN": "a part of the machine and a signal elsewhere have the same name",
}
"""What Verilator's lint would say of the text with -Wall, and why it is as it is."""

_PRAGMAS = "".join(f"// verilator lint_off {warning}  // {reason}\n" for warning, reason in LINT.items())


def export(config: Config) -> str:
    """The machine as Verilog, the same text for the same configuration at every call."""
    parameters = ", ".join(f"{key}={value}" for key, value in config.as_dict().items())
    return f"// Eightfold: {parameters}\n{_PRAGMAS}{convert(Machine(config), name=TOP)}"
