"""What the commands mean: a plain interpreter of command streams, command by command, over bytes.

It is the executable definition of the command set. It knows no time, so it can run the three engines in any order that
the commands' dependencies allow; a right program gives the same result in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt

from ..golden.numerics import INT32_MIN, Rounding, multiply_by_quantized_multiplier
from ..hw.commands import PARAMETER_ROWS, Combine, Command, Execute, Finish, Load, Memory, Mode, Opcode, Store
from ..hw.config import Config
from .refusal import refusal


class InterpreterError(RuntimeError):
    """A command that the machine refuses, or commands that await each other. The message shows the command."""


class Interpreter:
    """The machine's memories and what its commands do to them.

    Parameters
    ----------
    config
        The machine.
    dram
        uint8, one-dimensional: the memory behind the bus; the interpreter works on this very array.

    Attributes
    ----------
    scratchpad, weights
        uint8: the on-chip memories.
    accumulators
        int32, shape `(accumulator_depth, columns)`.
    """

    def __init__(self, config: Config, dram: npt.NDArray[np.uint8]) -> None:
        self.config = config
        self.dram = dram
        self.scratchpad = np.zeros(config.scratchpad_bytes, np.uint8)
        self.weights = np.zeros(config.weight_bytes, np.uint8)
        self.accumulators = np.zeros((config.accumulator_depth, config.columns), np.int32)

    def run(self, commands: Sequence[Command], *, order: Random | None = None) -> None:
        """Runs a stream from its first command to its last.

        Parameters
        ----------
        commands
            The stream. Counts of completed commands begin at zero.
        order
            Chooses among the engines that could go on; without it the stream's own order is kept.

        Raises
        ------
        InterpreterError
            A command is illegal, or none can start.
        """
        queues: dict[Opcode, list[tuple[int, Command]]] = {opcode: [] for opcode in Opcode}
        for index, command in enumerate(commands):
            queues[command.opcode].append((index, command))
        completed = dict.fromkeys(Opcode, 0)
        for _ in commands:
            heads = {o: queue[completed[o]] for o, queue in queues.items() if completed[o] < len(queue)}
            ready = [o for o, (_, command) in heads.items() if self._may_start(command, completed)]
            if not ready:
                waiting = "; ".join(f"{index}: {command}" for index, command in heads.values())
                raise InterpreterError(f"no command can start: {waiting}")
            chosen = order.choice(ready) if order else min(ready, key=lambda o: heads[o][0])
            index, command = heads[chosen]
            try:
                self.step(command)
            except InterpreterError as error:
                raise InterpreterError(f"command {index}: {error}: {command}") from None
            completed[chosen] += 1

    @staticmethod
    def _may_start(command: Command, completed: dict[Opcode, int]) -> bool:
        return all(completed[opcode] >= count for opcode, count in command.awaits.items())

    def step(self, command: Command) -> None:
        """Runs one command, whatever it waits for."""
        refused = refusal(command, self.config, self.dram.size)
        if refused is not None:
            raise InterpreterError(refused.reason)
        match command:
            case Load():
                self._load(command)
            case Execute():
                self._execute(command)
            case Store():
                self._store(command)

    def _load(self, command: Load) -> None:
        target = self.weights if command.memory == Memory.WEIGHTS else self.scratchpad
        data = self.dram[command.dram_address : command.dram_address + command.length]
        target[command.address : command.address + command.length] = data

    def _store(self, command: Store) -> None:
        data = self.scratchpad[command.address : command.address + command.length]
        self.dram[command.dram_address : command.dram_address + command.length] = data

    def _execute(self, c: Execute) -> None:
        config = self.config
        if c.blocks > 1 and (c.accumulate or not c.finish):
            # The machine does as it is told: each block adds to, or overwrites, what the one before has left.
            raise InterpreterError("several blocks cannot share the accumulators")
        passes = c.kernel_rows * c.kernel_columns * c.runs
        stream = _Stream.of(c)
        pixels = int(np.count_nonzero(stream.emits))
        if c.gather:
            pixels = min(pixels, 1)
        tiles = self._read_weights(c, passes)
        depthwise = c.mode == Mode.DEPTHWISE
        if not depthwise:
            operands = self._read(c, stream, config.rows, 0)[stream.emits]
        held = self.accumulators[:pixels]
        for block in range(c.blocks):
            weights = tiles[block, : passes * config.rows, : config.columns].astype(np.int64) - c.weight_zero_point
            # The last row of each tile lies first.
            weights = weights.reshape(passes, config.rows, -1)[:, ::-1]
            sums = self._filter(c, stream, weights, block) if depthwise else _products(operands, weights, c.combine)
            if c.gather and pixels:
                sums = sums.reshape(-1, pixels, config.columns)
            channels = c.last_channels if block == c.blocks - 1 else config.columns
            parameters = tiles[block, -PARAMETER_ROWS:, : config.columns]
            match c.finish:
                case Finish.RETURN:
                    _, result = self._requantize(c, _wrap(sums[0]), parameters)
                    held[:] = _combined(c, held, result[np.newaxis])
                case Finish.STORE if not c.gather or stream.emits[-1]:
                    totals = _combined(c, held, sums)[:, :channels]
                    accumulator, result = self._requantize(c, totals, parameters[:, :channels])
                    self._write_outputs(c, stream, block, accumulator, result)
                case _:
                    held[:] = _combined(c, held, sums)

    def _filter(self, c: Execute, stream: _Stream, weights: npt.NDArray[np.int64], block: int) -> npt.NDArray[np.int64]:
        """A depthwise block's sums, shape `(passes, outputs, columns)`: a column weighs its latest R bytes."""
        rows, columns = self.config.rows, self.config.columns
        vectors = self._read(c, stream, columns, block * columns).astype(np.int64)
        numbers = np.flatnonzero(stream.emits)
        sums = np.zeros((weights.shape[0], numbers.size, columns), np.int64)
        for number in range(weights.shape[0]):
            for r in range(rows):
                if np.any(weights[number, r]):
                    if numbers.size and numbers[0] < r:
                        raise InterpreterError(f"an output weighs vectors before the first, {r} back")
                    sums[number] += weights[number, r] * vectors[numbers - r, number]
        return sums

    def _read_weights(self, c: Execute, passes: int) -> npt.NDArray[np.int8]:
        """Shape `(blocks, rows of a block, weight_row_bytes)`."""
        width = self.config.weight_row_bytes

        def rows(memory: npt.NDArray[np.uint8], address: int, count: int) -> npt.NDArray[np.int8]:
            start = address * width
            return memory[start : start + c.blocks * count * width].view(np.int8).reshape(c.blocks, count, width)

        tiles, parameters = passes * self.config.rows, PARAMETER_ROWS if c.finish else 0
        if not c.staged:
            return rows(self.weights, c.weight_address, tiles + parameters)
        staged = rows(self.scratchpad, c.tile_address, tiles)
        return np.concatenate([staged, rows(self.weights, c.weight_address, parameters)], axis=1)

    def _read(self, c: Execute, stream: _Stream, size: int, offset: int) -> npt.NDArray[np.int8]:
        """All vectors of `size` bytes, `offset` bytes behind the first block's; shape `(pixels, passes, size)`."""
        # Axes: vector, kernel row, kernel column, run, byte.
        strip, row, column = (axis.reshape(-1, 1, 1, 1, 1) for axis in (stream.strip, stream.row, stream.column))
        kernel_row = np.arange(c.kernel_rows).reshape(-1, 1, 1, 1)
        kernel_column = np.arange(c.kernel_columns).reshape(-1, 1, 1)
        run = np.arange(c.runs).reshape(-1, 1)
        across = kernel_column * c.kernel_column_step + run * self.config.rows + np.arange(size) + offset
        across = across + strip * c.strip_step + column * c.column_step
        address = c.source + kernel_row * c.kernel_row_step + row * c.row_step + across
        y = c.origin_y + kernel_row * c.kernel_row_y + row * c.row_y
        x = c.origin_x + across
        inside = (y >= 0) & (y < c.height) & (x >= 0) & (x < c.row_bytes)
        used = address[inside]
        if used.size and not (used.min() >= 0 and used.max() < self.scratchpad.size):
            need = f"addresses {used.min()} to {used.max()}"
            raise InterpreterError(f"reads outside the scratchpad: {need}; there are {self.scratchpad.size} bytes")
        data = self.scratchpad.view(np.int8)[np.where(inside, address, 0)]
        vectors: npt.NDArray[np.int8] = np.where(inside, data, np.int8(c.fill)).reshape(c.pixels, -1, size)
        return vectors

    def _requantize(
        self, c: Execute, totals: npt.NDArray[np.int32], parameters: npt.NDArray[np.int8]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """The totals, shape `(pixels, channels)`, with their biases, and what the lanes make of them."""
        parameters = np.ascontiguousarray(parameters.T)
        bias, multiplier = (np.ascontiguousarray(parameters[:, i : i + 4]).view("<i4")[:, 0] for i in (0, 4))
        shift = parameters[:, 8].astype(np.int64)
        accumulator = _wrap(totals.astype(np.int64) + bias)
        left = np.where(shift > 0, 0, c.pre_shift)
        if self.config.rounding is not Rounding.SINGLE:
            # What a single rounding keeps for the end is shifted here, and may leave the 32 bits.
            left, shift = np.where(shift > 0, shift, left), np.minimum(shift, 0)
        number = _wrap(accumulator.astype(np.int64) << left)
        factor = multiplier.astype(np.int64)
        if c.square:
            factor = number.astype(np.int64)
            if self.config.rounding is not Rounding.SINGLE:
                # The square of -2^31 wraps, where the numerics' high product would saturate.
                factor = np.where(number == INT32_MIN, -factor, factor)
        rounding = self.config.rounding
        return accumulator, multiply_by_quantized_multiplier(number, factor, shift, rounding=rounding)

    def _write_outputs(
        self,
        c: Execute,
        stream: _Stream,
        block: int,
        accumulator: npt.NDArray[np.int32],
        result: npt.NDArray[np.int64],
    ) -> None:
        """Puts a block's results, shape `(pixels, channels)`, where they belong."""
        if not result.size:
            return
        strip, row, column = (axis[stream.emits][-len(result) :] for axis in (stream.strip, stream.row, stream.column))
        pixel = c.destination + strip * c.destination_strip_step
        pixel = pixel + (row - c.skip_rows) // c.every_row * c.destination_row_step
        pixel = pixel + (column - c.skip_columns) // c.every_column * c.destination_column_step
        address = (pixel + block * self.config.columns)[:, np.newaxis] + np.arange(result.shape[1])
        if not address.size:
            return
        if not (address.min() >= 0 and address.max() < self.scratchpad.size):
            need = f"addresses {address.min()} to {address.max()}"
            raise InterpreterError(f"writes outside the scratchpad: {need}; there are {self.scratchpad.size} bytes")
        self.scratchpad.view(np.int8)[address] = np.clip(result + c.zero_point, c.lower, c.upper)
        self.wrote(address, accumulator)

    def wrote(self, address: npt.NDArray[np.int64], accumulator: npt.NDArray[np.int32]) -> None:
        """Called with the scratchpad addresses that a command has just written, and the accumulators behind them."""


def _products(vectors: npt.NDArray[np.int8], weights: npt.NDArray[np.int64], combine: int) -> npt.NDArray[np.int64]:
    """Vectors of shape `(pixels, passes, R)` times weights of shape `(passes, R, C)`.

    Returns the sums by pass, shape `(passes, pixels, C)`; where they are added anyway, all passes' as one.
    """
    # Whole numbers below 2^53: the product is exact.
    vectors, weights = vectors.astype(np.float64), weights.astype(np.float64)
    if combine == Combine.ADD:
        wide = vectors.reshape(len(vectors), -1)
        return (wide @ weights.reshape(wide.shape[1], -1)).astype(np.int64)[np.newaxis]
    return (vectors.transpose(1, 0, 2) @ weights).astype(np.int64)


def _combined(c: Execute, held: npt.NDArray[np.int32], values: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """What accumulators, shape `(pixels, C)`, make of one array of values after the other."""
    if not c.accumulate:
        held, values = _wrap(values[0]), values[1:]
    match c.combine:
        case Combine.MAXIMUM:
            largest: npt.NDArray[np.int32] = np.maximum(held, _wrap(values).max(axis=0, initial=INT32_MIN))
            return largest
        case Combine.SUBTRACT:
            return _wrap(held - values.sum(axis=0))
        case _:
            return _wrap(held + values.sum(axis=0))


def _wrap(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """The low 32 bits, as accumulators keep them."""
    return values.astype(np.uint32).view(np.int32)


@dataclass(frozen=True, eq=False)
class _Stream:
    """The vectors of a pass: in which strip, row and column each is, and whether an output comes of it."""

    strip: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    emits: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, c: Execute) -> _Stream:
        row, column = np.divmod(np.arange(c.pixels), c.columns)
        strip, row = np.divmod(row, c.strip_rows) if c.strip_rows else (np.zeros_like(row), row)
        emits = (row >= c.skip_rows) & ((row - c.skip_rows) % c.every_row == 0)
        emits &= (column >= c.skip_columns) & ((column - c.skip_columns) % c.every_column == 0)
        return cls(strip, row, column, emits)
