"""SVDF: a dense layer whose filters are followed by a filter in time, with a state of past activations."""

from __future__ import annotations

import numpy as np

from ..numerics import INT32_MAX, Requantization
from .node import Array, Evaluate, Node, kernel


@kernel("SVDF")
def svdf(node: Node) -> Evaluate:
    """Two requantizations: of the features to the int16 state, and of the sums over time and rank to the output.

    Inputs: x (batch, in); feature weights (filters, in); time weights (filters, steps), int16; bias (units) or none;
    state (batch, filters * steps), int16, a variable. The newest feature is the last of a filter's steps.
    """
    x, features, times, state = (node.input(i) for i in (0, 1, 2, 4))
    node.expect_type(x, "int8")
    node.expect_type(features, "int8")
    node.expect_type(times, "int16")
    node.expect_type(state, "int16")
    node.expect_type(node.output, "int8")
    rank = node.option("rank")
    if len(x.shape) != 2 or len(features.shape) != 2 or len(times.shape) != 2 or rank < 1:
        raise node.fail(f"inputs of the shapes {list(x.shape)}, {list(features.shape)}, {list(times.shape)}")
    batch, filters, steps = x.shape[0], features.shape[0], times.shape[1]
    units = filters // rank
    if filters % rank or features.shape[1] != x.shape[1] or times.shape[0] != filters:
        raise node.fail(f"weights of the shapes {list(features.shape)} and {list(times.shape)} do not fit rank {rank}")
    if state.shape != (batch, filters * steps) or not state.variable:
        raise node.fail(
            f"the state is {list(state.shape)}; expected a variable of the shape {[batch, filters * steps]}"
        )
    node.expect_shape((batch, units))
    s_in, zero_in = node.quantization(x)
    s_feature, s_time, s_state = (node.quantization(t)[0] for t in (features, times, state))
    s_out, zero_out = node.quantization(node.output)
    rounding = node.profile.elementwise_rounding
    to_state = Requantization.of(
        float(s_in * s_feature / s_state), zero_point=0, minimum=-(2**15), maximum=2**15 - 1, rounding=rounding
    )
    to_output = Requantization.of(
        float(s_state * s_time / s_out), zero_point=zero_out, minimum=-128, maximum=127, rounding=rounding
    )
    bias = np.zeros(units, np.int64) if node.optional(3) is None else node.constant(3).astype(np.int64)
    if bias.shape != (units,):
        raise node.fail(f"the bias has the shape {list(bias.shape)}; expected [{units}]")

    def evaluate(x: Array, features: Array, times: Array, _: Array | None, state: Array) -> tuple[Array]:
        past = state.reshape(batch, filters, steps)
        past[:, :, :-1] = past[:, :, 1:].copy()
        past[:, :, -1] = to_state.apply((x.astype(np.int64) - zero_in) @ features.astype(np.int64).T)
        sums = (past.astype(np.int64) * times).sum(axis=2).reshape(batch, units, rank).sum(axis=2)
        accumulator = sums + bias
        if np.any(np.abs(accumulator) > INT32_MAX):
            raise node.fail(f"an accumulator of {int(np.abs(accumulator).max())} leaves 32 bits")
        return (to_output.apply(accumulator, np.int8),)

    return evaluate
