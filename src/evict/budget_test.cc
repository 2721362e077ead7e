#include <gtest/gtest.h>

#include "cache/cache_testing.h"
#include "kvedit/evict.h"
#include "tools/text.h"

namespace kvedit {
namespace {

TEST(BudgetTest, ReadsSharesTokensAndBytes) {
  const auto expect = [](std::string_view text, Budget::Kind kind, double amount) {
    const Budget budget = Budget::parse(text);
    EXPECT_EQ(budget.kind, kind) << text;
    EXPECT_DOUBLE_EQ(budget.amount, amount) << text;
  };
  expect("25%", Budget::Kind::fraction, 0.25);
  expect("2.5%", Budget::Kind::fraction, 0.025);
  expect("100%", Budget::Kind::fraction, 1);
  expect("512", Budget::Kind::tokens, 512);
  expect("64MiB", Budget::Kind::bytes, 64 * 1048576.0);
  expect("1.5GiB", Budget::Kind::bytes, 1.5 * 1073741824.0);
  expect("16KiB", Budget::Kind::bytes, 16384);
  expect("64MB", Budget::Kind::bytes, 64e6);
  expect("2GB", Budget::Kind::bytes, 2e9);
  expect("3kB", Budget::Kind::bytes, 3000);
}

TEST(BudgetTest, RefusesWhatIsNoBudgetQuotingIt) {
  for (const char* text : {"", "%", "abc", "0.25", "1e3", "-5", "-5%", "+5", " 5", "5 ", "64 MiB", "64mib",
                           "64B", "inf", "nan%", "5%%", "0x10", "1,5%", "25%x"}) {
    const auto [code, message] = error_of([&] { Budget::parse(text); });
    EXPECT_EQ(code, ErrorCode::invalid_argument) << text;
    EXPECT_NE(message.find(cat('"', text, '"')), std::string::npos) << message;
  }
}

TEST(BudgetTest, RefusesWhatIsOutOfRange) {
  for (const char* text : {"0", "0%", "0.0%", "100.1%", "250%", "99999999999", "0MiB", "99999999999GiB"}) {
    EXPECT_EQ(error_of([&] { Budget::parse(text); }).first, ErrorCode::out_of_range) << text;
  }
  EXPECT_EQ(error_of([] { Budget::parse(std::string(400, '9')); }).first, ErrorCode::out_of_range);
}

}  // namespace
}  // namespace kvedit
