"""Requantization: 32-bit accumulators become int8, exactly as `golden.numerics.Requantization` says."""

from typing import Any, NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

from ..golden.numerics import Rounding
from .commands import PARAMETER_ROWS
from .config import FIXED_POINT

TOLD = 2
"""Cycles by which a turn is told before its accumulators are there."""


def result_latency(*, multiplied: bool) -> int:
    """Cycles from an accumulator to its result."""
    return 8 if multiplied else 7


def latency(*, multiplied: bool) -> int:
    """Cycles from an accumulator to its output."""
    return result_latency(multiplied=multiplied) + 1


class _Clamp(NamedTuple):
    """What makes an output of a result: zero point, bounds, and these less the zero point, for what is beyond them."""

    zero_point: Signal
    lower: Signal
    upper: Signal
    least: Signal
    most: Signal


_PLACES = {"bias": range(4), "multiplier": range(4, 8), "shift": range(8, 9)}
"""Which rows of a block's parameters make which of them."""


def with_sign(shift: Value) -> Value:
    """A signed shift of 8 bits, which fits 7, with its last bit telling whether it is positive."""
    return Cat(shift[:7], ~shift[6] & shift[:6].any())


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
    multiplied
        Numbers are shifted by multiplication with a power of two, which takes a cycle more and, of an FPGA, a DSP block
        for every 16 bits in place of the look-up tables of a shifter. With one rounding, this is so to the left alone.
    sets
        How many blocks' parameters are held where columns share lanes: that which the lanes are busy with, and those
        whose rows arrive before it is done.

    Members
    -------
    row_valid, row : In(1), In(8 * columns)
        A byte of every column's next parameters. `PARAMETER_ROWS` of them make a set.
    begin : In(1)
        From the next cycle on, `accumulators` have the parameters that the latest rows made. The next row may follow
        three cycles later. Where there is a `turn`, those that are told from the next cycle on have the parameters of
        the next set.
    pre_shift, square : In(5), In(1)
        They belong to the parameters, one cycle after `begin`.
    turn : In(range(columns // lanes))
        To which columns the `accumulators` in `TOLD` cycles belong: `lanes` of them from `turn * lanes` on. Where each
        column has a lane of its own, there is no such member.
    valid, accumulators : In(1), In(32 * lanes)
        Signed accumulators, possibly in every cycle.
    zero_point, lower, upper : In(8)
        For the accumulators of `latency(...) - 2` cycles ago. Signed.
    results : Out(32 * lanes)
        Signed, the low 32 bits, `result_latency(...)` cycles after their accumulators; they hold until the next.
    outputs : Out(8 * lanes)
        Signed, `latency(...)` cycles after their accumulators; they hold until the next.
    """

    def __init__(
        self, *, columns: int, lanes: int, rounding: Rounding, multiplied: bool = False, sets: int = 2
    ) -> None:
        if rounding not in FIXED_POINT:
            raise ValueError(f"rounding is {rounding}; one of {', '.join(map(str, FIXED_POINT))} was expected")
        if lanes < 1 or columns % lanes:
            raise ValueError(f"lanes is {lanes}; a divisor of {columns} columns was expected")
        self._columns = columns
        self._lanes = lanes
        self._turns = columns // lanes
        self._rounding = rounding
        self._multiplied = multiplied
        self._sets = 1 << (sets - 1).bit_length()
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
        # Step k of the pipeline takes place k cycles after the accumulator's arrival. Parameters change one cycle
        # before the step that uses them, so that pixels of two blocks can follow each other.
        valid = self._steps(m, "valid", self.valid)
        begin = self._steps(m, "begin", self.begin)
        pre_shift, square = self.pre_shift, self.square
        if self._turns == 1:
            bias, multiplier, shift = self._elaborate_rows(m)
        else:
            bias, multiplier, shift = self._elaborate_sets(m)
            pre_shift, square = self._told(m, begin[1])
            begin = [Const(1, 1)] * len(begin)

        for step in range(1, 3 if self._multiplied else 2):
            squared = Signal(name=f"squared_{step}", reset_less=True)
            with m.If(begin[step]):
                m.d.sync += squared.eq(square)
            square = squared

        clamp = self._clamp(m)
        for c in range(self._lanes):
            result, output = self._lane(
                m,
                c,
                valid,
                begin,
                pre_shift=pre_shift,
                square=square,
                accumulator=self.accumulators.word_select(c, 32).as_signed(),
                bias=bias[c].as_signed(),
                multiplier=multiplier[c][:31],
                shift=shift[c],
                clamp=clamp,
            )
            m.d.comb += [self.results.word_select(c, 32).eq(result), self.outputs.word_select(c, 8).eq(output)]
        return m

    def _elaborate_rows(self, m: Module) -> tuple[list[Value], ...]:
        """The parameters of all columns, as the latest rows made them: bias, multiplier and shift `with_sign`."""
        rows = Signal(8 * self._columns * PARAMETER_ROWS, reset_less=True)
        with m.If(self.row_valid):
            m.d.sync += rows.eq(Cat(rows[8 * self._columns :], self.row))
        bias, multiplier, shift = (
            [Cat(rows.word_select(row * self._columns + c, 8) for row in places) for c in range(self._columns)]
            for places in _PLACES.values()
        )
        return bias, multiplier, [with_sign(byte) for byte in shift]

    def _elaborate_sets(self, m: Module) -> tuple[list[Value], ...]:
        """The parameters of the columns whose turn it is: bias, multiplier, shift `with_sign`, in time for their steps.

        They lie in memories that take a row at once, all turns of it, and give a turn of all rows.
        """
        turn_bits = len(self.turn)
        place = Signal(range(PARAMETER_ROWS), name="row_place")
        filled = Signal(range(self._sets), name="set_filled")
        used = Signal(range(self._sets), name="set_used", init=self._sets - 1)
        with m.If(self.row_valid):
            m.d.sync += place.eq(place + 1)
            with m.If(place == PARAMETER_ROWS - 1):
                m.d.sync += [place.eq(0), filled.eq(filled + 1)]
        with m.If(self.begin):
            m.d.sync += used.eq(used + 1)

        # By how many cycles each is read later than it is told. All go straight to registers, as an FPGA's memory has.
        steps = {"bias": 0, "multiplier": 1 + self._multiplied, "shift": 0}
        told = [Cat(self.turn, used)]
        for step in range(max(steps.values())):
            late = Signal.like(told[-1], name=f"told_{step}", reset_less=True)
            m.d.sync += late.eq(told[-1])
            told.append(late)
        parameters: dict[str, list[Value]] = {name: [] for name in _PLACES}
        for lane in range(self._lanes):
            for name, places in _PLACES.items():
                data = MemoryData(shape=8 * len(places), depth=self._sets << turn_bits, init=[])
                # No collisions: rows arrive for a set that is not in use.
                memory = Memory(data, attrs={"no_rw_check": 1, "ram_style": "block"})
                m.submodules[f"{name}_{lane}"] = memory
                read = memory.read_port()
                m.d.comb += read.addr.eq(told[steps[name]])
                for turn in range(self._turns):
                    write = memory.write_port(granularity=8)
                    byte = self.row.word_select(turn * self._lanes + lane, 8)
                    m.d.comb += [
                        write.addr.eq(Cat(Const(turn, turn_bits), filled)),
                        write.data.eq((with_sign(byte) if name == "shift" else byte).replicate(len(places))),
                        write.en.eq(Cat(self.row_valid & (place == row) for row in places)),
                    ]
                parameters[name].append(read.data)
        for name in ("multiplier", "shift"):
            for lane, value in enumerate(parameters[name]):
                arrived = Signal.like(value, name=f"{name}_arrived_{lane}", reset_less=True)
                m.d.sync += arrived.eq(value)
                parameters[name][lane] = arrived
        return parameters["bias"], parameters["multiplier"], parameters["shift"]

    def _told(self, m: Module, begin: Value) -> list[Value]:
        """`pre_shift` and `square` of the turns that are `TOLD` cycles old."""
        command = Signal(6, reset_less=True)
        late = Signal(6, name="late_command", reset_less=True)
        with m.If(begin):
            m.d.sync += command.eq(Cat(self.pre_shift, self.square))
        m.d.sync += late.eq(command)
        return [late[:5], late[5]]

    def _clamp(self, m: Module) -> _Clamp:
        """What all lanes clamp with, a cycle after it is there."""
        given = (self.zero_point, self.lower, self.upper)
        values = (*given, self.lower - self.zero_point, self.upper - self.zero_point)
        clamp = _Clamp(
            *(Signal.like(v, name=name, reset_less=True) for name, v in zip(_Clamp._fields, values, strict=True))
        )
        m.d.sync += [register.eq(value) for register, value in zip(clamp, values, strict=True)]
        return clamp

    def _steps(self, m: Module, name: str, flag: Value) -> list[Value]:
        """A flag, and what it was one cycle ago, two, and so on."""
        flags: list[Value] = [flag]
        for step in range(1, latency(multiplied=self._multiplied)):
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
        clamp: _Clamp,
    ) -> tuple[Signal, Signal]:
        def register(name: str, width: int, enable: Value, value: Any) -> Signal:
            signal = Signal(signed(width), name=f"{name}_{c}", reset_less=True)
            with m.If(enable):
                m.d.sync += signal.eq(value)
            return signal

        bias = register("bias", 32, begin[0], bias)
        single = self._rounding is Rounding.SINGLE
        late = int(self._multiplied)
        shift, raises = shift[:7].as_signed(), shift[7]
        left = Mux(raises, 0 if single else shift[:5], pre_shift)[:5]
        biased = register("biased", 32, valid[0], accumulator + bias)
        number = Signal(signed(32), name=f"number_{c}")
        if self._multiplied:
            m.d.comb += number.eq(self._shifted_left(biased, left, register, valid[1], begin))
        else:
            m.d.comb += number.eq(biased << register("left", 5, begin[1], left)[:5])
        # With every turn's own shift close behind, none may take a leap.
        shifts = {1: register("shift", 7, begin[1], shift)}
        for step in range(2, 7 + late) if self._turns > 1 else (3, 5, 6, 7) if late else (2, 5, 6):
            shifts[step] = register(f"shift_{step}", 7, begin[step], shifts[max(shifts)])

        operand = register("operand", 32, valid[1 + late], number)
        squares = valid[1 + late] & square
        multiplier = register("multiplier", 32, begin[2 + late] | squares, Mux(squares, number, multiplier))
        negative = (operand[-1] ^ multiplier[-1]) & (shifts[2 + late] < 0)
        valid, begin = valid[late:], begin[late:]
        outer, middle = self._product(c, operand, multiplier, negative, register, valid)
        if single:
            product = Cat(outer[:16], (outer[16:].as_signed() + middle)[:48]).as_signed()
            exact = register("exact", 64, valid[4], product)
            nudge = Const(1, 1) << (30 - shifts[5 + late])[:6]
            nudged = register("nudged", 64, valid[5], exact + nudge)
            shifted = register("shifted", 64, valid[6], nudged >> (31 - shifts[6 + late])[:6])
        else:
            # The doubling high product. Its one saturating case needs a multiplier of -2^31, which there is none.
            high = register("high", 32, valid[4], (outer[16:].as_signed() + middle) >> 15)
            # Behind the number the bit that it loses last, which rounds it. Ties go up; of a negative product, of which
            # one is gone by now, down.
            if self._multiplied:
                before = shifts[4 + late]
                right = Mux(before < 0, -before, 0)[:5]
                kept = self._shifted_right(high, right, register, valid[5], begin)
            else:
                right = Mux(shifts[5] < 0, -shifts[5], 0)[:5]
                kept = register("kept", 33, valid[5], Cat(Const(0, 1), high).as_signed() >> right)
            shifted = register("shifted", 32, valid[6], kept[1:].as_signed() + kept[0])
        # Results are compared with bounds of 9 bits: their own low 9 tell all, if they fit.
        result, fits = shifted[:9].as_signed(), shifted[8:].all() | ~shifted[8:].any()
        below = Mux(fits, result < clamp.least, shifted[-1])
        above = Mux(fits, result > clamp.most, ~shifted[-1])
        moved = (result[:8] + clamp.zero_point)[:8].as_signed()
        clamped = Mux(below, clamp.lower, Mux(above, clamp.upper, moved))
        return shifted, register("output", 8, valid[7], clamped)

    def _shifted_left(self, number: Signal, by: Value, register: Any, valid: Value, begin: list[Value]) -> Value:
        """The low 32 bits of a number that is multiplied: the product is a step behind it, `by` a step before."""
        power = register("left_power", 17, begin[1], Const(1, 1) << by[:4])[:16]
        far = register("left_far", 1, begin[1], by[4])
        far = register("left_farther", 1, begin[2], far)
        low = register("left_low", 32, valid, number[:16] * power)
        high = register("left_high", 16, valid, number[16:] * power)
        # No bit is in both.
        return Mux(far, Cat(Const(0, 16), low[:16]), Cat(low[:16], low[16:] | high))

    def _shifted_right(self, number: Signal, by: Value, register: Any, valid: Value, begin: list[Value]) -> Value:
        """A signed number of 32 bits, a step later, and below it the bit that it loses last."""
        power = register("right_power", 18, begin[5], Const(1 << 16, 17) >> by[:4])[:17]
        far = register("right_far", 1, begin[5], by[4])
        far = register("right_farther", 1, begin[6], far)
        low = register("right_low", 32, valid, number[:16] * power)
        high = register("right_high", 32, valid, number[16:].as_signed() * power)
        whole = Cat(low[15], low[16:] | high[:16], high[16:]).as_signed()  # no bit is in both
        return Mux(far, whole >> 16, whole)

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
