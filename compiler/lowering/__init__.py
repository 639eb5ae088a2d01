"""From operators of a graph to layers of the machine: signed bytes, folded zero points, works that commands can do.

What the machine computes for an operator equals golden to the bit, or the operator stays with the host: each function
here raises `HostReason` where it cannot promise that. A legacy uint8 tensor becomes int8 by flipping its top bit, which
lowers its values and its zero point by 128 alike.
"""

from __future__ import annotations

from collections.abc import Callable

from ...golden.graph import Graph, Operator
from ...golden.kernels import Node, prepare
from ...golden.numerics import Profile
from ...hw.config import Config
from ..tiling import row_needs, strip_bytes
from ..work import Layer
from . import copying, elementwise, pooling, products, unary
from .reasons import HostReason

__all__ = ["HostReason", "lower"]

_LOWERINGS: dict[str, Callable[[Node, Config], Layer | tuple[Layer, ...]]] = {
    "CONV_2D": products.lower,
    "DEPTHWISE_CONV_2D": products.lower,
    "FULLY_CONNECTED": products.lower,
    "ADD": elementwise.add,
    "SUB": elementwise.add,
    "MUL": elementwise.mul,
    "MAXIMUM": elementwise.maximum,
    "MINIMUM": elementwise.minimum,
    "QUANTIZE": unary.single,
    "RELU": unary.single,
    "RELU6": unary.single,
    "RELU_N1_TO_1": unary.single,
    "LEAKY_RELU": unary.leaky,
    "AVERAGE_POOL_2D": pooling.average,
    "MAX_POOL_2D": pooling.greatest,
    "MEAN": pooling.mean,
    "PAD": copying.pad,
    "PADV2": copying.pad,
    "CONCATENATION": copying.concatenation,
    "RESIZE_NEAREST_NEIGHBOR": copying.resize_nearest,
}


def lower(operator: Operator, graph: Graph, config: Config, profile: Profile) -> tuple[Layer, ...]:
    """What the machine does for an operator: layers, which pass on what has a negative number.

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
    node = Node.of(operator, graph, profile)
    if function is products.lower:
        # An operator whose rows do not fit is refused by the compiler.
        return _layers(function(node, config))
    prepare(node)
    layers = _layers(function(node, config))
    passed_on = {layer.destination: layer.size for layer in layers[:-1]}
    room = config.scratchpad_bytes - sum(size + config.scratchpad_row_bytes for size in passed_on.values())
    for layer in layers:
        if strip_bytes(layer, 1, config, passed_on) > room:
            beside = "".join(f", beside {size} that it passes on to itself" for size in passed_on.values())
            raise HostReason(f"{row_needs(layer, config)} bytes{beside}; the scratchpad has {config.scratchpad_bytes}")
    return layers


def _layers(found: Layer | tuple[Layer, ...]) -> tuple[Layer, ...]:
    return found if isinstance(found, tuple) else (found,)
