"""What the tests of single components share: Amaranth's own simulator, with a limit on its patience."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator


def simulate(component: Any, *testbenches: Callable[[Any], Any], cycles: int = 100_000) -> None:
    """Runs the test benches, the last of them in the foreground; more than `cycles` cycles are a failure."""
    top = Module()
    top.domains.sync = ClockDomain()
    top.submodules.component = component
    simulator = Simulator(top)
    simulator.add_clock(1e-6)

    for testbench in testbenches[:-1]:
        simulator.add_testbench(testbench, background=True)
    simulator.add_testbench(testbenches[-1])
    for _ in range(3 * cycles):
        if not simulator.advance():
            return
    raise AssertionError(f"nothing ended the simulation within {cycles} cycles")


def pack(values: Any, bits: int) -> int:
    """Values side by side, the first one lowest."""
    return sum((int(value) & ((1 << bits) - 1)) << (bits * i) for i, value in enumerate(values))


def unpack(word: int, bits: int, count: int) -> list[int]:
    """The signed values that `pack` made the word of."""
    values = ((word >> (bits * i)) & ((1 << bits) - 1) for i in range(count))
    return [value - (1 << bits) if value >> (bits - 1) else value for value in values]
