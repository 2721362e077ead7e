// Continuing a transcript: how tokens are drawn, what is told of each, and why it ended.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvedit/error.h"
#include "kvedit/types.h"

namespace kvedit {

/// The reason why generation ended. error: the call failed after tokens were made; they stay in the
/// transcript, and Generation::error says why.
enum class StopReason { end_token, stop_string, max_tokens, context_full, cancelled, error };
std::string_view to_string(StopReason reason);

/// A grammar that the text must follow, in llama.cpp's GBNF.
struct Grammar {
  std::string rules;  // empty: none
  std::string root = "root";
  /// It takes effect where one of these regular expressions first matches the text made, from the first group
  /// on, or with one of these tokens. None of both: from the beginning.
  std::vector<std::string> triggers;
  std::vector<Token> trigger_tokens;
};

/// The logarithm of a token's probability by the model alone: before bias, penalties, grammar and
/// temperature.
struct TokenScore {
  Token token = kNoToken;
  float log_probability = 0;
  bool operator==(const TokenScore&) const = default;
};

/// A token as it was made.
struct MadeToken {
  Token token = kNoToken;
  /// What it let out: text is held back while it may become a stop string or half a character.
  std::string_view text;
  /// With GenerateOptions::top_scores, its own; else no token.
  TokenScore score;
  std::span<const TokenScore> top;  // the likeliest tokens, in order
};

/// How tokens are drawn from their logits, by llama.cpp's samplers of these names, whose documentation has
/// their papers. They act in its order: bias, penalties, DRY, top-n-sigma, top-k, typical-p, top-p, min-p,
/// XTC, temperature. All is off by default: the likeliest token is taken.
struct GenerateOptions {
  int max_tokens = 256;
  float temperature = 0;        // divides logits; 0: the likeliest token of those left is taken
  float temperature_range = 0;  // the temperature goes this far up and down with the entropy; 0: off
  float temperature_exponent = 1;
  int top_k = 0;              // only the k likeliest; 0: off
  float top_p = 1;            // only the likeliest that make up this share; 1: off
  float min_p = 0;            // only those with this share of the likeliest's probability; 0: off
  float typical_p = 1;        // only the most typical that make up this share; 1: off
  float top_n_sigma = 0;      // only logits within so many standard deviations of the largest; 0: off
  float xtc_probability = 0;  // so often all above the threshold but the least likely go; 0: off
  float xtc_threshold = 0.1F;
  int mirostat = 0;  // 1 or 2: a set surprise, instead of top-k, top-p, min-p, typical-p, XTC; 0: off
  float mirostat_tau = 5;
  float mirostat_eta = 0.1F;
  float repetition_penalty = 1;  // divides logits of what was said lately; 1: off
  float frequency_penalty = 0;   // taken off for each time that it was said; 0: off
  float presence_penalty = 0;    // taken off what was said at all; 0: off
  int penalty_window = 64;       // tokens that these three look back
  float dry_multiplier = 0;      // against repeating sequences; 0: off
  float dry_base = 1.75F;
  int dry_allowed_length = 2;  // tokens of a sequence that cost nothing
  int dry_window = 0;          // tokens looked back; 0: all of the context
  std::vector<std::string> dry_breakers = {"\n", ":", "\"", "*"};  // sequences do not reach over these
  std::vector<std::pair<Token, float>> logit_bias;                 // -infinity: never this token
  Grammar grammar;
  uint32_t seed = 0;
  int min_tokens = 0;             // before these were made no end token is drawn
  std::vector<Token> end_tokens;  // beside the model's own
  std::vector<std::string> stop;  // generation ends before the first of these
  /// Scores that are told of each token, beside its own: of so many of the likeliest. -1: none, nor its own.
  int top_scores = -1;
  /// Receives text as it is made, valid UTF-8 in whole characters; return false to cancel.
  std::function<bool(std::string_view text)> on_text;
  /// Receives each token as it is made, the end token too; return false to cancel.
  std::function<bool(const MadeToken& made)> on_token;
  /// Proposes at most `most` tokens that may come behind the transcript; none is an answer. They are checked
  /// in one pass, and only those are taken that are drawn anyway: a guess that holds saves a pass.
  std::function<std::vector<Token>(std::span<const Token> transcript, int most)> draft;
  Cancel cancel;  // generation ends with StopReason::cancelled, once a token was made
};

/// A draft that costs nothing: what followed where the transcript's last three tokens (two, if those are
/// nowhere) stood before, the latest such place. Text that is copied, quoted or edited is guessed well by it.
std::vector<Token> lookup_draft(std::span<const Token> transcript, int most);

struct Generation {
  /// The text made, without the stop string. Bytes that are no text are U+FFFD; a character that the next
  /// tokens may finish belongs to the next call's text.
  std::string text;
  std::vector<Token> tokens;
  std::vector<TokenScore> scores;            // with GenerateOptions::top_scores: [tokens]
  std::vector<std::vector<TokenScore>> top;  // the same: [tokens][top_scores], in order
  StopReason stop = StopReason::max_tokens;
  std::string stop_string;  // which one it was
  std::string error;        // of StopReason::error: the Error's message
  ErrorCode error_code = ErrorCode::invalid_argument;
  int drafted = 0;         // tokens that were proposed
  int draft_accepted = 0;  // and taken
  double first_token_ms = 0;
  double ms = 0;
};

}  // namespace kvedit
