#include "compute/captures.h"

#include <algorithm>

namespace kvedit {
namespace {

template <typename T>
void free_at(std::vector<std::vector<T>>& all, size_t at) {
  if (at < all.size()) std::vector<T>().swap(all[at]);  // = {} would keep its memory
}

}  // namespace

CaptureRequest CaptureRequest::operator|(const CaptureRequest& other) const {
  return {.window_queries = std::max(window_queries, other.window_queries),
          .attention_mass = attention_mass || other.attention_mass,
          .query_statistics = query_statistics || other.query_statistics,
          .first_counted = std::max(first_counted, other.first_counted),
          .similarity = similarity || other.similarity};
}

bool CaptureRequest::answers(const CaptureRequest& other) const {
  return window_queries >= other.window_queries && attention_mass >= other.attention_mass &&
         query_statistics >= other.query_statistics && similarity >= other.similarity &&
         (!other.query_statistics || first_counted == other.first_counted);
}

void Captures::free_layer(int layer, int kv_heads) {
  const auto at = static_cast<size_t>(layer);
  free_at(queries, at);
  free_at(query_means, at);
  free_at(query_moments, at);
  for (int head = 0; head < kv_heads; head++) free_at(mass, at * kv_heads + head);
}

}  // namespace kvedit
