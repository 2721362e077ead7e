#include "evict/output_projection.h"

#include <ggml.h>

#include <algorithm>

#include "base/check.h"
#include "compute/gemm.h"

namespace kvedit {
namespace {

void run(const Gemm& gemm, const float* x, const float* w, float* y) {
  if (!gemm.run(x, w, y)) fail(ErrorCode::no_memory, "evict", "a product with the output projection failed");
}

// [heads * value_dim][d_model]
std::vector<float> transposed(const Network& network, int layer) {
  const Hparams& h = network.hparams();
  const auto rows = output_projection(network, layer);
  const size_t width = rows.size() / h.d_model;
  std::vector<float> columns(rows.size());
  for (int r = 0; r < h.d_model; r++) {
    for (size_t c = 0; c < width; c++) columns[c * h.d_model + r] = rows[r * width + c];
  }
  return columns;
}

}  // namespace

std::vector<float> output_projection(const Network& network, int layer) {
  const Hparams& h = network.hparams();
  const LayerWeights& weights = network.layers()[layer];
  const size_t width = static_cast<size_t>(h.heads) * h.value_dim;
  std::vector<float> rows(width * h.d_model);
  const ggml_tensor& wo = *weights.wo;
  if (wo.type == GGML_TYPE_F32) {
    std::copy_n(static_cast<const float*>(wo.data), rows.size(), rows.data());
  } else {
    ggml_get_type_traits(wo.type)->to_float(wo.data, rows.data(), static_cast<int64_t>(rows.size()));
  }
  if (weights.post_attention_norm) {
    const auto* scale = static_cast<const float*>(weights.post_attention_norm->data);
    for (size_t i = 0; i < rows.size(); i++) rows[i] *= scale[i / width];
  }
  return rows;
}

const OutputGrams& OutputGrams::of(const Network& network) {
  return network.derived().get<OutputGrams>([&] { return std::make_shared<OutputGrams>(network); });
}

OutputGrams::OutputGrams(const Network& network) : network_(network), layers_(network.hparams().layers) {}

std::span<const float> OutputGrams::heads(int layer) const {
  Layer& of_layer = layers_[layer];
  std::call_once(of_layer.heads_made, [&] {
    const Hparams& h = network_.hparams();
    const auto slices = transposed(network_, layer);
    const Gemm& gemm = Gemm::get(GemmType::f32, h.value_dim, h.value_dim, h.d_model, h.value_dim);
    std::vector<float> grams(static_cast<size_t>(h.heads) * h.value_dim * h.value_dim);
    for (int head = 0; head < h.heads; head++) {
      const float* slice = &slices[static_cast<size_t>(head) * h.value_dim * h.d_model];
      run(gemm, slice, slice, &grams[static_cast<size_t>(head) * h.value_dim * h.value_dim]);
    }
    of_layer.heads = std::move(grams);
  });
  return of_layer.heads;
}

std::span<const float> OutputGrams::pairs(int layer) const {
  Layer& of_layer = layers_[layer];
  std::call_once(of_layer.pairs_made, [&] {
    const Hparams& h = network_.hparams();
    const auto slices = transposed(network_, layer);
    const Gemm& gemm = Gemm::get(GemmType::f32, h.value_dim, h.value_dim, h.d_model, h.value_dim);
    const size_t slice = static_cast<size_t>(h.value_dim) * h.d_model;
    const size_t gram = static_cast<size_t>(h.value_dim) * h.value_dim;
    std::vector<float> grams(gram * h.kv_heads * h.group() * (h.group() + 1) / 2);
    float* next = grams.data();
    for (int group = 0; group < h.kv_heads; group++) {
      for (int a = group * h.group(); a < (group + 1) * h.group(); a++) {
        for (int b = a; b < (group + 1) * h.group(); b++, next += gram) {
          run(gemm, &slices[a * slice], &slices[b * slice], next);
        }
      }
    }
    of_layer.pairs = std::move(grams);
  });
  return of_layer.pairs;
}

TimesColumns::TimesColumns(int rows, int columns)
    : gemm_(Gemm::get(GemmType::f32, rows, kPageEntries, columns, kPageEntries)),
      product_(static_cast<size_t>(rows) * kPageEntries) {}

const float* TimesColumns::operator()(const float* matrix, const float* x) {
  run(gemm_, matrix, x, product_.data());
  return product_.data();
}

std::vector<float> quadratic_forms(std::span<const PageRef> pages, const PageShape& shape,
                                   std::span<const float> grams, int size) {
  const size_t dim = shape.value_dim;
  const size_t count = grams.size() / (dim * dim);
  std::vector<float> forms(count * size);
  PageRows rows(shape);
  TimesColumns times(static_cast<int>(count * dim), shape.value_dim);
  size_t first = 0;
  for (const PageRef& page : pages) {
    const float* product = times(grams.data(), rows.entries(*page));  // [count][value_dim][64]
    const float* values = rows.values(*page);
    for (size_t g = 0; g < count; g++) {
      float sums[kPageEntries] = {};
      for (size_t i = 0; i < dim; i++, product += kPageEntries) {
        const float* value = values + i * kPageEntries;
        for (int c = 0; c < kPageEntries; c++) sums[c] += value[c] * product[c];
      }
      std::copy_n(sums, page->count, &forms[g * size + first]);
    }
    first += page->count;
  }
  return forms;
}

}  // namespace kvedit
