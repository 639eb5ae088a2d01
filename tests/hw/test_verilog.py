"""The Verilog text is tidy, repeatable, and means what Amaranth's own text means."""

import random
import re
import shutil
import subprocess

import pytest
from amaranth.back import verilog as amaranth_verilog
from amaranth.hdl import Cat, EnableInserter, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

from eightfold.hw.verilog import convert


class Registers(wiring.Component):
    """Registers of every kind that the machine has: with and without reset, enabled, chosen, signed, sliced."""

    a: In(signed(8))
    b: In(signed(8))
    go: In(1)
    hold: In(1)
    out: Out(64)

    def elaborate(self, platform):
        m = Module()
        counter = Signal(5)
        total = Signal(signed(17), reset_less=True)
        chosen = Signal(signed(8), reset_less=True, init=-3)
        product = Signal(signed(16), reset_less=True)
        history = Signal(4)
        clipped = Signal(7)
        m.d.sync += [counter.eq(counter + 1), history.eq(Cat(self.go, history))]
        with m.If(self.go):
            m.d.sync += product.eq(self.a * Mux(self.hold, self.b, chosen))
            with m.If(counter[0]):
                m.d.sync += chosen.eq(self.b)
            with m.Elif(counter[1]):
                m.d.sync += chosen.eq(self.a - self.b)
        with m.Else():
            m.d.sync += total.eq((total + product) >> 1)
        m.d.sync += clipped.eq(total + self.a)
        m.d.comb += self.out.eq(Cat(counter, total, chosen, product, history, clipped))
        return m


class Held(wiring.Component):
    """The same, standing still at times."""

    a: In(signed(8))
    b: In(signed(8))
    go: In(1)
    hold: In(1)
    still: In(1)
    out: Out(64)

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = inner = Registers()
        m.submodules.held = held = EnableInserter(~self.still)(Registers())
        for unit in (inner, held):
            m.d.comb += [getattr(unit, name).eq(getattr(self, name)) for name in ("a", "b", "go", "hold")]
        m.d.comb += self.out.eq(held.out ^ (inner.out << 1))
        return m


def simulate(text, folder):
    """The outputs that Icarus Verilog computes for 500 cycles of the same random inputs."""
    draw = random.Random(5)
    vectors = [draw.getrandbits(20) for _ in range(500)]
    bench = f"""
module bench;
  reg clk = 0, rst = 0; reg [19:0] in = 0; wire [63:0] out; reg [19:0] vectors [0:{len(vectors) - 1}]; integer i;
  top dut(.clk(clk), .rst(rst), .a(in[7:0]), .b(in[15:8]), .go(in[16]), .hold(in[17]), .still(in[18]), .out(out));
  initial begin
    {" ".join(f"vectors[{i}] = {value};" for i, value in enumerate(vectors))}
    for (i = 0; i < {len(vectors)}; i = i + 1) begin
      #1 in = vectors[i]; rst = (i == 0) || (i == 250); #1 $display("%h", out); clk = 1; #1 clk = 0;
    end
  end
endmodule
"""
    (folder / "top.v").write_text(text + bench)
    subprocess.run(["iverilog", "-g2012", "-o", folder / "top.vvp", folder / "top.v"], check=True)
    return subprocess.run(["vvp", "-n", folder / "top.vvp"], check=True, capture_output=True, text=True).stdout


def test_text_means_what_amaranths_means(tmp_path):
    if shutil.which("iverilog") is None:
        pytest.skip("needs Icarus Verilog")
    outputs = simulate(convert(Held(), name="top"), tmp_path)
    assert len(set(outputs.split())) > 400
    assert outputs == simulate(amaranth_verilog.convert(Held(), name="top"), tmp_path)


def test_one_process_for_all_registers_of_a_module():
    text = convert(Held(), name="top")
    processes = [len(re.findall(r"always @\(posedge", module)) for module in text.split("endmodule")]
    assert max(processes) == 1
    assert "if (!" in text


class Storage(wiring.Component):
    """A memory."""

    address: In(20)
    data: Out(64)

    def __init__(self, init):
        super().__init__()
        self._data = MemoryData(shape=64, depth=1 << 20, init=init)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(self._data)
        port = memory.read_port()
        m.d.comb += [port.addr.eq(self.address), self.data.eq(port.data)]
        return m


def test_the_text_of_a_large_memory_is_short():
    text = convert(Storage([]), name="top")
    assert "reg [63:0] memory [1048575:0];" in text
    assert len(text) < 2000


def test_a_memory_has_no_content():
    with pytest.raises(ValueError, match="1048576 words has content"):
        convert(Storage([0, 1]), name="top")


def test_text_is_repeatable():
    assert convert(Held(), name="top") == convert(Held(), name="top")
