#include "model/rope_scaling.h"

#include <ggml-cpp.h>
#include <ggml-cpu.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace kvedit {
namespace {

/// ggml's own rotation of `head` at `position`, with libllama's way of setting the YaRN parameters.
std::vector<float> rotated_by_ggml(const RopeScaling& scaling, const std::vector<float>& head,
                                   const std::vector<float>& factors, Position position) {
  const ggml_context_ptr context(ggml_init({size_t{4} << 20, nullptr, false}));
  ggml_tensor* x = ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, static_cast<int64_t>(head.size()), 1, 1);
  std::copy(head.begin(), head.end(), static_cast<float*>(x->data));
  ggml_tensor* positions = ggml_new_tensor_1d(context.get(), GGML_TYPE_I32, 1);
  static_cast<int32_t*>(positions->data)[0] = position;
  ggml_tensor* divisors = nullptr;
  if (!factors.empty()) {
    divisors = ggml_new_tensor_1d(context.get(), GGML_TYPE_F32, static_cast<int64_t>(factors.size()));
    std::copy(factors.begin(), factors.end(), static_cast<float*>(divisors->data));
  }
  const auto factor = static_cast<float>(scaling.factor);
  // llama-context.cpp: mscale over the growth that ggml multiplies by again.
  const float mscale = factor <= 1 ? 1 : 0.1F * std::log(factor) + 1;
  const float attention = scaling.yarn ? mscale / (1 + 0.1F * std::log(factor)) : 1;
  ggml_tensor* y =
      ggml_rope_ext(context.get(), x, positions, divisors, scaling.dims,
                    scaling.neox ? GGML_ROPE_TYPE_NEOX : GGML_ROPE_TYPE_NORMAL, scaling.original_context,
                    static_cast<float>(scaling.base), 1 / factor, scaling.yarn ? 1.0F : 0.0F,
                    attention * static_cast<float>(scaling.attention_factor), 32, 1);
  ggml_cgraph* graph = ggml_new_graph(context.get());
  ggml_build_forward_expand(graph, y);
  ggml_graph_compute_with_ctx(context.get(), graph, 1);
  const auto* result = static_cast<const float*>(y->data);
  return {result, result + head.size()};
}

std::vector<float> rotated(const Rope& rope, const std::vector<float>& head, Position position) {
  std::vector<float> cosines(rope.frequencies.size());
  std::vector<float> sines(rope.frequencies.size());
  rope.turn(position, cosines, sines);
  std::vector<float> result = head;
  for (int i = 0; i < rope.dims() / 2; i++) {
    const float a = head[rope.first(i)];
    const float b = head[rope.second(i)];
    result[rope.first(i)] = rope.magnitude * (a * cosines[i] - b * sines[i]);
    result[rope.second(i)] = rope.magnitude * (a * sines[i] + b * cosines[i]);
  }
  return result;
}

struct Case {
  const char* name;
  RopeScaling scaling;
  bool factors;
};

class RopeScalingTest : public testing::TestWithParam<Case> {};

TEST_P(RopeScalingTest, TurnsAsGgmlDoes) {
  const RopeScaling& scaling = GetParam().scaling;
  std::vector<float> head(scaling.dims);
  for (size_t i = 0; i < head.size(); i++) head[i] = std::sin(1.0F + static_cast<float>(i));
  std::vector<float> factors;
  for (int i = 0; GetParam().factors && i < scaling.dims / 2; i++) factors.push_back(1.0F + 0.5F * i);
  const Rope rope = make_rope(scaling, scaling.factor, factors);
  for (const Position position : {0, 1, 17, 300, 4000}) {
    const auto expected = rotated_by_ggml(scaling, head, factors, position);
    const auto actual = rotated(rope, head, position);
    // ggml multiplies angles up in float: an error of about position * 2^-23 radians.
    const float tolerance = 1e-6F + 4e-7F * static_cast<float>(position);
    for (size_t i = 0; i < head.size(); i++)
      EXPECT_NEAR(actual[i], expected[i], tolerance) << position << " " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Scalings, RopeScalingTest,
    testing::Values(
        Case{"plain", {.dims = 64}, false}, Case{"neox", {.dims = 64, .neox = true}, false},
        Case{"linear", {.dims = 64, .neox = true, .base = 1e6, .factor = 8}, false},
        Case{"llama3", {.dims = 64, .base = 500000}, true},
        Case{"yarn",
             {.dims = 128, .neox = true, .base = 1e6, .factor = 4, .yarn = true, .original_context = 32768},
             false},
        Case{"yarn_short", {.dims = 32, .factor = 16, .yarn = true, .original_context = 128}, false},
        Case{"yarn_below_one", {.dims = 32, .factor = 0.5, .yarn = true, .original_context = 512}, false},
        Case{"yarn_attention",
             {.dims = 32, .factor = 4, .yarn = true, .original_context = 512, .attention_factor = 1.25},
             true}),
    [](const auto& info) { return info.param.name; });

TEST(RopeScaling, SlidingLayerOfAYarnModelHasNoGrowth) {
  const RopeScaling local{.dims = 32, .neox = true, .factor = 1, .yarn = true, .original_context = 512};
  const Rope rope = make_rope(local, 8, {});
  EXPECT_FLOAT_EQ(rope.magnitude, 1);
  EXPECT_DOUBLE_EQ(rope.frequencies[0], 1);
  EXPECT_NEAR(rope.frequencies[15], std::pow(10000.0, -30.0 / 32), 1e-15);
}

}  // namespace
}  // namespace kvedit
