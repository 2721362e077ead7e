#include "compute/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "ggml-cpp.h"
#include "ggml-cpu.h"
#include "ggml.h"

namespace kvedit {
namespace {

struct LinearCase {
  ggml_type type;
  LinearKernel kernel;
  int tokens;
  double tolerance;  // of the result's RMS
};

class LinearTest : public testing::TestWithParam<LinearCase> {};

// Against the exact product with the dequantised weights. f32: rounding of sums of 256 terms. bf16: each
// factor is off by 2^-9 at most, uncorrelated. Fewer tokens are multiplied in integers, the input rounded to
// 8 bits: 1/254 of a block's largest.
TEST_P(LinearTest, AgreesWithTheProductOfDequantisedWeights) {
  const LinearCase& c = GetParam();
  constexpr int kIn = 256;
  constexpr int kOuts[] = {96, 40};
  ggml_context_ptr ctx(ggml_init({.mem_size = 64U << 20U, .mem_buffer = nullptr, .no_alloc = false}));
  std::mt19937 random(3);
  std::normal_distribution<float> gauss;
  std::vector<ggml_tensor*> weights;
  std::vector<float> dequantised;  // [136][kIn]
  for (const int out : kOuts) {
    std::vector<float> values(static_cast<size_t>(kIn) * out);
    for (float& v : values) v = gauss(random);
    ggml_tensor* w = ggml_new_tensor_2d(ctx.get(), c.type, kIn, out);
    if (c.type == GGML_TYPE_F32) {
      std::copy(values.begin(), values.end(), static_cast<float*>(w->data));
    } else {
      ggml_quantize_chunk(c.type, values.data(), w->data, 0, out, kIn, nullptr);
      ggml_get_type_traits(c.type)->to_float(w->data, values.data(), static_cast<int64_t>(values.size()));
    }
    dequantised.insert(dequantised.end(), values.begin(), values.end());
    weights.push_back(w);
  }
  ggml_tensor* x = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, kIn, c.tokens);
  auto* input = static_cast<float*>(x->data);
  for (int i = 0; i < kIn * c.tokens; i++) input[i] = gauss(random);

  Scratch scratch;
  Linear linear(c.kernel, scratch);
  const std::vector<ggml_tensor*> results = linear.project(ctx.get(), x, weights);
  ggml_cgraph* graph = ggml_new_graph(ctx.get());
  for (ggml_tensor* y : results) ggml_build_forward_expand(graph, ggml_cont(ctx.get(), y));
  scratch.reserve(2, linear.scratch_bytes());
  for (int pass = 0; pass < 2; pass++) {  // a graph is run many times
    linear.reset();
    ASSERT_EQ(ggml_graph_compute_with_ctx(ctx.get(), graph, 2), GGML_STATUS_SUCCESS);
  }
  ASSERT_FALSE(linear.failed());

  double error = 0;
  double size = 0;
  int first = 0;
  for (ggml_tensor* y : results) {
    for (int t = 0; t < c.tokens; t++) {
      for (int o = 0; o < y->ne[0]; o++) {
        double exact = 0;
        for (int i = 0; i < kIn; i++) {
          exact +=
              static_cast<double>(dequantised[static_cast<size_t>(first + o) * kIn + i]) * input[t * kIn + i];
        }
        const float got =
            *reinterpret_cast<float*>(static_cast<char*>(y->data) + t * y->nb[1] + o * y->nb[0]);
        error += (got - exact) * (got - exact);
        size += exact * exact;
      }
    }
    first += static_cast<int>(y->ne[0]);
  }
  EXPECT_LT(std::sqrt(error / size), c.tolerance);
}

std::vector<LinearCase> linear_cases() {
  std::vector<LinearCase> all;
  for (const ggml_type type :
       {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q4_1,
        GGML_TYPE_Q5_0, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_Q3_K, GGML_TYPE_Q2_K}) {
    for (const int tokens : {1, 5, 8, 9, 33, 129}) {
      all.push_back({type, LinearKernel::f32, tokens, 1e-6});
      all.push_back({type, LinearKernel::f32_dense, tokens, tokens <= 8 ? 1.5e-2 : 1e-6});
      all.push_back({type, LinearKernel::ggml, tokens, 1.5e-2});
      all.push_back({type, LinearKernel::int8_dense, tokens, 1.5e-2});
      if (gemm_has_native(GemmType::bf16))
        all.push_back({type, LinearKernel::bf16, tokens, tokens <= 128 ? 1.5e-2 : 4e-3});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(TypesAndKernels, LinearTest, testing::ValuesIn(linear_cases()),
                         [](const auto& info) {
                           return std::string(ggml_type_name(info.param.type)) + "_kernel" +
                                  std::to_string(static_cast<int>(info.param.kernel)) + "_" +
                                  std::to_string(info.param.tokens);
                         });

}  // namespace
}  // namespace kvedit
