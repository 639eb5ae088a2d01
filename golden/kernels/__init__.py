"""Integer kernels, one file per family of operators.

A kernel is a function `kernel(node) -> evaluate`. It is called once per operator with a `Node`: the operator, its
tensors and the numerics profile. It checks there what does not depend on values (types, shapes, options, quantization),
prepares what can be prepared (packed weights, multipliers, tables), and returns `evaluate`, a function from one numpy
array per input to a tuple of one array per output. `evaluate` never writes to its inputs, variable tensors excepted;
its outputs may be views of them. What a kernel cannot compute it refuses with `ModelError`.

    evaluate = prepare(Node.of(operator, graph, Profile.TFLM))
    (output,) = evaluate(x, weights, bias)
"""

import numpy as np

from ..graph import Graph, ModelError
from . import (  # noqa: F401  (each registers its kernels)
    activation,
    conversion,
    convolution,
    dense,
    elementwise,
    joining,
    normalization,
    padding,
    pooling,
    rearranging,
    recurrent,
    reduction,
    repeating,
    resizing,
    selecting,
    shape,
    slicing,
    softmax,
    transpose_convolution,
    variables,
)
from .convolution import ConvolutionGeometry, convolution_geometry
from .dense import DenseGeometry, dense_geometry
from .node import KERNELS, MEMORY_LIMIT, Array, Context, Evaluate, Kernel, Node, Shape, kernel
from .product import SUMS_OF_PRODUCTS, Operands, accumulator_bound, operands_of, requantization_of

__all__ = [
    "KERNELS",
    "MEMORY_LIMIT",
    "SUMS_OF_PRODUCTS",
    "Array",
    "Context",
    "ConvolutionGeometry",
    "DenseGeometry",
    "Evaluate",
    "Kernel",
    "Node",
    "Operands",
    "Shape",
    "accumulator_bound",
    "check_supported",
    "convolution_geometry",
    "dense_geometry",
    "kernel",
    "operands_of",
    "prepare",
    "requantization_of",
]


def prepare(node: Node) -> Evaluate:
    """The function that computes an operator.

    Raises
    ------
    ModelError
        There is no kernel for it, or its kernel refuses it.
    """
    function = KERNELS.get(node.operator.kind)
    if function is None:
        raise node.fail("this operator is not supported")
    try:
        with np.errstate(all="ignore"):
            return function(node)
    except ModelError:
        raise
    except (ValueError, OverflowError) as error:
        # Scales so far apart that their ratio is no multiplier, and the like.
        raise node.fail(str(error)) from error


def check_supported(graph: Graph) -> None:
    """Refuse a graph that has operators without a kernel.

    Raises
    ------
    ModelError
        Names all of them at once.
    """
    missing: dict[str, list[str]] = {}
    for number, subgraph in enumerate(graph.subgraphs):
        for operator in subgraph.operators:
            if operator.kind not in KERNELS:
                place = str(operator.index) if number == 0 else f"{operator.index} of subgraph {number}"
                missing.setdefault(operator.kind, []).append(place)
    if missing:
        kinds = "; ".join(f"{kind} (operator {', '.join(places)})" for kind, places in sorted(missing.items()))
        raise ModelError(f"{graph.name}: operators that are not supported: {kinds}")
