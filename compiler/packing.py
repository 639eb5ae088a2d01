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
    parts = layer.vertical.kernel * layer.kernel_columns
    runs = layer.runs(rows)
    tiles = np.full((blocks * columns, parts, runs * rows), np.int8(layer.weight_zero_point), np.int8)
    tiles[: layer.outputs, :, : layer.part_bytes] = layer.weights.reshape(layer.outputs, parts, layer.part_bytes)
    tiles = tiles.reshape(blocks, columns, parts * runs, rows)[..., ::-1].transpose(0, 2, 3, 1)

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
        (blocks, parts * runs * rows + PARAMETER_ROWS, config.weight_row_bytes),
        np.int8(layer.weight_zero_point).view(np.uint8),
        np.uint8,
    )
    packed[:, :-PARAMETER_ROWS, :columns] = tiles.reshape(blocks, -1, columns).view(np.uint8)
    packed[:, -PARAMETER_ROWS:, :columns] = parameters.reshape(blocks, columns, -1).transpose(0, 2, 1)
    return packed
