"""How long commands may take: bounds for the watchdog and weights for the progress bar, no more."""

from __future__ import annotations

from collections.abc import Sequence

from ..compiler.timing import execute_cycles
from ..hw.commands import Command, Execute, Load, Store
from ..hw.config import Config

_MARGIN = 10_000


def rough_cycles(command: Command, config: Config) -> int:
    """About the cycles that a command keeps its engine busy."""
    match command:
        case Execute():
            return execute_cycles(command, config) + 2 * config.rows
        case Load() | Store():
            return command.length // config.bus_bytes + 1
    return 1


def longest_silence(commands: Sequence[Command], config: Config, latency: int, stalls: float) -> int:
    """Cycles in which some command must complete, unless the machine stands still for ever.

    The longest command may have begun, and may be slowed by pauses of the bus and by every other engine.
    """
    longest = max((rough_cycles(command, config) for command in commands), default=0)
    bursts = longest // config.burst_beats + 1
    return _MARGIN + int((4 * longest + 4 * bursts * latency) / (1 - stalls))
