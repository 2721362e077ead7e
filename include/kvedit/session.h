// A session: a transcript of tokens and the KV cache that goes with it, which never disagree.
//
// Contract. A session is used by one thread at a time; a second caller gets Error(busy). Different
// sessions of one model may be used by different threads. Every call either does all it says or
// throws Error and leaves transcript, cache and bytes exactly as they were; the exception is
// generate(), which keeps the tokens made before a cancellation.
//
// The last token of the transcript is pending: it is forwarded when logits are wanted, so that no
// edit reuses stale logits. Transcript indices count tokens now present; positions are what the
// model was told, and differ after an edit that leaves a gap.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvedit/erase.h"
#include "kvedit/evict.h"
#include "kvedit/model.h"
#include "kvedit/types.h"

namespace kvedit {

struct SessionOptions {
  size_t byte_limit = 0;  // of this session's cache; 0: none. Passing it is Error(no_memory).
  int undo_depth = 8;     // edits that undo() can take back
};

struct AppendReport {
  Span tokens;  // transcript indices of what was appended
  double ms = 0;
};

/// A place where a text stands in the transcript.
struct Found {
  Span tokens;           // the tokens that cover it
  bool widened = false;  // the text begins or ends inside a token; the span covers whole tokens
  std::string text;      // of the tokens
};

enum class StopReason { end_token, stop_string, max_tokens, context_full, cancelled };
std::string_view name(StopReason reason);

struct GenerateOptions {
  int max_tokens = 256;
  float temperature = 0;         // 0: greedy
  int top_k = 0;                 // 0: off
  float top_p = 1;               // 1: off
  float min_p = 0;               // 0: off
  float repetition_penalty = 1;  // 1: off
  int penalty_window = 64;       // tokens the penalty looks back
  uint32_t seed = 0;
  std::vector<std::string> stop;  // generation ends before the first of these
  /// Receives text as it is made, whole UTF-8 characters; return false to cancel.
  std::function<bool(std::string_view text)> on_text;
};

struct Generation {
  std::string text;  // without the stop string
  std::vector<Token> tokens;
  StopReason stop = StopReason::max_tokens;
  double first_token_ms = 0;
  double ms = 0;
};

struct UndoReport {
  std::string what;        // "erase (shift)", ...
  int tokens_dropped = 0;  // appended since that edit, gone with it
  int tokens_restored = 0;
};

struct SessionStats {
  int tokens = 0;              // in the transcript, the pending one included
  int context_length = 0;      // the model's
  Position next_position = 0;  // the next token's
  size_t entries = 0;          // in the cache, over all lanes
  size_t full_entries = 0;     // what an unevicted cache of this transcript would hold
  size_t bytes = 0;            // of this cache's pages
  size_t pinned_bytes = 0;     // of undo history, beyond this cache
  size_t shared_bytes = 0;     // of this cache's pages, also held by forks or undo history
  int undo_steps = 0;
  bool evicted = false;
  std::string policy;  // last applied, or empty
  PoolStats pool;
};

class Session {
 public:
  explicit Session(std::shared_ptr<Model> model, const SessionOptions& options = {});
  ~Session();
  Session(Session&& other) noexcept;
  Session& operator=(Session&& other) noexcept;

  /// O(pages): pages are shared until one side writes. Undo history stays with the parent.
  Session fork() const;

  /// Appends text (the model's begin token first, when it is the first text of all); special: control
  /// tokens are recognised. Throws Error(invalid_argument) for text that is empty, not UTF-8 or binary,
  /// Error(context_full), Error(no_memory), Error(cancelled).
  AppendReport append(std::string_view text, bool special = false, const Progress& progress = {});
  AppendReport append_tokens(std::span<const Token> tokens, const Progress& progress = {});
  /// Appends messages in the model's chat format; reply: and the opening of the assistant's turn.
  AppendReport append_messages(std::span<const Message> messages, bool reply, const Progress& progress = {});

  /// Logits of the next token, [vocabulary]. Throws Error(invalid_argument) on an empty session.
  std::vector<float> logits();
  /// Continues the transcript; what is generated is appended to it (the end token too).
  Generation generate(const GenerateOptions& options = {});

  /// Every occurrence of `text` in the transcript, by the tokens' byte ranges.
  std::vector<Found> find(std::string_view text) const;
  /// The one occurrence, or the nth (from 1). Throws Error(not_found), Error(ambiguous) saying where.
  Found find_one(std::string_view text, int nth = 0) const;

  /// Erases spans of the transcript (indices). Throws Error(out_of_range, invalid_argument: empty,
  /// overlapping, all of the text), Error(not_found) for the method.
  EraseReport erase(std::span<const Span> spans, const EraseOptions& options = {});
  EraseReport erase(Span span, const EraseOptions& options = {}) { return erase({&span, 1}, options); }

  /// Evicts entries of the cache, per head, and frees their memory. Throws Error(not_found) for the
  /// policy, Error(out_of_range) for a budget below what is always kept.
  EvictReport evict(std::string_view policy, const Budget& budget, const EvictOptions& options = {});

  /// Takes back the last edit, and with it everything appended since. Throws Error(not_found) when
  /// there is none.
  UndoReport undo();
  /// Forgets undo history, freeing what it pins.
  void forget_history();

  /// Writes a snapshot: complete at `path`, or nothing. Format: docs/formats.md.
  void save(const std::string& path) const;
  /// Throws Error(corrupt), Error(unsupported) for a snapshot of another model or cache type.
  static Session load(std::shared_ptr<Model> model, const std::string& path,
                      const SessionOptions& options = {});

  SessionStats stats() const;
  std::shared_ptr<Model> model() const;
  std::vector<Token> tokens() const;
  std::vector<Position> positions() const;
  std::string text() const;

 private:
  struct State;
  explicit Session(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace kvedit
