"""Borders that convolutions add themselves: a PAD before them need not be computed.

Outside its image a convolution reads the input's zero point, which is what PAD puts there. So a convolution of a padded
image is one of the image itself, with so much more padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..golden.graph import Graph
from ..golden.kernels.windows import Axis
from .convolution import Convolution
from .lines import Bounds, Lines
from .work import Layer


def absorb_borders(layers: Mapping[int, Layer], graph: Graph) -> tuple[dict[int, Layer], dict[int, int]]:
    """Layers, by operator, without the PADs of which only convolutions read the output.

    Returns
    -------
    The layers, where those convolutions read what was padded; and for each padded tensor, that one.
    """
    remaining, sources = dict(layers), {}
    for number, layer in layers.items():
        if graph.operators[number].kind not in ("PAD", "PADV2") or layer.destination in graph.main.outputs:
            continue
        readers = [operator.index for operator in graph.operators if layer.destination in operator.inputs]
        wider = {reader: _with_border(remaining.get(reader), layer) for reader in readers}
        if wider and all(wider.values()):
            remaining |= {reader: found for reader, found in wider.items() if found}
            del remaining[number]
            sources[layer.destination] = layer.sources[0]
    return remaining, sources


def _with_border(layer: Layer | None, padding: Layer) -> Layer | None:
    """The layer that reads what `padding` reads; None where it cannot do so."""
    ((border,),) = padding.groups
    if layer is None or layer.sources != (padding.destination,) or not isinstance(border, Lines) or not border.bounds:
        return None
    groups = []
    for group in layer.groups:
        works = [_wider(work, border, border.bounds) if type(work) is Convolution else None for work in group]
        if not all(works):
            return None
        groups.append(tuple(work for work in works if work))
    return replace(layer, sources=padding.sources, source_bytes=padding.source_bytes, groups=tuple(groups))


def _wider(work: Convolution, border: Lines, bounds: Bounds) -> Convolution | None:
    """A convolution of the image within the border; None where what is around it differs."""
    size = (work.vertical.size, work.row_bytes) == (border.lines, border.length)
    whole = bounds.left % work.pixel_bytes == bounds.row_bytes % work.pixel_bytes == 0
    if work.pointwise or not size or not whole or work.fill != border.fill:
        return None
    return replace(
        work,
        vertical=_axis(work.vertical, bounds.height, -bounds.top),
        horizontal=_axis(work.horizontal, bounds.row_bytes // work.pixel_bytes, -bounds.left // work.pixel_bytes),
    )


def _axis(axis: Axis, size: int, border: int) -> Axis:
    """The axis of an image of `size` pixels, before which there are `border` more."""
    before = axis.before + border
    after = max(0, (axis.outputs - 1) * axis.stride + axis.reach - before - size)
    return replace(axis, size=size, before=before, after=after)
