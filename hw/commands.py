"""The command set: what the machine's engines understand.

Each command is a frozen dataclass whose fields carry their width and meaning. The binary encoding, the gateware's
layouts, the disassembly and the documentation all come from these definitions.

A command is a few 64-bit words. The first word of each is its header: the opcode, how many commands of the two other
engines must have completed before this one starts (counted from the program's start), and room for the command's
index, which the dispatcher fills in. Further fields follow in order; a field that would cross a word's boundary begins
the next word.
"""

import dataclasses
import enum
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

WORD_BITS = 64
INDEX_BITS = 20
COUNT_BITS = 20
ADDRESS_BITS = 24

PARAMETER_ROWS = 9
"""Bytes of a channel's requantization parameters: bias and multiplier, four each and little-endian, then the shift."""


class CommandError(ValueError):
    """A command that cannot be encoded, or words that are no command."""


class Opcode(enum.IntEnum):
    """The first four bits of a command, which also name its engine."""

    LOAD = 1
    EXECUTE = 2
    STORE = 3


class Memory(enum.IntEnum):
    """On-chip memories that a load can fill."""

    SCRATCHPAD = 0
    WEIGHTS = 1


class Mode(enum.IntEnum):
    """What the array does with the stream of an `Execute` command."""

    CONVOLUTION = 0
    DEPTHWISE = 1


class Finish(enum.IntEnum):
    """Where the sums of an `Execute` command's last pass go."""

    KEEP = 0
    """They stay in the accumulators."""
    STORE = 1
    """They are requantized to int8, in the scratchpad."""
    RETURN = 2
    """They are requantized to 32 bits and come back to the accumulators."""


class Combine(enum.IntEnum):
    """What becomes of a value that reaches an accumulator which already holds one."""

    ADD = 0
    MAXIMUM = 1
    SUBTRACT = 2
    """What it holds, less the value."""


class Field(NamedTuple):
    """Where a field lies in its command."""

    name: str
    word: int
    offset: int
    bits: int
    signed: bool
    doc: str

    @property
    def range(self) -> tuple[int, int]:
        """The smallest and the largest value."""
        return (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1) if self.signed else (0, (1 << self.bits) - 1)


def _unsigned(bits: int, doc: str, default: int = 0) -> Any:
    return dataclasses.field(default=default, metadata={"bits": bits, "signed": False, "doc": doc})


def _signed(bits: int, doc: str, default: int = 0) -> Any:
    return dataclasses.field(default=default, metadata={"bits": bits, "signed": True, "doc": doc})


