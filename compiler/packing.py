"""Weights as the machine reads them: blocks of output channels, tiles in the order of their use, then parameters.

A block is C output channels. For each of its passes it has a tile of R rows, the last row first, one byte per channel;
then nine rows with the channels' bias, multiplier (both little-endian) and shift. Every row is as wide as
`Config.weight_row_bytes`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..hw.commands import PARAMETER_ROWS
from ..hw.config import Config
from .lowering import Convolution


def pack(layer: Convolution, config: Config) -> npt.NDArray[np.uint8]:
    """All blocks of a convolution.

    Returns
    -------
    Shape `(blocks, passes * R + 9, weight_row_bytes)`. What pads a tile, on either side, is the weights' zero point:
    such a weight is zero to the array.
    """
    rows, columns = config.rows, config.columns
    blocks = -(-layer.outputs // columns)
    passes = layer.passes(config)
    tiles = np.full((blocks * columns, passes * rows), np.int8(layer.weight_zero_point), np.int8)
    tiles[: layer.outputs] = _filter_taps(layer, config) if layer.depthwise else _operand_rows(layer, config)
    tiles = tiles.reshape(blocks, columns, passes, rows)[..., ::-1].transpose(0, 2, 3, 1)

    parameters = np.zeros((blocks * columns, PARAMETER_ROWS), np.uint8)
    parameters[: layer.outputs] = np.concatenate(
        [
            layer.bias.astype("<i4").view(np.uint8).reshape(-1, 4),
            layer.multiplier.astype("<i4").view(np.uint8).reshape(-1, 4),
            layer.shift.astype(np.int8).view(np.uint8).reshape(-1, 1),
        ],
        axis=1,
    )

    packed = np.full(
        (blocks, passes * rows + PARAMETER_ROWS, config.weight_row_bytes),
        np.int8(layer.weight_zero_point).view(np.uint8),
        np.uint8,
    )
    packed[:, :-PARAMETER_ROWS, :columns] = tiles.reshape(blocks, -1, columns).view(np.uint8)
    packed[:, -PARAMETER_ROWS:, :columns] = parameters.reshape(blocks, columns, -1).transpose(0, 2, 1)
    return packed


def _operand_rows(layer: Convolution, config: Config) -> npt.NDArray[np.int8]:
    """Weights in the order of the passes, shape `(outputs, passes * R)`: each contiguous part ends with a pass."""
    kernel_rows, kernel_columns, runs = layer.loops(config)
    parts = kernel_rows * kernel_columns
    padded = np.full((layer.outputs, parts, runs * config.rows), np.int8(layer.weight_zero_point), np.int8)
    padded[..., : layer.part_bytes] = layer.weights.reshape(layer.outputs, parts, layer.part_bytes)
    return padded.reshape(layer.outputs, -1)


def _filter_taps(layer: Convolution, config: Config) -> npt.NDArray[np.int8]:
    """Depthwise weights in the rows of the array that the filters say, shape `(outputs, passes * R)`."""
    filters = layer.filters(config)
    across = filters.passes[1]
    taps = np.full((layer.outputs, layer.passes(config), config.rows), np.int8(layer.weight_zero_point), np.int8)
    for row, column in np.ndindex(layer.weights.shape[1:3]):
        down, a = divmod(row, filters.rows)
        right, b = divmod(column, filters.columns)
        taps[:, down * across + right, filters.tap(a, b)] = layer.weights[:, row, column, 0]
    return taps.reshape(layer.outputs, -1)
