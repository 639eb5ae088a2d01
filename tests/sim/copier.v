// A machine of the same pins as the accelerator, small enough to foresee every cycle: it copies one burst. Tests of the
// test bench run it.
//
// PROGRAM_ADDRESS is the source, the destination lies 4096 bytes further, PROGRAM_WORDS are the beats; 0 of them never
// end. LOAD_BUSY counts the cycles from the read address to the first beat, LOAD_WAIT those from the first beat to the
// last, STORE_BUSY those from the last beat written to the response. A response other than OKAY is error 6 or 7 at
// command 0.

`timescale 1ns / 1ps

module counts;
  reg [19:0] started = 0;
endmodule

module inner;
  counts sequencer ();
endmodule

module engine (input clk, input step);
  reg [19:0] completed = 0;
  reg under_way = 0;
  inner core ();
  always @(posedge clk) if (step) completed <= completed + 1;
endmodule

module control (input clk, input start, input idle);
  reg [31:0] cycles = 0;
  always @(posedge clk) cycles <= start ? 0 : cycles + 1;
endmodule

module banks;
  reg [63:0] bank_0 [0:15];
  reg [63:0] bank_1 [0:15];
endmodule

module eightfold (
  input clk, input rst, output irq,
  input [11:0] s_axi_awaddr, input [2:0] s_axi_awprot, input s_axi_awvalid, output s_axi_awready,
  input [31:0] s_axi_wdata, input [3:0] s_axi_wstrb, input s_axi_wvalid, output s_axi_wready,
  output [1:0] s_axi_bresp, output reg s_axi_bvalid, input s_axi_bready,
  input [11:0] s_axi_araddr, input [2:0] s_axi_arprot, input s_axi_arvalid, output s_axi_arready,
  output reg [31:0] s_axi_rdata, output [1:0] s_axi_rresp, output reg s_axi_rvalid, input s_axi_rready,
  output [31:0] m_axi_araddr, output [7:0] m_axi_arlen, output [2:0] m_axi_arsize, output [1:0] m_axi_arburst,
  output m_axi_arvalid, input m_axi_arready,
  input m_axi_rid, input [`BITS-1:0] m_axi_rdata, input [1:0] m_axi_rresp, input m_axi_rlast, input m_axi_rvalid,
  output m_axi_rready,
  output [31:0] m_axi_awaddr, output [7:0] m_axi_awlen, output [2:0] m_axi_awsize, output [1:0] m_axi_awburst,
  output m_axi_awvalid, input m_axi_awready,
  output [`BITS-1:0] m_axi_wdata, output [`BITS/8-1:0] m_axi_wstrb, output m_axi_wlast, output m_axi_wvalid,
  input m_axi_wready,
  input m_axi_bid, input [1:0] m_axi_bresp, input m_axi_bvalid, output m_axi_bready
);
  reg [31:0] registers [0:63];
  reg [`BITS-1:0] buffer [0:255];
  reg [3:0] state = 0;
  reg [31:0] first = 0, last = 0, response = 0;
  reg [8:0] beat = 0;
  reg [1:0] worst = 0;
  integer n;

  localparam IDLE = 0, ADDRESS = 1, READ = 2, WRITE_ADDRESS = 3, WRITE = 4, RESPONSE = 5, HANG = 6;
  wire [31:0] source = registers[9], beats = registers[10], target = source + 4096;
  wire [31:0] status = {state == IDLE && worst != 0, state == IDLE && worst == 0, state != IDLE};

  wire start = s_axi_awready && s_axi_awaddr == 12 && s_axi_wdata == 1;
  wire [31:0] cycles = control.cycles;
  control control (.clk(clk), .start(start), .idle(state == IDLE));
  banks scratchpad ();
  engine load (.clk(clk), .step(state == READ && m_axi_rvalid && m_axi_rlast));
  engine execute (.clk(clk), .step(1'b0));
  engine store (.clk(clk), .step(state == RESPONSE && m_axi_bvalid));
  assign irq = registers[8] != 0;

  assign s_axi_awready = s_axi_awvalid && s_axi_wvalid && !s_axi_bvalid, s_axi_wready = s_axi_awready;
  assign s_axi_arready = !s_axi_rvalid, s_axi_bresp = 0, s_axi_rresp = 0;
  assign m_axi_araddr = source, m_axi_arlen = beats - 1, m_axi_arsize = $clog2(`BITS / 8), m_axi_arburst = 1;
  assign m_axi_arvalid = state == ADDRESS, m_axi_rready = 1;
  assign m_axi_awaddr = target, m_axi_awlen = beats - 1, m_axi_awsize = m_axi_arsize, m_axi_awburst = 1;
  assign m_axi_awvalid = state == WRITE_ADDRESS, m_axi_bready = 1;
  assign m_axi_wdata = buffer[beat], m_axi_wstrb = ~0, m_axi_wvalid = state == WRITE;
  assign m_axi_wlast = beat == beats - 1;

  initial for (n = 0; n < 64; n = n + 1) registers[n] = 0;

  always @(posedge clk) begin
    if (s_axi_bready) s_axi_bvalid <= 0;
    if (s_axi_rready) s_axi_rvalid <= 0;
    if (s_axi_arvalid && s_axi_arready) begin
      s_axi_rvalid <= 1;
      s_axi_rdata <= s_axi_araddr == 8 ? `HASH : s_axi_araddr == 16 ? status : registers[s_axi_araddr[7:2]];
    end
    if (s_axi_awready) begin
      s_axi_bvalid <= 1;
      if (s_axi_awaddr == 32) registers[8] <= registers[8] & ~s_axi_wdata;
      else registers[s_axi_awaddr[7:2]] <= s_axi_wdata;
      if (start) begin
        state <= beats == 0 ? HANG : ADDRESS;
        worst <= 0;
        beat <= 0;
      end
    end
    case (state)
      ADDRESS: if (m_axi_arready) begin state <= READ; first <= cycles; end
      READ: if (m_axi_rvalid) begin
        if (beat == 0) begin registers[33] <= cycles - first; last <= cycles; end
        buffer[beat] <= m_axi_rdata;
        beat <= beat + 1;
        if (m_axi_rresp != 0) worst <= 1;
        if (m_axi_rlast) begin registers[34] <= cycles - last; beat <= 0; state <= WRITE_ADDRESS; end
      end
      WRITE_ADDRESS: if (m_axi_awready) state <= WRITE;
      WRITE: if (m_axi_wready) begin
        beat <= beat + 1;
        if (m_axi_wlast) begin state <= RESPONSE; response <= cycles; end
      end
      RESPONSE: if (m_axi_bvalid) begin
        registers[38] <= cycles - response;
        registers[32] <= cycles;
        if (m_axi_bresp != 0) worst <= 2;
        registers[5] <= worst == 1 ? 6 : 7;
        registers[6] <= 0;
        registers[8] <= 1;
        state <= IDLE;
      end
    endcase
    if (rst) begin
      state <= IDLE;
      s_axi_bvalid <= 0;
      s_axi_rvalid <= 0;
    end
  end
endmodule
