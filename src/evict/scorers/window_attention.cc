#include "evict/scorers/window_attention.h"

#include <algorithm>

#include "tools/text.h"

namespace kvedit {

WindowAttention::WindowAttention(const LayerView& view, int head, int window) {
  const Hparams& h = view.network.hparams();
  const Captures& captures = view.captures;
  const size_t row = static_cast<size_t>(h.heads) * h.key_dim;
  const int captured = captures.tokens;
  const auto layer = static_cast<size_t>(view.layer);
  const size_t elements = layer < captures.queries.size() ? captures.queries[layer].size() : 0;
  if (captured < 1 || elements != row * captured) {
    fail(ErrorCode::invalid_argument, "evict", elements, " query elements of layer ", layer, " captured for ",
         captured, " tokens");
  }
  if (view.window_positions.size() != static_cast<size_t>(captured)) {
    fail(ErrorCode::invalid_argument, "evict", view.window_positions.size(), " positions for ", captured,
         " captured queries");
  }
  const int tokens = std::min(window, captured);
  task_.queries = captures.queries[layer].data() + static_cast<size_t>(captured - tokens) * row +
                  static_cast<size_t>(head) * h.group() * h.key_dim;
  task_.query_stride = row;
  task_.positions = view.window_positions.last(tokens);
  task_.group = h.group();
  task_.key_dim = h.key_dim;
  task_.value_dim = h.value_dim;
  task_.type = view.cache.pool()->shape().type;
  task_.window = h.window_of(view.layer);
  const auto pages = view.cache.lane(view.layer, head).pages();
  task_.pages = reachable(pages, task_.positions.front(), task_.positions.back(), task_.window);
  for (const PageRef* page = pages.data(); page != task_.pages.data(); page++) first_entry_ += (*page)->count;
  task_.integers = true;

  const size_t rows = static_cast<size_t>(tokens) * task_.group;
  outputs_.resize(rows * h.value_dim);
  maxima_.resize(rows);
  sums_.resize(rows);
  task_.output = outputs_.data();
  task_.output_stride = static_cast<size_t>(task_.group) * h.value_dim;
  task_.maxima = maxima_.data();
  task_.sums = sums_.data();
  attend(task_);
  task_.output = nullptr;
}

void WindowAttention::for_pages(const Use& use) const {
  std::vector<float> weights(maxima_.size() * kPageEntries);
  AttentionTask task = task_;
  int first = first_entry_;
  for (size_t i = 0; i < task_.pages.size(); i++) {
    task.pages = task_.pages.subspan(i, 1);
    attention_weights(task, maxima_.data(), sums_.data(), weights.data(), kPageEntries);
    use(first, task.pages[0]->count, weights);
    first += task.pages[0]->count;
  }
}

}  // namespace kvedit