@dataclass(frozen=True, kw_only=True)
class Command:
    """What all commands share: their encoding."""

    opcode: ClassVar[Opcode]
    waits: ClassVar[tuple[str, str]]

    @classmethod
    @functools.cache
    def layout(cls) -> tuple[Field, ...]:
        """Every field of the command, header included, in the order of the encoding."""
        fields = [Field("opcode", 0, 0, 4, False, "which command this is")]
        offset = 4
        for name in cls.waits:
            fields.append(Field(name, 0, offset, COUNT_BITS, False, f"{name.removeprefix('wait_')} commands to await"))
            offset += COUNT_BITS
        fields.append(Field("index", 0, offset, INDEX_BITS, False, "filled in by the dispatcher; 0 in memory"))
        word, offset = 1, 0
        for field in dataclasses.fields(cls):
            if field.name in cls.waits:
                continue
            bits = field.metadata["bits"]
            if offset + bits > WORD_BITS:
                word, offset = word + 1, 0
            fields.append(Field(field.name, word, offset, bits, field.metadata["signed"], field.metadata["doc"]))
            offset += bits
        return tuple(fields)

    @property
    def awaits(self) -> dict[Opcode, int]:
        """By engine, how many of its commands must have completed before this one starts; engines with 0 left out."""
        counts = {opcode: getattr(self, f"wait_{opcode.name.lower()}", 0) for opcode in Opcode}
        return {opcode: count for opcode, count in counts.items() if count}

    @classmethod
    @functools.cache
    def largest(cls, name: str) -> int:
        """The largest value that the field of that name holds."""
        return next(field.range[1] for field in cls.layout() if field.name == name)

    @classmethod
    def words(cls) -> int:
        """Length of the encoding in 64-bit words."""
        return cls.layout()[-1].word + 1

    def encode(self) -> list[int]:
        """The command as 64-bit words.

        Raises
        ------
        CommandError
            If a value does not fit its field.
        """
        words = [0] * self.words()
        for field in self.layout():
            value = {"opcode": self.opcode, "index": 0}.get(field.name, getattr(self, field.name, 0))
            low, high = field.range
            if not low <= value <= high:
                raise CommandError(
                    f"{type(self).__name__.lower()}: {field.name} is {value}; {low} to {high} was expected"
                )
            words[field.word] |= (int(value) & ((1 << field.bits) - 1)) << field.offset
        return words

    @classmethod
    def decode(cls, words: list[int]) -> "Command":
        """The command that `encode` made these words of."""
        values = {}
        for field in cls.layout():
            if field.name in ("opcode", "index"):
                continue
            value = (words[field.word] >> field.offset) & ((1 << field.bits) - 1)
            values[field.name] = value - (1 << field.bits) if field.signed and value >> (field.bits - 1) else value
        return cls(**values)

    def __str__(self) -> str:
        """One line of disassembly: the opcode, then every field that is not at its default."""
        changed = (f.name for f in dataclasses.fields(self) if getattr(self, f.name) != f.default)
        return f"{self.opcode.name.lower():8}" + " ".join(f"{name}={getattr(self, name)}" for name in changed)


@dataclass(frozen=True, kw_only=True)
class Load(Command):
    """Copies bytes from DRAM to an on-chip memory.

    `dram_address` and `address` must be congruent modulo the bus width, so that no byte changes its lane.
    """

    opcode: ClassVar[Opcode] = Opcode.LOAD
    waits: ClassVar[tuple[str, str]] = ("wait_execute", "wait_store")

    wait_execute: int = 0
    wait_store: int = 0
    dram_address: int = _unsigned(32, "first byte in DRAM, relative to the base address register")
    length: int = _unsigned(ADDRESS_BITS, "bytes to copy; at least 1")
    address: int = _unsigned(ADDRESS_BITS, "first byte in the on-chip memory")
    memory: int = _unsigned(1, "0: scratchpad, 1: weight buffer")


@dataclass(frozen=True, kw_only=True)
class Store(Command):
    """Copies bytes from the scratchpad to DRAM.

    `dram_address` and `address` must be congruent modulo the bus width, so that no byte changes its lane.
    """

    opcode: ClassVar[Opcode] = Opcode.STORE
    waits: ClassVar[tuple[str, str]] = ("wait_load", "wait_execute")

    wait_load: int = 0
    wait_execute: int = 0
    dram_address: int = _unsigned(32, "first byte in DRAM, relative to the base address register")
    length: int = _unsigned(ADDRESS_BITS, "bytes to copy; at least 1")
    address: int = _unsigned(ADDRESS_BITS, "first byte in the scratchpad")


