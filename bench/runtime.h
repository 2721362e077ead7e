// One of the runtimes that are compared. All read the same text and do the same work: a prefill ends with
// the logits after its last token, a decoding step forwards one given token and fetches its logits. Nothing
// is sampled.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvedit/types.h"

namespace kvedit::bench {

/// Makes the progress callback of a long step with this label; may be empty.
using ProgressMaker = std::function<Progress(const std::string& label)>;

struct Step {
  double ms = 0;
  Token top = 0;  // the most likely next token
};

class Runtime {
 public:
  Runtime(std::string name, std::vector<Token> text, ProgressMaker progress)
      : name_(std::move(name)), text_(std::move(text)), progress_(std::move(progress)) {}
  virtual ~Runtime() = default;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  const std::vector<Token>& text() const { return text_; }

  /// Uses buffers, files and weights for the first time, which no timing shall contain.
  void warm_up();
  /// Reads the first `tokens` tokens from scratch; returns milliseconds.
  double prefill(int tokens);
  /// Makes exactly the first `tokens` tokens the context, reusing a prefill where it can.
  void hold(int tokens);
  /// Holds them after a prefill of just this length, for first_token_ms().
  void hold_measured(int tokens);
  /// Returns tokens a second over the next `tokens` tokens of the text, one at a time, after the first
  /// `cached`.
  double decode(int cached, int tokens);
  /// Returns the most likely next token after each step of the last decode().
  const std::vector<Token>& tops() const { return tops_; }
  /// Returns the median over the prefills of this length, if there was one.
  std::optional<double> first_token_ms(int tokens) const;
  /// Counts the prefills of exactly this length.
  int prefills(int tokens) const;

 protected:
  virtual void read(std::span<const Token> tokens, const Progress& progress) = 0;
  /// Goes back to the first `tokens` tokens of what it has read; false where it cannot.
  virtual bool go_back(int tokens) = 0;
  virtual Step step(Token token) = 0;
  /// Returns the callback of a long step; never empty.
  Progress progress(const std::string& what) const;
  std::span<const Token> text(int begin, int end) const;

 private:
  std::string name_;
  std::vector<Token> text_;
  ProgressMaker progress_;
  std::vector<Token> tops_;
  std::map<int, std::vector<double>> first_token_ms_;
};

Token most_likely(std::span<const float> logits);

}  // namespace kvedit::bench
