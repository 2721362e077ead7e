#include "evict/output_projection.h"

#include <ggml.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "compute/kernels/gemm.h"
#include "tools/text.h"

namespace kvedit {
namespace {

void run(const Gemm& gemm, const float* x, const float* w, float* y) {
  if (!gemm.run(x, w, y, own_scratch(gemm.scratch_bytes())))
    fail(ErrorCode::no_memory, "evict", "a product with the output projection failed");
}

}  // namespace

OutputRows::OutputRows(const Network& network, int layer) : weights_(network.layers()[layer]) {}

const float* OutputRows::row(int i, int begin, int end) {
  const ggml_tensor& wo = *weights_.wo;
  const auto* data = static_cast<const char*>(wo.data) + i * wo.nb[1];
  const auto block = static_cast<int>(ggml_blck_size(wo.type));
  const int first = begin / block * block;
  const int last = (end + block - 1) / block * block;
  row_.resize(last - first);
  data += ggml_row_size(wo.type, first);
  if (wo.type == GGML_TYPE_F32) {
    std::memcpy(row_.data(), data, row_.size() * sizeof(float));
  } else {
    ggml_get_type_traits(wo.type)->to_float(data, row_.data(), last - first);
  }
  if (weights_.post_attention_norm) {
    const float scale = static_cast<const float*>(weights_.post_attention_norm->data)[i];
    for (float& x : row_) x *= scale;
  }
  return row_.data() + (begin - first);
}

// Summed over some rows of the projection at a time.
std::vector<float> output_grams(const Network& network, int layer, int kv_head, const HeadPairs& pairs) {
  constexpr int kRows = 192;
  const Hparams& h = network.hparams();
  const int dim = h.value_dim, width = h.group() * dim;
  const size_t size = static_cast<size_t>(dim) * dim;
  std::vector<float> columns(static_cast<size_t>(width) * kRows);  // [group][value_dim][count]
  std::vector<float> part(size), grams(pairs.size() * size);
  OutputRows rows(network, layer);
  for (int first = 0; first < h.d_model; first += kRows) {
    const int count = std::min(kRows, h.d_model - first);
    for (int i = 0; i < count; i++) {
      const float* row = rows.row(first + i, kv_head * width, (kv_head + 1) * width);
      for (int c = 0; c < width; c++) columns[static_cast<size_t>(c) * count + i] = row[c];
    }
    const auto gemm = Gemm::get(GemmType::f32, dim, dim, count, dim);
    const size_t slice = static_cast<size_t>(dim) * count;
    for (size_t p = 0; p < pairs.size(); p++) {
      run(*gemm, &columns[pairs[p].first * slice], &columns[pairs[p].second * slice], part.data());
      for (size_t i = 0; i < size; i++) grams[p * size + i] += part[i];
    }
  }
  return grams;
}

TimesColumns::TimesColumns(int rows, int columns)
    : gemm_(Gemm::get(GemmType::f32, rows, kPageEntries, columns, kPageEntries)),
      product_(static_cast<size_t>(rows) * kPageEntries) {}

const float* TimesColumns::operator()(const float* matrix, const float* x) {
  run(*gemm_, matrix, x, product_.data());
  return product_.data();
}

QuadraticForms::QuadraticForms(std::vector<float> grams, const PageShape& shape)
    : grams_(std::move(grams)),
      dim_(shape.value_dim),
      count_(grams_.size() / dim_ / dim_),
      rows_(shape),
      times_(static_cast<int>(count_ * dim_), shape.value_dim),
      forms_(count_ * kPageEntries) {}

const float* QuadraticForms::of(const Page& page) {
  const float* product = times_(grams_.data(), rows_.entries(page));  // [count][value_dim][64]
  const float* values = rows_.values(page);
  std::fill(forms_.begin(), forms_.end(), 0.0F);
  for (size_t g = 0; g < count_; g++) {
    float* sums = &forms_[g * kPageEntries];
    for (size_t i = 0; i < dim_; i++, product += kPageEntries) {
      const float* value = values + i * kPageEntries;
      for (int c = 0; c < kPageEntries; c++) sums[c] += value[c] * product[c];
    }
  }
  return forms_.data();
}

}  // namespace kvedit
