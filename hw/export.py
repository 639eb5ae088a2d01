"""Verilog: the machine as one file that any tool takes."""

from .config import Config
from .machine import Machine
from .verilog import convert

TOP = "eightfold"
"""Name of the top module. Its clock is `clk`; its synchronous reset, active high, is `rst`."""


def export(config: Config) -> str:
    """The machine as Verilog, the same text for the same configuration at every call."""
    return convert(Machine(config), name=TOP)
