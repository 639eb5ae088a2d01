"""The exported machine in Icarus Verilog, driven by cocotb."""

from __future__ import annotations

from pathlib import Path

from ..hw.config import Config
from .image import simulation_image
from .process import CocotbProcess
from .rtl import RtlMachine


class Icarus(RtlMachine):
    """A machine in Icarus Verilog; parameters and errors are those of `RtlMachine`."""

    name = "icarus"

    def _start(self, config: Config, memory_bytes: int, verilog: str | None, waves: Path | None) -> CocotbProcess:
        return CocotbProcess(simulation_image(config, memory_bytes, verilog), waves)
