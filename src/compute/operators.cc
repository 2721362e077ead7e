// The three operators of a layer's attention: write (norm, rotate, store), attend, merge.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cache/page_data.h"
#include "compute/pass.h"
#include "ggml.h"

namespace kvedit {
namespace {

const float* row(const ggml_tensor* t, int64_t i) {
  return reinterpret_cast<const float*>(static_cast<const char*>(t->data) + i * t->nb[1]);
}

// RMS norm of one head (qwen3, gemma3) into `to`; a copy where there is no norm.
void normalise(const float* from, float* to, int n, const ggml_tensor* norm, float epsilon) {
  if (!norm) {
    std::copy_n(from, n, to);
    return;
  }
  double squares = 0;
  for (int i = 0; i < n; i++) squares += static_cast<double>(from[i]) * from[i];
  const float scale = 1.0F / std::sqrt(static_cast<float>(squares / n) + epsilon);
  const auto* weight = static_cast<const float*>(norm->data);
  for (int i = 0; i < n; i++) to[i] = from[i] * scale * weight[i];
}

void rotate(float* head, const Rope& rope, const float* cosines, const float* sines) {
  const int pairs = rope.dims() / 2;
  for (int i = 0; i < pairs; i++) {
    float& a = head[rope.first(i)];
    float& b = head[rope.second(i)];
    const float x = a;
    a = x * cosines[i] - b * sines[i];
    b = x * sines[i] + b * cosines[i];
  }
}

// What write() works in.
struct WriteScratch {
  WriteScratch(Room& room, const Hparams& h, int counted)
      : key(room.take<float>(h.key_dim)),
        queries(room.take<float>(static_cast<size_t>(counted) * h.key_dim)),
        moved(room.take<double>(h.key_dim)),
        sum(room.take<float>(h.key_dim)) {}
  float* key;      // [key_dim]
  float* queries;  // [counted tokens of a piece][key_dim]
  double* moved;   // [key_dim] a block's mean - the mean so far
  float* sum;      // [key_dim]
};

// Adds a block's queries [n][d] to the mean [d] and the moments about it, packed, of `before` queries. The
// queries are centred in place. Within a block in f32, so that the compiler's vectors are twice as wide.
void add_moments(const WriteScratch& scratch, size_t n, int d, size_t before, double* mean, float* moments) {
  if (n == 0) return;
  float* queries = scratch.queries;
  double* moved = scratch.moved;
  float* sum = scratch.sum;
  std::fill_n(moved, d, 0.0);
  for (size_t t = 0; t < n; t++) {
    for (int i = 0; i < d; i++) moved[i] += queries[t * d + i];
  }
  for (int i = 0; i < d; i++) {
    moved[i] /= static_cast<double>(n);
    sum[i] = static_cast<float>(moved[i]);
    moved[i] -= mean[i];
  }
  for (size_t t = 0; t < n; t++) {
    for (int i = 0; i < d; i++) queries[t * d + i] -= sum[i];
  }
  const double share = static_cast<double>(n) / static_cast<double>(before + n);
  for (int i = 0; i < d; i++) {
    std::fill_n(sum, d, 0.0F);
    float* to = sum;
    const int columns = i + 1;
    size_t t = 0;
    for (; t + 4 <= n; t += 4) {  // four at a time: the row is loaded and stored once for them
      const float* x = &queries[t * d];
      const float a = x[i], b = x[i + d], c = x[i + 2 * d], e = x[i + 3 * d];
      for (int j = 0; j < columns; j++) {
        to[j] += a * x[j] + b * x[j + d] + c * x[j + 2 * d] + e * x[j + 3 * d];
      }
    }
    for (; t < n; t++) {
      const float a = queries[t * d + i];
      for (int j = 0; j < columns; j++) to[j] += a * queries[t * d + j];
    }
    float* total = moments + triangle(i);
    for (int j = 0; j < columns; j++) {
      const double between = static_cast<double>(before) * share * moved[i] * moved[j];
      total[j] = static_cast<float>(total[j] + (to[j] + between));
    }
  }
  for (int i = 0; i < d; i++) mean[i] += share * moved[i];
}

// What attend_item() works in.
struct AttendScratch {
  AttendScratch(Room& room, const Pass& pass)
      : maxima(room.take<float>(pass.most_rows)),
        sums(room.take<float>(pass.most_rows)),
        mass(room.take<float>(pass.most_entries)),
        attention(room.take<std::byte>(pass.attention_bytes)) {}
  float* maxima;  // [rows of an item]
  float* sums;
  float* mass;  // [entries of a lane]
  std::byte* attention;
};

}  // namespace

size_t Pass::scratch_bytes() const {
  Room write, attend, merge;
  const WriteScratch of_write(write, network->hparams(), counted_in_a_piece);
  const AttendScratch of_attend(attend, *this);
  merge.take<AttentionPart>(most_parts);
  return std::max({write.bytes(), attend.bytes(), merge.bytes()});
}

// Work is (token, head) pairs: query heads, then key heads, then value heads.
void Pass::write(int layer, const ggml_tensor* q, const ggml_tensor* k, const ggml_tensor* v,
                 ggml_tensor* rotated, int thread, int threads) {
  const Hparams& h = network->hparams();
  const LayerWeights& w = network->layers()[layer];
  const Rope& rope = (*h.ropes)[layer];
  const size_t pairs = rope.frequencies.size();
  const PageShape& shape = pieces[0].run->cache->pool()->shape();
  const int heads = h.heads + 2 * h.kv_heads;
  Room room = scratch.of(thread);
  const WriteScratch ours(room, h, counted_in_a_piece);
  bool cut = false;
  const int64_t all = static_cast<int64_t>(tokens) * heads;
  for (int64_t work = all * thread / threads; work < all * (thread + 1) / threads; work++) {
    const int token = static_cast<int>(work / heads);
    const int head = static_cast<int>(work % heads);
    const auto piece =
        std::find_if(pieces.begin(), pieces.end(), [&](const Piece& p) { return token < p.row + p.count; });
    const size_t angle = (static_cast<size_t>(rope_of_layer[layer]) * tokens + token) * pairs;
    if (head < h.heads) {
      float* to = const_cast<float*>(row(rotated, token)) + head * h.key_dim;
      normalise(row(q, token) + head * h.key_dim, to, h.key_dim, w.q_norm, h.norm_epsilon);
      rotate(to, rope, cosines.data() + angle, sines.data() + angle);
      for (int i = 0; i < h.key_dim; i++) to[i] *= h.attention_scale;
      Captures* captures = piece->run->captures;
      if (captures && piece->run->record.window_queries > 0) {
        const auto run_tokens = static_cast<int>(piece->run->tokens.size());
        const int index = piece->first + token - piece->row - (run_tokens - captures->tokens);
        if (index >= 0) {
          std::copy_n(to, h.key_dim,
                      &captures->queries[layer][(static_cast<size_t>(index) * h.heads + head) * h.key_dim]);
        }
      }
      continue;
    }
    if (piece->first + token - piece->row < piece->run->read_only) continue;
    const bool is_key = head < h.heads + h.kv_heads;
    const int kv_head = (head - h.heads) % h.kv_heads;
    const Position position = piece->run->positions[piece->first + token - piece->row];
    const EntryRef entry = piece->run->cache->lane(layer, kv_head).find(position);
    if (!entry) continue;  // an overwrite never inserts
    if (is_key) {
      normalise(row(k, token) + kv_head * h.key_dim, ours.key, h.key_dim, w.k_norm, h.norm_epsilon);
      rotate(ours.key, rope, cosines.data() + angle, sines.data() + angle);
      cut |= store_entry(shape, *entry.page, entry.index, ours.key, nullptr);
    } else {
      const float* value = row(v, token) + kv_head * h.value_dim;
      cut |= store_entry(shape, *entry.page, entry.index, nullptr, value);
    }
  }
  if (cut) any_cut.store(true, std::memory_order_relaxed);
  add_query_statistics(layer, q, thread, threads);
}

// A head belongs to one thread, so sums need no lock and come out the same each time.
void Pass::add_query_statistics(int layer, const ggml_tensor* q, int thread, int threads) const {
  const Hparams& h = network->hparams();
  const int d = h.key_dim;
  Room room = scratch.of(thread);
  const WriteScratch ours(room, h, counted_in_a_piece);
  for (const Piece& piece : pieces) {
    Captures* captures = piece.run->captures;
    const CaptureRequest& record = piece.run->record;
    if (!captures || !record.query_statistics) continue;
    const auto earlier = piece.run->positions.first(piece.first);
    const auto before = static_cast<size_t>(
        earlier.end() - std::lower_bound(earlier.begin(), earlier.end(), record.first_counted));
    for (int head = thread; head < h.heads; head += threads) {
      size_t n = 0;
      for (int t = 0; t < piece.count; t++) {
        if (piece.positions()[t] < record.first_counted) continue;
        normalise(row(q, piece.row + t) + head * d, ours.queries + n++ * d, d,
                  network->layers()[layer].q_norm, h.norm_epsilon);
      }
      add_moments(ours, n, d, before, &captures->query_means[layer][static_cast<size_t>(head) * d],
                  &captures->query_moments[layer][head * triangle(d)]);
    }
  }
}

void Pass::attend(int layer, const ggml_tensor* rotated, ggml_tensor* output, int thread) {
  LayerPass& plan = layers[layer];
  for (;;) {
    const auto index = static_cast<size_t>(plan.next.fetch_add(1, std::memory_order_relaxed));
    if (index >= plan.items.size()) return;
    attend_item(layer, plan.items[index], rotated, output, scratch.of(thread));
  }
}

void Pass::attend_item(int layer, const AttentionItem& item, const ggml_tensor* rotated, ggml_tensor* output,
                       Room room) {
  const Hparams& h = network->hparams();
  const AttendScratch ours(room, *this);
  const int first_row = item.piece->row + item.first;
  AttentionTask task;
  task.queries = row(rotated, first_row) + static_cast<size_t>(item.head) * h.group() * h.key_dim;
  task.query_stride = static_cast<size_t>(h.heads) * h.key_dim;
  task.positions = item.piece->positions().subspan(item.first, item.count);
  task.group = h.group();
  task.key_dim = h.key_dim;
  task.value_dim = h.value_dim;
  task.type = item.piece->run->cache->pool()->shape().type;
  task.pages = item.pages;
  task.window = h.window_of(layer);
  task.integers = integers;
  task.scratch = ours.attention;
  if (item.part >= 0) {
    task.output = part_output.data() + item.part * part_rows * h.value_dim;
    task.output_stride = static_cast<size_t>(h.group()) * h.value_dim;
    task.maxima = part_maxima.data() + item.part * part_rows;
    task.sums = part_sums.data() + item.part * part_rows;
    task.normalise = false;
    kvedit::attend(task);
    return;
  }
  task.output =
      const_cast<float*>(row(output, first_row)) + static_cast<size_t>(item.head) * h.group() * h.value_dim;
  task.output_stride = static_cast<size_t>(h.heads) * h.value_dim;
  Captures* captures = item.piece->run->captures;
  if (!captures || !item.piece->run->record.attention_mass) {
    kvedit::attend(task);
    return;
  }
  task.maxima = ours.maxima;
  task.sums = ours.sums;
  kvedit::attend(task);
  const Lane& lane = item.piece->run->cache->lane(layer, item.head);
  size_t skipped = 0;  // entries before the reachable pages
  for (const PageRef* page = lane.pages().data(); page != item.pages.data(); page++)
    skipped += (*page)->count;
  const std::span<float> mass(ours.mass, lane.size() - skipped);
  std::fill(mass.begin(), mass.end(), 0.0F);
  attention_weights(task, task.maxima, task.sums, mass.data(), 0);
  // Items are taken in order, so the one waited for is under way on another thread.
  std::atomic<int>& summed = layers[layer].summed[lane_of(item)];
  for (int done = summed.load(std::memory_order_acquire); done != item.turn;
       done = summed.load(std::memory_order_acquire)) {
    summed.wait(done, std::memory_order_acquire);
  }
  std::vector<float>& to = captures->mass[static_cast<size_t>(layer) * h.kv_heads + item.head];
  for (size_t i = 0; i < mass.size(); i++) to[skipped + i] += mass[i];
  summed.store(item.turn + 1, std::memory_order_release);
  summed.notify_all();
}

void Pass::merge(int layer, ggml_tensor* output, int thread, int threads) const {
  const Hparams& h = network->hparams();
  const LayerPass& plan = layers[layer];
  AttentionPart* parts = scratch.of(thread).take<AttentionPart>(most_parts);
  const int all = tokens * h.heads;
  for (int work = all * thread / threads; work < all * (thread + 1) / threads; work++) {
    const int token = work / h.heads;
    const int head = work % h.heads;
    const auto piece =
        std::find_if(pieces.begin(), pieces.end(), [&](const Piece& p) { return token < p.row + p.count; });
    const size_t lane = (piece - pieces.begin()) * h.kv_heads + head / h.group();
    const size_t item_row = static_cast<size_t>(token - piece->row) * h.group() + head % h.group();
    size_t n = 0;
    for (int i = plan.first_item[lane]; i < plan.first_item[lane + 1]; i++) {
      const size_t at = plan.items[i].part * part_rows + item_row;
      parts[n++] = {part_output.data() + at * h.value_dim, part_maxima[at], part_sums[at]};
    }
    merge_parts({parts, n}, h.value_dim,
                const_cast<float*>(row(output, token)) + static_cast<size_t>(head) * h.value_dim);
  }
}

}  // namespace kvedit
