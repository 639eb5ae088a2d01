"""How a depthwise convolution becomes FIR filters down the columns of the array.

An image is streamed in strips of rows, each `width` vectors wide. In that stream the tap of kernel row `a` and column
`b` lies `(rows - 1 - a) * dilation * width + (columns - 1 - b) * dilation` vectors before the last tap, and so belongs
in that row of the array. A pass covers as many rows and columns of the kernel as the array has rows for; narrow strips
let it cover more of them, but give fewer outputs for each vector: `columns - 1` of them in every row are lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from ..golden.kernels.windows import Axis
from ..hw.commands import Execute
from ..hw.config import Config


@dataclass(frozen=True)
class Filters:
    """The part of a kernel that a pass covers, and the strips that it streams.

    Parameters
    ----------
    vertical, horizontal
        The convolution's axes.
    rows, columns
        Kernel rows and columns that a pass covers.
    outputs
        Output pixels in a row of a strip.
    """

    vertical: Axis
    horizontal: Axis
    rows: int
    columns: int
    outputs: int

    @property
    def passes(self) -> tuple[int, int]:
        """How many passes there are down and across the kernel."""
        return -(-self.vertical.kernel // self.rows), -(-self.horizontal.kernel // self.columns)

    @property
    def row_step(self) -> int:
        """Image rows between rows of the stream: where taps do not share rows, only those that are needed."""
        return self.vertical.stride if self.rows == 1 else 1

    @property
    def column_step(self) -> int:
        """Image columns between vectors, likewise."""
        return self.horizontal.stride if self.columns == 1 else 1

    @property
    def skip_rows(self) -> int:
        """Rows of a strip before the first output."""
        return (self.rows - 1) * self.vertical.dilation

    @property
    def skip_columns(self) -> int:
        """Vectors of a row before the first output."""
        return (self.columns - 1) * self.horizontal.dilation

    @property
    def every_row(self) -> int:
        """Rows of the stream from one with outputs to the next."""
        return self.vertical.stride // self.row_step

    @property
    def every_column(self) -> int:
        """Vectors from one output to the next."""
        return self.horizontal.stride // self.column_step

    @property
    def width(self) -> int:
        """Vectors in a row of a strip."""
        return (self.outputs - 1) * self.every_column + 1 + self.skip_columns

    @property
    def strips(self) -> int:
        """Strips that cover the output; the last one may have to overlap its neighbour."""
        return -(-self.horizontal.outputs // self.outputs)

    def tap(self, row: int, column: int) -> int:
        """The row of the array for a kernel row and column, both counted within a pass."""
        down = (self.rows - 1 - row) * self.vertical.dilation * self.width
        return down + (self.columns - 1 - column) * self.horizontal.dilation

    def height(self, outputs: int) -> int:
        """Rows of a strip for so many output rows."""
        return (outputs - 1) * self.every_row + 1 + self.skip_rows

    def vectors(self, outputs: int, strips: int) -> int:
        """Vectors of so many strips for so many output rows."""
        return strips * self.height(outputs) * self.width

    def together(self, config: Config) -> int:
        """Strips for one command: as many as fit the accumulators, if only for one output row."""
        most = min(config.accumulator_depth // self.outputs, Execute.largest("pixels") // self.vectors(1, 1))
        return max(1, min(most, self.horizontal.outputs // self.outputs))

    def tile_rows(self, config: Config) -> int:
        """Output rows for one command."""
        strips = self.together(config)
        most = max(1, min(config.accumulator_depth // (strips * self.outputs), self.vertical.outputs))
        while most > 1 and self.vectors(most, strips) > Execute.largest("pixels"):
            most -= 1
        return most

    def parts(self, config: Config) -> Iterator[tuple[int, int]]:
        """`(first output column, strips)` of the commands that compute a row of output pixels.

        Where strips do not divide it, a last one ends with it and computes some pixels for the second time.
        """
        whole, rest = divmod(self.horizontal.outputs, self.outputs)
        together = self.together(config)
        for strip in range(0, whole, together):
            yield strip * self.outputs, min(together, whole - strip)
        if rest:
            yield self.horizontal.outputs - self.outputs, 1

    def legal(self, config: Config) -> bool:
        """Whether the array has a row for every tap, and the command's fields hold the numbers."""
        fields = {
            "row_y": self.row_step,
            "skip_rows": self.skip_rows,
            "skip_columns": self.skip_columns,
            "every_row": self.every_row,
            "every_column": self.every_column,
            "pixels": self.vectors(1, 1),
        }
        fits = all(value <= Execute.largest(name) for name, value in fields.items())
        return fits and self.tap(0, 0) < config.rows and self.outputs <= config.accumulator_depth


def filters_of(vertical: Axis, horizontal: Axis, config: Config) -> Filters | None:
    """The filters with which a depthwise convolution takes the fewest cycles; None where no command can hold any."""
    return _best(vertical, horizontal, config, vertical.kernel, horizontal.kernel)


def single_taps(vertical: Axis, horizontal: Axis, config: Config) -> Filters | None:
    """The same where the array must not add: each pass covers one tap of the kernel."""
    return _best(vertical, horizontal, config, 1, 1)


@lru_cache(maxsize=1024)
def _best(vertical: Axis, horizontal: Axis, config: Config, most_rows: int, most_columns: int) -> Filters | None:
    best, least = None, 0
    for rows, columns in product(range(1, most_rows + 1), range(1, most_columns + 1)):
        for outputs in range(1, horizontal.outputs + 1):
            filters = Filters(vertical, horizontal, rows, columns, outputs)
            if not filters.legal(config):
                break
            down, across = filters.passes
            slots = down * across * (filters.vectors(vertical.outputs, filters.strips) + config.rows)
            if best is None or slots < least:
                best, least = filters, slots
    return best
