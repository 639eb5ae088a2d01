"""The systolic array: weight stationary, with weights that move in from the north behind the running pass."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

WEIGHT_BITS = 9


class SystolicArray(wiring.Component):
    """Multiplies a stream of vectors with a stationary tile of weights.

    Every cycle takes one step of a stream. Operands enter from the west, one per row; what the step computes leaves in
    the south `latency(...)` cycles later, one sum per column, all columns of a step at once: the skew that the rows and
    columns need is put on and taken off inside.

    The north path has two registers per processing element where partial sums have one. It serves twice:

    * *Weights.* A row of weights that enters the north `r + 1` steps before a step marked `swap` is in row `r` when the
      swap passes there, one row per cycle, and stays until the next swap. So the R rows of the next tile, the last one
      first, follow each other during the R steps before the swap, behind the tile in use: weights are double-buffered
      without a second set of registers.
    * *Depthwise convolution.* In a step marked `depthwise` the weights multiply what the north path carries in place of
      the west's operands. Data moves at half the speed of the sums, which makes each column a FIR filter [Kung 1982,
      "Why systolic architectures?"]: where the vector `v[n]` enters the north in step `n`, the sum of step `n` is
      `sum(w[r] * v[n - r])`.

    Parameters
    ----------
    rows, columns
        Processing elements.
    sum_bits
        Width of partial sums; `16 + ceil(log2(rows))` holds any.
    multiplier_stages
        Registers between multiplier and adder.

    Members
    -------
    west : In(8 * rows)
        int8 operands of a step, row 0 in the low byte.
    north : In(9 * columns)
        One signed 9-bit value per column: a row of weights, or int8 data.
    swap : In(1)
        This step is the first that uses the weights now on their way.
    depthwise : In(1)
        The step multiplies the north path's data.
    south : Out(sum_bits * columns)
        The signed sums of the step that entered `latency` cycles ago.
    """

    def __init__(self, *, rows: int, columns: int, sum_bits: int, multiplier_stages: int) -> None:
        self._rows = rows
        self._columns = columns
        self._sum_bits = sum_bits
        self._multiplier_stages = multiplier_stages
        super().__init__(
            {
                "west": In(8 * rows),
                "north": In(WEIGHT_BITS * columns),
                "swap": In(1),
                "depthwise": In(1),
                "south": Out(sum_bits * columns),
            }
        )

    @staticmethod
    def latency(*, rows: int, columns: int, multiplier_stages: int) -> int:
        """Cycles from a step's operands to its sums."""
        return rows + columns + multiplier_stages

    def elaborate(self, platform: Any) -> Module:
        m = Module()

        def delayed(value: Any, cycles: int, name: str) -> Any:
            for stage in range(cycles):
                register = Signal(value.shape(), name=f"{name}_{stage}", reset_less=True)
                m.d.sync += register.eq(value)
                value = register
            return value

        north = []
        for c in range(self._columns):
            entering = self.north[WEIGHT_BITS * c : WEIGHT_BITS * (c + 1)].as_signed()
            north.append(delayed(entering, c, f"north_skew_{c}"))
        sums: list[Any] = [0] * self._columns

        for r in range(self._rows):
            west = delayed(self.west[8 * r : 8 * (r + 1)].as_signed(), r, f"west_skew_{r}")
            if r == 0:
                control = (self.swap, self.depthwise)
            swap, depthwise = control
            for c in range(self._columns):
                cell = f"{r}_{c}"
                operand = Signal(signed(8), name=f"west_{cell}", reset_less=True)
                moving = Signal(signed(WEIGHT_BITS), name=f"north_{cell}", reset_less=True)
                weight = Signal(signed(WEIGHT_BITS), name=f"weight_{cell}", reset_less=True)
                next_swap = Signal(name=f"swap_{cell}", reset_less=True)
                next_depthwise = Signal(name=f"depthwise_{cell}", reset_less=True)
                # No wider than the products of the rows so far need.
                sum_bits = min(self._sum_bits, 16 + r.bit_length())
                total = Signal(signed(sum_bits), name=f"sum_{cell}", reset_less=True)
                chosen = Signal(signed(8), name=f"chosen_{cell}", reset_less=True)
                m.d.sync += [
                    operand.eq(west),
                    moving.eq(north[c]),
                    # Chosen before the register, so that a multiplier's inputs and output are registers, as in an
                    # FPGA's DSP block.
                    chosen.eq(Mux(depthwise, north[c][:8].as_signed(), west)),
                    next_swap.eq(swap),
                    next_depthwise.eq(depthwise),
                ]
                with m.If(swap):
                    m.d.sync += weight.eq(moving)
                product = weight * chosen
                product = delayed(product, self._multiplier_stages, f"product_{cell}")
                m.d.sync += total.eq(sums[c] + product)
                sums[c] = total
                north[c] = delayed(moving, 1, f"north_hold_{cell}")
                west, swap, depthwise = operand, next_swap, next_depthwise
                if c == 0:
                    control = (swap, depthwise)

        for c, total in enumerate(sums):
            leaving = delayed(total, self._columns - 1 - c, f"south_skew_{c}")
            m.d.comb += self.south[self._sum_bits * c : self._sum_bits * (c + 1)].eq(leaving)
        return m
