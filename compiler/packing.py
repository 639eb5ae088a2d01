"""Weights as the machine reads them: blocks of output channels, tiles in the order of their use, then parameters.

A block is C output channels. For each of its passes it has a tile of R rows, the last row first, one byte per channel;
then nine rows with the channels' bias, multiplier (both little-endian) and shift. Blocks that come to the scratchpad
ahead of time have all their tiles first. Every row is as wide as `Config.weight_row_bytes`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..hw.commands import PARAMETER_ROWS
from ..hw.config import Config
from .staging import Piece
from .work import Layer, Work


def pack(layer: Layer, config: Config, pieces: Sequence[Piece] = ()) -> npt.NDArray[np.uint8]:
    """The weights of all works of a layer, one after the other; uint8, flat.

    Those of a piece that is staged have all tiles before all parameters.
    """
    packed = [pack_work(work, config) for work in layer.works]
    for piece in pieces:
        blocks = packed[0][piece.first_block :][: piece.blocks]
        parts = np.split(blocks, [blocks.shape[1] - PARAMETER_ROWS], axis=1)
        blocks[:] = np.concatenate([part.reshape(-1) for part in parts]).reshape(blocks.shape)
    return np.concatenate([work.reshape(-1) for work in packed])


def pack_work(work: Work, config: Config) -> npt.NDArray[np.uint8]:
    """All blocks of a work.

    Returns
    -------
    Shape `(blocks, passes * R + 9, weight_row_bytes)`; without the nine where the work does not requantize. What pads
    a tile, on either side, is the weights' zero point: such a weight is zero to the array.
    """
    rows, columns = config.rows, config.columns
    channels, blocks, passes = work.channels(config), work.blocks(config), work.passes(config)
    tiles = np.full((blocks * columns, passes * rows), np.int8(work.weight_zero_point), np.int8)
    tiles[:channels] = work.taps(config)
    tiles = tiles.reshape(blocks, columns, passes, rows)[..., ::-1].transpose(0, 2, 3, 1)
    packed = np.full(
        (blocks, passes * rows + (PARAMETER_ROWS if work.finish else 0), config.weight_row_bytes),
        np.int8(work.weight_zero_point).view(np.uint8),
        np.uint8,
    )
    packed[:, : passes * rows, :columns] = tiles.reshape(blocks, -1, columns).view(np.uint8)
    if work.finish:
        parameters = np.zeros((blocks * columns, PARAMETER_ROWS), np.uint8)
        parameters[:channels, 0:4] = work.parameters.bias.astype("<i4").reshape(-1, 1).view(np.uint8)
        parameters[:channels, 4:8] = work.parameters.multiplier.astype("<i4").reshape(-1, 1).view(np.uint8)
        parameters[:channels, 8:] = work.parameters.shift.astype(np.int8).reshape(-1, 1).view(np.uint8)
        packed[:, -PARAMETER_ROWS:, :columns] = parameters.reshape(blocks, columns, -1).transpose(0, 2, 1)
    return packed
