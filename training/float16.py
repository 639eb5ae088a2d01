"""Networks with float16 weights: what TensorFlow Lite's own post-training float16 quantization writes.

Such a file holds its weights as float16 constants, each behind a DEQUANTIZE that makes it float32 for the layer.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..golden.graph import Graph


def widened(graph: Graph) -> Graph:
    """The same network with float32 constants in place of float16 ones and their DEQUANTIZE operators.

    No value changes, as float32 holds every float16. A network without such constants is returned as it is, and
    whatever else is float16 stays so; in others tensors and operators are numbered anew.
    """
    tensors = {tensor.index: tensor for tensor in graph.tensors}
    kept = []
    for operator in graph.operators:
        source = graph.tensors[operator.inputs[0]] if operator.kind == "DEQUANTIZE" else None
        if source is not None and source.data is not None and source.dtype == np.float16:
            output = graph.tensors[operator.outputs[0]]
            tensors[output.index] = replace(output, data=source.data.astype(np.float32))
        else:
            kept.append(operator)
    if len(kept) == len(graph.operators):
        return graph
    used = {index for operator in kept for index in operator.inputs}
    for tensor in graph.tensors:
        if tensor.dtype == np.float16 and tensor.data is not None and tensor.index not in used:
            del tensors[tensor.index]
    numbers = {old: new for new, old in enumerate(tensors)}

    def renumbered(indices: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(numbers.get(index, index) for index in indices)  # -1 stands for nothing

    main = replace(
        graph.main,
        tensors=tuple(replace(tensor, index=numbers[tensor.index]) for tensor in tensors.values()),
        operators=tuple(
            replace(operator, index=number, inputs=renumbered(operator.inputs), outputs=renumbered(operator.outputs))
            for number, operator in enumerate(kept)
        ),
        inputs=renumbered(graph.main.inputs),
        outputs=renumbered(graph.main.outputs),
    )
    return replace(graph, subgraphs=(main, *graph.subgraphs[1:]))
