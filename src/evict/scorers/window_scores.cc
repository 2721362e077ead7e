#include "evict/scorers/window_scores.h"

#include <algorithm>
#include <utility>

#include "tools/text.h"

namespace kvedit {

std::vector<float> pool(std::span<const float> scores, int kernel, Pooling pooling) {
  const int n = static_cast<int>(scores.size());
  const int radius = kernel / 2;
  std::vector<float> pooled(n);
  for (int j = 0; j < n; j++) {
    const auto begin = scores.begin() + std::max(0, j - radius);
    const auto end = scores.begin() + std::min(n, j + radius + 1);
    if (pooling == Pooling::maximum) {
      pooled[j] = *std::max_element(begin, end);
    } else {
      double sum = 0;
      for (auto s = begin; s != end; ++s) sum += *s;
      pooled[j] = static_cast<float>(sum / kernel);
    }
  }
  return pooled;
}

std::vector<Parameter> pooling_parameters(int kernel, Pooling pooling) {
  return {{.name = "kernel",
           .value = static_cast<double>(kernel),
           .description = "entries pooled along the lane, odd; 1: not pooled",
           .minimum = 1,
           .maximum = 255},
          {.name = "pool",
           .value = pooling == Pooling::average ? 0.0 : 1.0,
           .description = "how they are pooled",
           .maximum = 1,
           .choices = {"avg", "max"}}};
}

void check_kernel(int kernel) {
  if (kernel % 2 == 1) return;
  fail(ErrorCode::invalid_argument, "evict", "kernel=", kernel, " is even; pooling is centred on an entry");
}

LayerScores window_scores(const LayerView& view, int window, const Votes& votes) {
  LayerScores scores(view.cache.kv_heads());
  std::vector<Competing> lanes;
  float largest = 0;
  for (int head = 0; head < view.cache.kv_heads(); head++) {
    const WindowAttention attention(view, head, window);
    const auto positions = view.cache.lane(view.layer, head).positions();
    const auto end = std::lower_bound(positions.begin(), positions.end(), attention.first_position());
    lanes.push_back({head, view.first_reachable(head), static_cast<int>(end - positions.begin()),
                     static_cast<int>(positions.size())});
    const Competing& lane = lanes.back();
    scores[head].resize(lane.size);
    if (lane.begin >= lane.end) continue;
    const auto voted = votes(attention, lane);
    std::copy(voted.begin(), voted.end(), scores[head].begin() + lane.begin);
    largest = std::max(largest, *std::max_element(voted.begin(), voted.end()));
  }
  for (size_t head = 0; head < scores.size(); head++) {
    std::fill(scores[head].begin() + lanes[head].end, scores[head].end(), largest);
  }
  return scores;
}

std::vector<float> window_means(const WindowAttention& attention, int size) {
  const int group = attention.group();
  const float share = 1.0F / static_cast<float>(attention.tokens());
  std::vector<float> means(static_cast<size_t>(group) * size);
  attention.for_pages([&](int first, int count, std::span<const float> weights) {
    for (int row = 0; row < attention.tokens() * group; row++) {
      float* mean = &means[static_cast<size_t>(row % group) * size + first];
      const float* weight = &weights[static_cast<size_t>(row) * kPageEntries];
      for (int i = 0; i < count; i++) mean[i] += share * weight[i];
    }
  });
  return means;
}

std::vector<float> pool_group(std::span<const float> rows, const Competing& lane, int kernel, Pooling pooling,
                              Group combine) {
  std::vector<float> scores(lane.end - lane.begin);
  const size_t group = rows.size() / lane.size;
  for (size_t h = 0; h < group; h++) {
    const auto pooled = pool(rows.subspan(h * lane.size + lane.begin, scores.size()), kernel, pooling);
    for (size_t j = 0; j < scores.size(); j++) {
      scores[j] = combine == Group::maximum && h > 0 ? std::max(scores[j], pooled[j]) : scores[j] + pooled[j];
    }
  }
  if (combine == Group::mean) {
    for (float& s : scores) s /= static_cast<float>(group);
  }
  return scores;
}

std::vector<Parameter> window_parameters(int window, int kernel, Pooling pooling) {
  std::vector<Parameter> parameters = {{.name = "window",
                                        .value = static_cast<double>(window),
                                        .description = "last queries that vote; their entries are kept",
                                        .minimum = 1,
                                        .maximum = kMostWindow}};
  for (auto& parameter : pooling_parameters(kernel, pooling)) parameters.push_back(std::move(parameter));
  return parameters;
}

WindowOptions::WindowOptions(const Parameters& parameters)
    : window(parameters.integer("window")),
      kernel(parameters.integer("kernel")),
      pooling(parameters.integer("pool") == 0 ? Pooling::average : Pooling::maximum) {
  check_kernel(kernel);
}

}  // namespace kvedit
