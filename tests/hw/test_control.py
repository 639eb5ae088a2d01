"""The registers as a host reaches them, and the order in which errors are reported."""

from typing import Any

import pytest

from eightfold.hw.config import Config
from eightfold.hw.control import ENGINES, PATIENCE, ControlUnit, RegisterFile
from eightfold.hw.registers import COUNTERS, REGISTERS, Access, Control, ErrorCode, Interrupt, Status

from .simulate import simulate


async def write(ctx: Any, host: Any, offset: int, value: int, *, strobe: int = 15, order: str = "both") -> None:
    """A register write whose address and data come together or one after the other."""
    ctx.set(host.aw.payload, offset)
    ctx.set(host.w.payload.data, value)
    ctx.set(host.w.payload.strobe, strobe)
    ctx.set(host.aw.valid, order != "data")
    ctx.set(host.w.valid, order != "address")
    if order != "both":
        await ctx.tick().repeat(3)
        assert not ctx.get(host.b.valid)
    ctx.set(host.aw.valid, 1)
    ctx.set(host.w.valid, 1)
    await ctx.tick().until(host.aw.ready & host.w.ready)
    ctx.set(host.aw.valid, 0)
    ctx.set(host.w.valid, 0)
    ctx.set(host.b.ready, 1)
    await ctx.tick().until(host.b.valid)
    ctx.set(host.b.ready, 0)


async def read(ctx: Any, host: Any, offset: int, *, hesitate: int = 0) -> int:
    ctx.set(host.ar.payload, offset)
    ctx.set(host.ar.valid, 1)
    await ctx.tick().until(host.ar.ready)
    ctx.set(host.ar.valid, 0)
    while not ctx.get(host.r.valid):
        await ctx.tick()
    for _ in range(hesitate):
        await ctx.tick()
    assert ctx.get(host.r.valid), "an answer stays until it is taken"
    value = ctx.get(host.r.payload.data)
    ctx.set(host.r.ready, 1)
    await ctx.tick()
    ctx.set(host.r.ready, 0)
    assert not ctx.get(host.r.valid)
    return int(value)


@pytest.mark.parametrize("order", ["both", "address", "data"])
def test_what_is_written_reads_back_byte_by_byte(order: str) -> None:
    dut = RegisterFile()
    at = REGISTERS["PROGRAM_ADDRESS"].offset

    async def main(ctx: Any) -> None:
        await write(ctx, dut.host, at, 0x1234_5678, order=order)
        assert await read(ctx, dut.host, at) == 0x1234_5678
        await write(ctx, dut.host, at, 0xAABB_CCDD, strobe=0b0101, order=order)
        assert await read(ctx, dut.host, at, hesitate=4) == 0x12BB_56DD
        assert ctx.get(dut.program_address) == 0x12BB_56DD

    simulate(dut, main)


def test_every_register_has_its_own_place() -> None:
    dut = RegisterFile()

    async def main(ctx: Any) -> None:
        expected = {}
        held = [register for register in REGISTERS.values() if register.name not in COUNTERS]
        for number, register in enumerate(held, start=1000):
            if register.access in (Access.READ, Access.CLEAR):
                ctx.set(getattr(dut, register.name.lower()), number)
            else:
                await write(ctx, dut.host, register.offset, number)
            parts = [(1 << part.width) - 1 << part.offset for part in register.bits]
            held = number & sum(parts) if register.access is Access.READ_WRITE else number
            expected[register.name] = 0 if register.access is Access.COMMAND else held
        for name, value in expected.items():
            assert await read(ctx, dut.host, REGISTERS[name].offset) == value, name
        assert await read(ctx, dut.host, 0xFFC) == 0

    simulate(dut, main)


def test_a_counter_is_asked_for_by_its_number() -> None:
    dut = RegisterFile()

    async def counters(ctx: Any) -> None:
        waited = 0
        async for _, _, request, index in ctx.tick().sample(dut.counter_request, dut.counter_index):
            waited = waited + 1 if request else 0
            ctx.set(dut.counter_answered, waited == 3)
            ctx.set(dut.counter_value, 1000 + index)

    async def main(ctx: Any) -> None:
        for number, name in enumerate(COUNTERS):
            assert await read(ctx, dut.host, REGISTERS[name].offset) == 1000 + number
        assert await read(ctx, dut.host, REGISTERS["IDENTITY"].offset) == 0
        assert await read(ctx, dut.host, max(register.offset for register in REGISTERS.values()) + 4) == 0

    simulate(dut, counters, main)


def test_settings_are_locked_and_commands_last_one_cycle() -> None:
    dut = RegisterFile()
    seen = []

    async def watch(ctx: Any) -> None:
        async for _, _, command, clear in ctx.tick().sample(dut.control, dut.interrupt_status_clear):
            seen.append((command, clear))

    async def main(ctx: Any) -> None:
        ctx.set(dut.locked, 1)
        await write(ctx, dut.host, REGISTERS["PROGRAM_WORDS"].offset, 5)
        await write(ctx, dut.host, REGISTERS["INTERRUPT_ENABLE"].offset, 3)
        await write(ctx, dut.host, REGISTERS["CONTROL"].offset, Control.RESET)
        await write(ctx, dut.host, REGISTERS["INTERRUPT_STATUS"].offset, Interrupt.ERROR)
        await ctx.tick().repeat(3)
        assert await read(ctx, dut.host, REGISTERS["PROGRAM_WORDS"].offset) == 0
        assert await read(ctx, dut.host, REGISTERS["INTERRUPT_ENABLE"].offset) == 3

    simulate(dut, watch, main)
    assert [value for value in seen if value != (0, 0)] == [(Control.RESET, 0), (0, Interrupt.ERROR)]


