#include "eval/interval.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kvedit/error.h"

namespace kvedit::eval {
namespace {

// 400 answers, 30 % right: the normal approximation's half-width is 1.96 sqrt(.3 * .7 / 400) = .0449. The
// percentiles of 2,000 samples have a standard error of about .0015.
TEST(IntervalTest, AgreesWithTheNormalApproximation) {
  std::vector<double> values(400, 0.0);
  std::fill_n(values.begin(), 120, 1.0);
  const Interval i = interval(values, Mean::share);
  EXPECT_DOUBLE_EQ(i.mean, 0.3);
  EXPECT_NEAR(i.low, 0.3 - 0.0449, 0.006);
  EXPECT_NEAR(i.high, 0.3 + 0.0449, 0.006);
  EXPECT_EQ(to_text({0.3, 0.255, 0.3449}, Mean::share), "30.0 % [25.5, 34.5]");
}

TEST(IntervalTest, OfEqualValuesIsAPoint) {
  const Interval i = interval({0.25, 0.25, 0.25}, Mean::arithmetic);
  EXPECT_EQ(i.mean, 0.25);
  EXPECT_EQ(i.low, 0.25);
  EXPECT_EQ(i.high, 0.25);
}

TEST(IntervalTest, PerplexitiesAreAveragedByTheirLogarithms) {
  const Interval i = interval({2, 8}, Mean::geometric);
  EXPECT_NEAR(i.mean, 4, 1e-12);
  EXPECT_NEAR(i.low, 2, 1e-12);
  EXPECT_NEAR(i.high, 8, 1e-12);
}

// Pairs that differ by about .1, on values that scatter ten times as much: unpaired nothing could be said.
TEST(IntervalTest, PairedDifferencesAreSharperThanTheirMeans) {
  std::vector<double> values, reference;
  for (int i = 0; i < 100; i++) {
    reference.push_back(1 + i % 10);
    values.push_back(reference.back() + 0.1 + 0.02 * (i % 3 - 1));
  }
  const Interval d = difference(values, reference, Mean::arithmetic);
  EXPECT_NEAR(d.mean, 0.1, 0.001);
  EXPECT_LT(d.high - d.low, 0.01);
  EXPECT_TRUE(claimed(d, Mean::arithmetic));
  EXPECT_FALSE(claimed(difference(reference, reference, Mean::arithmetic), Mean::arithmetic));
  const Interval q = quotient(values, reference);
  EXPECT_NEAR(q.mean, 5.6 / 5.5, 1e-4);
  EXPECT_GT(q.low, 1);
  EXPECT_LT(q.high, 1.03);
}

TEST(IntervalTest, PerplexitiesDifferByTheirQuotient) {
  const Interval d = difference({2, 8, 3}, {1, 4, 1.5}, Mean::geometric);
  EXPECT_NEAR(d.mean, 2, 1e-12);
  EXPECT_NEAR(d.low, 2, 1e-12);
  EXPECT_TRUE(claimed(d, Mean::geometric));
}

TEST(IntervalTest, OfNothingIsRefused) { EXPECT_THROW(interval({}, Mean::share), Error); }

}  // namespace
}  // namespace kvedit::eval
