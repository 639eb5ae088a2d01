"""Sums of all pixels of an image, each channel by itself."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..hw.commands import Finish, Mode
from ..hw.config import Config
from .work import Chunk, Parameters, Part, Target, Work


@dataclass(frozen=True, eq=False, kw_only=True)
class Gather(Work):
    """Sums over images.

    The array adds R neighbouring pixels, of which each comes by once, and the accumulator adds the sums.

    Parameters
    ----------
    count, outputs
        Pixels of each image, and channels of each.
    """

    target: Target
    count: int
    outputs: int
    parameters: Parameters
    zero_point: int
    lower: int
    upper: int
    sources: tuple[int, ...] = (0,)
    weight_zero_point: int = 0
    accumulate: bool = False
    finish: Finish = Finish.STORE

    @property
    def shape(self) -> Hashable:
        return self.target, self.count, self.outputs, self.sources

    @property
    def reading(self) -> Hashable:
        return self.count, self.outputs

    def channels(self, config: Config) -> int:
        return self.outputs

    def loops(self, config: Config) -> tuple[int, int, int]:
        return 1, 1, 1

    def taps(self, config: Config) -> npt.NDArray[np.int8]:
        return np.ones((self.outputs, config.rows), np.int8)

    def vectors(self, config: Config) -> int:
        """Vectors of a pass."""
        return -(-self.count // config.rows) * config.rows

    def pixels(self, config: Config) -> int:
        return self.vectors(config) * self.blocks(config)

    def tile_rows(self, config: Config) -> int:
        return 1

    def reads(self, image: int, top: int, bottom: int) -> tuple[int, int]:
        return image * self.most(1), (image + 1) * self.most(1)

    def most(self, rows: int) -> int:
        return self.count * self.outputs

    def parts(self, image: int, top: int, bottom: int, config: Config) -> Iterator[Part]:
        yield Part(image, 0, 1, 0, 1)

    def fields(self, part: Part, chunk: Chunk, config: Config, sources: Sequence[int]) -> dict[str, int]:
        vectors, first = self.vectors(config), chunk.first_block * config.columns
        return {
            "mode": Mode.DEPTHWISE,
            "gather": 1,
            "zero_point": self.zero_point,
            "lower": self.lower,
            "upper": self.upper,
            "source": sources[self.sources[0]] + part.image * self.most(1) + first,
            "origin_x": first,
            "row_bytes": self.most(1),
            "height": 1,
            "pixels": vectors,
            "columns": vectors,
            "column_step": self.outputs,
            "skip_columns": config.rows - 1,
            "every_column": config.rows,
            "destination_column_step": 0,
        }
