// The machine's surroundings in a simulation: a clock, a memory behind the AXI4 port, a master on the AXI4-Lite port.
// What includes it says how wide the bus is and how much the memory holds: BUS_BYTES, MEMORY_WORDS; BASE is its first
// address.
//
// The memory, by which cycle counts are defined:
// - Reads are answered in order, one beat per cycle. The first beat of a burst that is accepted in cycle t is valid in
//   cycle t + latency, or in the cycle after the last beat of the burst before it, whichever is later.
// - Write beats are accepted in every cycle, up to 16 of them ahead of their address. The response to a burst whose
//   address and last beat have both been accepted by cycle t is valid in cycle t + latency, one response per cycle.
// - With `stall` above 0, each of the five channels pauses in a cycle with a chance of stall in 256, by `seed`.
// - Addresses in [error_first, error_end) answer SLVERR; those outside the memory, DECERR.

  localparam BITS = 8 * BUS_BYTES;
  localparam SHIFT = $clog2(BUS_BYTES);
  localparam BURSTS = 64;
  localparam BEATS = 16;

  reg [31:0] latency = 1;
  reg [7:0] stall = 0;
  reg [31:0] seed = 1;
  reg [31:0] error_first = 32'hffffffff;
  reg [31:0] error_end = 32'hffffffff;
  reg [8*48-1:0] violation = 0;     // the first breach of the bus protocol, in words

  reg clk = 0;
  reg rst = 0;
  always #5 clk = ~clk;

  // The machine.
  wire irq;
  reg [11:0] s_axi_awaddr = 0, s_axi_araddr = 0;
  reg s_axi_awvalid = 0, s_axi_wvalid = 0, s_axi_bready = 0, s_axi_arvalid = 0, s_axi_rready = 0;
  reg [31:0] s_axi_wdata = 0;
  wire s_axi_awready, s_axi_wready, s_axi_bvalid, s_axi_arready, s_axi_rvalid;
  wire [1:0] s_axi_bresp, s_axi_rresp;
  wire [31:0] s_axi_rdata;

  wire [31:0] m_axi_araddr, m_axi_awaddr;
  wire [7:0] m_axi_arlen, m_axi_awlen;
  wire [2:0] m_axi_arsize, m_axi_awsize;
  wire [1:0] m_axi_arburst, m_axi_awburst;
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
    .m_axi_araddr(m_axi_araddr), .m_axi_arlen(m_axi_arlen), .m_axi_arsize(m_axi_arsize), .m_axi_arburst(m_axi_arburst),
    .m_axi_arvalid(m_axi_arvalid), .m_axi_arready(m_axi_arready),
    .m_axi_rid(1'b0), .m_axi_rdata(m_axi_rdata), .m_axi_rresp(m_axi_rresp), .m_axi_rlast(m_axi_rlast),
    .m_axi_rvalid(m_axi_rvalid), .m_axi_rready(m_axi_rready),
    .m_axi_awaddr(m_axi_awaddr), .m_axi_awlen(m_axi_awlen), .m_axi_awsize(m_axi_awsize), .m_axi_awburst(m_axi_awburst),
    .m_axi_awvalid(m_axi_awvalid), .m_axi_awready(m_axi_awready),
    .m_axi_wdata(m_axi_wdata), .m_axi_wstrb(m_axi_wstrb), .m_axi_wlast(m_axi_wlast),
    .m_axi_wvalid(m_axi_wvalid), .m_axi_wready(m_axi_wready),
    .m_axi_bid(1'b0), .m_axi_bresp(m_axi_bresp), .m_axi_bvalid(m_axi_bvalid), .m_axi_bready(m_axi_bready)
  );

  // The memory. Variables that only this block uses are assigned at once, the machine's inputs at the end of the step.
  reg [BITS-1:0] memory [0:MEMORY_WORDS-1];
  reg [31:0] now = 0;
  reg [31:0] random = 1;

  reg [31:0] read_address [0:BURSTS-1];
  reg [7:0] read_length [0:BURSTS-1];
  reg [31:0] read_due [0:BURSTS-1];
  reg [5:0] read_head = 0, read_tail = 0;
  reg [6:0] reads = 0;
  reg [31:0] read_beat = 0;
  reg reading;

  reg [31:0] write_address [0:BURSTS-1];
  reg [7:0] write_length [0:BURSTS-1];
  reg [5:0] write_head = 0, write_tail = 0;
  reg [6:0] writes = 0;
  reg [31:0] write_beat = 0;
  reg [1:0] write_response = 0;
  reg [BITS-1:0] beat_data [0:BEATS-1];
  reg [BUS_BYTES-1:0] beat_strobe [0:BEATS-1];
  reg beat_last [0:BEATS-1];
  reg [3:0] beat_head = 0, beat_tail = 0;
  reg [4:0] beats = 0;
  reg [1:0] response [0:BURSTS-1];
  reg [31:0] response_due [0:BURSTS-1];
  reg [5:0] response_head = 0, response_tail = 0;
  reg [6:0] responses = 0;
  reg responding;

  reg [31:0] address;
  reg [BITS-1:0] word, data;
  reg [BUS_BYTES-1:0] strobe;
  integer lane;

  reg read_offered = 0, write_offered = 0, beat_offered = 0;
  reg [44:0] read_offer = 0, write_offer = 0;
  reg [BITS+BUS_BYTES:0] beat_offer = 0;

  function [31:0] place(input [31:0] at);
    place = (at - BASE) >> SHIFT;
  endfunction

  function [1:0] status(input [31:0] at);
    status = place(at) >= MEMORY_WORDS ? 2'd3 : at >= error_first && at < error_end ? 2'd2 : 2'd0;
  endfunction

  function pauses(input integer channel);
    pauses = stall != 0 && (random >> (5 * channel)) % 256 < stall;
  endfunction

  task breach(input [8*48-1:0] what);
    if (violation == 0) violation = what;
  endtask

  task check_burst(input [31:0] at, input [7:0] length, input [2:0] size, input [1:0] burst);
    begin
      if (^{at, length, size, burst} === 1'bx) breach("an address with unknown bits");
      else if (size != SHIFT) breach("a burst of a size other than the bus width");
      else if (burst != 1) breach("a burst that is not INCR");
      else if (at % BUS_BYTES != 0) breach("a burst at an address off the bus width");
      else if (at % 4096 + (length + 1) * BUS_BYTES > 4096) breach("a burst that crosses a 4 KiB boundary");
    end
  endtask

  always @(posedge clk) begin
    now = now + 1;
    if (stall != 0) begin
      random = random ^ (random << 13);
      random = random ^ (random >> 17);
      random = random ^ (random << 5);
    end

    // What is offered stays until it is taken.
    if (read_offered && {m_axi_arvalid, m_axi_araddr, m_axi_arlen} !== {1'b1, read_offer[39:0]})
      breach("a read address that changed before it was taken");
    if (write_offered && {m_axi_awvalid, m_axi_awaddr, m_axi_awlen} !== {1'b1, write_offer[39:0]})
      breach("a write address that changed before it was taken");
    if (beat_offered && {m_axi_wvalid, m_axi_wstrb, m_axi_wlast} !== {1'b1, beat_offer[BUS_BYTES:0]})
      breach("a write beat that changed before it was taken");
    read_offered = m_axi_arvalid && !m_axi_arready;
    write_offered = m_axi_awvalid && !m_axi_awready;
    beat_offered = m_axi_wvalid && !m_axi_wready;
    if (read_offered) read_offer = {m_axi_araddr, m_axi_arlen};
    if (write_offered) write_offer = {m_axi_awaddr, m_axi_awlen};
    if (beat_offered) beat_offer = {m_axi_wstrb, m_axi_wlast};

    // Reads.
    reading = m_axi_rvalid && !m_axi_rready;
    if (m_axi_arvalid && m_axi_arready) begin
      check_burst(m_axi_araddr, m_axi_arlen, m_axi_arsize, m_axi_arburst);
      read_address[read_tail] = m_axi_araddr;
      read_length[read_tail] = m_axi_arlen;
      read_due[read_tail] = now + latency;
      read_tail = read_tail + 1;
      reads = reads + 1;
    end
    if (!reading && reads != 0 && read_due[read_head] <= now + 1 && !pauses(0)) begin
      reading = 1;
      address = read_address[read_head] + read_beat * BUS_BYTES;
      m_axi_rdata <= status(address) == 0 ? memory[place(address)] : 0;
      m_axi_rresp <= status(address);
      m_axi_rlast <= read_beat == read_length[read_head];
      if (read_beat == read_length[read_head]) begin
        read_beat = 0;
        read_head = read_head + 1;
        reads = reads - 1;
      end else
        read_beat = read_beat + 1;
    end
    m_axi_rvalid <= reading;
    m_axi_arready <= reads < BURSTS - 1 && !pauses(1);

    // Writes.
    if (m_axi_awvalid && m_axi_awready) begin
      check_burst(m_axi_awaddr, m_axi_awlen, m_axi_awsize, m_axi_awburst);
      write_address[write_tail] = m_axi_awaddr;
      write_length[write_tail] = m_axi_awlen;
      write_tail = write_tail + 1;
      writes = writes + 1;
    end
    if (m_axi_wvalid && m_axi_wready) begin
      beat_data[beat_tail] = m_axi_wdata;
      beat_strobe[beat_tail] = m_axi_wstrb;
      beat_last[beat_tail] = m_axi_wlast;
      beat_tail = beat_tail + 1;
      beats = beats + 1;
    end
    while (writes != 0 && beats != 0) begin
      address = write_address[write_head] + write_beat * BUS_BYTES;
      write_response = write_response | status(address);
      data = beat_data[beat_head];
      strobe = beat_strobe[beat_head];
      if (^strobe === 1'bx) breach("a write strobe with unknown bits");
      if (beat_last[beat_head] !== (write_beat == write_length[write_head])) breach("WLAST off the last beat");
      if (status(address) == 0) begin
        word = memory[place(address)];
        for (lane = 0; lane < BUS_BYTES; lane = lane + 1)
          if (strobe[lane]) word[8*lane +: 8] = data[8*lane +: 8];
        memory[place(address)] = word;
        if (^data === 1'bx)
          for (lane = 0; lane < BUS_BYTES; lane = lane + 1)
            if (strobe[lane] && ^data[8*lane +: 8] === 1'bx) breach("written bytes with unknown bits");
      end
      beat_head = beat_head + 1;
      beats = beats - 1;
      if (write_beat == write_length[write_head]) begin
        response[response_tail] = write_response;
        response_due[response_tail] = now + latency;
        response_tail = response_tail + 1;
        responses = responses + 1;
        write_response = 0;
        write_beat = 0;
        write_head = write_head + 1;
        writes = writes - 1;
      end else
        write_beat = write_beat + 1;
    end
    responding = m_axi_bvalid && !m_axi_bready;
    if (!responding && responses != 0 && response_due[response_head] <= now + 1 && !pauses(2)) begin
      responding = 1;
      m_axi_bresp <= response[response_head];
      response_head = response_head + 1;
      responses = responses - 1;
    end
    m_axi_bvalid <= responding;
    m_axi_awready <= writes + responses < BURSTS - 2 && !pauses(3);
    m_axi_wready <= beats < BEATS - 1 && !pauses(4);
  end

  // The host.
  reg accepted;
  reg [31:0] result = 0;            // of a read, or of another operation

  task reset;
    begin
      random = seed == 0 ? 1 : seed;
      rst <= 1;
      repeat (2) @(posedge clk);
      rst <= 0;
      @(posedge clk);
    end
  endtask

  task write_register(input [11:0] at, input [31:0] value);
    begin
      s_axi_awaddr <= at;
      s_axi_wdata <= value;
      s_axi_awvalid <= 1;
      s_axi_wvalid <= 1;
      s_axi_bready <= 1;
      accepted = 0;
      while (!accepted) begin
        @(posedge clk);
        if (s_axi_awready) s_axi_awvalid <= 0;
        if (s_axi_wready) s_axi_wvalid <= 0;
        accepted = s_axi_bvalid;
      end
      s_axi_bready <= 0;
    end
  endtask

  task read_register(input [11:0] at);
    begin
      s_axi_araddr <= at;
      s_axi_arvalid <= 1;
      s_axi_rready <= 1;
      accepted = 0;
      while (!accepted) begin
        @(posedge clk);
        if (s_axi_arready) s_axi_arvalid <= 0;
        accepted = s_axi_rvalid;
      end
      result = s_axi_rdata;
      s_axi_rready <= 0;
    end
  endtask
