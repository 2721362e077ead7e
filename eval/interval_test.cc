#include "eval/interval.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kvedit/error.h"

namespace kvedit::eval {
namespace {

std::vector<double> heavy(size_t n, Random& random) {
  std::vector<double> values;
  for (size_t i = 0; i < n; i++) {
    double normal = -6;  // nearly
    for (int k = 0; k < 12; k++) normal += random.unit();
    values.push_back(std::exp(1.5 * normal));
  }
  return values;
}

// 400 answers, 30 % right: the normal approximation's half-width is 1.96 sqrt(.3 * .7 / 400) = .0449,
// Wilson's differs by less than .003.
TEST(IntervalTest, OfSharesAgreesWithTheNormalApproximation) {
  std::vector<double> values(400, 0.0);
  std::fill_n(values.begin(), 120, 1.0);
  const Interval i = interval(values, Mean::share);
  EXPECT_DOUBLE_EQ(i.mean, 0.3);
  EXPECT_NEAR(i.low, 0.3 - 0.0449, 0.003);
  EXPECT_NEAR(i.high, 0.3 + 0.0449, 0.003);
  EXPECT_EQ(to_text({0.3, 0.255, 0.3449}, Mean::share), "30.0 % [25.5, 34.5]");
}

// None of 20 leaks: up to 1 - .025^(1/20) = 17 % would go unseen.
TEST(IntervalTest, NoneSeenIsNotNone) {
  const Interval none = interval(std::vector<double>(20, 0.0), Mean::share);
  EXPECT_EQ(none.low, 0);
  EXPECT_NEAR(none.high, 0.17, 0.02);
  const Difference same = difference(std::vector<double>(20, 1.0), std::vector<double>(20, 1.0), Mean::share);
  EXPECT_EQ(same.mean, 0);
  EXPECT_LT(same.low, -0.05);
  EXPECT_GT(same.high, 0.05);
  EXPECT_EQ(same.p, 1);
}

TEST(IntervalTest, OfEqualValuesIsAPoint) {
  const Interval i = interval({0.25, 0.25, 0.25, 0.25}, Mean::arithmetic);
  EXPECT_EQ(i.mean, 0.25);
  EXPECT_EQ(i.low, 0.25);
  EXPECT_EQ(i.high, 0.25);
}

// Two values: their logarithms' mean is log 4, its error log 2, and Student's t 12.7.
TEST(IntervalTest, PerplexitiesAreAveragedByTheirLogarithms) {
  const Interval i = interval({2, 8}, Mean::geometric);
  EXPECT_NEAR(i.mean, 4, 1e-12);
  EXPECT_NEAR(std::log2(i.low), 2 - 12.7062, 1e-3);
  EXPECT_NEAR(std::log2(i.high), 2 + 12.7062, 1e-3);
}

// Log-normal values (sigma 1.5): percentiles of bootstrap means cover 71 % at 12 of them and 82 % at 32; the
// bootstrap-t 85 and 90 %. The standard error of 400 trials is 1.8 %.
TEST(IntervalTest, CoversTheMeanOfHeavyTails) {
  const double mean = std::pow(std::sinh(0.75) / 0.75, 12);
  Random random{5};
  for (const auto& [n, least] : {std::pair{12, 0.80}, {32, 0.855}}) {
    int covered = 0;
    for (int trial = 0; trial < 400; trial++) {
      const Interval i = interval(heavy(n, random), Mean::arithmetic);
      covered += i.low <= mean && mean <= i.high;
    }
    EXPECT_GT(covered, 400 * least) << n;
  }
}

// Where there is none, heavy tails: the test keeps its 5 % (1.1 % standard error), and few pairs claim
// nothing.
TEST(IntervalTest, ADifferenceIsSeldomClaimedWhereThereIsNone) {
  Random random{6};
  int twelve = 0, few = 0;
  for (int trial = 0; trial < 400; trial++) {
    twelve += significant(difference(heavy(12, random), heavy(12, random), Mean::arithmetic));
    few += significant(difference(heavy(4, random), heavy(4, random), Mean::arithmetic));
  }
  EXPECT_LT(twelve, 400 * 0.085);
  EXPECT_EQ(few, 0);
}

// Ten pairs, all of one sign: 2 of 1,024 flips reach their sum. Nine would do as well, but are too few.
TEST(IntervalTest, FlipsAreCounted) {
  const std::vector<double> up = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, zero(10, 0.0);
  const Difference ten = difference(up, zero, Mean::arithmetic);
  EXPECT_DOUBLE_EQ(ten.p, 2.0 / 1024);
  EXPECT_TRUE(significant(ten));
  const Difference nine =
      difference({up.begin(), up.end() - 1}, {zero.begin(), zero.end() - 1}, Mean::arithmetic);
  EXPECT_DOUBLE_EQ(nine.p, 2.0 / 512);
  EXPECT_FALSE(significant(nine));
  // Drawn flips find what counting them all does: 16 pairs of 1, 13 of one sign; P = 2 (1+16+120+560) / 2^16.
  std::vector<double> ones(16, 1.0);
  std::fill_n(ones.begin(), 3, -1.0);
  EXPECT_NEAR(difference(ones, std::vector<double>(16, 0.0), Mean::arithmetic).p, 2 * 697.0 / 65536, 0.004);
}

TEST(IntervalTest, ATailIsTheMedianTheNearestRankAndTheLargest) {
  std::vector<double> values;
  for (int i = 40; i > 0; i--) values.push_back(i);
  const Tail t = tail(values);
  EXPECT_EQ(t.median, 20.5);
  EXPECT_EQ(t.most, 38);
  EXPECT_EQ(t.worst, 40);
  EXPECT_EQ(tail({3}).most, 3);
}

// Pairs that differ by about .1, on values that scatter ten times as much: unpaired nothing could be said.
TEST(IntervalTest, PairedDifferencesAreSharperThanTheirMeans) {
  std::vector<double> values, reference;
  for (int i = 0; i < 100; i++) {
    reference.push_back(1 + i % 10);
    values.push_back(reference.back() + 0.1 + 0.02 * (i % 3 - 1));
  }
  const Difference d = difference(values, reference, Mean::arithmetic);
  EXPECT_NEAR(d.mean, 0.1, 0.001);
  EXPECT_LT(d.high - d.low, 0.01);
  EXPECT_TRUE(significant(d));
  EXPECT_FALSE(significant(difference(reference, reference, Mean::arithmetic)));
  const Interval q = quotient(values, reference).value();
  EXPECT_NEAR(q.mean, 5.6 / 5.5, 1e-4);
  EXPECT_GT(q.low, 1);
  EXPECT_LT(q.high, 1.03);
}

TEST(IntervalTest, PerplexitiesDifferByTheirQuotient) {
  const Difference d = difference({2, 8, 3}, {1, 4, 1.5}, Mean::geometric);
  EXPECT_NEAR(d.mean, 2, 1e-12);
  EXPECT_NEAR(d.low, 2, 1e-9);
}

TEST(IntervalTest, AQuotientToNothingIsNone) {
  EXPECT_FALSE(quotient({1, 2}, {0, 0}).has_value());
  EXPECT_EQ(quotient({0, 0}, {1, 2})->high, 0);
}

TEST(IntervalTest, OfNothingIsRefused) { EXPECT_THROW(interval({}, Mean::share), Error); }

}  // namespace
}  // namespace kvedit::eval
