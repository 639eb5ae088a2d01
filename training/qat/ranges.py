"""Fake quantization: rounds real numbers to what integers will be able to say, and lets gradients through.

The rounding is a step function, whose gradient is zero wherever it exists. Training takes it for the identity inside
the range and for a constant outside (the straight-through estimator; Jacob et al. 2018, section 3).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from ...golden import affine
from ...golden.graph import ModelError, Quantization
from ..quantization import Scheme

BOUNDS = {"NONE": (-math.inf, math.inf), "RELU": (0.0, math.inf), "RELU6": (0.0, 6.0)}
"""What an activation leaves of the real numbers."""


class Activation(nn.Module):
    """An activation function with the fake quantization of what it gives.

    In training mode the range follows the extremes of each batch by a moving average.

    Parameters
    ----------
    place
        What errors call it.
    function
        NONE, RELU or RELU6.
    momentum
        The share of the new batch in the moving average.
    scheme
        Of the activations.
    """

    low: torch.Tensor
    high: torch.Tensor
    batches: torch.Tensor

    def __init__(self, place: str, *, function: str = "NONE", momentum: float = 0.01, scheme: Scheme) -> None:
        super().__init__()
        self.place = place
        self.function = function
        self.momentum = momentum
        self.scheme = scheme
        self.group: tuple[Activation, ...] = (self,)
        self.register_buffer("low", torch.zeros((), dtype=torch.float64))
        self.register_buffer("high", torch.zeros((), dtype=torch.float64))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor, rounding: bool = True) -> torch.Tensor:
        """Any shape; the same shape. Without rounding, the activation function alone."""
        if self.training:
            self.observe(x)
        if not rounding:
            return activate(x, self.function)
        # The range has nothing below zero where the activation has not: rounding into it is also the activation. A
        # symmetric one has.
        return self.round(activate(x, self.function) if self.scheme.symmetric else x)

    def round(self, x: torch.Tensor) -> torch.Tensor:
        """Rounds to the nearest number that the range's integers stand for."""
        return rounded(x, self.quantization(), np.dtype(self.scheme.dtype))

    def observe(self, x: torch.Tensor) -> None:
        """Lets the range follow one batch.

        Raises
        ------
        ModelError
            The batch has a NaN or an infinity.
        """
        least, greatest = (float(v) for v in torch.aminmax(_dense(x)))
        if not (math.isfinite(least) and math.isfinite(greatest)):
            raise ModelError(f"{self.place}: its values range from {least} to {greatest}; expected finite numbers")
        lower, upper = BOUNDS[self.function]
        extremes = min(max(least, lower), upper), min(max(greatest, lower), upper)
        share = self.momentum if int(self.batches) else 1.0
        for average, extreme in zip((self.low, self.high), extremes, strict=True):
            average += share * (extreme - float(average))
        self.batches += 1

    def range(self) -> tuple[float, float]:
        """The least and the greatest value, over all that share this range.

        Raises
        ------
        ModelError
            No batch was seen in training mode.
        """
        seen = [member for member in self.group if int(member.batches)]
        if not seen:
            raise ModelError(f"{self.place}: has no range yet; expected training, of one batch at least")
        return min(float(m.low) for m in seen), max(float(m.high) for m in seen)

    def quantization(self) -> Quantization:
        """Scale and zero point of the range; the zero point is nudged to an integer."""
        return self.scheme.activation(*self.range())


def rounded(x: torch.Tensor, quantization: Quantization, dtype: np.dtype[Any]) -> torch.Tensor:
    """Each element at the nearest number that an integer stands for; gradients pass inside the range."""
    low, high = affine.representable(quantization, dtype)
    result: torch.Tensor = _Rounding.apply(x, float(quantization.scale[0]), float(low[0]), float(high[0]))
    return result


class _Rounding(torch.autograd.Function):
    """Rounding to multiples of a step inside a range whose ends are multiples: zero is one, so no zero point is needed.

    A few vectorized passes; torch's own fake quantization goes element by element and takes half of a training step.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, step: float, low: float, high: float) -> torch.Tensor:
        """Float, any shape."""
        ctx.save_for_backward(x)
        ctx.range = low - step / 2, high + step / 2
        return torch.clamp(x, low, high).mul_(1 / step).round_().mul_(step)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        """The identity in the range, zero outside."""
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, x, *ctx.range), None, None, None


def activate(x: torch.Tensor, function: str) -> torch.Tensor:
    """The activation function alone."""
    match function:
        case "RELU":
            return nn.functional.relu(x)
        case "RELU6":
            return nn.functional.relu6(x)
    return x


def _dense(x: torch.Tensor) -> torch.Tensor:
    """The elements as they lie in memory, where torch would copy them to go through them in another order."""
    x = x.detach()
    return x.permute(0, 2, 3, 1) if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) else x


def rounded_weights(weights: torch.Tensor, factor: torch.Tensor | None, scheme: Scheme, place: str) -> torch.Tensor:
    """Weights, output channels first, rounded to what integers will be able to say of them times `factor`.

    A channel of zeros stays what it is: any scale will do.

    Parameters
    ----------
    factor
        What the integer network will have multiplied each output channel by, `(outputs,)`, not 0; None for 1. The
        result is divided by it again.

    Raises
    ------
    ModelError
        They are not finite.
    """
    if factor is None:
        factor = torch.ones(len(weights), dtype=weights.dtype)
    rows = weights.detach().flatten(1)
    low, high = (end * factor for end in torch.aminmax(rows, dim=1))
    low, high = torch.minimum(low, high), torch.maximum(low, high)  # a factor may be negative
    if not scheme.per_channel:
        low, high = low.min(), high.max()
    try:
        if scheme.dtype == "uint8":
            q = affine.asymmetric(low.numpy(), high.numpy(), np.uint8, narrow=True)
        else:
            q = affine.symmetric(torch.maximum(-low, high).numpy())
    except ValueError as error:
        raise ModelError(f"{place}: its weights: {error}") from error
    # The range is that of the weights, so that nothing lies outside but by the nudge of a zero point.
    steps = (torch.from_numpy(q.scale) / factor).reshape(-1, *[1] * (weights.ndim - 1))
    result: torch.Tensor = _Nearest.apply(weights, steps)
    return result


class _Nearest(torch.autograd.Function):
    """Rounding to multiples of steps that broadcast; the identity in the gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """Float, any shape."""
        return (x / steps).round_().mul_(steps)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """As it comes."""
        return gradient, None
