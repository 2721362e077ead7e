// llama.cpp's side, at its best run-time settings on a CPU: weights mapped and repacked where its
// kernels like that, F16 cache, batches of 2,048 tokens in steps of 512, a window cache for sliding layers,
// logits only where asked for, and a thread pool of its own. With or without flash attention: which is faster
// depends on the work, so that both are measured.
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
/// The settings that every work is measured at.
std::vector<PeerSetting> peer_settings(int threads);

/// A copy of a cache.
struct PeerState {
  std::vector<uint8_t> bytes;
  int tokens = 0;
};

/// Milliseconds of erasing until the logits of the next token are there.
struct PeerErased {
  double ms = 0;
  double call_ms = 0;  // without the step that gives the logits
  int recomputed = 0;  // tokens
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
  /// What it was compiled for: "AVX2 AVX512 ...".
  static std::string build();

  const PeerSetting& setting() const { return setting_; }
  /// Of the setting: "flash on" or "flash off".
  std::string name() const { return setting_.flash_attention ? "flash on" : "flash off"; }
  /// Another one of the same weights and text, empty.
  std::unique_ptr<LlamaPeer> another(const PeerSetting& setting, int capacity, int sequences) const;
  /// What is held, to be held again later, by this or another one of the same setting.
  PeerState copy() const;
  void restore(const PeerState& state);
  /// Reads on from what is held, to the first `tokens` tokens.
  void read_on(int tokens);

  /// Erasing `span` of the first `length` tokens exactly: what stands before it is kept, where the cache
  /// allows that, what follows is read again, in one pass to the logits.
  PeerErased read_again(Span span, int length);
  /// Erasing it from `length - 1` tokens that are held, the last one being pending as in Session::erase:
  /// llama_memory_seq_rm, which leaves a gap in the positions; if `shift`, then llama_memory_seq_add, whose
  /// keys turn in the next step.
  PeerErased remove(Span span, int length, bool shift);
  /// Whether its cache can do the latter.
  bool can_shift() const;
  /// llama_memory_seq_cp of all that is held to a second sequence, where there can be one; milliseconds.
  double copy_sequence();

  /// Writes the cache of the tokens that hold() prepared, or reads it back. Throws Error(io).
  void save(const std::string& path);
  void load_state(const std::string& path);

  /// Of the last step or erase.
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
