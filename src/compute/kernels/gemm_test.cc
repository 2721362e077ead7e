#include "compute/kernels/gemm.h"

#include <gtest/gtest.h>

#include <vector>

namespace kvedit {
namespace {

// A prefill of every length asks for other products.
TEST(GemmTest, OnlyTheLastShapesAreKept) {
  const auto product = [](int tokens) { return Gemm::get(GemmType::f32, tokens, 8, 16, 8); };
  std::weak_ptr<const Gemm> first = product(1);
  EXPECT_EQ(product(1), first.lock()) << "not made again";
  const auto held = product(2);
  for (int i = 0; i < static_cast<int>(Gemm::kKept); i++) product(10 + i);
  EXPECT_TRUE(first.expired());
  const std::vector<float> x(2 * 16, 1.0F), w(8 * 16, 1.0F);
  std::vector<float> y(2 * 8);
  EXPECT_TRUE(held->run(x.data(), w.data(), y.data(), own_scratch(held->scratch_bytes())))
      << "a graph keeps what it uses";
  EXPECT_EQ(y, std::vector<float>(2 * 8, 16.0F));
}

}  // namespace
}  // namespace kvedit
