#include "bench/contest.h"

#include <algorithm>

#include "base/check.h"
#include "bench/prose.h"

namespace kvedit::bench {

Contest::Contest(const std::shared_ptr<Model>& model, const ContestOptions& options, MemoryMeter memory)
    : options_(options), memory_(std::move(memory)) {
  const ModelInfo info = model->info();
  if (options.capacity > info.context_length) {
    fail(ErrorCode::out_of_range, "bench", "a context of ", options.capacity,
         " tokens is needed (length and tokens to decode), the model's limit is ", info.context_length);
  }
  const std::vector<Token> text = prose_tokens(model, std::max(options.capacity, 4));
  ours_ = std::make_unique<Ours>(model, options.session, text, options.progress);
  ours_->warm_up();
  if (!options.peer) return;
  peer_ = std::make_unique<LlamaPeer>(info.path, text, info.threads, static_cast<int>(text.size()),
                                      options.progress);
  peer_->warm_up();
}

void Contest::interleave(const std::function<void()>& ours, const std::function<void(LlamaPeer&)>& peer) {
  for (int i = 0; i < options_.repeat; i++) {
    const bool ours_first = i % 2 == 0;
    if (ours_first) ours();
    if (peer_) peer(*peer_);
    if (!ours_first) ours();
  }
}

Both Contest::first_token_ms(int tokens) const {
  return {ours_->first_token_ms(tokens), peer_ ? peer_->first_token_ms(tokens) : std::nullopt};
}

void Contest::note_memory(Row& row, int length, const std::string& policy, const std::string& keep) {
  constexpr int kTokens = 2;
  const int most = ours_->model()->info().context_length - kTokens;
  length = std::clamp(length, 1, most);
  if (const auto memory = memory_.measure("ours", length, kTokens, policy, keep)) {
    row.peak_memory_bytes.ours = memory->peak;
    row.resident_bytes.ours = memory->resident;
  }
  if (!peer_) return;
  if (const auto memory = memory_.measure("peer", length, kTokens)) {
    row.peak_memory_bytes.peer = memory->peak;
    row.resident_bytes.peer = memory->resident;
  }
}

void Contest::note_agreement(Row& row, const std::vector<Token>& ours) const {
  if (!peer_ || ours.size() != peer_->tops().size()) return;
  int same = 0;
  for (size_t i = 0; i < ours.size(); i++) same += static_cast<int>(ours[i] == peer_->tops()[i]);
  row.more["same_top_token"] = {{"same", same}, {"of", ours.size()}};
}

}  // namespace kvedit::bench
