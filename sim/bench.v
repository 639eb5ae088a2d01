// The machine and its surroundings in a simulation that a program directs.
//
// All that happens every cycle happens here and in surroundings.vh. cocotb asks for an operation (see bench.py): it
// sets the arguments, toggles `request`, and sleeps until `reply` toggles. Memory contents come and go as binary files.

`timescale 1ns / 1ps

module bench;
  parameter BUS_BYTES = 8;
  parameter MEMORY_WORDS = 131072;
  localparam BASE = 0;
`include "surroundings.vh"

  // What cocotb sets and reads, besides the settings of the surroundings.
  reg request = 0;
  reg reply = 0;
  reg tick = 0;                     // toggles now and then while the machine runs
  reg [2:0] operation = 0;
  reg [31:0] argument_0 = 0;
  reg [31:0] argument_1 = 0;
  reg [31:0] watchdog = 100000;

  localparam RESET = 0, READ_REGISTER = 1, WRITE_REGISTER = 2, FILL_MEMORY = 3, DUMP_MEMORY = 4, AWAIT = 5;
  localparam FINISHED = 0, SILENT = 1;

  // Completions: each is logged with its cycle, and tells the watchdog that the machine is alive. Starts are logged too,
  // with the cycle after. The file "watches" says after which number of execute commands which rows of the scratchpad go
  // to the file "observed".
  wire [19:0] loads = machine.load.completed;
  wire [19:0] executes = machine.execute.completed;
  wire [19:0] stores = machine.store.completed;
  reg [31:0] cycle = 0;             // of the run
  wire [19:0] load_starts = loads + machine.load.under_way;
  wire [19:0] execute_starts = machine.execute.core.sequencer.started;
  wire [19:0] store_starts = stores + machine.store.under_way;
  integer completions, starts, watches, observed, row;
  integer watch_executes, watch_row, watch_rows;
  reg watching = 0;
  reg [31:0] silence = 0;

  always @(posedge clk) cycle <= machine.control.idle ? 0 : cycle + 1;

  task next_watch;
    watching = $fscanf(watches, "%d %d %d", watch_executes, watch_row, watch_rows) == 3;
  endtask

  always @(loads, executes, stores) begin
    silence = 0;
    if (operation == AWAIT) $fwrite(completions, "%0d %0d %0d %0d\n", cycle, loads, executes, stores);
  end
  always @(load_starts, execute_starts, store_starts)
    if (operation == AWAIT) $fwrite(starts, "%0d %0d %0d %0d\n", cycle, load_starts, execute_starts, store_starts);
  always @(executes)
    while (watching && executes >= watch_executes) begin
      for (row = watch_row; row < watch_row + watch_rows; row = row + 1)
        $fwrite(observed, "%u", {machine.scratchpad.bank_1[row], machine.scratchpad.bank_0[row]});
      next_watch;
    end

  // Operations.
  integer file, position;

  always @(request) begin
    case (operation)
      RESET: reset;
      READ_REGISTER: read_register(argument_0);
      WRITE_REGISTER: write_register(argument_0, argument_1);
      FILL_MEMORY: begin
        file = $fopen("memory", "rb");
        result = $fread(memory, file, argument_0, argument_1);
        $fclose(file);
      end
      DUMP_MEMORY: begin
        file = $fopen("memory", "wb");
        for (position = argument_0; position < argument_0 + argument_1; position = position + 1) begin
          word = memory[position];
          $fwrite(file, "%u", word);
        end
        $fclose(file);
      end
      AWAIT: begin
        completions = $fopen("completions", "w");
        starts = $fopen("starts", "w");
        watches = $fopen("watches", "r");
        observed = $fopen("observed", "wb");
        next_watch;
        silence = 0;
        position = 0;
        while (!irq && silence < watchdog) begin
          @(posedge clk);
          silence = silence + 1;
          position = position + 1;
          if (position % 1024 == 0) tick = ~tick;
        end
        result = irq ? FINISHED : SILENT;
        watching = 0;
        $fclose(completions);
        $fclose(starts);
        $fclose(watches);
        $fclose(observed);
      end
    endcase
    reply = ~reply;
  end

  reg [8*1024-1:0] waves;
  initial
    if ($value$plusargs("waves=%s", waves)) begin
      $dumpfile(waves);
      $dumpvars(0, machine, cycle);
    end
endmodule
