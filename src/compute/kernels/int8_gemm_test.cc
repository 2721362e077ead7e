#include "compute/kernels/int8_gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "compute/kernels/instruction_sets_testing.h"
#include "compute/kernels/quantised_testing.h"

namespace kvedit {
namespace {

struct GemmFormat {
  Int8Format format;
  ggml_type ggml;
};

constexpr GemmFormat kGemmFormats[] = {{Int8Format::q4_0, GGML_TYPE_Q4_0}, {Int8Format::q4_1, GGML_TYPE_Q4_1},
                                       {Int8Format::q5_0, GGML_TYPE_Q5_0}, {Int8Format::q8_0, GGML_TYPE_Q8_0},
                                       {Int8Format::q4_k, GGML_TYPE_Q4_K}, {Int8Format::q5_k, GGML_TYPE_Q5_K},
                                       {Int8Format::q6_k, GGML_TYPE_Q6_K}};

constexpr int kGemmTokens = 11;  // two tiles of four, and three single ones
constexpr int kGemmRows = 37;    // whole strips of 8, 16 or 32, and a part of one

class Int8GemmTest : public testing::TestWithParam<GemmFormat>, protected QuantisedCase {
 protected:
  Int8GemmTest() : QuantisedCase(kGemmRows, kGemmTokens) {}

  void make(int n) { QuantisedCase::make(GetParam().ggml, n); }

  // [tokens][kGemmRows] of tokens from `first` on.
  std::vector<float> ours(int first, int tokens) const {
    const size_t stride = int8_row_bytes(n_);
    std::vector<std::byte> input(stride * tokens);
    for (int t = 0; t < tokens; t++) {
      int8_quantise(x_.data() + static_cast<size_t>(first + t) * n_, n_, input.data() + t * stride);
    }
    std::vector<float> y(static_cast<size_t>(tokens) * kGemmRows, NAN);
    int8_gemm(GetParam().format, weights_.data(), row_bytes_, kGemmRows, n_, input.data(), stride, tokens,
              y.data(), kGemmRows, own_scratch(int8_scratch_bytes(GetParam().format, n_)));
    return y;
  }

  // The product with activations rounded by the definition, in double precision; and the sum of sizes,
  // which f32's rounding applies to: a weight is scale * q + least, parts up to 128 times their sum.
  void expect_product(const std::vector<float>& y) const {
    for (int t = 0; t < kGemmTokens; t++) {
      std::vector<double> rounded(n_);
      for (int first = 0; first < n_; first += 32) {
        float top = 0;
        for (int i = first; i < first + 32; i++) top = std::max(top, std::fabs(x_[t * n_ + i]));
        const float scale = top / 127.0F;
        const float inverse = scale > 0 ? 1.0F / scale : 0.0F;
        for (int i = first; i < first + 32; i++) {
          rounded[i] =
              static_cast<double>(scale) * std::nearbyint(static_cast<double>(x_[t * n_ + i]) * inverse);
        }
      }
      for (int r = 0; r < kGemmRows; r++) {
        double product = 0;
        double size = 0;
        for (int i = 0; i < n_; i++) {
          const double p = rounded[i] * dequantised_[static_cast<size_t>(r) * n_ + i];
          product += p;
          size += std::fabs(p);
        }
        ASSERT_NEAR(y[t * kGemmRows + r], product, 1e-5 * size)
            << "n " << n_ << ", row " << r << ", token " << t;
      }
    }
  }

  std::vector<int> lengths() const {
    return ggml_blck_size(GetParam().ggml) == 256 ? std::vector{256, 768} : std::vector{32, 96, 256, 576};
  }
};

TEST_P(Int8GemmTest, IsTheProductWithRoundedActivationsOnEveryInstructionSet) {
  on_every_instruction_set(int8_target, [&] {
    for (const int n : lengths()) {
      make(n);
      expect_product(ours(0, kGemmTokens));
    }
  });
}

// Sums of products are held in 16 bits; the largest that can be must fit.
TEST_P(Int8GemmTest, TheLargestWeightsAndActivationsDoNotOverflow) {
  on_every_instruction_set(int8_target, [&] {
    for (const uint8_t byte : {0xFF, 0x7F, 0x80, 0x00}) {  // quants of all ones, and of other extremes
      make(256);
      for (int r = 0; r < kGemmRows; r++) {  // the scales stay: quants only
        const auto quants = [&](size_t from, size_t to, size_t block) {
          for (size_t b = 0; b < row_bytes_; b += block) {
            std::fill_n(weights_.data() + r * row_bytes_ + b + from, to - from, std::byte{byte});
          }
        };
        switch (GetParam().format) {
          case Int8Format::q4_0:
            quants(2, 18, 18);
            break;
          case Int8Format::q4_1:
            quants(4, 20, 20);
            break;
          case Int8Format::q5_0:
            quants(2, 22, 22);
            break;
          case Int8Format::q8_0:
            quants(2, 34, 34);
            break;
          case Int8Format::q4_k:
            quants(16, 144, 144);
            break;
          case Int8Format::q5_k:
            quants(16, 176, 176);
            break;
          case Int8Format::q6_k:
            quants(0, 192, 210);
            break;
        }
      }
      dequantise(GetParam().ggml);
      for (const float sign : {1.0F, -1.0F}) {
        std::fill(x_.begin(), x_.end(), sign);
        expect_product(ours(0, kGemmTokens));
      }
    }
  });
}

TEST_P(Int8GemmTest, ATokenDoesNotSeeItsCompanions) {
  make(256);
  const std::vector<float> together = ours(0, kGemmTokens);
  for (int tokens = 1; tokens <= kGemmTokens; tokens++) {
    const std::vector<float> some = ours(kGemmTokens - tokens, tokens);
    EXPECT_EQ(some, std::vector<float>(together.end() - tokens * kGemmRows, together.end())) << tokens;
  }
}

TEST_P(Int8GemmTest, ZeroesGiveZero) {
  make(256);
  std::fill(x_.begin(), x_.end(), 0.0F);
  for (const float y : ours(0, kGemmTokens)) EXPECT_EQ(y, 0.0F);
}

INSTANTIATE_TEST_SUITE_P(Formats, Int8GemmTest, testing::ValuesIn(kGemmFormats),
                         [](const auto& info) { return std::string(ggml_type_name(info.param.ggml)); });

}  // namespace
}  // namespace kvedit
