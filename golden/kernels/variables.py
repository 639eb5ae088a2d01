"""State between calls: VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE, CALL_ONCE.

A handle is a zero-dimensional object array that holds the variable's name; the session holds the values.
"""

from __future__ import annotations

import numpy as np

from .node import Array, Context, Evaluate, Node, kernel


def _context(node: Node) -> Context:
    if node.context is None:
        raise node.fail("it keeps state between calls; run it in a Session")
    return node.context


@kernel("VAR_HANDLE")
def var_handle(node: Node) -> Evaluate:
    """A handle of the variable that the options name."""
    handle = np.empty((), object)
    handle[()] = f"{node.option('container')}/{node.option('shared_name')}"
    return lambda: (handle,)


@kernel("READ_VARIABLE")
def read_variable(node: Node) -> Evaluate:
    """The variable's value; before the first assignment, the zero point."""
    context, output = _context(node), node.output
    fresh = 0 if output.quantization is None else node.quantization(output)[1]

    def evaluate(handle: Array) -> tuple[Array]:
        value = context.variables.get(str(handle[()]))
        if value is None:
            return (np.full(output.shape, fresh, output.dtype),)
        if value.dtype != output.dtype:
            raise node.fail(f"the variable holds {value.dtype}; the output is {output.dtype}")
        node.expect_shape(value.shape)
        return (value,)

    return evaluate


@kernel("ASSIGN_VARIABLE")
def assign_variable(node: Node) -> Evaluate:
    """Keeps a copy of the second input."""
    context = _context(node)

    def evaluate(handle: Array, value: Array) -> tuple[()]:
        copy = value.copy()
        copy.flags.writeable = False
        context.variables[str(handle[()])] = copy
        return ()

    return evaluate


@kernel("CALL_ONCE")
def call_once(node: Node) -> Evaluate:
    """Runs a subgraph, which sets variables, in the first call only."""
    context, number = _context(node), node.option("init_subgraph_index")

    def evaluate() -> tuple[()]:
        context.call_once(number)
        return ()

    return evaluate
