#include "compute/forwarding.h"

#include <algorithm>

#include "compute/pass.h"
#include "tools/text.h"

namespace kvedit {
namespace {

void make_room(Captures& captures, const Run& run, const Hparams& h) {
  const CaptureRequest& record = run.record;
  captures.tokens = std::min(record.window_queries, static_cast<int>(run.tokens.size()));
  captures.queries.assign(h.layers,
                          std::vector<float>(static_cast<size_t>(captures.tokens) * h.heads * h.key_dim));
  captures.similarities.assign(static_cast<size_t>(h.layers) * captures.tokens, 0.0F);
  captures.counted = 0;
  for (const Position position : run.positions) {
    captures.counted += record.query_statistics && position >= record.first_counted;
  }
  const int counted_layers = record.query_statistics ? h.layers : 0;
  captures.query_means.assign(counted_layers, std::vector<double>(static_cast<size_t>(h.heads) * h.key_dim));
  captures.query_moments.assign(counted_layers, std::vector<float>(h.heads * triangle(h.key_dim)));
  captures.mass.clear();
  for (int lane = 0; record.attention_mass && lane < h.layers * h.kv_heads; lane++) {
    captures.mass.emplace_back(run.cache->lane(lane / h.kv_heads, lane % h.kv_heads).size());
  }
}

void check(const Network& network, const Run& run) {
  for (const Token token : run.tokens) {
    if (token < 0 || token >= network.hparams().vocabulary) {
      fail(ErrorCode::out_of_range, "compute", "token ", token, " is outside the vocabulary of ",
           network.hparams().vocabulary);
    }
  }
  if (run.adapter && run.adapter->network_fingerprint() != network.fingerprint()) {
    fail(ErrorCode::invalid_argument, "compute", "the adapter ", run.adapter->info().path,
         " was loaded for another model");
  }
}

}  // namespace

Forwarding::Forwarding(const Network& network, std::span<const Run> runs)
    : runs_(runs), logits_(runs.size()) {
  for (const Run& run : runs) {
    check(network, run);
    total_ += run.tokens.size();
    records_ |= run.captures != nullptr;
    if (run.captures) make_room(*run.captures, run, network.hparams());
  }
}

void Forwarding::next(size_t tokens, int row, std::vector<Piece>& block) const {
  size_t first = token_;
  for (size_t i = run_; tokens > 0; i++, first = 0) {
    const size_t count = std::min(tokens, runs_[i].tokens.size() - first);
    if (count == 0) continue;
    block.push_back({&runs_[i], static_cast<int>(first), static_cast<int>(count), row});
    row += static_cast<int>(count);
    tokens -= count;
  }
}

void Forwarding::advance(size_t tokens) {
  done_ += tokens;
  while (run_ < runs_.size() && token_ + tokens >= runs_[run_].tokens.size()) {
    tokens -= runs_[run_].tokens.size() - token_;
    token_ = 0;
    run_++;
  }
  token_ += tokens;
}

size_t wanted_rows(const Piece& piece) {
  if (piece.run->logits == Logits::all) return piece.count;
  const bool has_last = piece.first + piece.count == static_cast<int>(piece.run->tokens.size());
  return piece.run->logits == Logits::last && has_last ? 1 : 0;
}

size_t Forwarding::take(const Piece& piece, const float* rows, size_t vocabulary) {
  const size_t count = wanted_rows(piece);
  std::vector<float>& to = logits_[piece.run - runs_.data()];
  to.insert(to.end(), rows, rows + count * vocabulary);
  return count;
}

}  // namespace kvedit
