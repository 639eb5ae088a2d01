"""Requantization: 32-bit accumulators become int8, exactly as `golden.numerics.Requantization` says."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..golden.numerics import Rounding
from .commands import PARAMETER_ROWS
from .config import FIXED_POINT

RESULT_LATENCY = 7
"""Cycles from an accumulator to its result."""

LATENCY = RESULT_LATENCY + 1
"""Cycles from an accumulator to its output."""


class RequantizationLanes(wiring.Component):
    """Requantizes one accumulator per lane in every cycle: those of all columns, or of each part of them in its turn.

    Each lane computes the result `round(((accumulator + bias) << pre_shift) * multiplier * 2^(shift - 31))`, where
    `rounding` says how to round, and the output `clamp(zero_point + result)`. A positive `shift` takes the place of
    `pre_shift`; with `square`, what has been shifted takes the multiplier's. The sum and its shift to the left wrap at
    32 bits; SINGLE shifts to the left by `pre_shift` alone. Multipliers are below 2^31, shifts from -31 to 30.

    Parameters
    ----------
    columns
        Of the array.
    lanes
        A divisor of `columns`.
    rounding
        One of `config.FIXED_POINT`.

    Members
    -------
    row_valid, row : In(1), In(8 * columns)
        A byte of every column's next parameters. `PARAMETER_ROWS` of them make a set.
    begin : In(1)
        From the next cycle on, `accumulators` have the parameters that the latest rows made; where there is a `turn`,
        from the next but one. The next row may follow three cycles later.
    pre_shift, square : In(5), In(1)
        They belong to the parameters, one cycle after `begin`.
    turn : In(range(columns // lanes))
        To which columns the next cycle's `accumulators` belong: `lanes` of them from `turn * lanes` on. Where each
        column has a lane of its own, there is no such member.
    valid, accumulators : In(1), In(32 * lanes)
        Signed accumulators, possibly in every cycle.
    zero_point, lower, upper : In(8)
        For the accumulators of `LATENCY - 1` cycles ago. Signed.
    results : Out(32 * lanes)
        Signed, the low 32 bits, `RESULT_LATENCY` cycles after their accumulators; they hold until the next.
    outputs : Out(8 * lanes)
        Signed, `LATENCY` cycles after their accumulators; they hold until the next.
    """

    def __init__(self, *, columns: int, lanes: int, rounding: Rounding) -> None:
        if rounding not in FIXED_POINT:
            raise ValueError(f"rounding is {rounding}; one of {', '.join(map(str, FIXED_POINT))} was expected")
        if lanes < 1 or columns % lanes:
            raise ValueError(f"lanes is {lanes}; a divisor of {columns} columns was expected")
        self._columns = columns
        self._lanes = lanes
        self._turns = columns // lanes
        self._rounding = rounding
        super().__init__(
            {
                "row_valid": In(1),
                "row": In(8 * columns),
                "begin": In(1),
                "pre_shift": In(5),
                "square": In(1),
                "valid": In(1),
                **({"turn": In(range(self._turns))} if self._turns > 1 else {}),
                "accumulators": In(32 * lanes),
                "zero_point": In(signed(8)),
                "lower": In(signed(8)),
                "upper": In(signed(8)),
                "results": Out(32 * lanes),
                "outputs": Out(8 * lanes),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        rows = Signal(8 * self._columns * PARAMETER_ROWS, reset_less=True)
        with m.If(self.row_valid):
            m.d.sync += rows.eq(Cat(rows[8 * self._columns :], self.row))

        # Step k of the pipeline takes place k cycles after the accumulator's arrival. Parameters change one cycle
        # before the step that uses them, so that pixels of two blocks can follow each other.
        valid = self._steps(m, "valid", self.valid)
        begin = self._steps(m, "begin", self.begin)

        def parameter(low: int, high: int) -> list[Value]:
            return [
                Cat(rows.word_select(row * self._columns + c, 8) for row in range(low, high))
                for c in range(self._columns)
            ]

        bias, multiplier, shift = parameter(0, 4), parameter(4, 8), parameter(8, 9)
        pre_shift, square = self.pre_shift, self.square
        if self._turns > 1:
            held = (("bias", bias), ("shift", shift), ("multiplier", multiplier))
            bias, shift, multiplier = (
                self._turning(m, name, values, begin[step], turn)
                for step, ((name, values), turn) in enumerate(zip(held, self._late_turns(m), strict=True))
            )
            command = Signal(6, reset_less=True)
            with m.If(begin[1]):
                m.d.sync += command.eq(Cat(pre_shift, square))
            pre_shift, square = command[:5], command[5]
            begin = [Const(1, 1)] * LATENCY

        squared = Signal(reset_less=True)
        with m.If(begin[1]):
            m.d.sync += squared.eq(square)

        for c in range(self._lanes):
            result, output = self._lane(
                m,
                c,
                valid,
                begin,
                pre_shift=pre_shift,
                square=squared,
                accumulator=self.accumulators.word_select(c, 32).as_signed(),
                bias=bias[c].as_signed(),
                multiplier=multiplier[c][:31],
                shift=shift[c].as_signed(),
            )
            m.d.comb += [self.results.word_select(c, 32).eq(result), self.outputs.word_select(c, 8).eq(output)]
        return m

    def _late_turns(self, m: Module) -> list[Value]:
        """The turn in steps 0, 1 and 2 of its parameters."""
        turns: list[Value] = [self.turn]
        for step in (1, 2):
            late = Signal.like(self.turn, name=f"turn_{step}", reset_less=True)
            m.d.sync += late.eq(turns[-1])
            turns.append(late)
        return turns

    def _turning(self, m: Module, name: str, values: list[Value], begin: Value, turn: Value) -> list[Value]:
        """A parameter of all columns, held while the rows of the next arrive, as the lanes see it in their turn."""
        held = Signal(sum(map(len, values)), name=f"{name}_held", reset_less=True)
        with m.If(begin):
            m.d.sync += held.eq(Cat(values))
        width = len(values[0])
        chosen = held.word_select(turn, width * self._lanes)
        return [chosen.word_select(lane, width) for lane in range(self._lanes)]

    def _steps(self, m: Module, name: str, flag: Value) -> list[Value]:
        """A flag, and what it was one cycle ago, two, and so on."""
        flags: list[Value] = [flag]
        for step in range(1, LATENCY):
            delayed = Signal(name=f"{name}_{step}")
            m.d.sync += delayed.eq(flags[-1])
            flags.append(delayed)
        return flags

    def _lane(
        self,
        m: Module,
        c: int,
        valid: list[Value],
        begin: list[Value],
        *,
        pre_shift: Value,
        square: Value,
        accumulator: Value,
        bias: Value,
        multiplier: Value,
        shift: Value,
    ) -> tuple[Signal, Signal]:
        def register(name: str, width: int, enable: Value, value: Any) -> Signal:
            signal = Signal(signed(width), name=f"{name}_{c}", reset_less=True)
            with m.If(enable):
                m.d.sync += signal.eq(value)
            return signal

        bias = register("bias", 32, begin[0], bias)
        single = self._rounding is Rounding.SINGLE
        left = register("left", 6, begin[1], Mux(shift > 0, 0 if single else shift[:5], pre_shift))[:5]
        shift = register("shift", 7, begin[1], shift)
        # With every turn's own shift close behind, none may take a leap.
        shifts = {}
        for step in range(2, 7) if self._turns > 1 else (2, 5, 6):
            shift = shifts[step] = register(f"shift_{step}", 7, begin[step], shift)

        biased = register("biased", 32, valid[0], accumulator + bias)
        number = Signal(signed(32), name=f"number_{c}")
        m.d.comb += number.eq(biased << left)
        operand = register("operand", 32, valid[1], number)
        squares = valid[1] & square
        multiplier = register("multiplier", 32, begin[2] | squares, Mux(squares, number, multiplier))
        negative = (operand[-1] ^ multiplier[-1]) & (shifts[2] < 0)
        outer, middle = self._product(c, operand, multiplier, negative, register, valid)
        if single:
            product = Cat(outer[:16], (outer[16:].as_signed() + middle)[:48]).as_signed()
            exact = register("exact", 64, valid[4], product)
            nudge = Const(1, 1) << (30 - shifts[5])[:6]
            nudged = register("nudged", 64, valid[5], exact + nudge)
            shifted = register("shifted", 64, valid[6], nudged >> (31 - shifts[6])[:6])
        else:
            # The doubling high product. Its one saturating case needs a multiplier of -2^31, which there is none.
            high = register("high", 32, valid[4], (outer[16:].as_signed() + middle) >> 15)
            # Behind the number the bit that it loses last, which rounds it. Ties go up; of a negative product, of which
            # one is gone by now, down.
            right = Mux(shifts[5] < 0, -shifts[5], 0)[:5]
            kept = register("kept", 33, valid[5], Cat(Const(0, 1), high).as_signed() >> right)
            shifted = register("shifted", 32, valid[6], kept[1:].as_signed() + kept[0])
        # Beside a zero point of 8 bits, 9 bits of the result tell all, if it fits them.
        result = Signal(signed(10), name=f"result_{c}")
        m.d.comb += result.eq(shifted[:9].as_signed() + self.zero_point)
        fits = shifted[8:].all() | ~shifted[8:].any()
        below = Mux(fits, result < self.lower, shifted[-1])
        above = Mux(fits, result > self.upper, ~shifted[-1])
        clamped = Mux(below, self.lower, Mux(above, self.upper, result[:8].as_signed()))
        return shifted, register("output", 8, valid[7], clamped)

    def _product(
        self, c: int, a: Signal, b: Signal, negative: Value, register: Any, valid: list[Value]
    ) -> tuple[Signal, Signal]:
        """Parts of `a * b`, two steps later: `outer + middle * 2^16`, and what rounds a doubling product's high half.

        That is 2^30 and, of a `negative` product that is to be shifted with its ties away from zero, -2^31: rounded up
        behind a shift, one less is rounded down. (Where the high half of such a product is 0, so is what comes of -1.)

        Four multipliers of 16 bits with registers around them, the size and the shape of an FPGA's DSP blocks.
        """
        low_a, high_a = a[:16], a[16:].as_signed()
        low_b, high_b = b[:16], b[16:].as_signed()
        lower = register("product_ll", 33, valid[2], low_a * low_b)
        ahead = register("product_lh", 33, valid[2], low_a * high_b)
        behind = register("product_hl", 33, valid[2], high_a * low_b)
        upper = register("product_hh", 32, valid[2], high_a * high_b)
        outer = Cat(lower[:32], upper)
        if self._rounding is not Rounding.SINGLE:
            down = register("down", 1, valid[2], negative) if self._rounding is Rounding.DOUBLE else Const(0, 1)
            outer = Cat(outer[:30], (outer[30:].as_signed() + Cat(Const(1, 1), down).as_signed())[:34])
        return register("outer", 64, valid[3], outer), register("middle", 34, valid[3], ahead + behind)
