// An edit: a fork of a context on its way to becoming another one. Erase methods, sync, verify and upgrade
// are made of its moves. Where one throws, the fork is dropped and nothing has happened.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "context/context.h"

namespace kvedit {

struct EditOptions {
  std::string_view where = "edit";  // the part of the library that errors name
  bool free_windows = false;        // while the text is read again
  Progress progress;                // of the tokens that a move forwards
};

/// New tokens in front of the at-th one, or behind the last where `at` is the transcript's size.
struct Insertion {
  int at = 0;
  std::span<const Token> tokens;
};

class Edit {
 public:
  /// engine: of the context's network, for as long as the edit lasts.
  Edit(Context fork, Engine& engine, EditOptions options = {});

  const Context& context() const { return context_; }
  const Transcript& transcript() const { return context_.transcript; }
  /// Hands the context over. Throws Error(unsupported) where the text could not go on, since sliding-window
  /// layers have freed what is read next; Error(corrupt) where checks_edits() and the invariant does not
  /// hold.
  Context finish() &&;

  /// Removes the tokens and entries of spans (ascending, disjoint); the gaps in the positions stay.
  void remove(std::span<const Span> spans);
  /// Removes them and moves what follows down, keys turned. Returns where each span stood, in indices of what
  /// is left.
  std::vector<int> remove_and_shift(std::span<const Span> spans);
  /// Takes the tokens of a span out of the transcript, of which the last `states` entries stay as steering
  /// states. Those in front of them go, and what follows moves down into that gap.
  void leave_steering(Span span, int states);
  /// Keeps the first `kept` tokens, at least one; the last of them is pending.
  void truncate(int kept);
  /// Inserts tokens (at ascending places), moves what stands behind them up, and forwards all that is new in
  /// one pass. They join the message of the token that they stand in front of. Throws Error(context_full)
  /// where the text would pass the model's context.
  void insert(std::span<const Insertion> insertions);
  /// Forwards the tokens of spans (ascending, disjoint, the pending one apart) again at their positions, in
  /// one pass, with an adapter if one is given. On an evicted cache they all see each other, and each lane
  /// keeps of them what it held. Throws Error(unsupported) where sliding-window layers no longer hold what
  /// they see.
  void forward_again(std::span<const Span> spans, std::shared_ptr<const Lora> adapter = nullptr);
  /// Keeps the entries of the first `kept` tokens and forwards the rest again, at positions without gaps; all
  /// of the text where sliding-window layers no longer hold what the rest needs, as note() says then. The
  /// result is exact if the entries kept are. Throws Error(invalid_argument) for a transcript without tokens.
  void rebuild(int kept);
  /// Removes the tokens of spans and forwards everything behind the exact prefix that is left.
  void rebuild_without(std::span<const Span> spans);
  /// Makes the text `tokens`, of which the first `kept` are the transcript's; does forget_messages() and
  /// rebuild().
  void rebuild_as(std::span<const Token> tokens, int kept);

  /// Leaves the text without messages; the caller marks them at the end.
  void forget_messages();

  /// Tells what the report should say, if anything.
  void set_note(std::string note) { note_ = std::move(note); }
  const std::string& note() const { return note_; }
  int tokens_forwarded() const { return forwarded_; }
  double forward_ms() const { return forward_ms_; }
  /// Tells whether an evicted cache was read anew from its first token, so that it lacks nothing.
  bool rebuilt() const { return rebuilt_; }

 private:
  void cut(Span span);
  void close_gap(Span positions, int from);
  void move_behind(int token, Position from, int delta);

  Context context_;
  Engine& engine_;
  EditOptions options_;
  std::string note_;
  int forwarded_ = 0;
  double forward_ms_ = 0;
  bool rebuilt_ = false;
};

/// Returns how many of a span's steering states stay: its last `states`, or all if 0.
int states_kept(Span span, int states);

}  // namespace kvedit
