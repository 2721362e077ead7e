// Shared by the tests of integer kernels: quantised weights as ggml makes them.
#pragma once

#include <cstddef>
#include <random>
#include <vector>

#include "ggml-cpu.h"
#include "ggml.h"

namespace kvedit {

/// Random weights [rows][n] of a type, the numbers they stand for, and activations [tokens][n].
struct QuantisedCase {
  QuantisedCase(int rows, int tokens) : rows_(rows), tokens_(tokens) { ggml_cpu_init(); }

  void make(ggml_type type, int n) {
    n_ = n;
    std::normal_distribution<float> gauss;
    row_bytes_ = ggml_row_size(type, n);
    weights_.resize(rows_ * row_bytes_);
    dequantised_.resize(static_cast<size_t>(rows_) * n);
    for (float& w : dequantised_) w = 0.02F * gauss(random_);
    ggml_quantize_chunk(type, dequantised_.data(), weights_.data(), 0, rows_, n, nullptr);
    dequantise(type);
    x_.resize(static_cast<size_t>(tokens_) * n);
    for (float& x : x_) x = 3 * gauss(random_);
  }
  void dequantise(ggml_type type) {
    ggml_get_type_traits(type)->to_float(weights_.data(), dequantised_.data(), int64_t{rows_} * n_);
  }

  const int rows_, tokens_;
  std::mt19937 random_{11};
  int n_ = 0;
  size_t row_bytes_ = 0;
  std::vector<std::byte> weights_;
  std::vector<float> dequantised_;
  std::vector<float> x_;
};

}  // namespace kvedit
