#include <array>
#include <charconv>
#include <limits>

#include "evict/policy.h"
#include "tools/text.h"

namespace kvedit {
namespace {

struct Unit {
  std::string_view name;
  double bytes;
};

constexpr double kKi = 1024;
constexpr std::array<Unit, 7> kUnits = {{{"KiB", kKi},
                                         {"MiB", kKi* kKi},
                                         {"GiB", kKi* kKi* kKi},
                                         {"kB", 1e3},
                                         {"KB", 1e3},
                                         {"MB", 1e6},
                                         {"GB", 1e9}}};
constexpr double kMaxBytes = 9e18;  // below 2^63

[[noreturn]] void refuse(std::string_view text) {
  fail(ErrorCode::invalid_argument, "evict", "budget \"", text,
       "\" is not a share like 25%, a whole number of tokens a lane like 512, or bytes like 64MiB");
}

}  // namespace

Budget Budget::parse(std::string_view text) {
  if (text.empty() || text.front() < '0' || text.front() > '9') refuse(text);  // no sign, inf or nan
  double number = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, number, std::chars_format::fixed);
  if (error == std::errc::result_out_of_range) {
    fail(ErrorCode::out_of_range, "evict", "budget \"", text, "\" passes every limit");
  }
  if (error != std::errc()) refuse(text);
  const std::string_view digits(text.data(), end - text.data());
  const std::string_view unit(end, last - end);

  if (unit == "%") {
    if (number <= 0 || number > 100) {
      fail(ErrorCode::out_of_range, "evict", "budget \"", text, "\" is outside 0%..100%, 0% excluded");
    }
    return fraction(number / 100);
  }
  if (unit.empty()) {
    if (digits.find('.') != std::string_view::npos) refuse(text);  // 0.25: a share or a count? Ask.
    if (number < 1 || number > std::numeric_limits<int>::max()) {
      fail(ErrorCode::out_of_range, "evict", "budget \"", text, "\" is outside 1..",
           std::numeric_limits<int>::max(), " tokens");
    }
    return tokens(static_cast<int>(number));
  }
  for (const Unit& known : kUnits) {
    if (unit != known.name) continue;
    if (number * known.bytes < 1 || number * known.bytes > kMaxBytes) {
      fail(ErrorCode::out_of_range, "evict", "budget \"", text, "\" is outside 1..", kMaxBytes, " bytes");
    }
    return bytes(static_cast<size_t>(number * known.bytes));
  }
  refuse(text);
}

void check_budget(const Budget& budget) {
  const double most = budget.kind == Budget::Kind::fraction ? 1.0 : 1e19;
  if (budget.amount > 0 && budget.amount <= most) return;  // false for NaN, too
  fail(ErrorCode::out_of_range, "evict", "budget ", budget.amount,
       budget.kind == Budget::Kind::fraction ? " is outside 0..1, 0 excluded" : " is not above 0");
}

}  // namespace kvedit
