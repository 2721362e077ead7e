// llama.cpp's side, at its best run-time settings on a CPU: weights mapped and repacked where its
// kernels like that, flash attention, F16 cache, batches of 2,048 tokens in steps of 512, a window
// cache for sliding layers, logits only where asked for, and a thread pool of its own.
#pragma once

#include <memory>
#include <string>

#include "bench/side.h"

namespace kvedit::bench {

class LlamaPeer final : public Side {
 public:
  /// capacity: tokens of context. Throws Error(corrupt, no_memory).
  LlamaPeer(const std::string& path, std::vector<Token> text, int threads, int capacity,
            ProgressMaker progress);
  ~LlamaPeer() override;

  static std::string version();

  /// Erasing `span` of the first `length` tokens the way llama.cpp can: what stands before it is kept,
  /// where the cache allows that, what follows is read again, but the last token, as in Session::erase.
  /// Milliseconds; tokens: how many it read.
  double recompute_without(Span span, int length, int& tokens);

  /// Writes the cache of the tokens that hold() prepared, or reads it back. Throws Error(io).
  void save(const std::string& path);
  void load(const std::string& path);

 protected:
  void read(std::span<const Token> tokens, const Progress& progress) override;
  bool go_back(int tokens) override;
  Step step(Token token) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kvedit::bench
