// Attention by its definition, one entry at a time in double precision: slow and obvious.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "compute/kernels/attention.h"
#include "ggml.h"

namespace kvedit {

inline double element(const std::byte* data, size_t index, ElementType type) {
  if (type == ElementType::f32) return reinterpret_cast<const float*>(data)[index];
  return ggml_fp16_to_fp32(reinterpret_cast<const ggml_fp16_t*>(data)[index]);
}

struct SeenEntry {
  const Page* page;
  int index;
  double logit;
};

inline void attend_row(const AttentionTask& task, const float* query, Position position, float* output,
                       float* maximum, float* sum) {
  std::vector<SeenEntry> seen;
  double top = -std::numeric_limits<double>::infinity();
  for (const PageRef& page : task.pages) {
    for (int e = 0; e < page->count; e++) {
      const Position at = page->positions[e];
      if (at > position || (task.window > 0 && at <= position - task.window)) continue;
      double logit = 0;
      for (int i = 0; i < task.key_dim; i++) {
        logit += query[i] * element(page->keys, static_cast<size_t>(i) * kPageEntries + e, task.type);
      }
      seen.push_back({&*page, e, logit});
      top = std::max(top, logit);
    }
  }
  std::vector<double> out(task.value_dim, 0.0);
  double total = 0;
  for (const SeenEntry& s : seen) {
    const double weight = std::exp(s.logit - top);
    total += weight;
    for (int i = 0; i < task.value_dim; i++) {
      out[i] +=
          weight * element(s.page->values, static_cast<size_t>(s.index) * task.value_dim + i, task.type);
    }
  }
  const double scale = task.normalise ? (total > 0 ? 1 / total : 0) : 1;
  for (int i = 0; i < task.value_dim; i++) output[i] = static_cast<float>(out[i] * scale);
  if (maximum) *maximum = static_cast<float>(top);
  if (sum) *sum = static_cast<float>(total);
}

/// Computes what attend() does.
inline void attend_reference(const AttentionTask& task) {
  for (size_t t = 0; t < task.positions.size(); t++) {
    for (int g = 0; g < task.group; g++) {
      const size_t row = t * task.group + g;
      attend_row(task, task.queries + t * task.query_stride + static_cast<size_t>(g) * task.key_dim,
                 task.positions[t],
                 task.output + t * task.output_stride + static_cast<size_t>(g) * task.value_dim,
                 task.maxima ? task.maxima + row : nullptr, task.sums ? task.sums + row : nullptr);
    }
  }
}

}  // namespace kvedit
