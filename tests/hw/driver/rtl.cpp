// The machine as Verilator made it, a memory on its AXI4 port, and the accessors that the driver wants.
//
// Reads are answered after a latency, in order, one beat in a cycle; each channel pauses now and then.

#include "rtl.h"

#include <cstring>
#include <deque>
#include <vector>

#include "Veightfold.h"
#include "verilated.h"

namespace {

constexpr unsigned kLatency = 11;
constexpr unsigned kBusBytes = BUS_BYTES;

struct Burst {
  uint32_t address;
  uint32_t beats;
  uint64_t due;
};

Veightfold *machine;
std::vector<unsigned char> memory;
uint32_t base, bad_first, bad_end;
uint64_t now;
uint32_t random_state = 1;
std::deque<Burst> reads, writes, answers;
uint32_t write_beats;
bool write_bad;

bool pauses() {
  random_state = random_state * 1664525u + 1013904223u;
  return random_state >> 29 == 0;
}

bool inside(uint32_t address) { return address >= base && address - base + kBusBytes <= memory.size(); }

unsigned response(uint32_t address) {
  if (!inside(address)) return 3;
  return address >= bad_first && address < bad_end ? 2 : 0;
}

// One clock cycle: the inputs for it were set at the end of the last.
void cycle() {
  machine->eval();
  const bool ar = machine->m_axi_arvalid && machine->m_axi_arready;
  const bool r = machine->m_axi_rvalid && machine->m_axi_rready;
  const bool aw = machine->m_axi_awvalid && machine->m_axi_awready;
  const bool w = machine->m_axi_wvalid && machine->m_axi_wready;
  const bool b = machine->m_axi_bvalid && machine->m_axi_bready;
  const Burst read = {machine->m_axi_araddr, machine->m_axi_arlen + 1u, now + kLatency};
  const Burst write = {machine->m_axi_awaddr, machine->m_axi_awlen + 1u, 0};
  if (w) {  // its address has been taken before: see wready
    const uint32_t address = writes.front().address;
    if (response(address) == 0)
      for (unsigned lane = 0; lane < kBusBytes; lane++)
        if (machine->m_axi_wstrb >> lane & 1)
          memory[address - base + lane] = reinterpret_cast<unsigned char *>(&machine->m_axi_wdata)[lane];
  }

  machine->clk = 1;
  machine->eval();
  now++;

  if (ar) reads.push_back(read);
  if (r) {
    reads.front().address += kBusBytes;
    if (--reads.front().beats == 0) reads.pop_front();
    machine->m_axi_rvalid = 0;
  }
  if (aw) writes.push_back(write);
  if (w) {
    write_bad |= response(writes.front().address) != 0;
    writes.front().address += kBusBytes;
    if (--writes.front().beats == 0) {
      answers.push_back({0, write_bad ? 2u : 0u, now + kLatency});
      writes.pop_front();
      write_bad = false;
    }
  }
  if (b) {
    answers.pop_front();
    machine->m_axi_bvalid = 0;
  }

  if (!machine->m_axi_rvalid && !reads.empty() && reads.front().due <= now && !pauses()) {
    const uint32_t address = reads.front().address;
    machine->m_axi_rvalid = 1;
    machine->m_axi_rresp = response(address);
    machine->m_axi_rlast = reads.front().beats == 1;
    std::memset(&machine->m_axi_rdata, 0, kBusBytes);
    if (response(address) == 0) std::memcpy(&machine->m_axi_rdata, &memory[address - base], kBusBytes);
  }
  if (!machine->m_axi_bvalid && !answers.empty() && answers.front().due <= now && !pauses()) {
    machine->m_axi_bvalid = 1;
    machine->m_axi_bresp = answers.front().beats;
  }
  machine->m_axi_arready = !pauses();
  machine->m_axi_awready = !pauses();
  machine->m_axi_wready = !writes.empty() && !pauses();
  machine->clk = 0;
  machine->eval();
}

}  // namespace

extern "C" void rtl_open(uint32_t base_address, uint32_t bytes) {
  machine = new Veightfold;
  memory.assign(bytes, 0xa5);
  base = base_address;
  machine->rst = 1;
  for (int i = 0; i < 3; i++) cycle();
  machine->rst = 0;
  cycle();
}

extern "C" void rtl_close(void) {
  machine->final();
  delete machine;
}

extern "C" void rtl_fail(uint32_t first, uint32_t end) {
  bad_first = base + first;
  bad_end = base + end;
}

extern "C" uint32_t rtl_read_register(void *, uint32_t offset) {
  machine->s_axi_araddr = offset;
  machine->s_axi_arvalid = 1;
  machine->s_axi_rready = 1;
  for (bool taken = false, there = false; !there;) {
    machine->eval();
    taken |= machine->s_axi_arready;
    there = machine->s_axi_rvalid;
    const uint32_t value = machine->s_axi_rdata;
    cycle();
    if (taken) machine->s_axi_arvalid = 0;
    if (there) {
      machine->s_axi_rready = 0;
      return value;
    }
  }
  return 0;
}

extern "C" void rtl_write_register(void *, uint32_t offset, uint32_t value) {
  machine->s_axi_awaddr = offset;
  machine->s_axi_wdata = value;
  machine->s_axi_wstrb = 15;
  machine->s_axi_awvalid = 1;
  machine->s_axi_wvalid = 1;
  machine->s_axi_bready = 1;
  for (bool there = false; !there;) {
    machine->eval();
    const bool aw = machine->s_axi_awready, w = machine->s_axi_wready;
    there = machine->s_axi_bvalid;
    cycle();
    if (aw) machine->s_axi_awvalid = 0;
    if (w) machine->s_axi_wvalid = 0;
  }
  machine->s_axi_bready = 0;
}

extern "C" void rtl_write_memory(void *, uint32_t offset, const void *from, uint32_t bytes) {
  std::memcpy(memory.data() + offset, from, bytes);
}

extern "C" void rtl_read_memory(void *, uint32_t offset, void *to, uint32_t bytes) {
  std::memcpy(to, memory.data() + offset, bytes);
}

extern "C" int rtl_wait(void *) {
  for (int i = 0; i < 100000 && !machine->irq; i++) cycle();
  return !machine->irq;
}
