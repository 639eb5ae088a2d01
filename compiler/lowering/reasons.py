"""Why an operator does not run on the machine."""

from __future__ import annotations

from ...golden.graph import Tensor
from ...golden.kernels import Node
from ...golden.numerics import Rounding
from ...hw.commands import Execute
from ...hw.config import Config


class HostReason(Exception):
    """An operator that stays with the host. The message says why, in words."""


def expect_bytes(node: Node, *tensors: Tensor) -> None:
    """Refuses inputs and outputs that are not 8 bits wide, and inputs that are constants."""
    for tensor in (*tensors, node.output):
        if tensor.dtype.name not in ("int8", "uint8"):
            raise HostReason(f"the machine computes int8 and uint8, not {tensor.dtype.name}")
        if tensor.constant:
            raise HostReason("an input is a constant")


def expect_rounding(node: Node, config: Config, rounding: Rounding) -> None:
    """Refuses a rounding that the machine's lanes do not have."""
    if rounding is not config.rounding:
        raise HostReason(
            f"profile {node.profile.value} rounds {rounding.value} here; the machine rounds {config.rounding.value}"
        )


def expect_fields(**values: int) -> None:
    """Refuses numbers that the fields of an `Execute` command do not hold."""
    for name, value in values.items():
        if value > (largest := Execute.largest(name)):
            raise HostReason(f"{value} exceeds {largest}, the machine's largest {name}")


def signed_offset(tensor: Tensor) -> int:
    """What is subtracted from a tensor's values on their way into signed bytes."""
    return 128 if tensor.dtype.name == "uint8" else 0