@dataclass(frozen=True, kw_only=True)
class Execute(Command):
    """Streams vectors of bytes through the array, for a number of blocks of output channels.

    For each block, the machine runs one pass per kernel row, kernel column and run. Every pass streams the same number
    of vectors past one tile of weights. They form strips of rows, all as wide as `columns`; byte `i` of a vector is the
    scratchpad's byte

        source + kernel_row * kernel_row_step + kernel_column * kernel_column_step + run * R
               + strip * strip_step + row * row_step + column * column_step + i

    where the image's row, `origin_y + kernel_row * kernel_row_y + row * row_y`, lies in `[0, height)`, and the byte's
    place in that row, `origin_x + kernel_column * kernel_column_step + run * R + strip * strip_step + column *
    column_step + i`, in `[0, row_bytes)`; elsewhere it is `fill`.

    A vector gives an output pixel where its row is `skip_rows` or a multiple of `every_row` further, and its column
    `skip_columns` or a multiple of `every_column` further. Outputs lie at `destination`, and those of the next pixel,
    row and strip at the steps given for them.

    In a *convolution* the sums of a pass are the product of the vector's R bytes with the tile, and every block reads
    the same vectors. In a *depthwise* convolution vectors have C bytes, of which each belongs to one column of the
    array; block `b` reads them `b * C` bytes further; and the sum that goes with a vector is that of the R latest
    vectors of the pass, each weighted by one row of the tile: `sum(w[r] * v[n - r])`. `runs` is 1.

    A pixel's sum meets what earlier passes left in its accumulator by `combine`; the first pass of a command that does
    not `accumulate` replaces it. Where that pass is also the last before the scratchpad, it leaves the accumulators
    alone, and may have more pixels than there are. Where `gather` is set, all outputs of a pass belong to one pixel
    instead: the first replaces or combines as said, the others combine, and only the pass's last vector finishes, at
    the place of its own output; if it gives none, nothing does. Such a command is depthwise, and its vectors form one
    row, of which at most every fourth gives an output.

    Where the command finishes, each channel of a pixel becomes

        round(((sum + bias) << pre_shift) * multiplier * 2^(shift - 31))

    in the machine's rounding; a `shift` above zero takes the place of `pre_shift`, and with `square` the shifted number
    is its own multiplier. Sums and the shifted number wrap at 32 bits. With `finish` 1 the result, plus `zero_point`
    and clamped, goes to the scratchpad. With `finish` 2 it comes back to the pixel's accumulator, wrapped at 32 bits
    and in all C columns: it replaces what that holds or, with `accumulate`, meets it by `combine`. Such a command is
    depthwise and has one pass, whose sums leave the accumulators alone.

    Weights lie in the weight buffer in the order of use: for each pass a tile of R rows, the last row first; after the
    last pass of a block, where the command finishes, the nine rows of its requantization parameters (one byte per
    channel and row: bias, multiplier, both little-endian, shift). Where the command is `staged`, all its tiles lie in
    the scratchpad instead, and the weight buffer has the parameters alone.

    Commands overlap: one begins to stream while the outputs of those before it are still in the pipeline. Reads stay in
    order, and so do writes, but a command that reads what an earlier one writes must await it by `wait_execute`. What
    earlier commands left in the accumulators is there without waiting, from the fourth vector after a pixel's own on.
    """

    opcode: ClassVar[Opcode] = Opcode.EXECUTE
    waits: ClassVar[tuple[str, str]] = ("wait_load", "wait_store")

    wait_load: int = 0
    wait_store: int = 0
    mode: int = _unsigned(4, "0: convolution, 1: depthwise")
    accumulate: int = _unsigned(1, "1: the first pass adds to the accumulators, 0: it overwrites them")
    finish: int = _unsigned(
        2, "0: sums stay in the accumulators; the last pass requantizes 1: to the scratchpad, 2: to them"
    )
    combine: int = _unsigned(2, "how a value meets an accumulator; 0: add, 1: maximum, 2: subtract from it")
    weight_address: int = _unsigned(20, "first row in the weight buffer")
    blocks: int = _unsigned(12, "blocks of C output channels; at least 1", 1)
    last_channels: int = _unsigned(7, "channels of the last block, 1 to C", 1)
    fill: int = _signed(8, "stands for bytes outside the image: the input's zero point")
    weight_zero_point: int = _signed(8, "subtracted from every weight on its way into the array")
    source: int = _signed(ADDRESS_BITS, "scratchpad address of the first pixel's first byte, maybe outside the image")
    row_bytes: int = _unsigned(ADDRESS_BITS, "bytes of one row of the image")
    height: int = _unsigned(16, "rows of the image")
    origin_y: int = _signed(16, "image row of the first byte")
    origin_x: int = _signed(ADDRESS_BITS, "the first byte's place in its image row")
    pixels: int = _unsigned(16, "vectors of a pass, strip by strip and row by row; at least 1", 1)
    row_y: int = _unsigned(8, "image rows between the rows of vectors")
    row_step: int = _signed(ADDRESS_BITS, "bytes between rows of vectors")
    columns: int = _unsigned(16, "vectors in a row; at least 1", 1)
    column_step: int = _signed(ADDRESS_BITS, "bytes between neighbouring vectors")
    kernel_rows: int = _unsigned(12, "rows of the kernel; at least 1", 1)
    kernel_row_y: int = _unsigned(12, "image rows between kernel rows: the dilation")
    kernel_row_step: int = _signed(ADDRESS_BITS, "bytes between kernel rows")
    kernel_columns: int = _unsigned(12, "separately addressed columns of the kernel; at least 1", 1)
    kernel_column_step: int = _signed(ADDRESS_BITS, "bytes between them")
    runs: int = _unsigned(16, "blocks of R contiguous bytes in each kernel row or column; at least 1", 1)
    destination: int = _unsigned(ADDRESS_BITS, "scratchpad address of the first output byte")
    destination_row_step: int = _signed(ADDRESS_BITS, "bytes between output rows")
    destination_column_step: int = _signed(ADDRESS_BITS, "bytes between output pixels")
    zero_point: int = _signed(8, "added after requantization")
    lower: int = _signed(8, "smallest output", -128)
    upper: int = _signed(8, "largest output", 127)
    strip_rows: int = _unsigned(16, "rows of a strip; 0: there is one strip, of any number")
    strip_step: int = _signed(ADDRESS_BITS, "bytes between strips")
    destination_strip_step: int = _signed(ADDRESS_BITS, "bytes between the outputs of strips")
    skip_rows: int = _unsigned(8, "rows of a strip before the first output")
    skip_columns: int = _unsigned(8, "vectors of a row before the first output")
    every_row: int = _unsigned(7, "rows from one with outputs to the next; at least 1", 1)
    every_column: int = _unsigned(7, "vectors from one output to the next; at least 1", 1)
    gather: int = _unsigned(1, "1: the outputs of a pass are one pixel's")
    square: int = _unsigned(1, "1: the number to be requantized is its own multiplier")
    pre_shift: int = _unsigned(
        5, "bits to the left before the multiplication, where the channel's shift is not above 0"
    )
    wait_execute: int = _unsigned(COUNT_BITS, "execute commands to await: those whose outputs this one reads")
    staged: int = _unsigned(1, "1: the tiles lie in the scratchpad")
    tile_address: int = _unsigned(20, "where staged, their first row in the scratchpad, counted in rows of weights")

    @property
    def output_pixels(self) -> int:
        """Pixels that a pass gives outputs of; 0 where a width or a distance is 0, which is illegal."""
        if not (self.columns and self.every_row and self.every_column):
            return 0
        rows, rest = divmod(self.pixels, self.columns)
        strips, last = divmod(rows, self.strip_rows) if self.strip_rows else (0, rows)
        whole, part = (len(range(self.skip_rows, end, self.every_row)) for end in (self.strip_rows, last))
        outputs = (strips * whole + part) * len(range(self.skip_columns, self.columns, self.every_column))
        if last >= self.skip_rows and (last - self.skip_rows) % self.every_row == 0:
            outputs += len(range(self.skip_columns, rest, self.every_column))
        return min(outputs, 1) if self.gather else outputs


COMMANDS: dict[Opcode, type[Command]] = {kind.opcode: kind for kind in (Load, Execute, Store)}


def encode(commands: Iterable[Command]) -> list[int]:
    """A command stream as 64-bit words."""
    return [word for command in commands for word in command.encode()]


def decode(words: list[int]) -> Iterator[Command]:
    """The commands of a stream.

    Raises
    ------
    CommandError
        If a word that should begin a command does not, or the stream ends within one.
    """
    position = 0
    while position < len(words):
        opcode = words[position] & 0xF
        if opcode not in COMMANDS:
            raise CommandError(f"word {position} has opcode {opcode}, which no command has")
        kind = COMMANDS[Opcode(opcode)]
        if position + kind.words() > len(words):
            raise CommandError(f"the stream ends within the {kind.opcode.name} at word {position}")
        yield kind.decode(words[position : position + kind.words()])
        position += kind.words()
