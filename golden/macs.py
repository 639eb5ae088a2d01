"""How many products a layer needs."""

from __future__ import annotations

import math

from .graph import Graph, Operator
from .kernels import convolution_geometry, dense_geometry


def macs(operator: Operator, graph: Graph) -> int:
    """Multiply-accumulate steps of an operator of the main subgraph, those with taps outside the image included.

    Convolutions and dense layers count; what other operators multiply does not, as is usual.

    Raises
    ------
    ModelError
        The operator describes nothing that can be computed.
    """
    match operator.kind:
        case "CONV_2D" | "DEPTHWISE_CONV_2D":
            return convolution_geometry(operator, graph).macs
        case "FULLY_CONNECTED":
            return dense_geometry(operator, graph).macs
        case "TRANSPOSE_CONV":
            # Inputs: output shape, weights (output channels, height, width, input channels), image.
            weights, image = (graph.tensors[operator.inputs[i]].shape for i in (1, 2))
            return math.prod(image) * math.prod(weights[:3])
    return 0
