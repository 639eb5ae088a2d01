"""A SoC of LiteX with an exported machine, whose memory holds the network of its test bench. Run by LiteX's Python.

python soc.py FOLDER axi|axi-lite|wishbone    writes soc.v
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from litex.build.generic_platform import Pins
from litex.build.sim import SimPlatform
from litex.gen import LiteXModule
from litex.soc.integration.soc_core import SoCCore
from litex.soc.interconnect import axi
from migen import ClockDomain

FOLDER, STANDARD = Path(sys.argv[1]), sys.argv[2]
MEMORY_BYTES = 0x10000

sys.path.insert(0, str(FOLDER))
from eightfold_litex import add_eightfold  # noqa: E402


class SoC(SoCCore):
    """Main memory, the machine, and a bus master that a test bench plays."""

    def __init__(self, memory: list[int]) -> None:
        platform = SimPlatform("SIM", [("clk", 0, Pins(1)), ("rst", 0, Pins(1))])
        super().__init__(
            platform,
            int(50e6),
            cpu_type=None,
            bus_standard=STANDARD,
            integrated_main_ram_size=MEMORY_BYTES,
            integrated_main_ram_init=memory,
            uart_name="stub",
            ident="",
        )
        self.crg = LiteXModule()
        self.crg.cd_sys = ClockDomain()
        self.comb += [self.crg.cd_sys.clk.eq(platform.request("clk")), self.crg.cd_sys.rst.eq(platform.request("rst"))]
        add_eightfold(self, origin=0x8000_0000)
        host = axi.AXILiteInterface(data_width=32, address_width=32)
        platform.add_extension(host.get_ios("host"))
        self.comb += host.connect_to_pads(platform.request("host"), mode="slave")
        self.bus.add_master(name="host", master=host)


def words(name: str) -> Iterator[tuple[int, int]]:
    """Place and value of every 64-bit word in a file of the test bench."""
    place = 0
    for part in (FOLDER / "network" / name).read_text().split():
        if part.startswith("@"):
            place = int(part[1:], 16)
        else:
            yield place, int(part, 16)
            place += 1


if __name__ == "__main__":
    memory = [0] * (MEMORY_BYTES // 4)
    for name in ("memory.hex", "before_0.hex"):
        for place, word in words(name):
            memory[2 * place : 2 * place + 2] = [word & 0xFFFF_FFFF, word >> 32]
    soc = SoC(memory)
    soc.finalize()
    soc.platform.get_verilog(soc, name="soc").write("soc.v")
