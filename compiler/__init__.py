"""How one becomes the other: a golden graph and a hardware configuration in, a Program out."""

from .compilation import compile
from .program import (
    AliasStep,
    Allocation,
    CompileError,
    Fusion,
    HostStep,
    MachineStep,
    MemoryMap,
    Program,
    Region,
    Resident,
    TensorRegion,
    from_machine,
    to_machine,
)

__all__ = [
    "AliasStep",
    "Allocation",
    "CompileError",
    "Fusion",
    "HostStep",
    "MachineStep",
    "MemoryMap",
    "Program",
    "Region",
    "Resident",
    "TensorRegion",
    "compile",
    "from_machine",
    "to_machine",
]
