// A test bench that needs nothing but a Verilog simulator: it runs a compiled network on the machine, step by step, and
// compares every byte that the machine writes with what it should be, and its cycles with those of the cycle model.
//
// network/network.vh says how large everything is. Files of memory words, one per bus beat, say what happens:
//   network/memory.hex       packed weights and command streams
//   network/steps.hex        for each run of the machine: the address and length of its commands, and its cycles
//   network/before_<n>.hex   what is in memory before run n: the network's input, and what other operators computed
//   network/after_<n>.hex    what is there after it; xx where it does not matter
//
// The memory: reads are answered in order, one beat in a cycle, the first LATENCY cycles after its burst was accepted;
// writes are taken in every cycle and answered LATENCY cycles after their last beat.

`timescale 1ns / 1ps

module testbench;
`include "network/network.vh"
  localparam BITS = 8 * BUS_BYTES;
  localparam IDENTITY = 12'h000, CONFIGURATION = 12'h008, CONTROL = 12'h00c, STATUS = 12'h010, ERROR = 12'h014,
             INTERRUPT_ENABLE = 12'h01c, INTERRUPT_STATUS = 12'h020, PROGRAM_ADDRESS = 12'h024,
             PROGRAM_WORDS = 12'h028, BASE_ADDRESS = 12'h02c, CYCLES = 12'h080;
  localparam [31:0] BASE = 32'h10000000;

  reg clk = 0, rst = 0;
  always #5 clk = !clk;

  // ---- The machine ----

  wire irq;
  reg [11:0] s_axi_awaddr = 0, s_axi_araddr = 0;
  reg [31:0] s_axi_wdata = 0;
  reg s_axi_awvalid = 0, s_axi_wvalid = 0, s_axi_bready = 0, s_axi_arvalid = 0, s_axi_rready = 0;
  wire s_axi_awready, s_axi_wready, s_axi_bvalid, s_axi_arready, s_axi_rvalid;
  wire [1:0] s_axi_bresp, s_axi_rresp;
  wire [31:0] s_axi_rdata;

  wire [31:0] m_axi_araddr, m_axi_awaddr;
  wire [7:0] m_axi_arlen, m_axi_awlen;
  wire m_axi_arvalid, m_axi_awvalid, m_axi_wvalid, m_axi_wlast, m_axi_rready, m_axi_bready;
  wire [BITS-1:0] m_axi_wdata;
  wire [BUS_BYTES-1:0] m_axi_wstrb;
  reg m_axi_arready = 0, m_axi_awready = 0, m_axi_wready = 0, m_axi_rvalid = 0, m_axi_rlast = 0, m_axi_bvalid = 0;
  reg [BITS-1:0] m_axi_rdata = 0;
  reg [1:0] m_axi_rresp = 0, m_axi_bresp = 0;

  eightfold machine (
    .clk(clk), .rst(rst), .irq(irq),
    .s_axi_awaddr(s_axi_awaddr), .s_axi_awprot(3'b0), .s_axi_awvalid(s_axi_awvalid), .s_axi_awready(s_axi_awready),
    .s_axi_wdata(s_axi_wdata), .s_axi_wstrb(4'hf), .s_axi_wvalid(s_axi_wvalid), .s_axi_wready(s_axi_wready),
    .s_axi_bresp(s_axi_bresp), .s_axi_bvalid(s_axi_bvalid), .s_axi_bready(s_axi_bready),
    .s_axi_araddr(s_axi_araddr), .s_axi_arprot(3'b0), .s_axi_arvalid(s_axi_arvalid), .s_axi_arready(s_axi_arready),
    .s_axi_rdata(s_axi_rdata), .s_axi_rresp(s_axi_rresp), .s_axi_rvalid(s_axi_rvalid), .s_axi_rready(s_axi_rready),
    .m_axi_arid(), .m_axi_araddr(m_axi_araddr), .m_axi_arlen(m_axi_arlen), .m_axi_arsize(), .m_axi_arburst(),
    .m_axi_arcache(), .m_axi_arprot(), .m_axi_arvalid(m_axi_arvalid), .m_axi_arready(m_axi_arready),
    .m_axi_rid(1'b0), .m_axi_rdata(m_axi_rdata), .m_axi_rresp(m_axi_rresp), .m_axi_rlast(m_axi_rlast),
    .m_axi_rvalid(m_axi_rvalid), .m_axi_rready(m_axi_rready),
    .m_axi_awid(), .m_axi_awaddr(m_axi_awaddr), .m_axi_awlen(m_axi_awlen), .m_axi_awsize(), .m_axi_awburst(),
    .m_axi_awcache(), .m_axi_awprot(), .m_axi_awvalid(m_axi_awvalid), .m_axi_awready(m_axi_awready),
    .m_axi_wdata(m_axi_wdata), .m_axi_wstrb(m_axi_wstrb), .m_axi_wlast(m_axi_wlast),
    .m_axi_wvalid(m_axi_wvalid), .m_axi_wready(m_axi_wready),
    .m_axi_bid(1'b0), .m_axi_bresp(m_axi_bresp), .m_axi_bvalid(m_axi_bvalid), .m_axi_bready(m_axi_bready)
  );

  // ---- The memory ----
  // Variables of this block alone are assigned at once, the machine's inputs at the end of the step.

  reg [BITS-1:0] memory [0:MEMORY_WORDS-1];
  reg [BITS-1:0] expected [0:MEMORY_WORDS-1];
  reg [31:0] steps [0:3*STEPS-1];
  integer now = 0, lane, errors = 0;

  reg [31:0] read_at [0:63], write_at [0:63];  // word numbers
  reg [8:0] read_left [0:63], write_left [0:63];
  integer read_due [0:63], answer_due [0:63];
  reg [5:0] read_head = 0, read_tail = 0, write_head = 0, write_tail = 0, answer_head = 0, answer_tail = 0;
  reg [BITS-1:0] beat_data [0:15];
  reg [BUS_BYTES-1:0] beat_strobe [0:15];
  reg [3:0] beat_head = 0, beat_tail = 0;
  reg answering, reading;

  function [31:0] word_of(input [31:0] address);
    word_of = (address - BASE) / BUS_BYTES;
  endfunction

  task check_burst(input [31:0] address, input [7:0] length);
    if (address % BUS_BYTES != 0 || address % 4096 + (length + 1) * BUS_BYTES > 4096 ||
        word_of(address) + length >= MEMORY_WORDS) begin
      errors = errors + 1;
      $display("FAIL: a burst of %0d beats at %h", length + 1, address);
    end
  endtask

  always @(posedge clk) begin
    now = now + 1;

    reading = m_axi_rvalid && !m_axi_rready;
    if (m_axi_arvalid && m_axi_arready) begin
      check_burst(m_axi_araddr, m_axi_arlen);
      read_at[read_tail] = word_of(m_axi_araddr);
      read_left[read_tail] = m_axi_arlen + 1;
      read_due[read_tail] = now + LATENCY;
      read_tail = read_tail + 1;
    end
    if (!reading && read_head != read_tail && read_due[read_head] <= now + 1) begin
      reading = 1;
      m_axi_rdata <= memory[read_at[read_head]];
      m_axi_rlast <= read_left[read_head] == 1;
      read_at[read_head] = read_at[read_head] + 1;
      read_left[read_head] = read_left[read_head] - 1;
      if (read_left[read_head] == 0) read_head = read_head + 1;
    end
    m_axi_rvalid <= reading;
    m_axi_arready <= read_tail + 6'd2 != read_head;

    if (m_axi_awvalid && m_axi_awready) begin
      check_burst(m_axi_awaddr, m_axi_awlen);
      write_at[write_tail] = word_of(m_axi_awaddr);
      write_left[write_tail] = m_axi_awlen + 1;
      write_tail = write_tail + 1;
    end
    if (m_axi_wvalid && m_axi_wready) begin
      beat_data[beat_tail] = m_axi_wdata;
      beat_strobe[beat_tail] = m_axi_wstrb;
      beat_tail = beat_tail + 1;
    end
    while (write_head != write_tail && beat_head != beat_tail) begin
      for (lane = 0; lane < BUS_BYTES; lane = lane + 1)
        if (beat_strobe[beat_head][lane]) memory[write_at[write_head]][8*lane +: 8] = beat_data[beat_head][8*lane +: 8];
      beat_head = beat_head + 1;
      write_at[write_head] = write_at[write_head] + 1;
      write_left[write_head] = write_left[write_head] - 1;
      if (write_left[write_head] == 0) begin
        write_head = write_head + 1;
        answer_due[answer_tail] = now + LATENCY;
        answer_tail = answer_tail + 1;
      end
    end
    answering = m_axi_bvalid && !m_axi_bready;
    if (!answering && answer_head != answer_tail && answer_due[answer_head] <= now + 1) begin
      answering = 1;
      answer_head = answer_head + 1;
    end
    m_axi_bvalid <= answering;
    m_axi_awready <= write_tail - answer_head < 6'd60;
    m_axi_wready <= beat_tail + 4'd2 != beat_head;
  end

  // ---- The host ----

  reg done;
  reg [31:0] value;

  task write_register(input [11:0] address, input [31:0] data);
    begin
      s_axi_awaddr <= address;
      s_axi_wdata <= data;
      s_axi_awvalid <= 1;
      s_axi_wvalid <= 1;
      s_axi_bready <= 1;
      done = 0;
      while (!done) begin
        @(posedge clk);
        if (s_axi_awready) s_axi_awvalid <= 0;
        if (s_axi_wready) s_axi_wvalid <= 0;
        done = s_axi_bvalid;
      end
      s_axi_bready <= 0;
    end
  endtask

  task read_register(input [11:0] address);
    begin
      s_axi_araddr <= address;
      s_axi_arvalid <= 1;
      s_axi_rready <= 1;
      done = 0;
      while (!done) begin
        @(posedge clk);
        if (s_axi_arready) s_axi_arvalid <= 0;
        done = s_axi_rvalid;
      end
      value = s_axi_rdata;
      s_axi_rready <= 0;
    end
  endtask

  task expect_register(input [11:0] address, input [31:0] wanted);
    begin
      read_register(address);
      if (value !== wanted) begin
        errors = errors + 1;
        $display("FAIL: register %h holds %h; %h was expected", address, value, wanted);
      end
    end
  endtask

  integer step, at, waited, wrong, compared;
  reg [8*40-1:0] name;

  // Words of memory that differ from what they should be, in bytes that matter.
  task compare;
    begin
      wrong = 0;
      compared = 0;
      for (at = 0; at < MEMORY_WORDS; at = at + 1)
        for (lane = 0; lane < BUS_BYTES; lane = lane + 1)
          if (^expected[at][8*lane +: 8] !== 1'bx) begin
            compared = compared + 1;
            if (memory[at][8*lane +: 8] !== expected[at][8*lane +: 8]) begin
              if (wrong == 0)
                $display("FAIL: byte %h is %h; %h was expected", at * BUS_BYTES + lane, memory[at][8*lane +: 8],
                         expected[at][8*lane +: 8]);
              wrong = wrong + 1;
            end
          end
      errors = errors + wrong;
    end
  endtask

  initial begin
    for (at = 0; at < MEMORY_WORDS; at = at + 1) memory[at] = {BUS_BYTES{8'ha5}};
    $readmemh("network/memory.hex", memory);
    $readmemh("network/steps.hex", steps);
    repeat (2) @(posedge clk);
    rst <= 1;
    repeat (2) @(posedge clk);
    rst <= 0;
    @(posedge clk);
    expect_register(IDENTITY, 32'h646c6638);
    expect_register(CONFIGURATION, CONFIGURATION_HASH);
    write_register(BASE_ADDRESS, BASE);
    write_register(INTERRUPT_ENABLE, 3);
    for (step = 0; step < STEPS; step = step + 1) begin
      for (at = 0; at < MEMORY_WORDS; at = at + 1) expected[at] = {BITS{1'bx}};
      $sformat(name, "network/before_%0d.hex", step);
      $readmemh(name, memory);
      $sformat(name, "network/after_%0d.hex", step);
      $readmemh(name, expected);
      write_register(PROGRAM_ADDRESS, BASE + steps[3*step]);
      write_register(PROGRAM_WORDS, steps[3*step+1]);
      write_register(CONTROL, 1);
      waited = 0;
      while (!irq && waited < 2 * steps[3*step+2] + 10000) begin
        @(posedge clk);
        waited = waited + 1;
      end
      expect_register(STATUS, 2);
      expect_register(ERROR, 0);
      expect_register(CYCLES, steps[3*step+2]);
      write_register(INTERRUPT_STATUS, 3);
      compare;
      $display("run %0d of %0d: %0d cycles, %0d of %0d bytes right", step + 1, STEPS, steps[3*step+2],
               compared - wrong, compared);
    end
    if (errors == 0) $display("PASS");
    else $display("FAIL: %0d errors", errors);
    $finish;
  end

  reg [8*256-1:0] waves;
  initial
    if ($value$plusargs("waves=%s", waves)) begin
      $dumpfile(waves);
      $dumpvars(0, machine);
    end
endmodule
