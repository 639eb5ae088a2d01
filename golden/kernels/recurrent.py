"""Layers with a memory: SVDF and UNIDIRECTIONAL_SEQUENCE_LSTM. Their states are variable tensors, written in place."""

from __future__ import annotations

import numpy as np

from ..graph import Tensor
from ..numerics import INT32_MAX, Requantization, rounding_divide_by_pot
from .fixed_point import logistic16, tanh16
from .node import Array, Evaluate, Node, kernel

_SHORT = 2**15 - 1


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
    if (tensor := node.optional(3)) is not None:
        node.expect_type(tensor, "int32")
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


@kernel("UNIDIRECTIONAL_SEQUENCE_LSTM")
def unidirectional_sequence_lstm(node: Node) -> Evaluate:
    """int8 activations and weights, int16 gates and cell state; plain, or with coupled input and forget gates.

    Gates are Q3.12 before their activation and Q0.15 after it. With i, f, g, o the gates, c the cell state and h the
    output: `c = f c + i g`, `h = o tanh(c)`. Peepholes, projections and layer normalization are not supported.
    """
    x, output = node.input(0), node.output
    node.expect_type(x, "int8")
    node.expect_type(output, "int8")
    for positions, what in (((9, 10, 11), "peepholes"), ((16, 17), "projections"), ((20, 21, 22, 23), "normalization")):
        if any(node.optional(position) is not None for position in positions):
            raise node.fail(f"{what} are not supported")
    if node.option("fused_activation_function") != "TANH":
        raise node.fail(f"the activation is {node.option('fused_activation_function')}; expected TANH")
    state, cell = node.input(18), node.input(19)
    node.expect_type(state, "int8")
    node.expect_type(cell, "int16")
    major = bool(node.option("time_major"))
    if len(x.shape) != 3:
        raise node.fail(f"the input has the shape {list(x.shape)}; expected three dimensions")
    batch, units = x.shape[1 if major else 0], node.input(2).shape[0]
    if state.shape != (batch, units) or cell.shape != (batch, units) or not (state.variable and cell.variable):
        raise node.fail(f"the states are {list(state.shape)} and {list(cell.shape)}; expected {[batch, units]}")
    node.expect_shape((*x.shape[:2], units))
    coupled = node.optional(1) is None
    enter = None if coupled else _Gate(node, 0, units)
    forget, update, leave = (_Gate(node, gate, units) for gate in (1, 2, 3))
    mantissa, power = np.frexp(node.quantization(cell)[0])
    if mantissa != 0.5 or not -15 <= power - 1 <= -9:
        raise node.fail(
            f"the cell state's scale is {node.quantization(cell)[0]}; expected a power of two, 2^-15 to 2^-9"
        )
    exponent = int(power) - 1
    clip = node.option("cell_clip")
    limit = int(min(np.float32(clip) / node.quantization(cell)[0], np.float32(_SHORT))) if clip > 0 else _SHORT + 1
    if len(node.intermediates) < 5 or node.intermediates[4] is None:
        raise node.fail("the quantization of the hidden state is missing")
    hidden_scale, hidden_zero = node.quantization(node.intermediates[4])
    to_hidden = Requantization.of(
        float(np.float32(2.0**-15 / float(hidden_scale) * 2.0**-15)), zero_point=hidden_zero, minimum=-128, maximum=127
    )

    def evaluate(x: Array, *others: Array) -> tuple[Array]:
        h, c = others[17], others[18]
        steps = x if major else x.swapaxes(0, 1)
        result = np.empty((len(steps), batch, units), np.int8)
        for t, now in enumerate(steps):
            f, g = logistic16(forget.apply(now, h), 3), tanh16(update.apply(now, h), 3)
            o = logistic16(leave.apply(now, h), 3)
            i = _SHORT - f if enter is None else logistic16(enter.apply(now, h), 3)
            kept = rounding_divide_by_pot(f * c, 15)
            added = rounding_divide_by_pot(i * g, 30 + exponent)
            c[...] = np.clip(np.clip(kept + added, -_SHORT - 1, _SHORT), -limit, limit)
            product = o * tanh16(c.astype(np.int64), 15 + exponent)
            h[...] = to_hidden.apply(product, np.int8)
            result[t] = h
        return (result if major else np.ascontiguousarray(result.swapaxes(0, 1)),)

    return evaluate


class _Gate:
    """The two products of a gate, each requantized to Q3.12 by itself, and their saturated sum."""

    def __init__(self, node: Node, gate: int, units: int) -> None:
        x, state = node.input(0), node.input(18)
        self.weights = self._weights(node, 1 + gate, (units, x.shape[2]))
        self.recurrent = self._weights(node, 5 + gate, (units, units))
        node.expect_type(node.input(12 + gate), "int32")
        bias = node.constant(12 + gate).astype(np.int64)
        if bias.shape != (units,):
            raise node.fail(f"the bias of a gate has the shape {list(bias.shape)}; expected [{units}]")
        self.bias = bias - node.quantization(x)[1] * self.weights.sum(axis=1)
        self.recurrent_bias = -node.quantization(state)[1] * self.recurrent.sum(axis=1)
        self.requantization = self._requantization(node, x, node.input(1 + gate))
        self.recurrent_requantization = self._requantization(node, state, node.input(5 + gate))

    @staticmethod
    def _weights(node: Node, position: int, shape: tuple[int, int]) -> Array:
        weights = node.constant(position)
        node.expect_type(node.input(position), "int8")
        if weights.shape != shape:
            raise node.fail(f"input {position} has the shape {list(weights.shape)}; expected {list(shape)}")
        return weights.astype(np.int64)

    @staticmethod
    def _requantization(node: Node, x: Tensor, weights: Tensor) -> Requantization:
        scale = node.quantization(weights)[0] * node.quantization(x)[0] / np.float32(2.0**-12)
        return Requantization.of(float(scale), zero_point=0, minimum=-_SHORT - 1, maximum=_SHORT)

    def apply(self, x: Array, state: Array) -> Array:
        """The gate before its activation; int64 of the shape (batch, units)."""
        first = self.requantization.rounded(x.astype(np.int64) @ self.weights.T + self.bias)
        first = np.clip(first, -_SHORT - 1, _SHORT)
        second = self.recurrent_requantization.rounded(state.astype(np.int64) @ self.recurrent.T + self.recurrent_bias)
        total: Array = np.clip(first + second, -_SHORT - 1, _SHORT)
        return total
