#include "session/diff.h"

#include <gtest/gtest.h>

#include <random>

namespace kvedit {
namespace {

std::vector<Token> applied(std::span<const Token> before, std::span<const Token> after,
                           const std::vector<Hunk>& hunks) {
  std::vector<Token> result;
  int at = 0;
  for (const Hunk& h : hunks) {
    EXPECT_GE(h.before.begin, at) << "ascending";
    result.insert(result.end(), before.begin() + at, before.begin() + h.before.begin);
    EXPECT_EQ(static_cast<int>(result.size()), h.after.begin) << "the sequences agree between hunks";
    result.insert(result.end(), after.begin() + h.after.begin, after.begin() + h.after.end);
    at = h.before.end;
  }
  result.insert(result.end(), before.begin() + at, before.end());
  return result;
}

// Longest common subsequence, the slow way.
int common(std::span<const Token> a, std::span<const Token> b) {
  std::vector<std::vector<int>> best(a.size() + 1, std::vector<int>(b.size() + 1));
  for (size_t i = 0; i < a.size(); i++) {
    for (size_t j = 0; j < b.size(); j++) {
      best[i + 1][j + 1] = a[i] == b[j] ? best[i][j] + 1 : std::max(best[i][j + 1], best[i + 1][j]);
    }
  }
  return best[a.size()][b.size()];
}

TEST(DiffTest, IsTheShortestScriptAndLeadsFromOneToTheOther) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; round++) {
    std::vector<Token> a(random() % 24), b(random() % 24);
    const Token alphabet = 1 + static_cast<Token>(random() % 6);
    for (Token& t : a) t = static_cast<Token>(random() % alphabet);
    for (Token& t : b) t = static_cast<Token>(random() % alphabet);
    const std::vector<Hunk> hunks = diff(a, b);
    EXPECT_EQ(applied(a, b, hunks), b);
    int inserted = 0, removed = 0;
    for (const Hunk& h : hunks) {
      inserted += h.after.size();
      removed += h.before.size();
      EXPECT_GT(h.after.size() + h.before.size(), 0);
    }
    const int kept = common(a, b);
    EXPECT_EQ(inserted, static_cast<int>(b.size()) - kept);
    EXPECT_EQ(removed, static_cast<int>(a.size()) - kept);
  }
}

TEST(DiffTest, WhatHasLittleInCommonIsOneHunk) {
  std::mt19937 random(2);
  std::vector<Token> a(9000), b(9000);
  for (Token& t : a) t = static_cast<Token>(random() % 1000000);
  for (Token& t : b) t = static_cast<Token>(random() % 1000000);
  a.front() = b.front() = 1;
  a.back() = b.back() = 2;
  const std::vector<Hunk> hunks = diff(a, b);
  ASSERT_EQ(hunks.size(), 1U);
  EXPECT_EQ(hunks[0].before, (Span{1, 8999}));
  EXPECT_EQ(hunks[0].after, (Span{1, 8999}));
}

}  // namespace
}  // namespace kvedit
