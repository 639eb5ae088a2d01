"""The same machine for wider elements: what quantization saves is told by the same compiler, on the same memories.

A machine whose elements have four bytes is, to a compiler that counts in elements, one whose memories hold a quarter
as many and whose bus moves a quarter as many in a beat. So nothing here computes a layout: the compiler does, for a
configuration that counts its memories in elements.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ..golden.graph import Graph
from ..golden.numerics import Profile
from ..hw.config import Config
from .compilation import make_plan
from .program import Step


@dataclass(frozen=True, kw_only=True, repr=False)
class WideConfig(Config):
    """A machine whose memories and bus are counted in elements; no RTL is ever made of it.

    Partial sums have 32 bits either way, so that the accumulators hold as many as before. Of the requantization
    parameters only a bias remains.

    Parameters
    ----------
    element_bytes
        Of an activation, a weight and a bias: a power of two, at most the width of the bus.
    """

    element_bytes: int = 4

    def __post_init__(self) -> None:
        """The machine that it is made of was checked as such; in elements its sizes may be odd."""

    @classmethod
    def of(cls, config: Config, element_bytes: int) -> WideConfig:
        """The machine with the same on-chip memories and the same bus.

        Raises
        ------
        ValueError
            No element of that size fits the bus.
        """
        if element_bytes not in (1, 2, 4, 8, 16, 32) or element_bytes > config.bus_bytes:
            raise ValueError(f"element_bytes is {element_bytes}; a power of two up to {config.bus_bytes} was expected")
        values: dict[str, Any] = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
        for name in ("scratchpad_bytes", "weight_bytes", "bus_bytes"):
            values[name] //= element_bytes
        return cls(**values, element_bytes=element_bytes)

    @property
    def bus_bits(self) -> int:
        """Of a beat, which command words share with elements."""
        return 8 * self.bus_bytes * self.element_bytes

    @property
    def parameter_rows(self) -> int:
        """One bias for each channel."""
        return 1


@dataclass(frozen=True, eq=False)
class WidePlan:
    """How a network would run with wider elements.

    Parameters
    ----------
    config
        The machine.
    steps
        What host and machine do; all lengths and addresses in commands count elements.
    """

    config: WideConfig
    steps: tuple[Step, ...]


def plan_wide(graph: Graph, config: Config, profile: Profile = Profile.TFLM, *, element_bytes: int = 4) -> WidePlan:
    """Lays a network out as if weights and activations had `element_bytes` bytes, on the same memories and bus.

    The operators on the machine are those that it computes in int8. Layers are computed one after the other.

    Raises
    ------
    CompileError
        Something does not fit the machine's memories, as it may where it would in int8.
    ModelError
        The network is not supported, or inconsistent.
    """
    wide = WideConfig.of(config, element_bytes)
    return WidePlan(wide, tuple(make_plan(graph, wide, profile, fuse=False).steps))
