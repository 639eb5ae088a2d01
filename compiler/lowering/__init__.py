"""From operators of a graph to layers of the machine: signed bytes, folded zero points, works that commands can do.

What the machine computes for an operator equals golden to the bit, or the operator stays with the host: each function
here raises `HostReason` where it cannot promise that. A legacy uint8 tensor becomes int8 by flipping its top bit, which
lowers its values and its zero point by 128 alike.
"""

from __future__ import annotations

from collections.abc import Callable

from ...golden.graph import Graph, Operator
from ...golden.kernels import Node
from ...golden.numerics import Profile
from ...hw.config import Config
from ..tiling import strip_bytes
from ..work import Layer
from . import products
from .reasons import HostReason

__all__ = ["HostReason", "lower"]

_LOWERINGS: dict[str, Callable[[Node, Config], Layer]] = {
    "CONV_2D": products.lower,
    "DEPTHWISE_CONV_2D": products.lower,
    "FULLY_CONNECTED": products.lower,
}


def lower(operator: Operator, graph: Graph, config: Config, profile: Profile) -> Layer:
    """What the machine does for an operator.

    Raises
    ------
    HostReason
        The host has to compute it; says why.
    ModelError
        The operator describes nothing that can be computed.
    """
    function = _LOWERINGS.get(operator.kind)
    if function is None:
        raise HostReason("the machine does not compute this operator")
    layer = function(Node.of(operator, graph, profile), config)
    if function is not products.lower and (need := strip_bytes(layer, 1, config)) > config.scratchpad_bytes:
        raise HostReason(
            f"one output row takes {need} bytes of input and output; the scratchpad has {config.scratchpad_bytes}"
        )
    return layer
