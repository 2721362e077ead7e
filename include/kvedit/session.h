// A session: a transcript of tokens and the KV cache that goes with it, which never disagree.
//
// Contract. A session is used by one thread at a time; a second caller gets Error(busy), but for stats() and
// upgrade_status(), which always answer. Callbacks run inside the call and may ask their session for these
// two, nothing else. Different sessions of one model may be used by different threads. Every call either does
// all it says or throws Error and leaves transcript, cache and bytes exactly as they were; the exceptions are
// generate(), which throws nothing once it has made a token but says why it stopped, and reading under a cap
// (set_cap), which keeps the blocks that were read.
//
// The last token of the transcript is pending: it is forwarded when logits are wanted, so that no
// edit reuses stale logits. Transcript indices count tokens now present; positions are what the
// model was told, and differ after an edit that leaves a gap.
#pragma once

#include <cstddef>
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
#include "kvedit/generate.h"
#include "kvedit/model.h"
#include "kvedit/sync.h"
#include "kvedit/types.h"
#include "kvedit/view.h"
#include "kvedit/work.h"

namespace kvedit {

/// Entries of sliding-window layers that no later query can reach: kept for edits (full), or freed as the
/// text grows (window). Results are the same. An edit that would need what is freed recomputes from the
/// text's start, or throws Error(unsupported) and changes nothing: see docs/design.md.
enum class SlidingWindow { full, window };

struct SessionOptions {
  size_t byte_limit = 0;   // of this session's cache, pages shared with forks counted in full; 0: none.
                           // Passing it is Error(no_memory).
  int undo_depth = 8;      // edits that undo() can take back
  double verify_rate = 0;  // share of the erases that are verified without being asked to
  SlidingWindow swa = SlidingWindow::full;
};

struct AppendReport {
  Span tokens;  // transcript indices of the appended tokens
  double ms = 0;
};

/// A message of the conversation as it stands in the transcript, its markers included. Text appended
/// outside of messages counts to the one before it.
struct MessageSpan {
  std::string role;
  Span tokens;
  std::string text;
};

struct UndoReport {
  std::string what;        // "erase (shift)", ...
  int tokens_dropped = 0;  // appended since that edit, gone with it
  int tokens_restored = 0;
};

struct RedoReport {
  std::string what;
  int tokens = 0;  // of the transcript now
};

struct TruncateReport {
  int tokens_dropped = 0;
  size_t bytes_before = 0;  // of this session's cache
  size_t bytes_after = 0;
  double ms = 0;
};

struct SessionStats {
  bool busy = false;       // another call is at work: these are of its begin, the tokens made since counted
  int tokens = 0;          // in the transcript, the pending one included
  int context_length = 0;  // the model's
  Position next_position = 0;  // the next token's
  size_t entries = 0;          // in the cache, over all lanes
  size_t full_entries = 0;     // of an unevicted cache of this transcript, steering states included
  size_t bytes = 0;            // of this cache's pages
  size_t pinned_bytes = 0;     // of undo history, beyond this cache
  size_t shared_bytes = 0;     // of this cache's pages, also held by forks or undo history
  int undo_steps = 0;
  int redo_steps = 0;
  bool evicted = false;
  std::string policy;      // last applied, or empty
  std::string cap_policy;  // empty: no cap
  int cap_evictions = 0;   // since it was set
  double cap_ms = 0;       // spent on them
  int exact_tokens = 0;    // of the transcript's beginning, with the entries of a fresh prefill
  int steered_tokens = 0;  // steering states, which stand for erased ones
  Position held_from = 0;  // sliding-window layers hold positions from here on; 0: all
  PoolStats pool;
};

struct FindOptions {
  /// Finds text whatever its case, white space, forms of quotation marks and dashes, and Unicode form.
  bool loose = false;
};

class Session {
 public:
  explicit Session(std::shared_ptr<Model> model, const SessionOptions& options = {});
  ~Session();
  Session(Session&& other) noexcept;
  Session& operator=(Session&& other) noexcept;

  /// Copies the session in O(pages): pages are shared until one side writes. Undo history stays with the
  /// parent; a cap is inherited.
  Session fork() const;

