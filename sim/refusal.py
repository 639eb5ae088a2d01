"""What the machine refuses of a command, as the command alone tells: with what it needs and what there is."""

from __future__ import annotations

from dataclasses import dataclass

from ..hw.commands import Combine, Command, Execute, Finish, Load, Memory, Mode, Store
from ..hw.config import Config
from ..hw.registers import ErrorCode


@dataclass(frozen=True)
class Refusal:
    """Why a command does not run.

    Parameters
    ----------
    code
        What the ERROR register says.
    reason
        The same in words, with what is needed and what there is.
    """

    code: ErrorCode
    reason: str


def refusal(command: Command, config: Config, dram_bytes: int | None = None) -> Refusal | None:
    """Why a machine refuses a command before it reads or writes anything for it; None if it does not.

    Where in the scratchpad an `Execute` command reads and writes is not looked at: that shows as it runs.

    Parameters
    ----------
    command
        The command.
    config
        The machine.
    dram_bytes
        Of the memory behind the bus; without it, that is taken to be large enough.
    """
    match command:
        case Load():
            return _of_transfer(command, config, command.memory == Memory.WEIGHTS, dram_bytes)
        case Store():
            return _of_transfer(command, config, False, dram_bytes)
        case Execute():
            return _of_execute(command, config)
    return None


def _of_transfer(c: Load | Store, config: Config, weights: bool, dram_bytes: int | None) -> Refusal | None:
    name, there = ("weight buffer", config.weight_bytes) if weights else ("scratchpad", config.scratchpad_bytes)
    if c.length < 1:
        return Refusal(ErrorCode.ILLEGAL_COMMAND, "nothing to copy: length is 0")
    if (c.dram_address - c.address) % config.bus_bytes:
        reason = (
            f"the addresses differ modulo the bus width: {c.dram_address} and {c.address}, modulo {config.bus_bytes}"
        )
        return Refusal(ErrorCode.ALIGNMENT, reason)
    if c.address + c.length > there:
        code = ErrorCode.WEIGHT_RANGE if weights else ErrorCode.SCRATCHPAD_RANGE
        return Refusal(code, f"outside the {name}: {c.address + c.length} bytes are needed; there are {there}")
    if dram_bytes is not None and c.dram_address + c.length > dram_bytes:
        code = ErrorCode.READ_BUS if isinstance(c, Load) else ErrorCode.WRITE_BUS
        return Refusal(code, f"outside DRAM: {c.dram_address + c.length} bytes are needed; there are {dram_bytes}")
    return None


def _of_execute(c: Execute, config: Config) -> Refusal | None:
    illegal = _illegal(c, config)
    if illegal is not None:
        return Refusal(ErrorCode.ILLEGAL_COMMAND, illegal)
    passes = c.kernel_rows * c.kernel_columns * c.runs
    tiles, parameters = passes * config.rows, config.parameter_rows if c.finish else 0
    if c.staged:
        needed, there = c.tile_address + c.blocks * tiles, config.scratchpad_bytes // config.weight_row_bytes
        if needed > there:
            return Refusal(
                ErrorCode.SCRATCHPAD_RANGE,
                f"tiles outside the scratchpad: {needed} rows are needed; there are {there}",
            )
    rows = parameters if c.staged else tiles + parameters
    needed, there = c.weight_address + c.blocks * rows, config.weight_bytes // config.weight_row_bytes
    if rows and needed > there:
        return Refusal(
            ErrorCode.WEIGHT_RANGE, f"outside the weight buffer: {needed} rows are needed; there are {there}"
        )
    # The sums of a single pass go to requantization without being kept, and at once where every column has a lane.
    through = passes == 1 and c.finish == Finish.STORE and not c.accumulate and config.turns == 1
    if c.output_pixels > config.accumulator_depth and not through:
        reason = f"more pixels than accumulators: {c.output_pixels} are needed; there are {config.accumulator_depth}"
        return Refusal(ErrorCode.ACCUMULATOR_RANGE, reason)
    return None


def _illegal(c: Execute, config: Config) -> str | None:
    passes = c.kernel_rows * c.kernel_columns * c.runs
    if c.mode not in tuple(Mode) or (c.mode == Mode.DEPTHWISE and c.runs != 1):
        return "no such mode"
    counts = (c.pixels, c.columns, c.blocks, passes, c.every_row, c.every_column)
    if not all(counts) or not 1 <= c.last_channels <= config.columns:
        return "nothing to compute"
    if c.finish not in tuple(Finish) or c.combine not in tuple(Combine):
        return "no such finish or combination"
    if c.finish == Finish.RETURN and (c.mode != Mode.DEPTHWISE or c.blocks * passes > 1 or c.gather):
        return "results come back from one depthwise pass that does not gather"
    if c.gather and (c.mode != Mode.DEPTHWISE or c.pixels > c.columns or c.every_column < 4):
        return "depthwise outputs are gathered from one row, at most every fourth vector's"
    return None
