// Requantization lanes as Verilator made them, beside the same arithmetic in C++ on 64-bit integers.
//
//     requantization_cases random ROUNDING AS_IF CASES SEED     random cases, most of them near an edge
//     requantization_cases exhaustive ROUNDING AS_IF WIDTH      all operands of so many bits, at several places, all shifts
//
// ROUNDING says which lanes, AS_IF which arithmetic; both are one of double, double-up, single. Parameters move in while
// accumulators of the block before are under way, accumulators pause now and then, and what is not valid is noise. Both
// outputs are compared in every cycle. The first difference is told, and is the end.

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "Vlanes_double.h"
#include "Vlanes_double_up.h"
#include "Vlanes_single.h"
#include "verilated.h"

namespace {

constexpr int kLanes = LANES, kRows = PARAMETER_ROWS, kResult = RESULT_LATENCY, kOutput = OUTPUT_LATENCY;
static_assert(kLanes == 4, "a row is a word, four accumulators make a port");

enum class Rounding { kDouble, kDoubleUp, kSingle };

struct Parameters {
  int32_t bias;
  uint32_t multiplier;  // of 31 bits
  int shift;            // -31 to 30
};

struct Block {
  std::array<Parameters, kLanes> parameters;
  unsigned pre_shift;
  bool square;
  std::vector<std::array<int32_t, kLanes>> accumulators;
};

// ---- What should come out ----

int32_t wrapped(int64_t value) { return static_cast<int32_t>(static_cast<uint64_t>(value)); }

// The doubling high product: of the sum with half a unit, rounded towards zero.
int32_t doubled_high(int64_t product) {
  const int64_t nudge = product >= 0 ? int64_t{1} << 30 : 1 - (int64_t{1} << 30);
  return wrapped((product + nudge) / (int64_t{1} << 31));
}

struct Cases {
  uint64_t count = 0, clamped = 0, ties = 0, wraps = 0;
};

int64_t requantized(int32_t accumulator, const Parameters &lane, unsigned pre_shift, bool square, Rounding rounding,
                    Cases &cases) {
  const bool single = rounding == Rounding::kSingle;
  const unsigned left = lane.shift > 0 ? (single ? 0 : lane.shift) : pre_shift;
  const int64_t biased = int64_t{accumulator} + lane.bias;
  const int64_t shifted = static_cast<int64_t>(static_cast<uint64_t>(wrapped(biased)) << left);
  const int32_t number = wrapped(shifted);
  cases.wraps += wrapped(biased) != biased || number != shifted;
  const int64_t product = int64_t{number} * (square ? int64_t{number} : int64_t{lane.multiplier});
  if (single) {
    const int right = 31 - lane.shift;
    const int64_t half = int64_t{1} << (right - 1);
    cases.ties += (product & (2 * half - 1)) == half;
    return (product + half) >> right;
  }
  const int64_t high = doubled_high(product);
  const int right = lane.shift < 0 ? -lane.shift : 0;
  if (right == 0) return high;
  const int64_t unit = int64_t{1} << right, rest = high & (unit - 1);
  cases.ties += 2 * rest == unit;
  const bool up = rounding == Rounding::kDoubleUp ? 2 * rest >= unit : 2 * rest > unit || (2 * rest == unit && high > 0);
  return (high >> right) + up;
}

// ---- Chance ----

uint64_t state;

uint64_t random_word() {  // xorshift64*
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545F4914F6CDD1Dull;
}

unsigned below(unsigned limit) { return static_cast<unsigned>((random_word() >> 32) * limit >> 32); }

// Half of them anything, the others near 0, near the ends, or near a few units of some place.
int32_t edgy() {
  const uint64_t word = random_word();
  const int32_t near = static_cast<int32_t>(word >> 32 & 7) - 4;
  switch (word >> 61) {
    case 0: return near;
    case 1: return wrapped((int64_t{1} << 31) + near);
    case 2: return static_cast<int32_t>(word >> 32) >> (word & 31);
    case 3: {
      const int64_t units = static_cast<int64_t>(2 * (word >> 40 & 127) + 1) << (word & 31);
      return wrapped((word >> 39 & 1 ? -units : units) + (near >= -1 && near <= 1 ? near : 0));
    }
    default: return static_cast<int32_t>(word >> 16);
  }
}

uint32_t any_multiplier() {
  const uint32_t near = below(8);
  switch (below(8)) {
    case 0: return (1u << 30) + near;
    case 1: return (1u << 31) - 1 - near;
    case 2: return (1u << 30) + (below(16) << 26);
    case 3: return near == 0 ? 0 : below(1u << 31);
    default: return (1u << 30) + below(1u << 30);
  }
}

Block random_block() {
  Block block;
  for (Parameters &lane : block.parameters)
    lane = {below(2) ? edgy() : 0, any_multiplier(), below(2) ? static_cast<int>(below(62)) - 31 : -static_cast<int>(below(13))};
  block.pre_shift = below(2) ? 0 : below(4) ? below(32) : 20;
  block.square = below(4) == 0;
  block.accumulators.resize(12 + below(24));
  for (auto &numbers : block.accumulators)
    for (int c = 0; c < kLanes; c++)  // the sum with the bias is what is near an edge
      numbers[c] = wrapped(int64_t{edgy()} - (below(8) ? block.parameters[c].bias : 0));
  return block;
}

// ---- All of some ----

// Operands of `width` bits at the bottom, in the middle (where the lanes divide them) and at the top.
class Exhaustive {
 public:
  explicit Exhaustive(int width) : width_(width) {}

