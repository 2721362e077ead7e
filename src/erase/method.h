// Erase methods: each changes a fork of the session's cache and transcript; the session swaps the
// result in when all has succeeded. A method is one file and one line in the table (methods.cc).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/cache.h"
#include "compute/engine.h"
#include "kvedit/erase.h"
#include "kvedit/types.h"

namespace kvedit {

/// Where a message of a conversation begins; it ends where the next one does, or the transcript.
struct MessageMark {
  std::string role;
  int begin = 0;       // token
  bool reply = false;  // only its opening was given, maybe of no tokens: the model writes the rest
  bool open = false;   // its closing is missing: the next message of its role goes on in it
};

/// Tokens and their positions, ascending. The last one is pending: not in the cache yet.
struct Transcript {
  std::vector<Token> tokens;
  std::vector<Position> positions;
  std::vector<Position> steered;      // of entries that stand for erased tokens, ascending
  std::vector<MessageMark> messages;  // ascending
  std::vector<Message> waiting;       // which the chat template can only say together with the next
  /// Tokens of the beginning that have the entries which a fresh prefill would give them: positions
  /// 0..exact-1, nothing else in front, in every lane. 0 for an evicted cache.
  int exact = 0;
  int size() const { return static_cast<int>(tokens.size()); }
  Span message(size_t i) const {
    return {messages[i].begin, i + 1 < messages.size() ? messages[i + 1].begin : size()};
  }
  void cut(Span span);  // removes tokens; positions stay
  void forget_steered(Span positions);
};

/// What a method works on: forks, so that it may fail at any point.
struct EraseWork {
  Cache& cache;
  Transcript& transcript;
  std::span<const Span> spans;  // transcript indices, ascending, disjoint, not empty, not everything
  const EraseOptions& options;
  std::shared_ptr<const Lora> adapter;  // of the options; may be null
  Engine& engine;
  bool evicted = false;       // lanes lack entries; rebuild() of the whole text ends that
  bool free_windows = false;  // while the text is read again
  // set by the method
  std::string note;
  int tokens_recomputed = 0;
  double forward_ms = 0;
};

class EraseMethod {
 public:
  virtual ~EraseMethod() = default;
  virtual EraseMethodInfo info() const = 0;
  /// Whether the options' repair_window and repair_tail count.
  virtual bool has_windows() const { return false; }
  virtual void apply(EraseWork& work) const = 0;
};

/// Throws Error(not_found) naming the methods there are.
const EraseMethod& find_erase_method(std::string_view name);
/// The options with the numbers behind the method's name in their places: "repair:window=32,tail=64".
/// Throws as find_erase_method(), Error(invalid_argument) for what is no number of the method.
EraseOptions with_numbers(EraseOptions options);

// Steps that methods share.

/// Removes spans (all of the work's, or these) from transcript and cache; the gap in the positions stays.
void remove_spans(EraseWork& work, std::span<const Span> spans);
/// Moves what follows, transcript tokens from `token` on and entries from position `from` on, keys turned.
void move_behind(EraseWork& work, int token, Position from, int delta);
/// Of a span's steering states so many stay, the last ones, where an eraser keeps `states` (0: all).
int states_kept(Span span, int states);
/// Removes the entries of `gap` and moves what follows, from transcript token `from` on, down into it, keys
/// turned.
void close_gap(EraseWork& work, Span gap, int from);
/// Removes the spans and moves what follows down, keys turned; returns where each span stood, in
/// indices of the transcript that is left.
std::vector<int> remove_and_shift(EraseWork& work);
/// The first `window` tokens after each seam and the last of the options' repair_tail (if it is not given,
/// `tail`).
std::vector<Span> repair_windows(const EraseWork& work, std::span<const int> seams, int window, int tail);
/// Forwards the tokens of spans again, all in one pass; they may overlap, and pass the end.
void forward_windows(EraseWork& work, std::span<const Span> windows);
/// Keeps the entries of the first `kept` tokens and forwards the rest again, at positions without gaps; all
/// of the text where sliding-window layers no longer hold what the rest needs, as the note says then. The
/// result is exact if those kept are. Throws Error(invalid_argument) for a transcript without tokens.
void rebuild(EraseWork& work, int kept);
/// The entry of the transcript's last token goes: it is pending.
void leave_last_pending(Cache& cache, Transcript& transcript);
/// Forwards transcript tokens again at their positions, in one pass, with an adapter if one is given. On
/// an evicted cache they all see each other, and each lane keeps those it held. Throws Error(unsupported)
/// where sliding-window layers no longer hold what they see.
void forward_again(EraseWork& work, std::span<const Span> tokens,
                   std::shared_ptr<const Lora> adapter = nullptr);

}  // namespace kvedit