@pytest.mark.parametrize("cycles", [0, 1, 50])
def test_counters_count_during_a_run_and_hold_after_it(cycles: int) -> None:
    dut = ControlUnit(Config.named("4x4"))
    runs: list[int] = []

    async def watch(ctx: Any) -> None:
        async for _, _, start, idle in ctx.tick().sample(dut.start, dut.idle):
            if start:
                runs.append(0)
            if not idle:
                runs[-1] += 1

    async def counted(ctx: Any) -> list[int]:
        return [await read(ctx, dut.host, REGISTERS[name].offset) for name in COUNTERS]

    async def main(ctx: Any) -> None:
        for _ in range(2):
            for name in ENGINES:
                ctx.set(getattr(dut, name).dispatched, 0)
                ctx.set(getattr(dut, name).completed, 0)
            ctx.set(dut.finished, 0)
            ctx.set(dut.events.outputs, 1)
            await write(ctx, dut.host, REGISTERS["CONTROL"].offset, Control.START)
            for _ in range(cycles):
                await ctx.tick()
            ctx.set(dut.events.outputs, 0)
            for number, name in enumerate(ENGINES):
                for count in range(number + 1):
                    ctx.set(getattr(dut, name).dispatched, count + 1)
                    ctx.set(getattr(dut, name).completed, count + 1)
                    await ctx.tick()
            ctx.set(dut.finished, 1)
            while not ctx.get(dut.idle):
                await ctx.tick()
            expected = dict.fromkeys(COUNTERS, 0)
            expected |= {f"{name}_COMMANDS".upper(): number for number, name in enumerate(ENGINES, start=1)}
            expected |= {"OUTPUTS": cycles, "CYCLES": runs[-1]}
            for _ in range(2):
                assert dict(zip(COUNTERS, await counted(ctx), strict=True)) == expected

    simulate(dut, watch, main)
    assert len(runs) == 2


def started(body: Any) -> None:
    """Runs `body(ctx, dut)` from the first cycle of a run on."""
    dut = ControlUnit(Config.named("4x4"))

    async def main(ctx: Any) -> None:
        ctx.set(dut.quiet, 1)
        await write(ctx, dut.host, REGISTERS["CONTROL"].offset, Control.START)
        assert not ctx.get(dut.idle)
        await ctx.tick()
        await body(ctx, dut)

    simulate(dut, main)


async def status(ctx: Any, dut: ControlUnit) -> tuple[int, ...]:
    values = [await read(ctx, dut.host, REGISTERS[name].offset) for name in ("STATUS", "ERROR", "ERROR_COMMAND")]
    return tuple(values)


def test_a_run_is_done_when_every_engine_has_done_what_it_was_given() -> None:
    async def body(ctx: Any, dut: ControlUnit) -> None:
        for number, name in enumerate(ENGINES, start=1):
            ctx.set(getattr(dut, name).dispatched, number)
        await ctx.tick().repeat(5)
        ctx.set(dut.finished, 1)
        for number, name in enumerate(ENGINES, start=1):
            await ctx.tick().repeat(5)
            assert (await status(ctx, dut))[0] == Status.BUSY
            ctx.set(getattr(dut, name).completed, number)
        await ctx.tick()
        assert not ctx.get(dut.idle)
        await ctx.tick()
        assert ctx.get(dut.idle)
        assert await status(ctx, dut) == (Status.DONE, 0, 0)

    started(body)


def test_of_errors_in_one_cycle_the_first_engine_s_counts_and_later_ones_are_ignored() -> None:
    async def body(ctx: Any, dut: ControlUnit) -> None:
        ctx.set(dut.quiet, 0)
        for name, code in (("store", ErrorCode.WRITE_BUS), ("execute", ErrorCode.WEIGHT_RANGE)):
            ctx.set(getattr(dut, name).error.code, code)
            ctx.set(getattr(dut, name).error.index, code.value * 10)
        ctx.set(dut.dispatch_error.code, ErrorCode.FETCH_BUS)
        await ctx.tick()
        assert ctx.get(dut.halt)
        ctx.set(dut.load.error.code, ErrorCode.READ_BUS)
        assert await status(ctx, dut) == (Status.BUSY, ErrorCode.WEIGHT_RANGE, 30)
        assert ctx.get(dut.halt), "halted as long as the bus is not quiet"
        ctx.set(dut.quiet, 1)
        await ctx.tick()
        assert ctx.get(dut.idle)
        assert await status(ctx, dut) == (Status.ERROR, ErrorCode.WEIGHT_RANGE, 30)

    started(body)


@pytest.mark.parametrize("busy", [False, True])
def test_a_deadlock_names_the_oldest_command_and_is_none_while_anything_moves(busy: bool) -> None:
    async def body(ctx: Any, dut: ControlUnit) -> None:
        ctx.set(dut.stalled, 1)
        for name, index in (("load", 12), ("execute", 7), ("store", 9)):
            ctx.set(getattr(dut, name).waiting, name != "load" or not busy)
            ctx.set(getattr(dut, name).busy, name == "load" and busy)
            ctx.set(getattr(dut, name).next_index, index)
        await ctx.tick().repeat(PATIENCE - 2)
        assert not ctx.get(dut.halt)
        await ctx.tick().repeat(10)
        if busy:
            assert (await status(ctx, dut))[0] == Status.BUSY
        else:
            assert await status(ctx, dut) == (Status.ERROR, ErrorCode.DEADLOCK, 7)

    started(body)
