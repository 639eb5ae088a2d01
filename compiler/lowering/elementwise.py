"""Operators on pairs of elements: ADD, SUB, MUL, MAXIMUM. What takes a single number is `unary`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...golden.graph import Tensor
from ...golden.kernels import Node
from ...golden.kernels.elementwise import add_multipliers, mul_requantization
from ...golden.kernels.windows import Axis
from ...hw.commands import Combine, Finish
from ...hw.config import Config
from ..convolution import Convolution
from ..lines import Lines
from ..work import Layer, Parameters, Target
from . import unary
from .layers import flat_layer, flat_lines, parameters, signed_zero_point
from .reasons import HostReason, expect_bytes, expect_fields, expect_rounding, signed_offset

ADD_SHIFT = 20
"""Bits that ADD gains before it rescales its inputs."""


def add(node: Node, config: Config) -> Layer:
    """ADD and SUB: both inputs are rescaled on their way into the accumulators, and their sum on its way out.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    if unary.number_beside(node) is not None:
        return unary.with_number(node, config)
    tensors = _pair(node)
    expect_rounding(node, config, node.profile.elementwise_rounding)
    *inputs, output = add_multipliers(node)
    if max(shift for _, shift in inputs) > 0:
        raise HostReason("an input's multiplier exceeds 1")
    works = []
    for position, multiplier in enumerate(inputs):
        tensor = node.input(position)
        subtract = position and node.operator.kind == "SUB"
        works.append(
            flat_lines(
                tensor,
                config,
                sources=(tensors.index(tensor),),
                weights=(1,),
                parameters=parameters(-signed_zero_point(node, tensor), multiplier),
                pre_shift=ADD_SHIFT,
                accumulate=position > 0,
                finish=Finish.RETURN,
                combine=Combine.SUBTRACT if subtract else Combine.ADD,
            )
        )
    return flat_layer(node, tensors, [*works, total(node, config, output)], config)


def mul(node: Node, config: Config) -> Layer:
    """MUL: `a b = floor((a + b)^2 / 4) - floor((a - b)^2 / 4)`, which the accumulators sum up and requantize.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    if unary.number_beside(node) is not None:
        return unary.with_number(node, config)
    requantization = mul_requantization(node)
    expect_rounding(node, config, requantization.rounding)
    multiplier = int(requantization.multiplier[0]), int(requantization.shift[0])
    if node.input(1).constant and node.input(1).shape == node.input(0).shape[-1:]:
        return _channelwise(node, multiplier, config)
    tensors = _pair(node)
    zero_points = [signed_zero_point(node, node.input(i)) for i in range(2)]
    works = []
    for sign in (1, -1):
        works.append(
            flat_lines(
                node.output,
                config,
                sources=(tensors.index(node.input(0)), tensors.index(node.input(1))),
                weights=(1, sign),
                # The square of a number with 16 more bits has 32 more, of which the high product takes 31.
                parameters=parameters(-zero_points[0] - sign * zero_points[1], (0, -3)),
                pre_shift=16,
                square=True,
                accumulate=sign < 0,
                finish=Finish.RETURN,
                combine=Combine.ADD if sign > 0 else Combine.SUBTRACT,
            )
        )
    return flat_layer(node, tensors, [*works, total(node, config, multiplier)], config)


def _channelwise(node: Node, multiplier: tuple[int, int], config: Config) -> Layer:
    """MUL by a constant for each channel: a depthwise convolution with one tap."""
    x, factors = node.input(0), node.constant(1)
    expect_bytes(node, x)
    channels, pixels = x.shape[-1], math.prod(x.shape[:-1])
    zero_point, offset = signed_zero_point(node, x), signed_offset(x)
    weight_zero_point = signed_zero_point(node, node.input(1))
    weights = (factors.astype(np.int64) - offset).astype(np.int8)
    bias = -(weights.astype(np.int64) - weight_zero_point) * zero_point
    q, s = multiplier
    minimum, maximum = node.bounds()
    one = Axis(1, 1, 1, 1, 0, 0, 1)
    expect_fields(origin_y=pixels)
    work = Convolution(
        target=Target(pixels, channels, 0, channels),
        channels_in=1,
        pixel_bytes=channels,
        outputs=channels,
        vertical=Axis(pixels, 1, 1, 1, 0, 0, pixels),
        horizontal=one,
        weights=weights.reshape(channels, 1, 1, 1),
        weight_zero_point=weight_zero_point,
        fill=0,
        parameters=Parameters(bias.astype(np.int32), np.full(channels, q, np.int32), np.full(channels, s, np.int32)),
        zero_point=signed_zero_point(node, node.output),
        lower=minimum - offset,
        upper=maximum - offset,
        depthwise=True,
    )
    size = math.prod(x.shape)
    return Layer(node.operator.index, (x.index,), (size,), node.output.index, 1, pixels, channels, size, ((work,),))


def maximum(node: Node, config: Config) -> Layer:
    """MAXIMUM: in the accumulators.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    if unary.number_beside(node) is not None:
        return unary.with_number(node, config)
    tensors = _pair(node)
    first, second = (
        flat_lines(
            node.output,
            config,
            sources=(tensors.index(node.input(position)),),
            weights=(1,),
            parameters=parameters(),
            accumulate=position > 0,
            finish=Finish.STORE if position else Finish.KEEP,
            combine=Combine.MAXIMUM,
        )
        for position in range(2)
    )
    return flat_layer(node, tensors, [first, second], config)


def minimum(node: Node, config: Config) -> Layer:
    """MINIMUM with a number; of two tensors the machine has none.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    if unary.number_beside(node) is not None:
        return unary.with_number(node, config)
    raise HostReason("the accumulators keep the greater value, not the lesser")


def total(node: Node, config: Config, multiplier: tuple[int, int]) -> Lines:
    """What accumulators hold becomes the output: zeros are added, and the sums requantized."""
    minimum, maximum = node.bounds()
    offset = signed_offset(node.output)
    return flat_lines(
        node.output,
        config,
        sources=(),
        weights=(),
        parameters=parameters(0, multiplier),
        accumulate=True,
        zero_point=signed_zero_point(node, node.output),
        lower=minimum - offset,
        upper=maximum - offset,
    )


def _pair(node: Node) -> Sequence[Tensor]:
    """The tensors that the inputs are, once each, if they have one shape."""
    a, b = node.input(0), node.input(1)
    expect_bytes(node, a, b)
    if a.shape != b.shape:
        raise HostReason(f"the shapes {list(a.shape)} and {list(b.shape)} differ")
    return [a] if a is b else [a, b]
