"""How a depthwise convolution becomes FIR filters down the columns of the array.

An image is streamed in strips of rows, each `width` vectors wide. In that stream the tap of kernel row `a` and column
`b` lies `(rows - 1 - a) * width + (columns - 1 - b)` vectors before the last tap (times the dilation, where there is
one), and so belongs in that row of the array. A pass covers as many rows and columns of the kernel as the array has
rows for; narrow strips let it cover more of them, but give fewer outputs for each vector: `columns - 1` of them in
every row are lost.

Where a strip is as wide as the image, the pixels outside it at the end of a row stand as well for those before the next
row, and are streamed once. What comes before the first row then takes a row of its own.

With a stride, many vectors give no output. Where all of a pass's taps are a stride apart, the others need not be
streamed: the kernel's rows, or columns, are dealt to as many passes as the stride is long, its *phases*.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product, takewhile

from ..golden.kernels.windows import Axis
from ..hw.commands import Execute
from ..hw.config import Config


@dataclass(frozen=True)
class Cut:
    """How a kernel is cut into passes along one axis.

    Parameters
    ----------
    axis
        The convolution's axis.
    taps
        Positions of the kernel that a pass covers.
    phases
        Whether those are a stride apart; otherwise they are neighbours.
    """

    axis: Axis
    taps: int
    phases: bool = False

    @property
    def passes(self) -> int:
        """How many passes there are."""
        return min(self.axis.stride, self.axis.kernel) if self.phases else -(-self.axis.kernel // self.taps)

    @property
    def offset(self) -> int:
        """Pixels from the first of one pass to that of the next."""
        return 1 if self.phases else self.taps * self.axis.dilation

    @property
    def step(self) -> int:
        """Pixels from one that is streamed to the next: where taps do not share pixels, only those that are needed."""
        return self.axis.stride if self.phases or self.taps == 1 else 1

    @property
    def apart(self) -> int:
        """Streamed pixels from one tap to the next."""
        return 1 if self.phases else self.axis.dilation

    @property
    def skip(self) -> int:
        """Streamed pixels before the first that gives an output."""
        return (self.taps - 1) * self.apart

    @property
    def every(self) -> int:
        """Streamed pixels from one that gives an output to the next."""
        return self.axis.stride // self.step

    def streamed(self, outputs: int) -> int:
        """Streamed pixels for so many outputs."""
        return (outputs - 1) * self.every + 1 + self.skip

    def place(self, position: int) -> tuple[int, int]:
        """The pass of a position of the kernel, and which of the pass's taps it is."""
        if self.phases:
            tap, phase = divmod(position, self.axis.stride)
            return phase, tap
        return divmod(position, self.taps)


