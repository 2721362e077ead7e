#include "compute/kernels/geglu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "compute/kernels/instruction_sets_testing.h"

namespace kvedit {
namespace {

double gelu(double x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

// -12 to 12 and far beyond, a length that no vector divides.
std::vector<float> gates() {
  std::vector<float> all = {0.0F, -0.0F, 1e-30F, -100.0F, 100.0F, -1e6F, 1e6F, -1e38F, 1e38F};
  for (int i = -600; i <= 600; i++) all.push_back(static_cast<float>(i) * 0.02F);
  return all;
}

TEST(GegluTest, IsItsDefinition) {
  const std::vector<float> gate = gates();
  std::vector<float> up(gate.size());
  for (size_t i = 0; i < up.size(); i++) up[i] = static_cast<float>(i % 7) - 3.0F;
  on_every_instruction_set(geglu_target, [&] {
    std::vector<float> to(gate.size() + 1, 7.0F);
    geglu(gate.data(), up.data(), to.data(), gate.size());
    EXPECT_EQ(to.back(), 7.0F) << "written past the end";
    for (size_t i = 0; i < gate.size(); i++) {
      const double expected = gelu(gate[i]) * up[i];
      // Where GELU is almost zero, tanh's definition cancels and x sigmoid does not.
      EXPECT_NEAR(to[i], expected, 2e-6 * std::fabs(expected) + 1e-7) << gate[i];
    }
  });
}

TEST(GegluTest, NotANumberStaysOne) {
  const std::vector<float> gate(20, NAN);
  const std::vector<float> up(20, 1.0F);
  std::vector<float> to(20);
  on_every_instruction_set(geglu_target, [&] {
    geglu(gate.data(), up.data(), to.data(), gate.size());
    for (const float y : to) EXPECT_TRUE(std::isnan(y));
  });
}

}  // namespace
}  // namespace kvedit
