// A test bench that needs nothing but a Verilog simulator: it runs a compiled network on the machine, step by step, and
// compares every byte that the machine writes with what it should be, and its cycles with those of the cycle model.
//
// network/network.vh says how large everything is. Files of memory words, one per bus beat, say what happens:
//   network/memory.hex       packed weights and command streams
//   network/steps.hex        for each run of the machine: the address and length of its commands, and its cycles
//   network/before_<n>.hex   what is in memory before run n: the network's input, and what other operators computed
//   network/after_<n>.hex    what is there after it; xx where it does not matter
//
// surroundings.vh is the memory behind the machine's port, and says how it behaves.

`timescale 1ns / 1ps

module testbench;
`include "network/network.vh"
  localparam IDENTITY = 12'h000, CONFIGURATION = 12'h008, CONTROL = 12'h00c, STATUS = 12'h010, ERROR = 12'h014,
             INTERRUPT_ENABLE = 12'h01c, INTERRUPT_STATUS = 12'h020, PROGRAM_ADDRESS = 12'h024,
             PROGRAM_WORDS = 12'h028, BASE_ADDRESS = 12'h02c, CYCLES = 12'h080;
  localparam BASE = 32'h10000000;
`include "surroundings.vh"

  reg [BITS-1:0] expected [0:MEMORY_WORDS-1];
  reg [31:0] steps [0:3*STEPS-1];
  integer errors = 0;

  task expect_register(input [11:0] address, input [31:0] wanted);
    begin
      read_register(address);
      if (result !== wanted) begin
        errors = errors + 1;
        $display("FAIL: register %h holds %h; %h was expected", address, result, wanted);
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
    latency = LATENCY;
    repeat (2) @(posedge clk);
    reset;
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
    if (violation != 0) begin
      errors = errors + 1;
      $display("FAIL: on the bus, %0s", violation);
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