def cuts_of(axis: Axis, most: int) -> Iterator[Cut]:
    """All ways to cut a kernel along an axis with at most so many taps in a pass."""
    for taps in range(1, min(axis.kernel, most) + 1):
        yield Cut(axis, taps)
    taps = -(-axis.kernel // axis.stride)
    if axis.dilation == 1 and 1 < axis.stride < axis.kernel and taps <= most:
        yield Cut(axis, taps, phases=True)


@dataclass(frozen=True)
class Filters:
    """The part of a kernel that a pass covers, and the strips that it streams.

    Parameters
    ----------
    rows, columns
        How the kernel's rows and columns are cut.
    outputs
        Output pixels in a row of a strip.
    held
        Whether sums meet others in the accumulators even if there is one pass alone.
    joined
        Whether the pixels to the left of a row are those that end the row before, of which there is one more.
    """

    rows: Cut
    columns: Cut
    outputs: int
    held: bool = False
    joined: bool = False

    @property
    def border(self) -> int:
        """Pixels to the left of a row that the row before brings."""
        return self.columns.axis.before if self.joined else 0

    @property
    def lead(self) -> int:
        """Rows before the first that belongs to the kernel."""
        return int(self.joined)

    @property
    def passes(self) -> tuple[int, int]:
        """How many passes there are down and across the kernel."""
        return self.rows.passes, self.columns.passes

    def most(self, config: Config) -> int:
        """Output pixels of one command: sums of one pass go past the accumulators, others have to fit them.

        So do those that may have to wait for requantization.
        """
        held = self.held or self.passes != (1, 1) or config.turns > 1
        return config.accumulator_depth if held else Execute.largest("pixels")

    @property
    def width(self) -> int:
        """Vectors in a row of a strip."""
        return self.columns.streamed(self.outputs) - self.border

    @property
    def skip(self) -> tuple[int, int]:
        """Rows of a strip, and vectors of a row, before the first output."""
        return self.rows.skip + self.lead, self.columns.skip - self.border

    @property
    def strips(self) -> int:
        """Strips that cover the output; the last one may have to overlap its neighbour."""
        return -(-self.columns.axis.outputs // self.outputs)

    def tap(self, row: int, column: int) -> int:
        """The row of the array for two of a pass's taps."""
        down = (self.rows.taps - 1 - row) * self.rows.apart * self.width
        return down + (self.columns.taps - 1 - column) * self.columns.apart

    def strip_rows(self, outputs: int) -> int:
        """Rows of a strip for so many output rows."""
        return self.rows.streamed(outputs) + self.lead

    def vectors(self, outputs: int, strips: int) -> int:
        """Vectors of so many strips for so many output rows."""
        return strips * self.strip_rows(outputs) * self.width

    def together(self, config: Config) -> int:
        """Strips for one command: as many as it can hold, if only for one output row."""
        most = min(self.most(config) // self.outputs, Execute.largest("pixels") // self.vectors(1, 1))
        return max(1, min(most, self.columns.axis.outputs // self.outputs))

    def tile_rows(self, config: Config) -> int:
        """Output rows for one command."""
        strips = self.together(config)
        most = max(1, min(self.most(config) // (strips * self.outputs), self.rows.axis.outputs))
        while most > 1 and self.vectors(most, strips) > Execute.largest("pixels"):
            most -= 1
        return most

    def parts(self, config: Config) -> Iterator[tuple[int, int]]:
        """`(first output column, strips)` of the commands that compute a row of output pixels.

        Where strips do not divide it, a last one ends with it and computes some pixels for the second time.
        """
        outputs = self.columns.axis.outputs
        whole, rest = divmod(outputs, self.outputs)
        together = self.together(config)
        for strip in range(0, whole, together):
            yield strip * self.outputs, min(together, whole - strip)
        if rest:
            yield outputs - self.outputs, 1

    def slots(self, config: Config, rows: int) -> int:
        """Cycles of the array for each block of channels, in tiles of at most so many rows, that share none."""
        most, outputs = min(rows, self.tile_rows(config)), self.rows.axis.outputs
        tiles = [most] * (outputs // most) + [outputs % most] * (outputs % most > 0)
        commands = sum(1 for _ in self.parts(config)) * len(tiles)
        vectors = sum(self.vectors(rows, self.strips) for rows in tiles)
        return self.rows.passes * self.columns.passes * (vectors + commands * config.rows)

    def legal(self, config: Config) -> bool:
        """Whether the array has a row for every tap, and the command's fields hold the numbers."""
        fields = {
            "row_y": self.rows.step,
            "skip_rows": self.skip[0],
            "skip_columns": self.skip[1],
            "every_row": self.rows.every,
            "every_column": self.columns.every,
            "pixels": self.vectors(1, 1),
        }
        fits = all(value <= Execute.largest(name) for name, value in fields.items())
        return fits and self.tap(0, 0) < config.rows and self.outputs <= self.most(config)


def _joins(cut: Cut) -> bool:
    """Whether rows of the whole image can share what lies between them: all of it is outside the image.

    A row is longer than what lies between the taps, so that no two of them meet in a row of the array; and no output
    sees that border alone.
    """
    axis = cut.axis
    between = cut.streamed(axis.outputs) - axis.before - axis.size
    most = min(between, axis.outputs - 1, cut.skip)
    return cut.taps == axis.kernel and axis.stride == 1 and 0 < axis.before <= most


def filters_of(
    vertical: Axis, horizontal: Axis, config: Config, rows: int | None = None, *, held: bool = False
) -> Filters | None:
    """The filters with which a depthwise convolution takes the fewest cycles; None where no command can hold any.

    Parameters
    ----------
    vertical, horizontal
        The axes of the convolution.
    config
        The machine.
    rows
        Output rows that are computed at once; None: as many as a command holds.
    held
        Whether the sums meet others in the accumulators.
    """
    return _best(vertical, horizontal, config, rows or vertical.outputs, config.rows, held)


def single_taps(
    vertical: Axis, horizontal: Axis, config: Config, rows: int | None = None, *, held: bool = False
) -> Filters | None:
    """The same where the array must not add: each pass covers one tap of the kernel."""
    return _best(vertical, horizontal, config, rows or vertical.outputs, 1, held)


@lru_cache(maxsize=1024)
def _best(vertical: Axis, horizontal: Axis, config: Config, at_once: int, most: int, held: bool) -> Filters | None:
    best, least = None, 0
    for rows, columns in product(cuts_of(vertical, most), cuts_of(horizontal, most)):
        strips = (Filters(rows, columns, outputs, held) for outputs in range(1, horizontal.outputs + 1))
        whole = [Filters(rows, columns, horizontal.outputs, held, joined=True)] if _joins(columns) else []
        for filters in (*takewhile(lambda filters: filters.legal(config), strips), *whole):
            slots = filters.slots(config, at_once)
            if filters.legal(config) and (best is None or slots < least):
                best, least = filters, slots
    return best