  bool next(Block &block) {
    if (shift_ > 30) return false;
    const int places[] = {0, 16 - width_ / 2, 32 - width_};
    block.pre_shift = 0;
    block.square = first_ < 0;
    for (int c = 0; c < kLanes; c++) {
      const uint32_t multiplier = block.square ? 0 : static_cast<uint32_t>(first_ + c) << (places[by_] - (by_ == 2));
      block.parameters[c] = {0, multiplier, shift_};
    }
    const int64_t half = int64_t{1} << (width_ - 1);
    block.accumulators.clear();
    for (int64_t number = -half; number < half; number++) {
      block.accumulators.emplace_back();
      block.accumulators.back().fill(wrapped(number * (int64_t{1} << places[of_])));
    }
    step();
    return true;
  }

 private:
  void step() {
    first_ = first_ < 0 ? 0 : first_ + kLanes;  // squares first, once for each place of the number
    if (first_ < 1 << width_) return;
    first_ = 0;
    if (++by_ < 3) return;
    first_ = -1, by_ = 0;
    if (++of_ < 3) return;
    of_ = 0;
    shift_++;
  }

  int width_, shift_ = -31, of_ = 0, by_ = 0, first_ = -1;
};

// ---- The lanes, cycle by cycle ----

template <class Model>
class Bench {
 public:
  Bench(Rounding as_if) : as_if_(as_if) {
    for (const Block &nothing = Block{}; cycle_ < kOutput;) cycle(nothing, 0, false);
  }

  // The block's parameters, then `begin` with the last accumulator of the block before, then its own accumulators,
  // among which the next block's parameters move in.
  bool run(const std::function<bool(Block &)> &next) {
    Block now, after;
    if (!next(now)) return true;
    for (int row = 0; row < kRows; row++) {
      load(now, row);
      cycle(now, 0, false);
    }
    lanes_.begin = 1;
    cycle(now, 0, false);
    for (bool more = true; more && !failed_; now = after) {
      more = next(after);
      size_t done = 0;
      int row = 0;
      for (unsigned age = 1; (done < now.accumulators.size() || (more && row < kRows)) && !failed_; age++) {
        const bool valid = done < now.accumulators.size() && below(16) != 0;
        if (more && age >= 3 && row < kRows && below(8) != 0) load(after, row++);
        else if (more && row == kRows && done + valid == now.accumulators.size()) lanes_.begin = 1, row++;
        if (age == 1) lanes_.pre_shift = now.pre_shift, lanes_.square = now.square;
        else lanes_.pre_shift = below(32), lanes_.square = below(2);
        cycle(now, done, valid);
        done += valid;
      }
      if (more && row == kRows) {
        lanes_.begin = 1;
        cycle(now, 0, false);
      }
    }
    for (int rest = 0; rest <= kOutput; rest++) cycle(now, 0, false);
    return !failed_;
  }

  Cases cases;

 private:
  struct Expected {
    bool valid;
    int8_t zero_point, lower, upper;
    std::array<int64_t, kLanes> results;
    const char *why;
    std::array<int32_t, kLanes> accumulators;
    std::array<Parameters, kLanes> parameters;
    unsigned pre_shift;
    bool square;
  };

  void load(const Block &block, int row) {
    lanes_.row_valid = 1;
    lanes_.row = 0;
    for (int c = 0; c < kLanes; c++) {
      const Parameters &lane = block.parameters[c];
      const uint32_t word = row < 4 ? static_cast<uint32_t>(lane.bias) : row < 8 ? lane.multiplier : static_cast<uint32_t>(lane.shift);
      lanes_.row |= (word >> 8 * (row & 3) & 0xff) << 8 * c;
    }
  }

