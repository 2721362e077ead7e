#include "tools/text.h"

#include <gtest/gtest.h>

#include <vector>

namespace kvedit {
namespace {

TEST(Text, AnErrorTellsWhereAndWhatApart) {
  const Error error(ErrorCode::io, "model", "no [file] here");
  const Error copy = error;
  EXPECT_STREQ(copy.what(), "[model] no [file] here");
  EXPECT_EQ(copy.where(), "model");
  EXPECT_EQ(copy.message(), "no [file] here");
  const Error brackets(ErrorCode::io, "a] b", "");
  EXPECT_EQ(brackets.where(), "a] b");
  EXPECT_EQ(brackets.message(), "");
}

TEST(Text, ListsWithoutSeparatorsAtTheEnds) {
  struct Named {
    const char* name;
  };
  EXPECT_EQ(join(std::vector<int>()), "");
  EXPECT_EQ(join(std::vector<std::string>{"", "a", ""}), ", a, ");
  EXPECT_EQ(join(std::vector<Named>{{"a"}, {"b"}}, &Named::name), "a, b");
  EXPECT_EQ(join(
                std::vector<int>{1000, 2, 3}, [](int n) { return 2 * n; }, "-"),
            "2000-4-6");
}

}  // namespace
}  // namespace kvedit
