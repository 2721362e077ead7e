// Snapshots of sessions: sections "model", "transcript", "messages", "erased" and "session" beside the
// cache's own.
#include <algorithm>

#include "cache/snapshot.h"
#include "compute/windows.h"
#include "evict/policy.h"
#include "session/state.h"

namespace kvedit {
namespace {

// Flags of a message.
constexpr uint8_t kReply = 1;
constexpr uint8_t kOpen = 2;

void check_transcript(const Transcript& t, bool evicted, const Cache& cache, const Hparams& h) {
  const auto corrupt = [](auto... what) { fail(ErrorCode::corrupt, "snapshot", what...); };
  if (t.tokens.size() != t.positions.size()) {
    corrupt("transcript of ", t.tokens.size(), " tokens and ", t.positions.size(), " positions");
  }
  for (size_t i = 0; i < t.tokens.size(); i++) {
    if (t.tokens[i] < 0 || t.tokens[i] >= h.vocabulary) {
      corrupt("token ", t.tokens[i], " is outside the vocabulary of ", h.vocabulary);
    }
    if (t.positions[i] < 0 || t.positions[i] >= h.context_length ||
        (i > 0 && t.positions[i] <= t.positions[i - 1])) {
      corrupt("position ", t.positions[i], " of token ", i, " is out of order or outside the context of ",
              h.context_length);
    }
  }
  if (t.exact < 0 || t.exact > t.size()) corrupt("an exact prefix of ", t.exact, " of ", t.size(), " tokens");
  if (t.exact > 0 && t.positions[t.exact - 1] != t.exact - 1) {
    corrupt("an exact prefix of ", t.exact, " tokens, the last at position ", t.positions[t.exact - 1]);
  }
  if (!std::is_sorted(t.steered.begin(), t.steered.end())) corrupt("steering states out of order");
  for (size_t i = 0; i < t.messages.size(); i++) {
    const int begin = t.messages[i].begin;
    const bool open = t.messages[i].reply && i + 1 == t.messages.size();  // maybe of no tokens yet
    if (begin < 0 || begin >= t.size() + open || (i > 0 && begin <= t.messages[i - 1].begin)) {
      corrupt("message ", i, " begins at token ", begin, " of ", t.size(), ", or out of order");
    }
  }
  // Transcript and cache agree: entries stand at positions of tokens or of steering states; the last
  // token's is not there yet.
  std::vector<Position> cached(t.positions.begin(), t.positions.end() - (t.positions.empty() ? 0 : 1));
  cached.insert(cached.end(), t.steered.begin(), t.steered.end());
  std::sort(cached.begin(), cached.end());
  const bool twice = std::adjacent_find(cached.begin(), cached.end()) != cached.end();
  const Position end = t.positions.empty() ? 0 : t.positions.back();
  if (twice || (!cached.empty() && (cached.front() < 0 || cached.back() >= end))) {
    corrupt("steering states at positions of tokens, or outside of the transcript");
  }
  if (cache.held_from() > 0 &&
      (h.window == 0 || t.size() == 0 || !window_held(cache, h, t.positions.back() - kWindowReserve))) {
    corrupt("sliding-window layers of ", h.window, " tokens hold positions ", cache.held_from(),
            ".. only, which is less than later queries read");
  }
  for (int layer = 0; layer < cache.layers(); layer++) {
    for (int head = 0; head < cache.kv_heads(); head++) {
      const std::vector<Position> held = cache.lane(layer, head).positions();
      if (!std::includes(cached.begin(), cached.end(), held.begin(), held.end())) {
        corrupt("lane ", layer, "/", head, " holds positions that the transcript does not have");
      }
      // Only eviction takes entries away, and a window what is behind it.
      const bool freed = h.window > 0 && h.sliding[layer] && cache.held_from() > 0;
      if (!evicted && !freed && held.size() != cached.size()) {
        corrupt("lane ", layer, "/", head, " holds ", held.size(), " of ", cached.size(),
                " entries, though nothing was evicted");
      }
    }
  }
}

}  // namespace

void Session::save(const std::string& path) const {
  const InUse use(state_->busy);
  const Content c = state_->settled_fork();
  const Hparams& h = state_->model->network().hparams();
  SnapshotWriter file(path);
  ByteWriter model;
  model.put(state_->model->network().fingerprint());
  model.put_string(h.architecture);
  model.put_string(h.name);
  file.section("model", model.bytes());
  ByteWriter transcript;
  transcript.put(static_cast<uint64_t>(c.transcript.tokens.size()));
  transcript.put_bytes(std::as_bytes(std::span(c.transcript.tokens)));
  transcript.put_bytes(std::as_bytes(std::span(c.transcript.positions)));
  transcript.put(static_cast<uint64_t>(c.transcript.steered.size()));
  transcript.put_bytes(std::as_bytes(std::span(c.transcript.steered)));
  file.section("transcript", transcript.bytes());
  ByteWriter messages;
  messages.put(static_cast<uint64_t>(c.transcript.messages.size()));
  for (const MessageMark& mark : c.transcript.messages) {
    messages.put_string(mark.role);
    messages.put(static_cast<int32_t>(mark.begin));
    messages.put(static_cast<uint8_t>((mark.reply ? kReply : 0) | (mark.open ? kOpen : 0)));
  }
  file.section("messages", messages.bytes());
  ByteWriter waiting;
  waiting.put(static_cast<uint64_t>(c.transcript.waiting.size()));
  for (const Message& message : c.transcript.waiting) {
    waiting.put_string(message.role);
    waiting.put_string(message.content);
  }
  file.section("waiting", waiting.bytes());
  ByteWriter erased;
  erased.put(static_cast<uint64_t>(c.erased.size()));
  for (const std::vector<Token>& text : c.erased) {
    erased.put(static_cast<uint64_t>(text.size()));
    erased.put_bytes(std::as_bytes(std::span(text)));
  }
  file.section("erased", erased.bytes());
  ByteWriter session;
  session.put(static_cast<int32_t>(c.transcript.exact));
  session.put(static_cast<uint8_t>(c.evicted));
  session.put_string(without_files(c.policy));
  session.put(static_cast<uint8_t>(c.budget.kind));
  session.put(c.budget.amount);
  session.put(c.seed);
  file.section("session", session.bytes());
  save_cache(file, c.cache);
  file.commit();
}

Session Session::load(std::shared_ptr<Model> model, const std::string& path, const SessionOptions& options) {
  Session session(std::move(model), options);
  State& state = *session.state_;
  const Network& network = state.model->network();
  const Hparams& h = network.hparams();
  const SnapshotReader file(path);
  ByteReader of_model = file.read("model");
  const auto fingerprint = of_model.get<uint64_t>();
  const std::string architecture = of_model.get_string();
  const std::string name = of_model.get_string();
  if (fingerprint != network.fingerprint()) {
    fail(ErrorCode::unsupported, "snapshot", path, " was made with another model: ", architecture, " '", name,
         "', this is ", h.architecture, " '", h.name, "'");
  }
  Content content{load_cache(file, state.model->page_pool(), h.layers, h.kv_heads, h.ropes)};
  ByteReader transcript = file.read("transcript");
  const auto tokens = transcript.get<uint64_t>();
  content.transcript.tokens = transcript.get_array<Token>(tokens);
  content.transcript.positions = transcript.get_array<Position>(tokens);
  content.transcript.steered = transcript.get_array<Position>(transcript.get<uint64_t>());
  ByteReader messages = file.read("messages");
  for (auto left = messages.get<uint64_t>(); left > 0; left--) {
    MessageMark& mark = content.transcript.messages.emplace_back();
    mark.role = messages.get_string();
    mark.begin = messages.get<int32_t>();
    const auto flags = messages.get<uint8_t>();
    if (flags > (kReply | kOpen)) fail(ErrorCode::corrupt, "snapshot", "message flags ", int{flags});
    mark.reply = (flags & kReply) != 0;
    mark.open = (flags & kOpen) != 0;
  }
  const Tokenizer& tokenizer = state.model->tokenizer();
  Transcript& t = content.transcript;
  if (file.has("waiting")) {
    ByteReader waiting = file.read("waiting");
    for (auto left = waiting.get<uint64_t>(); left > 0; left--) {
      Message& message = t.waiting.emplace_back();
      message.role = waiting.get_string();
      message.content = waiting.get_string();
    }
  } else if (!t.messages.empty() && t.messages[0].begin == 0 && t.size() > 1 &&
             tokenizer.begin_token() == t.tokens[0]) {
    t.messages[0].begin = 1;  // to version 2 the begin token was the first message's
  }
  ByteReader erased = file.read("erased");
  for (auto left = erased.get<uint64_t>(); left > 0; left--) {
    content.erased.push_back(erased.get_array<Token>(erased.get<uint64_t>()));
    for (const Token token : content.erased.back()) {
      if (token < 0 || token >= h.vocabulary) {
        fail(ErrorCode::corrupt, "snapshot", "erased token ", token, " is outside the vocabulary of ",
             h.vocabulary);
      }
    }
  }
  ByteReader rest = file.read("session");
  content.transcript.exact = rest.get<int32_t>();
  content.evicted = rest.get<uint8_t>() != 0;
  try {
    content.policy = without_files(rest.get_string());
  } catch (const Error& error) {
    fail(ErrorCode::corrupt, "snapshot", "the policy it was evicted with: ", error.what());
  }
  const auto kind = rest.get<uint8_t>();
  if (kind > static_cast<uint8_t>(Budget::Kind::bytes))
    fail(ErrorCode::corrupt, "snapshot", "budget kind ", int{kind});
  content.budget.kind = static_cast<Budget::Kind>(kind);
  content.budget.amount = rest.get<double>();
  if (file.has("waiting")) content.seed = rest.get<uint64_t>();  // since version 3
  if (content.evicted) content.transcript.exact = 0;             // 0.1 wrote how long it had been before
  check_transcript(content.transcript, content.evicted, content.cache, h);
  state.check_limit(content);
  state.content = std::move(content);
  state.free_windows();
  state.model->page_pool()->trim();
  return session;
}

}  // namespace kvedit
