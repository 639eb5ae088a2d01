// Plays the processor of soc.py: runs the network on the machine and tells what it finds in memory.

`timescale 1ns / 1ps
module bench;
  localparam MACHINE = 32'h80000000, MEMORY = 32'h40000000;
  reg clk = 0, rst = 0;
  always #5 clk = !clk;
  reg [31:0] address = 0, data = 0, value = 0;
  reg aw = 0, w = 0, b = 0, ar = 0, r = 0, done;
  wire aw_ready, w_ready, b_valid, ar_ready, r_valid;
  wire [31:0] r_data;
  soc soc (
    .clk(clk), .rst(rst), .host_awaddr(address), .host_awprot(3'b0), .host_awvalid(aw), .host_awready(aw_ready),
    .host_wdata(data), .host_wstrb(4'hf), .host_wvalid(w), .host_wready(w_ready), .host_bvalid(b_valid),
    .host_bready(b), .host_bresp(), .host_araddr(address), .host_arprot(3'b0), .host_arvalid(ar),
    .host_arready(ar_ready), .host_rvalid(r_valid), .host_rready(r), .host_rdata(r_data), .host_rresp()
  );
  // All changes at falling edges; what the rising edge will find is looked at shortly before it.
  reg took_aw, took_w, took_ar;
  task write(input [31:0] at, input [31:0] what);
    begin
      @(negedge clk);
      address = at;
      data = what;
      aw = 1;
      w = 1;
      b = 1;
      done = 0;
      while (!done) begin
        #4 took_aw = aw_ready;
        took_w = w_ready;
        done = b_valid;
        @(negedge clk);
        if (took_aw) aw = 0;
        if (took_w) w = 0;
      end
      b = 0;
    end
  endtask
  task read(input [31:0] at);
    begin
      @(negedge clk);
      address = at;
      ar = 1;
      r = 1;
      done = 0;
      while (!done) begin
        #4 took_ar = ar_ready;
        done = r_valid;
        value = r_data;
        @(negedge clk);
        if (took_ar) ar = 0;
      end
      r = 0;
    end
  endtask
  integer i;
  initial begin
    repeat (2) @(posedge clk);
    rst <= 1;
    repeat (4) @(posedge clk);
    rst <= 0;
    repeat (4) @(posedge clk);
    read(MACHINE);
    $display("identity %h", value);
    write(MACHINE + 32'h2c, MEMORY);
    write(MACHINE + 32'h24, MEMORY + `COMMANDS);
    write(MACHINE + 32'h28, `WORDS);
    write(MACHINE + 32'h0c, 1);
    value = 1;
    while (value[0]) begin
      repeat (50) @(posedge clk);
      read(MACHINE + 32'h10);
    end
    $display("status %h", value);
    for (i = 0; i < 3; i = i + 1) begin
      read(MEMORY + `OUTPUT + 4 * i);
      $display("output %h", value);
    end
    $finish;
  end
  initial begin
    repeat (400000) @(posedge clk);
    $display("nothing ended the run");
    $finish;
  end
endmodule
