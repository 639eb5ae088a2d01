"""Random command streams that the machine runs without an error, whatever they compute."""

from __future__ import annotations

from hypothesis import strategies as st

from eightfold.hw.commands import PARAMETER_ROWS, Combine, Command, Execute, Finish, Load, Memory, Mode, Opcode, Store
from eightfold.hw.config import Config

DRAM_BYTES = 1 << 16


@st.composite
def transfers(draw: st.DrawFn, config: Config, kind: type[Load] | type[Store]) -> dict[str, int]:
    """Fields of a load or store but its dependencies; most are short."""
    memory = draw(st.sampled_from(Memory)) if kind is Load else Memory.SCRATCHPAD
    size = config.weight_bytes if memory == Memory.WEIGHTS else config.scratchpad_bytes
    bus = config.bus_bytes
    longest = draw(st.sampled_from([1, 2 * bus, 8 * config.scratchpad_row_bytes, min(size // 2, 2048)]))
    length = draw(st.integers(1, longest))
    lane = draw(st.integers(0, bus - 1))
    address = lane + bus * draw(st.integers(0, (size - length - lane) // bus))
    dram_address = lane + bus * draw(st.integers(0, (DRAM_BYTES // 2 - length - lane) // bus))
    fields = {"dram_address": dram_address, "length": length, "address": address}
    return fields | {"memory": memory} if kind is Load else fields


@st.composite
def executes(draw: st.DrawFn, config: Config) -> dict[str, int]:
    """Fields of an execute but its dependencies: short passes and long ones, few and many, of every kind."""
    mode = draw(st.sampled_from(Mode))
    depthwise = mode is Mode.DEPTHWISE
    finish = draw(st.sampled_from(Finish if depthwise else [Finish.KEEP, Finish.STORE]))
    gather = depthwise and finish is not Finish.RETURN and draw(st.booleans())
    # Lanes that columns share fall the further behind, the more pixels a pass has.
    many = config.accumulator_depth if config.turns > 1 else 3 * config.rows
    most = draw(st.sampled_from([1, config.rows, config.rows + PARAMETER_ROWS, 3 * config.rows, many]))
    pixels = draw(st.integers(1, min(most, config.accumulator_depth)))
    blocks, runs, kernel_rows, kernel_columns = (draw(st.integers(1, most)) for most in (3, 3, 2, 2))
    if depthwise:
        runs = 1
    if finish is Finish.RETURN:
        blocks = kernel_rows = kernel_columns = 1
    there = config.weight_bytes // config.weight_row_bytes
    blocks = min(blocks, there // (kernel_rows * kernel_columns * runs * config.rows + PARAMETER_ROWS))
    tile_rows = blocks * kernel_rows * kernel_columns * runs * config.rows
    weight_rows = tile_rows + blocks * PARAMETER_ROWS
    scratchpad_rows = config.scratchpad_bytes // config.weight_row_bytes
    staged = tile_rows <= scratchpad_rows and draw(st.booleans())
    reach = runs * config.rows + (blocks + 1) * config.columns + kernel_rows + kernel_columns + pixels
    return {
        "mode": mode,
        "finish": finish,
        "accumulate": draw(st.integers(0, 1)),
        "weight_address": draw(st.integers(0, there - weight_rows)),
        "blocks": blocks,
        "last_channels": draw(st.integers(1, config.columns)),
        "source": draw(st.integers(0, config.scratchpad_bytes - reach)),
        "row_bytes": config.scratchpad_bytes,
        "height": 100,
        "pixels": pixels,
        "columns": draw(st.integers(pixels, pixels + 9) if gather else st.integers(1, pixels)),
        "column_step": 1,
        "row_step": 1,
        "kernel_rows": kernel_rows,
        "kernel_row_step": 1,
        "kernel_columns": kernel_columns,
        "kernel_column_step": 1,
        "runs": runs,
        "destination": draw(st.integers(0, config.scratchpad_bytes - (blocks + 1) * config.columns - pixels)),
        "destination_row_step": 1,
        "destination_column_step": 1,
        "strip_rows": draw(st.integers(0, 3)),
        "strip_step": 1,
        "destination_strip_step": 1,
        "skip_rows": draw(st.sampled_from([0, 0, 1, 2])),
        "skip_columns": draw(st.sampled_from([0, 0, 1, 2])),
        "every_row": draw(st.integers(1, 3)),
        "every_column": draw(st.integers(4, 9) if gather else st.integers(1, 3)),
        "combine": draw(st.sampled_from(Combine)),
        "gather": int(gather),
        "square": draw(st.integers(0, 1)),
        "pre_shift": draw(st.integers(0, 31)),
        "staged": int(staged),
        "tile_address": draw(st.integers(0, scratchpad_rows - tile_rows)) if staged else 0,
    }


@st.composite
def streams(draw: st.DrawFn, config: Config, most: int = 40) -> list[Command]:
    """Commands that await only what comes before them in the stream, so that none waits for ever."""
    opcodes = draw(st.lists(st.sampled_from(Opcode), min_size=most // 2, max_size=most))
    counts = dict.fromkeys(Opcode, 0)
    commands: list[Command] = []
    for opcode in opcodes:
        kind = {Opcode.LOAD: Load, Opcode.EXECUTE: Execute, Opcode.STORE: Store}[opcode]
        fields = draw(executes(config) if kind is Execute else transfers(config, kind))  # type: ignore[arg-type]
        for other in Opcode:
            name = f"wait_{other.name.lower()}"
            if hasattr(kind, name):
                near = max(0, counts[other] - draw(st.integers(0, 3)))
                fields[name] = draw(st.sampled_from([0, near]))
        counts[opcode] += 1
        commands.append(kind(**fields))
    return commands
