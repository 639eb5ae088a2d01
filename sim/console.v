// The test bench on standard input and output, for a simulator that makes a program of its own.
//
// A request is a line of numbers: the operation of bench.v and its two arguments, then the settings latency, stall, seed,
// error_first, error_end and watchdog. A reply is a line of JSON, as bench.py writes it.

`timescale 1ns / 1ps

module console;
  parameter BUS_BYTES = 8;
  parameter MEMORY_WORDS = 131072;
  localparam STDIN = 32'h80000000, STDOUT = 32'h80000001;

  bench #(.BUS_BYTES(BUS_BYTES), .MEMORY_WORDS(MEMORY_WORDS)) bench ();

  // The next operation begins in the same instant, when every register has its new value.
  reg settled = 0;
  always @(bench.reply) settled <= bench.reply;

  integer fields;
  reg [31:0] operation;

  initial begin
    #1002;  // a simulator may take initial values for changes: bench.v then resets the machine unasked
    fields = 9;
    while (fields == 9) begin
      fields = $fscanf(STDIN, "%d %d %d %d %d %d %d %d %d", operation, bench.argument_0, bench.argument_1,
                       bench.latency, bench.stall, bench.seed, bench.error_first, bench.error_end, bench.watchdog);
      if (fields == 9) begin
        bench.operation = operation;
        bench.request = ~bench.request;
        @(settled);
        $fwrite(STDOUT, "{\"result\": %0d, \"violation\": \"%0s\"}\n", bench.result, bench.violation);
        $fflush(STDOUT);
      end
    end
    $finish;
  end

  always @(bench.tick) if ($time != 0) begin
    $fwrite(STDOUT, "{\"tick\": [%0d, %0d, %0d, %0d]}\n", bench.cycle, bench.loads, bench.executes, bench.stores);
    $fflush(STDOUT);
  end
endmodule
