// llama.cpp at its best run-time settings on a CPU: weights mapped, and repacked where its kernels like
// that, F16 cache, batches of 2,048 tokens in steps of 512, a window cache for sliding layers, logits only
// where asked for, and a thread pool of its own. It is measured with and without flash attention, since the
// work decides which is faster.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/runtime.h"

struct llama_model;

namespace kvedit::bench {

struct PeerSetting {
  bool flash_attention = true;
  int threads = 1;
  int poll = 50;  // percent, how long idle workers spin; ggml's default
};
/// Returns the settings that every work is measured at.
std::vector<PeerSetting> peer_settings(int threads);

/// A copy of a cache.
struct PeerState {
  std::vector<uint8_t> bytes;
  int tokens = 0;
};

/// What an erase took, until the logits of the next token.
struct PeerErased {
  double ms = 0;
  double call_ms = 0;  // milliseconds without the step that gives the logits
  int recomputed = 0;  // tokens read again
};

class LlamaPeer final : public Runtime {
 public:
  /// Throws Error(corrupt).
  static std::shared_ptr<llama_model> load(const std::string& path);

  /// capacity: tokens of context. Throws Error(no_memory).
  LlamaPeer(std::shared_ptr<llama_model> model, std::vector<Token> text, const PeerSetting& setting,
            int capacity, ProgressMaker progress);
  ~LlamaPeer() override;

  static std::string version();
  /// Returns the instruction sets that it was compiled for, "AVX2 AVX512 ...".
  static std::string build();

  const PeerSetting& setting() const { return setting_; }
  /// Names the setting: "flash on" or "flash off".
  std::string name() const { return setting_.flash_attention ? "flash on" : "flash off"; }
  /// Makes another, empty one of the same weights and text.
  std::unique_ptr<LlamaPeer> another(const PeerSetting& setting, int capacity, int sequences) const;
  /// Copies what is held, for this or another one of the same setting to hold again.
  PeerState copy() const;
  void restore(const PeerState& state);
  /// Reads on from what is held, up to the first `tokens` tokens.
  void read_on(int tokens);

  /// Erases `span` of the first `length` tokens exactly: keeps what stands before it, where the cache
  /// allows that, and reads again what follows, in one pass to the logits.
  PeerErased read_again(Span span, int length);
  /// Erases `span` from `length - 1` tokens held, the last one being pending as in Session::erase.
  /// llama_memory_seq_rm leaves a gap in the positions; if `shift`, llama_memory_seq_add closes it, and
  /// the keys turn in the next step.
  PeerErased remove(Span span, int length, bool shift);
  /// Tells whether its cache can shift.
  bool can_shift() const;
  /// Copies all that is held to a second sequence, where there can be one, by llama_memory_seq_cp; returns
  /// milliseconds.
  double copy_sequence();

  /// Copies what is held to `sequences` sequences in all, and decodes the text's next tokens in each of them,
  /// one of each in a pass; returns tokens a second. What was held is held again then.
  double decode_together(int sequences, int tokens);

  /// Writes the cache of the tokens that hold() prepared, or reads it back. Throws Error(io).
  void save(const std::string& path);
  void load_state(const std::string& path);

  /// Returns the logits of the last step or erase.
  const std::vector<float>& logits() const { return logits_; }

 protected:
  void read(std::span<const Token> tokens, const Progress& progress) override;
  bool go_back(int tokens) override;
  Step step(Token token) override;

 private:
  struct State;
  LlamaPeer(std::shared_ptr<llama_model> model, std::vector<Token> text, const PeerSetting& setting,
            int capacity, int sequences, ProgressMaker progress);

  PeerSetting setting_;
  std::vector<float> logits_;
  std::unique_ptr<State> state_;
};

}  // namespace kvedit::bench
