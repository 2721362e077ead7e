#include "bench/comparison.h"

#include <algorithm>

#include "bench/prose.h"
#include "tools/text.h"

namespace kvedit::bench {

Comparison::Comparison(const std::shared_ptr<Model>& model, const ComparisonOptions& options,
                       MemoryMeter memory)
    : options_(options), memory_(std::move(memory)) {
  const ModelInfo info = model->info();
  if (options.capacity > info.context_length) {
    fail(ErrorCode::out_of_range, "bench", "a context of ", options.capacity,
         " tokens is needed (length and tokens to decode), the model's limit is ", info.context_length);
  }
  const std::vector<Token> text = prose_tokens(model, std::max(options.capacity, 4));
  ours_ = std::make_unique<KveditRuntime>(model, options.session, text, options.progress);
  ours_->warm_up();
  if (!options.peer) return;
  const auto loaded = LlamaPeer::load(info.path);
  for (const PeerSetting& setting : peer_settings(info.threads)) {
    peers_.push_back(
        std::make_unique<LlamaPeer>(loaded, text, setting, static_cast<int>(text.size()), options.progress));
    peers_.back()->warm_up();
  }
}

void Comparison::interleave(const std::function<void()>& ours, const std::function<void(LlamaPeer&)>& peer) {
  for (int i = 0; i < options_.repeat; i++) {
    const bool ours_first = i % 2 == 0;
    if (ours_first) ours();
    for (size_t k = 0; k < peers_.size(); k++) peer(*peers_[ours_first ? k : peers_.size() - 1 - k]);
    if (!ours_first) ours();
  }
}

void Comparison::hold_measured(int tokens) {
  ours_->hold_measured(tokens);
  for (const auto& peer : peers_) peer->hold_measured(tokens);
}

Paired Comparison::first_token_ms(int tokens) const {
  Paired paired{ours_->first_token_ms(tokens)};
  for (const auto& peer : peers_) {
    if (const auto ms = peer->first_token_ms(tokens)) paired.peers[peer->name()] = *ms;
  }
  return paired;
}

void Comparison::note_memory(Row& row, int length, const std::string& policy, const std::string& keep) {
  constexpr int kTokens = 2;
  const int most = ours_->model()->info().context_length - kTokens;
  length = std::clamp(length, 1, most);
  if (const auto memory = memory_.measure(
          {.side = "ours", .length = length, .tokens = kTokens, .policy = policy, .keep = keep})) {
    row.peak_memory_bytes.ours = memory->peak;
    row.resident_bytes.ours = memory->resident;
  }
  for (const auto& peer : peers_) {
    const bool flash = peer->setting().flash_attention;
    const auto memory = memory_.measure({"peer", length, kTokens, {}, {}, flash});
    if (!memory) continue;
    row.peak_memory_bytes.peers[peer->name()] = memory->peak;
    row.resident_bytes.peers[peer->name()] = memory->resident;
  }
}

void Comparison::note_agreement(Row& row, const std::vector<Token>& ours) const {
  if (peers_.empty() || ours.size() != peers_.front()->tops().size()) return;
  int same = 0;
  for (size_t i = 0; i < ours.size(); i++) same += static_cast<int>(ours[i] == peers_.front()->tops()[i]);
  row.details["same_top_token"] = {{"same", same}, {"of", ours.size()}};
}

}  // namespace kvedit::bench
