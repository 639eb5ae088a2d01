"""What an FPGA flow wants beside the Verilog: how to instantiate, constrain, package and test the machine.

Templates lie in the folder of that name; `@NAME@` in them is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from amaranth.hdl import Shape
from amaranth.lib.wiring import In

from .c_header import REGISTERS_HEADER, registers_header
from .config import KIB, Config
from .documentation import registers_page
from .machine import pins
from .registers import REGISTERS, VERSION, Access

CLOCK_MHZ = 100
"""What the constraints ask for."""

_TEMPLATES = Path(__file__).with_name("templates")
_DRIVER = Path(__file__).with_name("driver")

_PORTS = {
    "clk": "the clock of everything",
    "rst": "synchronous reset, active high; needed once, after power-up",
    "irq": "high as long as an enabled bit of INTERRUPT_STATUS is set",
}
_CHANNELS = {
    "s_axi_aw": "registers, AXI4-Lite slave: write address",
    "s_axi_w": "registers: write data",
    "s_axi_b": "registers: write response",
    "s_axi_ar": "registers: read address",
    "s_axi_r": "registers: read data",
    "m_axi_aw": "memory, AXI4 master: write address",
    "m_axi_w": "memory: write data",
    "m_axi_b": "memory: write response",
    "m_axi_ar": "memory: read address",
    "m_axi_r": "memory: read data",
}


class Port(NamedTuple):
    """A port of the top module."""

    name: str
    direction: str
    width: int
    doc: str


def ports(config: Config) -> list[Port]:
    """The top module's ports: clock and reset, then the rest, one channel after the other."""
    found = [Port("clk", "input", 1, _PORTS["clk"]), Port("rst", "input", 1, _PORTS["rst"])]
    for name, member in pins(config).items():
        direction = "input" if member.flow is In else "output"
        channel = max((prefix for prefix in _CHANNELS if name.startswith(prefix)), key=len, default="")
        doc = _CHANNELS[channel] if channel else _PORTS[name]
        found.append(Port(name, direction, Shape.cast(member.shape).width, doc))
    return found


def describe(config: Config) -> str:
    """The machine in a line."""
    return (
        f"{config.rows} x {config.columns} int8 array, {config.sram_bytes // KIB} KiB of SRAM, "
        f"{8 * config.bus_bytes}-bit AXI4"
    )


def identifier(config: Config) -> str:
    """Its name, as tools take names."""
    return f"eightfold_{re.sub(r'[^a-z0-9]+', '_', config.name.lower()).strip('_') or 'custom'}"


def integration_files(config: Config, network_files: list[str]) -> Iterator[tuple[str, str]]:
    """File names and texts.

    Parameters
    ----------
    config
        The machine.
    network_files
        What the test bench reads, by their names.
    """
    listed = ports(config)
    values = {
        "NAME": config.name,
        "IDENTIFIER": identifier(config),
        "VERSION": f"{VERSION >> 16}.{VERSION & 0xFFFF}",
        "DESCRIPTION": describe(config),
        "DATA_WIDTH": str(8 * config.bus_bytes),
        # Where the simulation is run, not where its sources are copied to.
        "NETWORK_FILES": "\n".join(f"      - {name}: {{copyto: {name}}}" for name in network_files),
        "PORTS": ",\n".join(f"  {port.direction} {_range(port)}{port.name}" for port in listed),
        "CONNECTIONS": ",\n".join(f"    .{port.name}({port.name})" for port in listed),
        "REGISTERS": "\n".join(_ipx_registers()),
    }
    for name in ("testbench.v", "surroundings.vh", "Makefile", "eightfold.core", "package_vivado.tcl", "instance.v"):
        yield name, _filled(name, values)
    yield "eightfold_litex.py", _filled("eightfold_litex.py.in", values)
    yield "ports.md", _ports_page(config, listed)
    yield "registers.md", registers_page()
    yield "constraints/eightfold.xdc", _clock("XDC for Vivado")
    yield "constraints/eightfold.sdc", _clock("SDC")
    yield "constraints/eightfold.lpf", f'# LPF for Diamond and nextpnr-ecp5\nFREQUENCY PORT "clk" {CLOCK_MHZ} MHZ;\n'
    for name in ("eightfold.c", "eightfold.h"):
        yield f"driver/{name}", (_DRIVER / name).read_text(encoding="utf-8")
    yield f"driver/{REGISTERS_HEADER}", registers_header()


def _filled(name: str, values: Mapping[str, str]) -> str:
    text = (_TEMPLATES / name).read_text(encoding="utf-8")
    return re.sub(r"@([A-Z_]+)@", lambda match: values[match[1]], text)


def _range(port: Port) -> str:
    return "" if port.width == 1 else f"[{port.width - 1}:0] "


def _clock(kind: str) -> str:
    period = 1000 / CLOCK_MHZ
    return f"# {kind}\ncreate_clock -name clk -period {period:.3f} [get_ports clk]\n"


def _ports_page(config: Config, listed: list[Port]) -> str:
    rows = [f"| {port.name} | {port.direction} | {port.width} | {port.doc} |" for port in listed]
    return "\n".join(
        [
            f"# Ports of the machine {config.name}",
            "",
            f"{describe(config)}. Module `eightfold`, one clock.",
            "",
            "The master reads and writes whole beats in incrementing bursts of ID 0 that never cross 4 KiB; several",
            "reads and writes may be under way. Both ports take any back-pressure. The slave answers one access at a",
            "time and never with an error; addresses without a register read as 0.",
            "",
            "| Port | Direction | Bits | Meaning |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _ipx_registers() -> Iterator[str]:
    access = {Access.READ: "read-only", Access.COMMAND: "write-only"}
    for register in REGISTERS.values():
        kind = access.get(register.access, "read-write")
        yield (
            f"set register [ipx::add_register {register.name} $block]\n"
            f"set_property -dict {{address_offset 0x{register.offset:02X} size 32 access {kind}}} $register"
        )