  /// Appends text (the model's begin token first, when it is the first text of all); special: control
  /// tokens are recognised. Throws Error(invalid_argument) for text that is empty, not UTF-8 or binary,
  /// Error(context_full), Error(no_memory), Error(cancelled).
  AppendReport append(std::string_view text, bool special = false, const Progress& progress = {},
                      const Cancel& cancel = {});
  AppendReport append_tokens(std::span<const Token> tokens, const Progress& progress = {},
                             const Cancel& cancel = {});
  /// Appends messages in the model's chat format; reply: with the opening of the assistant's turn,
  /// which may come without messages.
  AppendReport append_messages(std::span<const Message> messages, bool reply, const Progress& progress = {},
                               const Cancel& cancel = {});
  /// Appends a message whose turn stays open, as a document that questions will follow: the next message of
  /// the same role goes on in it, behind an empty line; any other one closes it.
  AppendReport append_open(const Message& message, const Progress& progress = {}, const Cancel& cancel = {});

  /// Returns the logits of the next token, [vocabulary]. Throws Error(invalid_argument) on an empty session.
  std::vector<float> logits();
  /// Returns the logits of the next token and after each of `tokens` too, as if they were appended, in one
  /// pass: [1 + tokens][vocabulary]. Nothing changes. Throws Error(invalid_argument) on an empty session,
  /// Error(context_full).
  std::vector<float> logits_after(std::span<const Token> tokens) const;
  /// Continues the transcript; the tokens made are appended to it, the end token too.
  Generation generate(const GenerateOptions& options = {});

  /// Finds every occurrence of `text` in the transcript, by the tokens' byte ranges, in order.
  std::vector<Found> find(std::string_view text, const FindOptions& options = {}) const;
  /// Finds the one occurrence, or the nth (from 1). Throws Error(not_found) naming the nearest place,
  /// Error(ambiguous) naming all places.
  Found find_one(std::string_view text, int nth = 0, const FindOptions& options = {}) const;
  /// Finds the place most like a text that may not be there, and how it differs; nothing where less than two
  /// thirds of it are alike.
  std::optional<Found> find_nearest(std::string_view text) const;

  /// Lists the messages that append_messages, generate and sync have made.
  std::vector<MessageSpan> messages() const;
  /// Finds the index-th message of a role (any, if it is empty), from 1; from the end if negative. Throws
  /// Error(not_found) saying how many there are.
  MessageSpan message(std::string_view role, int index) const;

  /// Erases spans of the transcript (indices) in one transaction. Throws Error(out_of_range,
  /// invalid_argument: empty, overlapping, all of the text, no adapter for steer), Error(not_found) for the
  /// method.
  EraseReport erase(std::span<const Span> spans, const EraseOptions& options = {});
  EraseReport erase(Span span, const EraseOptions& options = {}) { return erase({&span, 1}, options); }
  /// Erases every place where the text stands; a place that begins or ends inside a token goes with the whole
  /// token. Throws Error(not_found) naming the nearest place.
  EraseReport erase_text(std::string_view text, const EraseOptions& options = {},
                         const FindOptions& find = {});
  /// Erases a message, chosen as message() does.
  EraseReport erase_message(std::string_view role, int index, const EraseOptions& options = {});
  /// Tells what erase() would report, but for times: how much it would forward, how exact the result would
  /// be, what the text would still say. Throws what it would throw. Nothing changes and nothing is forwarded.
  EraseReport plan(std::span<const Span> spans, const EraseOptions& options = {}) const;
  /// Keeps the first `tokens` tokens, at least one. What is left is as it was: exact where it was exact.
  /// Throws Error(out_of_range); Error(unsupported) where sliding windows no longer hold what the text reads
  /// next.
  TruncateReport truncate(int tokens);

  /// Measures the traces that approximate and learned erases left, against an exact cache. Nothing changes.
  VerifyReport verify(const VerifyOptions& options = {}) const;

  /// Makes the cache exact in the background, on a thread of its own, while this session goes on: tokens
  /// appended meanwhile are read too. A later call of append, generate or logits swaps the exact cache in
  /// once it is ready; its positions have no gaps. An edit meanwhile is followed. One at a time: starting
  /// again starts over.
  void upgrade(const UpgradeOptions& options = {});
  UpgradeStatus upgrade_status() const;  // never busy
  /// Waits for the exact cache and swaps it in. Throws the Error that made it fail, Error(not_found) when
  /// none was started. progress: of its tokens; return false to go on without.
  UpgradeStatus finish_upgrade(const Progress& progress = {});
  /// Stops the upgrade; the session stays as it is.
  void cancel_upgrade();

  /// Makes the transcript the conversation `messages`, keeping of the cache all that the method allows.
  /// Throws Error(invalid_argument) for no messages, Error(context_full), and as erase() for the method.
  SyncReport sync(std::span<const Message> messages, const SyncOptions& options = {});

