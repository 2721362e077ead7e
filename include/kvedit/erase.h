// Erasing spans of a session: what can be asked and what is reported; checking afterwards what is left
// of the erased text (verify), and making an approximate erase exact in the background (upgrade).
// The methods are listed by erase_methods(); Session::erase applies one.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvedit/adapter.h"
#include "kvedit/types.h"

namespace kvedit {

/// exact: what a fresh prefill of the remaining text gives with the same kernels, up to rounding.
enum class Exactness { exact, learned, approximate };
std::string_view to_string(Exactness exactness);

/// A place where a text stands in the transcript.
struct Found {
  Span tokens;           // the tokens that cover it
  bool widened = false;  // the text begins or ends inside a token; the span covers whole tokens
  std::string text;      // text of the tokens
  std::string differs;   // how it differs from the text asked for, as "case, white space"; empty: in nothing
};

/// A word of an erased text that tells something (a number, a name, a rare word), and where the remaining
/// transcript says it still. The model can repeat it from there, however exact the erase was.
struct Mention {
  std::string word;
  std::vector<Found> places;
};

struct VerifyOptions {
  std::vector<std::string> probes;  // texts to continue with; empty: an automatic set
  /// Texts erased earlier, beside those the session still remembers; a character cut at either end does not
  /// count.
  std::vector<std::string> erased;
  Progress progress;  // of the tokens to forward; return false to cancel
  Cancel cancel;
};

/// How far the cache is from the exact one: that of a fresh prefill of the remaining text (evicted again, if
/// the cache is). Divergences are KL(exact || now) of next-token distributions, in nats.
struct VerifyReport {
  int probes = 0;         // texts
  int distributions = 0;  // compared: one after the transcript, and one after each token of each probe
  double mean_kl = 0;
  double max_kl = 0;
  double same_top = 0;  // share of distributions with the same most likely token
  /// Log-likelihood of the erased texts as the next text, per token, now minus exact: positive when the
  /// cache still leans towards them. Zero when there was none to ask for.
  double residual_preference = 0;
  int erased_tokens = 0;          // tokens of erased texts that it was measured on
  int tokens_recomputed = 0;      // tokens forwarded for the comparison
  std::vector<Mention> mentions;  // of the erased texts' words; no figure above counts them
  std::string note;
  double ms = 0;
};

struct EraseOptions {
  /// A name of erase_methods(), with parameters behind it where they are not the defaults:
  /// "mend:window=32,tail=16".
  std::string method = "recompute";
  std::shared_ptr<const Adapter> adapter;  // steer: the eraser
  /// The erased tokens are nowhere afterwards: undo history goes, and nothing saved later has them.
  bool forget = false;
  bool verify = false;  // measure what is left; costs a recompute
  /// Refuses with Error(out_of_range) rather than forward more than this many tokens; -1: any number.
  int max_forwarded = -1;
  Progress progress;  // of the tokens to forward; return false to cancel
  Cancel cancel;
};

struct EraseReport {
  std::string method;
  Exactness exactness = Exactness::exact;
  std::string adapter;            // its name, where one was used
  std::vector<Span> spans;        // transcript tokens, before the erase; sorted, merged
  std::vector<std::string> text;  // of each span
  int tokens_erased = 0;
  size_t text_bytes_erased = 0;
  int tokens_recomputed = 0;
  bool positions_changed = false;
  /// Where the remaining transcript still says what was erased: the same text, or a run of eight and more
  /// of its tokens. Indices after the erase. Nothing is done about them.
  std::vector<Found> repeated;
  std::vector<Mention> mentions;  // outside of those places
  std::optional<VerifyReport> verified;
  std::string note;         // e.g. that a policy was applied again
  double ms = 0;            // the whole erase without verify
  double plan_ms = 0;       // checks and the fork
  double forward_ms = 0;    // forward passes
  double evict_ms = 0;      // applying a policy again
  size_t bytes_before = 0;  // of this session's cache
  size_t bytes_after = 0;
};

struct EraseMethodInfo {
  std::string name;
  Exactness exactness;
  std::string cost;            // "suffix", "span", ...
  std::string description;     // one sentence
  bool needs_adapter = false;  // an eraser trained for the model
  std::vector<Parameter> parameters = {};
};

/// All methods, in the order of their table.
std::vector<EraseMethodInfo> erase_methods();

struct UpgradeOptions {
  int threads = 0;        // of the background work; 0: half the cores
  int block_tokens = 64;  // tokens of a block, between which it can be stopped
};

enum class UpgradeState { none, running, ready, done, cancelled, failed };
std::string_view to_string(UpgradeState state);

struct UpgradeStatus {
  UpgradeState state = UpgradeState::none;
  int tokens_done = 0;            // forwarded, or taken over as they were exact already
  int tokens_total = 0;           // of the transcript
  int tokens_read = 0;            // forwarded in the background
  int tokens_caught_up = 0;       // forwarded on the session's thread at the end
  double ms = 0;                  // from the start to the swap
  double swap_ms = 0;             // on the session's thread
  std::string error;              // why it failed
  std::vector<Mention> mentions;  // of the words of what had been erased; set when done
};

}  // namespace kvedit
