// Which tensors each architecture has, and their checking.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "model/gguf_file.h"
#include "model/network.h"

namespace kvedit {

struct Weights {
  std::vector<LayerWeights> layers;
  ggml_tensor* embedding = nullptr;
  ggml_tensor* output_norm = nullptr;
  ggml_tensor* output = nullptr;  // the embedding where tied
};

/// Makes a ggml tensor in `context` for each entry, its data inside `buffer`, which covers the file.
/// Throws Error(corrupt) for a missing tensor or a wrong shape, Error(unsupported) for a tensor that the
/// graph would ignore or a type it cannot multiply; each with the tensor's name.
Weights bind_weights(const GgufFile& file, const Hparams& hparams, ggml_context* context,
                     ggml_backend_buffer_t buffer);

/// Counts the memory that bind_weights needs in `context`.
size_t tensor_table_bytes(const GgufFile& file);

/// Writes the weights' types by count: "Q4_1 210, F32 61, Q8_0 1".
std::string count_types(const GgufFile& file);

}  // namespace kvedit