  /// Evicts entries of the cache, per head, and frees their memory. Throws Error(not_found) for the
  /// policy, Error(out_of_range) for a budget below what is always kept.
  EvictReport evict(std::string_view policy, const Budget& budget, const EvictOptions& options = {});

  /// Holds the cache at a budget from now on: tokens a lane, bytes, or a fraction of the whole transcript.
  /// While a text is read it is evicted after every block, so that memory never passes the cap and one
  /// block; while generating it is evicted an eighth (64 entries at least) below the cap each time it
  /// passes it. Blocks read before a call fails stay read, and undo history goes, as an eviction
  /// cannot be taken back. Throws like evict().
  void set_cap(std::string_view policy, const Budget& budget, const EvictOptions& options = {});
  void clear_cap();

  /// Takes back the last edit, and with it everything appended since. Throws Error(not_found) when
  /// there is none.
  UndoReport undo();
  /// Takes back the last undo, if nothing has changed since. Throws Error(not_found) when there is none.
  RedoReport redo();
  /// Forgets what undo and redo hold, freeing the pages they pin.
  void forget_history();

  /// Writes a snapshot: complete at `path`, or nothing. Format: docs/formats.md.
  void save(const std::string& path, const Cancel& cancel = {}) const;
  /// Reads a snapshot, with the options and the cap that it was saved with. Throws Error(corrupt),
  /// Error(unsupported) for a snapshot of another model or cache type.
  static Session load(std::shared_ptr<Model> model, const std::string& path);
  /// The same with other options, and without a cap.
  static Session load(std::shared_ptr<Model> model, const std::string& path, const SessionOptions& options,
                      const Cancel& cancel = {});
  /// The same in memory: what save() would write, and load() would read.
  std::vector<std::byte> save_bytes(const Cancel& cancel = {}) const;
  static Session load_bytes(std::shared_ptr<Model> model, std::span<const std::byte> bytes);
  static Session load_bytes(std::shared_ptr<Model> model, std::span<const std::byte> bytes,
                            const SessionOptions& options, const Cancel& cancel = {});

  /// The calls above as work that advances in steps, by itself or in a Batch. What they are given is copied.
  Task<AppendReport> start_append(std::string text, bool special = false, Cancel cancel = {}) const;
  Task<AppendReport> start_append_tokens(std::vector<Token> tokens, Cancel cancel = {}) const;
  Task<AppendReport> start_append_messages(std::vector<Message> messages, bool reply,
                                           Cancel cancel = {}) const;
  Task<AppendReport> start_append_open(Message message, Cancel cancel = {}) const;
  Task<Generation> start_generate(GenerateOptions options = {}) const;
  Task<EraseReport> start_erase(std::vector<Span> spans, EraseOptions options = {}) const;
  Task<VerifyReport> start_verify(VerifyOptions options = {}) const;
  Task<SyncReport> start_sync(std::vector<Message> messages, SyncOptions options = {}) const;
  Task<EvictReport> start_evict(std::string policy, Budget budget, EvictOptions options = {}) const;
  /// upgrade() without a thread: the exact cache is read in the work's steps, while the session is free for
  /// other calls, one of which swaps it in. Ends when less than a block is missing. cancel_upgrade() and
  /// another upgrade end it with Error(cancelled).
  Task<UpgradeStatus> start_upgrade(UpgradeOptions options = {}) const;

  /// Changes SessionOptions::byte_limit. Throws Error(no_memory) where the cache passes it already.
  void set_byte_limit(size_t bytes);
  /// Counts what freeing this session gives back to the pool: pages that only its cache and its history hold.
  size_t exclusive_bytes() const;
  /// Never busy: see SessionStats::busy.
  SessionStats stats() const;
  /// Looks at the cache as it is now.
  CacheView view() const;
  /// Tells of each token how it stands in the cache.
  std::vector<TokenState> token_states() const;
  std::shared_ptr<Model> model() const;
  std::vector<Token> tokens() const;
  std::vector<Position> positions() const;
  std::string text() const;

 private:
  struct State;
  friend const class Cache& cache_in(const Session& session);  // src/session/inspect.h
  explicit Session(std::shared_ptr<State> state);
  static Session read(std::shared_ptr<Model> model, const class SnapshotReader& file, const std::string& name,
                      const std::optional<SessionOptions>& options);
  template <typename Report, typename Call>
  Task<Report> start(Call call) const;
  std::shared_ptr<State> state_;  // work in steps holds it too
};

}  // namespace kvedit
