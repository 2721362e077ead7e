#include "compute/kernels/dot.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "compute/kernels/instruction_sets_testing.h"
#include "compute/kernels/quantised_testing.h"

namespace kvedit {
namespace {

struct DotFormat {
  DotType type;
  ggml_type ggml;
};

constexpr DotFormat kDotFormats[] = {{DotType::q4_0, GGML_TYPE_Q4_0},
                                     {DotType::q4_1, GGML_TYPE_Q4_1},
                                     {DotType::q5_0, GGML_TYPE_Q5_0},
                                     {DotType::q8_0, GGML_TYPE_Q8_0}};

// Lengths of one group, of whole groups, and with a last group that repeats 1, 2 or 3 blocks.
constexpr int kLengths[] = {128, 160, 192, 224, 256, 576, 768};
constexpr int kDotTokens = 8;
constexpr int kDotRows = 7;  // a tile of four, and three single rows

class DotTest : public testing::TestWithParam<DotFormat>, protected QuantisedCase {
 protected:
  DotTest() : QuantisedCase(kDotRows, kDotTokens) {}

  void make(int n) { QuantisedCase::make(GetParam().ggml, n); }

  const float* x(int token) const { return x_.data() + static_cast<size_t>(token) * n_; }

  // [tokens][kDotRows]
  std::vector<float> ours(int first, int tokens) {
    Room room = own_scratch(size_t{64} << 10);
    DotInput input(room, tokens, n_);
    input.quantise(x(first), n_);
    std::vector<float> y(static_cast<size_t>(tokens) * kDotRows, NAN);
    dot_rows(GetParam().type, weights_.data(), row_bytes_, kDotRows, input, y.data(), kDotRows);
    return y;
  }

  // What rounding x to 8 bits in blocks can change: half a step, max/254, times each weight.
  double rounding(int row, int token) const {
    double bound = 0;
    for (int first = 0; first < n_; first += 32) {
      float top = 0;
      double weights = 0;
      for (int i = first; i < first + 32; i++) {
        top = std::max(top, std::fabs(x(token)[i]));
        weights += std::fabs(dequantised_[static_cast<size_t>(row) * n_ + i]);
      }
      bound += weights * top / 254;
    }
    return bound;
  }

  // The product of sizes: what relative errors (f32 sums, f16 scales) apply to.
  double size(int row, int token, const std::function<double(double)>& f) const {
    double sum = 0;
    for (int i = 0; i < n_; i++) {
      sum += f(static_cast<double>(dequantised_[static_cast<size_t>(row) * n_ + i]) * x(token)[i]);
    }
    return sum;
  }
  double exact(int row, int token) const {
    return size(row, token, [](double p) { return p; });
  }
  double magnitude(int row, int token) const {
    return size(row, token, [](double p) { return std::fabs(p); });
  }

  // A weight is scale * q + least, and the two parts may be many times as large as their sum: 128 where q
  // is made unsigned. So f32's 2^-24 becomes some 1e-5 of the terms.
  void expect_within_rounding(const std::vector<float>& y) const {
    for (int t = 0; t < kDotTokens; t++) {
      for (int r = 0; r < kDotRows; r++) {
        ASSERT_NEAR(y[t * kDotRows + r], exact(r, t), 1.001 * rounding(r, t) + 1e-5 * magnitude(r, t))
            << "n " << n_ << ", row " << r << ", token " << t;
      }
    }
  }
};

TEST_P(DotTest, IsTheProductUpToTheRoundingOfActivations) {
  for (const int n : kLengths) {
    make(n);
    expect_within_rounding(ours(0, kDotTokens));
  }
}

TEST_P(DotTest, EveryInstructionSetAgrees) {
  on_every_instruction_set(dot_target, [&] {
    for (const int n : kLengths) {
      make(n);
      expect_within_rounding(ours(0, kDotTokens));
    }
  });
}

// ggml rounds activations the same way, but their scales and sums to f16: 2^-11 of each.
TEST_P(DotTest, AgreesWithGgml) {
  const ggml_type_traits_cpu* traits = ggml_get_type_traits_cpu(GetParam().ggml);
  for (const int n : kLengths) {
    make(n);
    const std::vector<float> y = ours(0, kDotTokens);
    std::vector<std::byte> quantised(ggml_row_size(traits->vec_dot_type, n));
    for (int t = 0; t < kDotTokens; t++) {
      ggml_get_type_traits_cpu(traits->vec_dot_type)->from_float(x(t), quantised.data(), n);
      for (int r = 0; r < kDotRows; r++) {
        float theirs = NAN;
        traits->vec_dot(n, &theirs, 0, weights_.data() + r * row_bytes_, 0, quantised.data(), 0, 1);
        ASSERT_NEAR(y[t * kDotRows + r], theirs, 0x1p-9 * magnitude(r, t))
            << "n " << n << ", row " << r << ", token " << t;
      }
    }
  }
}

TEST_P(DotTest, ATokenDoesNotSeeItsCompanions) {
  make(768);
  const std::vector<float> together = ours(0, kDotTokens);
  for (int tokens = 1; tokens <= kDotTokens; tokens++) {
    const std::vector<float> some = ours(kDotTokens - tokens, tokens);
    EXPECT_EQ(some, std::vector<float>(together.end() - tokens * kDotRows, together.end())) << tokens;
  }
}

TEST_P(DotTest, ZeroesGiveZero) {
  make(256);
  std::fill(x_.begin(), x_.end(), 0.0F);
  for (const float y : ours(0, kDotTokens)) EXPECT_EQ(y, 0.0F);
}

TEST(DotTakesTest, WholeBlocksAndAGroupAtLeast) {
  EXPECT_FALSE(dot_takes(96));
  EXPECT_FALSE(dot_takes(500));
  EXPECT_TRUE(dot_takes(512));
}

INSTANTIATE_TEST_SUITE_P(Formats, DotTest, testing::ValuesIn(kDotFormats),
                         [](const auto& info) { return std::string(ggml_type_name(info.param.ggml)); });

}  // namespace
}  // namespace kvedit
