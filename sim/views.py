"""A selection of the machine's signals for the viewers of waveforms: GTKWave and Surfer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..hw.commands import COUNT_BITS
from ..hw.config import Config

_SCOPES = {"icarus": "bench", "verilator": "console.bench"}

# What GTKWave's save files call the ways to show a signal.
_BINARY, _HEXADECIMAL, _DECIMAL, _COMMENT = "@28", "@22", "@24", "@200"

_ZOOM = "*-17.000000 0"  # by the power of two of picoseconds: some dozens of cycles, from the beginning


@dataclass(frozen=True)
class Signal:
    """A signal by its path, and its width in bits; a count is shown in decimal. `of` tells whose: the machine's."""

    path: str
    bits: int = 1
    count: bool = False
    of: str = "machine."


def signals(config: Config) -> dict[str, tuple[Signal, ...]]:
    """The signals that tell what a machine does, in groups."""
    data = 8 * config.bus_bytes
    return {
        "machine": (Signal("clk"), Signal("irq"), Signal("cycle", 32, count=True, of="")),
        "load": (
            Signal("load.completed", COUNT_BITS, count=True),
            Signal("events__load_busy"),
            Signal("events__load_wait"),
        ),
        "execute": (
            Signal("execute.core.sequencer.started", COUNT_BITS, count=True),
            Signal("execute.completed", COUNT_BITS, count=True),
            Signal("events__execute_busy"),
            Signal("events__execute_wait"),
            Signal("events__execute_frozen"),
            Signal("events__array_step"),
            Signal("events__output"),
        ),
        "store": (
            Signal("store.completed", COUNT_BITS, count=True),
            Signal("events__store_busy"),
            Signal("events__store_wait"),
        ),
        "read": (
            Signal("m_axi_arvalid"),
            Signal("m_axi_arready"),
            Signal("m_axi_araddr", 32),
            Signal("m_axi_arlen", 8, count=True),
            Signal("m_axi_rvalid"),
            Signal("m_axi_rready"),
            Signal("m_axi_rlast"),
            Signal("m_axi_rdata", data),
        ),
        "write": (
            Signal("m_axi_awvalid"),
            Signal("m_axi_awready"),
            Signal("m_axi_awaddr", 32),
            Signal("m_axi_awlen", 8, count=True),
            Signal("m_axi_wvalid"),
            Signal("m_axi_wready"),
            Signal("m_axi_wdata", data),
            Signal("m_axi_wstrb", config.bus_bytes),
            Signal("m_axi_bvalid"),
        ),
    }


def views(config: Config, backend: str) -> dict[str, str]:
    """Files that select the important signals in the waveforms of a run.

    Parameters
    ----------
    config
        The machine.
    backend
        What simulated it: `icarus` or `verilator`, which name the outermost scope.

    Returns
    -------
    By suffix: `.gtkw` is a save file of GTKWave, `.sucl` a command file of Surfer.
    """
    scope = _SCOPES[backend]
    groups = signals(config)
    return {
        ".gtkw": "\n".join(_gtkwave(scope, groups)) + "\n",
        ".sucl": "\n".join(_surfer(scope, groups)) + "\n",
    }


def write_views(waves: Path, config: Config, backend: str) -> None:
    """Writes the views beside a file of waveforms, under its name.

    Raises
    ------
    OSError
        They cannot be written.
    """
    for suffix, text in views(config, backend).items():
        waves.with_suffix(suffix).write_text(text, encoding="utf-8")


def _gtkwave(scope: str, groups: dict[str, tuple[Signal, ...]]) -> Iterator[str]:
    yield _ZOOM
    for group, members in groups.items():
        yield _COMMENT
        yield f"-{group}"
        for signal in members:
            yield _BINARY if signal.bits == 1 else _DECIMAL if signal.count else _HEXADECIMAL
            yield f"{scope}.{signal.of}{signal.path}" + (f"[{signal.bits - 1}:0]" if signal.bits > 1 else "")


def _surfer(scope: str, groups: dict[str, tuple[Signal, ...]]) -> Iterator[str]:
    for group, members in groups.items():
        yield f"divider_add {group}"
        for signal in members:
            yield f"variable_add {scope}.{signal.of}{signal.path}"
    yield "zoom_fit"
