#include "compute/pass.h"

#include <algorithm>

namespace kvedit {
namespace {

constexpr int kPartTokens = 16;    // up to here lanes are cut into parts
constexpr int kRowsPerItem = 192;  // query rows that share a page while it is in the L1 cache

bool same_rope(const Rope& a, const Rope& b) {
  return a.frequencies == b.frequencies && a.neox == b.neox && a.magnitude == b.magnitude;
}

}  // namespace

void Pass::plan(std::span<const Piece> new_pieces, int threads) {
  const Hparams& h = network->hparams();
  pieces.assign(new_pieces.begin(), new_pieces.end());
  tokens = 0;
  mass = false;
  for (const Piece& piece : pieces) {
    tokens += piece.count;
    mass |= piece.run->captures && piece.run->record.attention_mass;
  }
  in_parts = tokens <= kPartTokens && !mass;
  layers.resize(h.layers);
  plan_rotation();
  int parts = 0;
  part_rows = static_cast<size_t>(kPartTokens) * h.group();
  for (int layer = 0; layer < h.layers; layer++) {
    int layer_parts = 0;
    plan_layer(layer, threads, layer_parts);
    parts = std::max(parts, layer_parts);
  }
  if (in_parts) {
    part_output.resize(parts * part_rows * h.value_dim);
    part_maxima.resize(parts * part_rows);
    part_sums.resize(parts * part_rows);
  }
  plan_scratch();
}

void Pass::plan_scratch() {
  const Hparams& h = network->hparams();
  most_rows = most_entries = most_parts = 0;
  for (const LayerPass& layer : layers) {
    for (const AttentionItem& item : layer.items) {
      most_rows = std::max(most_rows, static_cast<size_t>(item.count) * h.group());
    }
    for (size_t lane = 0; lane + 1 < layer.first_item.size(); lane++) {
      most_parts = std::max<size_t>(most_parts, layer.first_item[lane + 1] - layer.first_item[lane]);
    }
  }
  counted_in_a_piece = 0;
  for (const Piece& piece : pieces) {
    if (!piece.run->captures) continue;
    const CaptureRequest& record = piece.run->record;
    if (record.query_statistics) counted_in_a_piece = std::max(counted_in_a_piece, piece.count);
    for (int lane = 0; record.attention_mass && lane < h.layers * h.kv_heads; lane++) {
      const int entries = piece.run->cache->lane(lane / h.kv_heads, lane % h.kv_heads).size();
      most_entries = std::max<size_t>(most_entries, entries);
    }
  }
  attention_bytes = attention_scratch_bytes(most_rows, h.key_dim, h.value_dim);
}

void Pass::plan_rotation() {
  const std::vector<Rope>& ropes = *network->hparams().ropes;
  std::vector<const Rope*> distinct;
  rope_of_layer.clear();
  for (const Rope& rope : ropes) {
    size_t index = 0;
    while (index < distinct.size() && !same_rope(*distinct[index], rope)) index++;
    if (index == distinct.size()) distinct.push_back(&rope);
    rope_of_layer.push_back(static_cast<int>(index));
  }
  const size_t pairs = ropes[0].frequencies.size();
  cosines.resize(distinct.size() * tokens * pairs);
  sines.resize(cosines.size());
  size_t at = 0;
  for (const Rope* rope : distinct) {
    for (const Piece& piece : pieces) {
      for (const Position position : piece.positions()) {
        const std::span<float> c(cosines.data() + at, pairs);
        const std::span<float> s(sines.data() + at, pairs);
        rope->turn(position, c, s);
        for (size_t i = 0; i < pairs; i++) {
          c[i] *= rope->magnitude;
          s[i] *= rope->magnitude;
        }
        at += pairs;
      }
    }
  }
}

size_t Pass::lane_of(const AttentionItem& item) const {
  return static_cast<size_t>(item.piece - pieces.data()) * network->hparams().kv_heads + item.head;
}

void Pass::plan_turns(LayerPass& plan) const {
  const int heads = network->hparams().kv_heads;
  std::vector<int> turns(pieces.size() * heads);
  for (AttentionItem& item : plan.items) item.turn = turns[lane_of(item)]++;
  plan.summed = std::make_unique<std::atomic<int>[]>(turns.size());  // zeros
}

void Pass::plan_layer(int layer, int threads, int& parts) {
  const Hparams& h = network->hparams();
  LayerPass& plan = layers[layer];
  plan.items.clear();
  plan.first_item.clear();
  plan.next.store(0, std::memory_order_relaxed);
  plan.summed.reset();
  const int window = h.window_of(layer);
  if (!in_parts) {
    const int fair =
        (tokens * h.kv_heads + 4 * threads - 1) / (4 * threads);  // some items a thread, at least
    const int size = std::max(1, std::min(kRowsPerItem / h.group(), fair));
    for (const Piece& piece : pieces) {
      for (int first = 0; first < piece.count; first += size) {
        const int count = std::min(size, piece.count - first);
        const auto positions = piece.positions().subspan(first, count);
        for (int head = 0; head < h.kv_heads; head++) {
          const auto pages = reachable(piece.run->cache->lane(layer, head).pages(), positions.front(),
                                       positions.back(), window);
          plan.items.push_back({&piece, head, first, count, pages, -1});
        }
      }
    }
    std::reverse(plan.items.begin(), plan.items.end());  // the longest first, so that threads end together
    if (mass) plan_turns(plan);
    return;
  }
  // Few tokens: all pages of all lanes in a row, cut evenly; some cuts a thread, so that a slow core
  // takes fewer.
  size_t pages_in_all = 0;
  std::vector<std::span<const PageRef>> lanes;
  for (const Piece& piece : pieces) {
    for (int head = 0; head < h.kv_heads; head++) {
      lanes.push_back(reachable(piece.run->cache->lane(layer, head).pages(), piece.positions().front(),
                                piece.positions().back(), window));
      pages_in_all += lanes.back().size();
    }
  }
  const size_t share = std::max<size_t>(1, (pages_in_all + 4 * threads - 1) / (4 * threads));
  size_t at = 0;  // pages given out so far
  for (size_t l = 0; l < lanes.size(); l++) {
    plan.first_item.push_back(static_cast<int>(plan.items.size()));
    std::span<const PageRef> rest = lanes[l];
    while (!rest.empty()) {
      const size_t take = std::min(rest.size(), share - at % share);
      const Piece& piece = pieces[l / h.kv_heads];
      plan.items.push_back(
          {&piece, static_cast<int>(l % h.kv_heads), 0, piece.count, rest.first(take), parts++});
      rest = rest.subspan(take);
      at += take;
    }
  }
  plan.first_item.push_back(static_cast<int>(plan.items.size()));
}

}  // namespace kvedit
