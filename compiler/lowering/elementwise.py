"""Operators on pairs of elements: ADD, SUB, MUL, MAXIMUM, MINIMUM. What takes a single number is `unary`.

Where one input is broadcast over neighbouring dimensions, such as a vector of channels over all pixels, its lines are
read anew for each of the other's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...golden.kernels import Node
from ...golden.kernels.elementwise import add_multipliers, mul_requantization
from ...golden.kernels.windows import Axis
from ...hw.commands import Combine, Finish
from ...hw.config import Config
from ..convolution import Convolution
from ..lines import Lines
from ..work import Layer, Parameters, Target
from . import unary
from .layers import ADD_SHIFT, MOST_COPIES, flat_layer, flat_lines, internal, parameters, signed_zero_point
from .reasons import HostReason, expect_bytes, expect_fields, expect_rounding, signed_offset


def add(node: Node, config: Config) -> Layer:
    """ADD and SUB: both inputs are rescaled on their way into the accumulators, and their sum on its way out.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    if unary.number_beside(node) is not None:
        return unary.with_number(node, config)
    operands = _Operands(node, config)
    expect_rounding(node, config, node.profile.elementwise_rounding)
    *inputs, output = add_multipliers(node)
    if max(shift for _, shift in inputs) > 0:
        raise HostReason("an input's multiplier exceeds 1")
    works = []
    for position, multiplier in enumerate(inputs):
        tensor = node.input(position)
        subtract = position and node.operator.kind == "SUB"
        works.append(
            operands.lines(
                position,
                weights=(1,),
                parameters=parameters(-signed_zero_point(node, tensor), multiplier),
                pre_shift=ADD_SHIFT,
                accumulate=position > 0,
                finish=Finish.RETURN,
                combine=Combine.SUBTRACT if subtract else Combine.ADD,
            )
        )
    return operands.layer([*works, operands.lines(**_total(node, output))])


def mul(node: Node, config: Config) -> Layer | tuple[Layer, ...]:
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
    operands = _Operands(node, config)
    zero_points = [signed_zero_point(node, node.input(i)) for i in range(2)]
    works = []
    for sign in (1, -1):
        works.append(
            flat_lines(
                node.output,
                config,
                sources=operands.sources,
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
    works.append(flat_lines(node.output, config, sources=(), weights=(), **_total(node, multiplier)))
    if operands.still is None:
        return flat_layer(node, operands.tensors, works, config)
    # Vectors of two sources in turn are equally far apart: what is broadcast is written out before.
    copies = operands.copies(operands.still)
    layer = flat_layer(node, operands.tensors, works, config)
    sources, sizes = list(layer.sources), list(layer.source_bytes)
    position = operands.sources[operands.still]
    sources[position], sizes[position] = copies.destination, copies.size
    return copies, replace(layer, sources=tuple(sources), source_bytes=tuple(sizes))


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
    return _greater(_Operands(node, config))


def minimum(node: Node, config: Config) -> Layer | tuple[Layer, ...]:
    """MINIMUM: the complement of the greater one of two complements.

    Raises
    ------
    HostReason
        The host has to compute it.
    """
    if unary.number_beside(node) is not None:
        return unary.with_number(node, config)
    complements = replace(_greater(_Operands(node, config), weight=-1, bias=-1), destination=internal(node))
    work = flat_lines(node.output, config, sources=(0,), weights=(-1,), parameters=parameters(-1))
    layer = flat_layer(node, [node.output], [work], config)
    return complements, replace(layer, sources=(complements.destination,))


def _greater(operands: _Operands, weight: int = 1, bias: int = 0) -> Layer:
    """`bias` and the greater one of two elements, each `weight` times."""
    works = [
        operands.lines(
            position,
            weights=(weight,),
            parameters=parameters(bias),
            accumulate=position > 0,
            finish=Finish.STORE if position else Finish.KEEP,
            combine=Combine.MAXIMUM,
        )
        for position in range(2)
    ]
    return operands.layer(works)


def _total(node: Node, multiplier: tuple[int, int]) -> dict[str, Any]:
    """What a work needs, beside the bytes to work on, that adds zeros to sums and makes the output of them."""
    minimum, maximum = node.bounds()
    offset = signed_offset(node.output)
    return {
        "parameters": parameters(0, multiplier),
        "accumulate": True,
        "zero_point": signed_zero_point(node, node.output),
        "lower": minimum - offset,
        "upper": maximum - offset,
    }


class _Operands:
    """The inputs of an operator on pairs, as lines of bytes of which the outputs are computed.

    Attributes
    ----------
    tensors
        The inputs, once each.
    sources
        For each input, its place among them.
    still
        The input that is broadcast: of each image it has but one line. None where none is.

    Raises
    ------
    HostReason
        The host has to compute the operator.
    """

    def __init__(self, node: Node, config: Config) -> None:
        inputs = node.input(0), node.input(1)
        expect_bytes(node, *inputs)
        self._node, self._config = node, config
        self.tensors = list({tensor.index: tensor for tensor in inputs}.values())
        self.sources = self.tensors.index(inputs[0]), self.tensors.index(inputs[1])
        self.still: int | None = None
        shape = node.output.shape
        whole = [math.prod(tensor.shape) == math.prod(shape) for tensor in inputs]
        if all(whole):
            return
        self.still = whole.index(False)
        shapes = f"the shapes {list(inputs[0].shape)} and {list(inputs[1].shape)}"
        if not any(whole):
            raise HostReason(f"{shapes} are both broadcast")
        small = inputs[self.still].shape
        small = (1,) * (len(shape) - len(small)) + small
        differing = [i for i in range(len(shape)) if small[i] != shape[i]]
        first, stop = differing[0], differing[-1] + 1
        if math.prod(small[first:stop]) > 1:
            raise HostReason(f"{shapes} differ in dimensions that are not neighbours")
        self._images, self._lines, self._length = map(math.prod, (shape[:first], shape[first:stop], shape[stop:]))
        if self._images > MOST_COPIES:
            raise HostReason(f"{shapes} make {self._images} images, more than {MOST_COPIES}")

    def lines(self, position: int | None = None, **fields: Any) -> Lines:
        """A work on the bytes of an input; on none without `position`."""
        config = self._config
        fields["sources"] = () if position is None else (self.sources[position],)
        fields.setdefault("weights", ())
        if self.still is None:
            return flat_lines(self._node.output, config, **fields)
        return Lines(
            target=Target(self._lines, self._length, 0, config.columns),
            lines=self._lines,
            length=self._length,
            last=self._length,
            pitch=0 if position == self.still else self._length,
            **fields,
        )

    def layer(self, works: Sequence[Lines]) -> Layer:
        """The layer of such works, which go on with each other's sums."""
        layer = flat_layer(self._node, self.tensors, works, self._config)
        if self.still is None:
            return layer
        return replace(layer, batch=self._images, rows=self._lines, row_bytes=self._length)

    def copies(self, position: int) -> Layer:
        """The layer that writes an input out, as often as it is broadcast."""
        tensor = self._node.input(position)
        work = replace(self.lines(position, weights=(1,), parameters=parameters()), sources=(0,))
        layer = self.layer([work])
        return replace(
            layer,
            sources=(tensor.index,),
            source_bytes=(math.prod(tensor.shape),),
            destination=internal(self._node),
        )
