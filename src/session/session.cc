#include "kvedit/session.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "context/windows.h"
#include "evict/evict.h"
#include "session/conversation.h"
#include "session/inspect.h"
#include "session/state.h"

namespace kvedit {

Session::Session(std::shared_ptr<Model> model, const SessionOptions& options) {
  if (!model) fail(ErrorCode::invalid_argument, "session", "a session needs a model from Model::load");
  state_ = State::make(std::move(model), options);
  state_->last_stats = state_->stats_now();
}

Session::Session(std::shared_ptr<State> state) : state_(std::move(state)) {}
Session::~Session() = default;
Session::Session(Session&& other) noexcept = default;
Session& Session::operator=(Session&& other) noexcept = default;

const Cache& cache_in(const Session& session) {
  const Settled use(*session.state_);
  return session.state_->context.cache;
}

Session Session::fork() const {
  const InUse use(*state_);
  auto state = State::make(*state_, state_->context.fork());
  state->ahead = state_->ahead;
  state->last_stats = state->stats_now();
  return Session(std::move(state));
}

void Session::State::check_limit(const Context& edited) const {
  if (options.byte_limit > 0 && edited.cache.bytes() > options.byte_limit) {
    throw Error(
        ErrorCode::no_memory, "session",
        cat("the cache would hold ", edited.cache.bytes(), " bytes, the limit is ", options.byte_limit),
        MemoryLimit::session);
  }
}

bool Session::State::frees_windows(const Context& c) const {
  return frees_windows() && (!c.evicted || within_windows(make_policy(c.eviction.policy)));
}

void Session::State::free_windows() noexcept {
  if (frees_windows()) context.free_windows();
}

void Session::State::settle() {
  if (ahead.empty()) return;
  const Position last = context.transcript.positions.back();
  context.cache.remove({last, last + 1});
  ahead.clear();
}

Context Session::State::settled_fork() {
  if (ahead.empty()) return context.fork();
  try {
    Context copy = context.fork();
    const Position last = context.transcript.positions.back();
    copy.cache.remove({last, last + 1});
    return copy;
  } catch (const Error&) {  // no page is left for the copy's last entries
    settle();
    return context.fork();
  }
}

void Session::State::append(std::span<const Token> tokens, const Progress& progress) {
  try {
    append(context, tokens, progress);
  } catch (...) {
    publish();  // under a cap some blocks may have been read
    throw;
  }
  publish();
}

void Session::State::append(Context& c, std::span<const Token> tokens, const Progress& progress) {
  if (tokens.empty()) return;
  if (cap.policy.empty()) return append_block(c, tokens, progress);
  c.check_room(tokens.size());
  const size_t block = model->options().block_tokens;
  for (size_t done = 0; done < tokens.size(); done += block) {
    const auto shifted = [&](size_t n, size_t) { return !progress || progress(done + n, tokens.size()); };
    append_block(c, tokens.subspan(done, std::min(block, tokens.size() - done)), shifted);
    hold_cap(c, 0);
  }
}

AppendReport Session::State::append_reported(std::span<const Token> tokens, const Progress& progress) {
  const Stopwatch watch;
  if (tokens.empty()) fail(ErrorCode::invalid_argument, "session", "there is nothing to append: 0 tokens");
  adopt_upgrade();
  const int before = context.transcript.size();
  append(tokens, progress);
  return {{before, context.transcript.size()}, watch.ms()};
}

// Forwards the pending token, if it is not in the cache yet, and all new ones but the last, which is
// pending then.
void Session::State::append_block(Context& c, std::span<const Token> tokens, const Progress& progress) {
  Transcript& t = c.transcript;
  const int vocabulary = model->network().hparams().vocabulary;
  for (const Token token : tokens) {
    if (token < 0 || token >= vocabulary) {
      fail(ErrorCode::out_of_range, "session", "token ", token, " is outside the vocabulary of ", vocabulary);
    }
  }
  c.check_room(tokens.size());
  const int before = t.size();
  const int pending = before > 0 && ahead.empty() ? before - 1 : before;
  std::vector<Position> positions;
  for (size_t i = 0; i < tokens.size(); i++)
    positions.push_back(c.transcript.next_position() + static_cast<Position>(i));
  t.tokens.reserve(t.tokens.size() + tokens.size());
  t.positions.reserve(t.tokens.size() + tokens.size());
  t.tokens.insert(t.tokens.end(), tokens.begin(), tokens.end());
  t.positions.insert(t.positions.end(), positions.begin(), positions.end());
  const Span forwarded{pending, t.size() - 1};
  const auto where = std::span<const Position>(t.positions).subspan(forwarded.begin, forwarded.size());
  const bool freeing = frees_windows();
  const bool several = freeing && forwarded.size() > model->options().block_tokens;
  const Position held = c.cache.held_from();
  std::optional<Cache> untouched;  // windows are freed between blocks
  if (several) untouched = c.cache.fork();
  try {
    if (forwarded.size() > 0) {
      Run run;
      run.cache = &c.cache;
      run.tokens = std::span<const Token>(t.tokens).subspan(forwarded.begin, forwarded.size());
      run.positions = where;
      const ModelImpl::Lease engine(*model);
      read_tokens(*engine, run,
                  {.free_windows = freeing, .progress = progress, .placed = [&] { check_limit(c); }});
    }
  } catch (...) {
    if (untouched) {
      c.cache = std::move(*untouched);
    } else {
      c.cache.rollback(where);
    }
    t.tokens.resize(before);
    t.positions.resize(before);
    throw;
  }
  ahead.clear();
  if (c.exact == before && !c.evicted) c.exact = t.size();
  untouched.reset();
  c.check_edit("append");
  // What a few tokens free, the next few take.
  if (forwarded.size() >= kPageEntries && c.cache.held_from() > held) model->page_pool()->trim();
}

AppendReport Session::append_tokens(std::span<const Token> tokens, const Progress& progress,
                                    const Cancel& cancel) {
  const InUse use(*state_);
  const CancelScope scope(cancel);
  return state_->append_reported(tokens, progress);
}

AppendReport Session::append(std::string_view text, bool special, const Progress& progress,
                             const Cancel& cancel) {
  const InUse use(*state_);
  const CancelScope scope(cancel);
  if (text.empty())
    fail(ErrorCode::invalid_argument, "session", "there is nothing to append: the text is empty");
  const Tokenizer& tokenizer = state_->model->tokenizer();
  const int size = state_->context.transcript.size();
  const TextPart part = {text, special};
  const std::vector<Token> tokens =
      size == 0 ? tokenizer.encode(text, special, true)
                : tokenizer.encode({&part, 1}, state_->context.transcript.behind(size));
  return state_->append_reported(tokens, progress);
}

AppendReport Session::append_messages(std::span<const Message> messages, bool reply, const Progress& progress,
                                      const Cancel& cancel) {
  const InUse use(*state_);
  const CancelScope scope(cancel);
  const Stopwatch watch;
  const Transcript& t = state_->context.transcript;
  if (messages.empty() && !(reply && t.size() > 0))
    fail(ErrorCode::invalid_argument, "session", "there is nothing to append: 0 messages");
  state_->adopt_upgrade();
  const int before = t.size();
  state_->append(continuation(state_->model->tokenizer(), t, messages, reply), progress);
  return {{before, t.size()}, watch.ms()};
}

AppendReport Session::append_open(const Message& message, const Progress& progress, const Cancel& cancel) {
  const InUse use(*state_);
  const CancelScope scope(cancel);
  const Stopwatch watch;
  if (message.content.empty())
    fail(ErrorCode::invalid_argument, "session", "there is nothing to append: the message is empty");
  state_->adopt_upgrade();
  const Transcript& t = state_->context.transcript;
  const int before = t.size();
  const Continuation more = continuation(state_->model->tokenizer(), t, {&message, 1}, false, true);
  if (!more.next.waiting.empty()) {
    fail(ErrorCode::unsupported, "session", "a ", message.role,
         " message cannot stay open: the chat template says it together with the next one");
  }
  state_->append(more, progress);
  state_->context.transcript.messages.back().open = true;
  return {{before, t.size()}, watch.ms()};
}

void Session::State::append(const Continuation& more, const Progress& progress) {
  Transcript& t = context.transcript;
  const Tokenizer& tokenizer = model->tokenizer();
  const int before = t.size();
  std::vector<Token> tokens = more.closing;
  if (before == 0 && tokenizer.begin_token()) tokens.push_back(*tokenizer.begin_token());  // of no message
  std::vector<MessageMark> marks = t.messages;
  if (!marks.empty() && !tokens.empty()) marks.back().open = false;
  for (const MessageText& message : more.next.messages) {
    const int begin = before + static_cast<int>(tokens.size());
    if (!marks.empty() && marks.back().begin == begin) marks.pop_back();  // nothing came of it
    marks.push_back({message.role, begin, message.reply});
    const Token behind = tokens.empty() ? context.transcript.behind(before) : tokens.back();
    const std::vector<Token> of_message = message.encode(tokenizer, behind);
    tokens.insert(tokens.end(), of_message.begin(), of_message.end());
  }
  if (!more.next.messages.empty() || more.goes_on) append(tokens, progress);
  t.messages = std::move(marks);
  t.waiting = more.next.waiting;
}

std::vector<float> Session::logits() {
  const InUse use(*state_);
  state_->adopt_upgrade();
  Context& context = state_->context;
  const Transcript& t = context.transcript;
  if (t.size() == 0)
    fail(ErrorCode::invalid_argument, "session", "an empty session has no next token: append first");
  if (!state_->ahead.empty()) return state_->ahead;
  const auto last = std::span<const Position>(t.positions).last(1);
  context.cache.append(last);
  try {
    state_->check_limit(context);
    const Run run{&context.cache, std::span<const Token>(t.tokens).last(1), last, Logits::last, nullptr};
    const ModelImpl::Lease engine(*state_->model);
    state_->ahead = engine->forward({&run, 1})[0];
  } catch (...) {
    context.cache.rollback(last);
    throw;
  }
  return state_->ahead;
}

std::vector<float> Session::logits_after(std::span<const Token> tokens) const {
  const InUse use(*state_);
  const Context context = state_->settled_fork();
  if (context.transcript.size() == 0)
    fail(ErrorCode::invalid_argument, "session", "an empty session has no next token: append first");
  context.check_room(tokens.size());
  std::vector<Token> all = {context.transcript.tokens.back()};
  all.insert(all.end(), tokens.begin(), tokens.end());
  const ModelImpl::Lease engine(*state_->model);
  return context.look_ahead(*engine, all);
}

// The entry of the pending token that logits() has made ahead is not counted: an edit drops it.
SessionStats Session::State::stats_now() const {
  const Context& c = context;
  const Hparams& h = model->network().hparams();
  SessionStats stats;
  stats.tokens = c.transcript.size();
  stats.context_length = h.context_length;
  stats.next_position = c.transcript.next_position();
  stats.entries = c.cache.entries();
  stats.steered_tokens = static_cast<int>(c.transcript.steered.size());
  stats.full_entries =
      static_cast<size_t>(std::max(0, stats.tokens - 1) + stats.steered_tokens) * h.layers * h.kv_heads;
  stats.bytes = c.cache.bytes();
  stats.shared_bytes = c.cache.shared_bytes();
  for (const Step& step : history)
    stats.pinned_bytes += step.before.cache.bytes() - step.before.cache.shared_bytes();
  for (const Step& step : undone)
    stats.pinned_bytes += step.before.cache.bytes() - step.before.cache.shared_bytes();
  stats.undo_steps = static_cast<int>(history.size());
  stats.redo_steps = static_cast<int>(undone.size());
  stats.cap_policy = cap.policy;
  stats.cap_evictions = cap.evictions;
  stats.cap_ms = cap.ms;
  stats.exact_tokens = c.exact;
  stats.held_from = c.cache.held_from();
  stats.evicted = c.evicted;
  stats.policy = c.eviction.policy;
  if (ahead.empty()) return stats;
  stats.entries -= static_cast<size_t>(h.layers) * h.kv_heads;
  for (int i = 0; i < h.layers * h.kv_heads; i++) {
    if (c.cache.lane(i / h.kv_heads, i % h.kv_heads).pages().back()->count == 1)
      stats.bytes -= c.cache.pool()->page_bytes();
  }
  return stats;
}

SessionStats Session::stats() const {
  SessionStats stats;
  int use = State::kFree;
  while (!state_->use.compare_exchange_weak(use, State::kLook, std::memory_order_acquire)) {
    if (use == State::kCall) break;
    use = State::kFree;
  }
  if (use == State::kCall) {
    const std::scoped_lock lock(state_->seen);
    stats = state_->last_stats;
    stats.busy = true;
  } else {
    stats = state_->stats_now();
    state_->use.store(State::kFree, std::memory_order_release);
  }
  stats.pool = state_->handle->pool();
  return stats;
}

void Session::set_byte_limit(size_t bytes) {
  const InUse use(*state_);
  const size_t before = std::exchange(state_->options.byte_limit, bytes);
  try {
    state_->check_limit(state_->context);
  } catch (...) {
    state_->options.byte_limit = before;
    throw;
  }
}

// A page may be this session's several times over, by its history; another's hold on it is what remains.
size_t Session::exclusive_bytes() const {
  const InUse use(*state_);
  std::unordered_map<const Page*, int> own;
  const auto count = [&own](const Cache& cache) {
    for (int layer = 0; layer < cache.layers(); layer++) {
      for (int head = 0; head < cache.kv_heads(); head++) {
        for (const PageRef& page : cache.lane(layer, head).pages()) own[&*page]++;
      }
    }
  };
  count(state_->context.cache);
  for (const State::Step& step : state_->history) count(step.before.cache);
  for (const State::Step& step : state_->undone) count(step.before.cache);
  const auto alone = std::count_if(own.begin(), own.end(), [](const auto& page) {
    return page.first->references.load(std::memory_order_acquire) == page.second;
  });
  return static_cast<size_t>(alone) * state_->model->page_pool()->page_bytes();
}

std::shared_ptr<Model> Session::model() const { return state_->handle; }

std::vector<Token> Session::tokens() const {
  const InUse use(*state_);
  return state_->context.transcript.tokens;
}

std::vector<Position> Session::positions() const {
  const InUse use(*state_);
  return state_->context.transcript.positions;
}

std::string Session::text() const {
  const InUse use(*state_);
  return state_->model->tokenizer().decode(state_->context.transcript.tokens);
}

}  // namespace kvedit
