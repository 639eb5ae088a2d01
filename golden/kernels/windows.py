"""Windows that slide over images: padding, output sizes and the strided views that taps read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .node import Array, Node

# Elements around an image: a damaged dilation asks for any number.
_MOST_PADDING = 2**22


@dataclass(frozen=True)
class Axis:
    """A window sliding along one axis.

    Parameters
    ----------
    size
        Pixels of the input.
    kernel, stride, dilation
        Taps of the window, and the distances of outputs and of taps, in pixels.
    before, after
        Pixels outside the input that the first and the last outputs reach.
    outputs
        Positions of the window.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    outputs: int

    @property
    def reach(self) -> int:
        """Pixels from the window's first tap to its last, both included."""
        return (self.kernel - 1) * self.dilation + 1

    def tap(self, position: int) -> slice:
        """The pixels of the padded axis that a tap reads, one per output."""
        start = position * self.dilation
        return slice(start, start + (self.outputs - 1) * self.stride + 1, self.stride)


def axis_of(node: Node, *, size: int, kernel: int, stride: int, dilation: int, padding: str) -> Axis:
    """How a window lies along an axis.

    SAME padding gives `ceil(size / stride)` outputs and puts the odd pixel after the input.

    Raises
    ------
    ModelError
        A number that is not positive, or no room for the window.
    """
    for label, value in (("input", size), ("kernel", kernel), ("stride", stride), ("dilation", dilation)):
        if value < 1:
            raise node.fail(f"the {label} along one axis is {value}; expected at least 1")
    reach = (kernel - 1) * dilation + 1
    if padding == "SAME":
        outputs = -(-size // stride)
        total = max((outputs - 1) * stride + reach - size, 0)
        return Axis(size, kernel, stride, dilation, total // 2, total - total // 2, outputs)
    outputs = (size - reach) // stride + 1
    if outputs < 1:
        raise node.fail(f"a window of {reach} pixels does not fit {size} pixels without padding")
    return Axis(size, kernel, stride, dilation, 0, 0, outputs)


def axes_of(node: Node, kernel_height: int, kernel_width: int, *, dilated: bool = True) -> tuple[Axis, Axis]:
    """The vertical and the horizontal axis of an operator on its first input, an NHWC image."""
    x = node.input(0)
    if len(x.shape) != 4:
        raise node.fail(f"the input has the shape {list(x.shape)}; expected four dimensions")
    padding = node.option("padding")
    vertical = axis_of(
        node,
        size=x.shape[1],
        kernel=kernel_height,
        stride=node.option("stride_h"),
        dilation=node.option("dilation_h_factor") if dilated else 1,
        padding=padding,
    )
    horizontal = axis_of(
        node,
        size=x.shape[2],
        kernel=kernel_width,
        stride=node.option("stride_w"),
        dilation=node.option("dilation_w_factor") if dilated else 1,
        padding=padding,
    )
    inside = math.prod(x.shape[1:])
    padded = math.prod(axis.size + axis.before + axis.after for axis in (vertical, horizontal)) * x.shape[3]
    if padded > 2 * inside + _MOST_PADDING:
        raise node.fail(f"padding makes {padded} elements of {inside}")
    return vertical, horizontal


def pad_image(x: Array, vertical: Axis, horizontal: Axis, value: float, dtype: type | None = None) -> Array:
    """An NHWC image with the pixels around it that its windows reach, filled with `value`."""
    n, h, w, c = x.shape
    shape = (n, h + vertical.before + vertical.after, w + horizontal.before + horizontal.after, c)
    padded = np.full(shape, value, dtype or x.dtype)
    padded[:, vertical.before : vertical.before + h, horizontal.before : horizontal.before + w] = x
    return padded