  void cycle(const Block &block, size_t place, bool valid) {
    Expected &mine = under_way_[cycle_ % kDepth];
    mine.valid = valid;
    lanes_.valid = valid;
    const int8_t bounds[2] = {static_cast<int8_t>(below(256)), static_cast<int8_t>(below(256))};
    const bool wide = below(4) != 0;
    mine.lower = wide ? -128 : bounds[0] < bounds[1] ? bounds[0] : bounds[1];
    mine.upper = wide ? 127 : bounds[0] < bounds[1] ? bounds[1] : bounds[0];
    mine.zero_point = static_cast<int8_t>(below(256));
    for (int c = 0; c < kLanes; c++) {
      const int32_t accumulator = valid ? block.accumulators[place][c] : static_cast<int32_t>(random_word());
      lanes_.accumulators[c] = static_cast<uint32_t>(accumulator);
      if (!valid) continue;
      mine.results[c] = requantized(accumulator, block.parameters[c], block.pre_shift, block.square, as_if_, cases);
      mine.accumulators[c] = accumulator;
    }
    if (valid) {
      mine.parameters = block.parameters;
      mine.pre_shift = block.pre_shift;
      mine.square = block.square;
      cases.count += kLanes;
    }
    const Expected &clamped = under_way_[(cycle_ + kDepth - (kOutput - 2)) % kDepth];
    lanes_.zero_point = static_cast<uint8_t>(clamped.zero_point);
    lanes_.lower = static_cast<uint8_t>(clamped.lower);
    lanes_.upper = static_cast<uint8_t>(clamped.upper);

    lanes_.eval();
    const Expected &result = under_way_[(cycle_ + kDepth - kResult) % kDepth];
    const Expected &output = under_way_[(cycle_ + kDepth - kOutput) % kDepth];
    if (result.valid) latest_result_ = result;
    if (output.valid) latest_output_ = output;
    // They hold until the next.
    for (int c = 0; c < kLanes && latest_result_.valid; c++)
      if (lanes_.results[c] != static_cast<uint32_t>(latest_result_.results[c]))
        differs("result", latest_result_, c, static_cast<int32_t>(lanes_.results[c]), wrapped(latest_result_.results[c]));
    for (int c = 0; c < kLanes && latest_output_.valid; c++) {
      const Expected &e = latest_output_;
      const int64_t sum = e.results[c] + e.zero_point;
      const int64_t wanted = sum < e.lower ? e.lower : sum > e.upper ? e.upper : sum;
      cases.clamped += output.valid && wanted != sum;
      const int8_t got = static_cast<int8_t>(lanes_.outputs >> 8 * c);
      if (got != wanted) differs("output", e, c, got, wanted);
    }
    lanes_.clk = 1;
    lanes_.eval();
    lanes_.clk = 0;
    lanes_.row_valid = lanes_.begin = 0;
    lanes_.row = static_cast<uint32_t>(random_word());
    cycle_++;
  }

  void differs(const char *what, const Expected &e, int c, int64_t got, int64_t wanted) {
    if (!failed_)
      std::printf("DIFFERENT: %s %lld, %lld was expected: accumulator %d, bias %d, multiplier %u, shift %d, pre_shift %u, "
                  "square %d, zero point %d, bounds %d and %d\n",
                  what, static_cast<long long>(got), static_cast<long long>(wanted), e.accumulators[c],
                  e.parameters[c].bias, e.parameters[c].multiplier, e.parameters[c].shift, e.pre_shift, e.square,
                  e.zero_point, e.lower, e.upper);
    failed_ = true;
  }

  static constexpr int kDepth = 16;
  static_assert(kOutput < kDepth, "what is under way has to be remembered");
  Model lanes_;
  Rounding as_if_;
  uint64_t cycle_ = 0;
  bool failed_ = false;
  std::array<Expected, kDepth> under_way_{};
  Expected latest_result_{}, latest_output_{};
};

template <class Model>
int run(Rounding as_if, bool exhaustive, uint64_t amount) {
  Bench<Model> bench(as_if);
  Exhaustive all(static_cast<int>(amount));
  const bool same = bench.run([&](Block &block) {
    if (exhaustive) return all.next(block);
    block = random_block();
    return bench.cases.count < amount;
  });
  if (!same) return 1;
  const Cases &cases = bench.cases;
  std::printf("%llu cases, %llu of them ties, %llu with a sum or shift that wraps, %llu clamped\n",
              static_cast<unsigned long long>(cases.count), static_cast<unsigned long long>(cases.ties),
              static_cast<unsigned long long>(cases.wraps), static_cast<unsigned long long>(cases.clamped));
  return 0;
}

bool parse(const char *name, Rounding &rounding) {
  const char *names[] = {"double", "double-up", "single"};
  for (int i = 0; i < 3; i++)
    if (std::strcmp(name, names[i]) == 0) return rounding = static_cast<Rounding>(i), true;
  return false;
}

}  // namespace

int main(int count, char **arguments) {
  const bool exhaustive = count == 5 && std::strcmp(arguments[1], "exhaustive") == 0;
  const bool random = count == 6 && std::strcmp(arguments[1], "random") == 0;
  Rounding rounding, as_if;
  if ((!exhaustive && !random) || !parse(arguments[2], rounding) || !parse(arguments[3], as_if)) {
    std::fprintf(stderr, "see the first lines of the source for the arguments\n");
    return 2;
  }
  const uint64_t amount = std::strtoull(arguments[4], nullptr, 10);
  state = 0x9E3779B97F4A7C15ull + (random ? std::strtoull(arguments[5], nullptr, 10) : 0);
  switch (rounding) {
    case Rounding::kDouble: return run<Vlanes_double>(as_if, exhaustive, amount);
    case Rounding::kDoubleUp: return run<Vlanes_double_up>(as_if, exhaustive, amount);
    default: return run<Vlanes_single>(as_if, exhaustive, amount);
  }
}
