// Snapshots of sessions: sections "model", "transcript", "messages", "waiting", "erased", "session" and
// "options" beside the cache's own.
#include "cache/snapshot.h"
#include "evict/policy.h"
#include "session/state.h"

namespace kvedit {
namespace {

// Flags of a message.
constexpr uint8_t kReply = 1;
constexpr uint8_t kOpen = 2;

void read_transcript(const SnapshotReader& file, Context& context) {
  Transcript& t = context.transcript;
  ByteReader transcript = file.read("transcript");
  const auto tokens = transcript.get<uint64_t>();
  t.tokens = transcript.get_array<Token>(tokens);
  t.positions = transcript.get_array<Position>(tokens);
  t.steered = transcript.get_array<Position>(transcript.get<uint64_t>());
  ByteReader messages = file.read("messages");
  for (auto left = messages.get<uint64_t>(); left > 0; left--) {
    MessageMark& mark = t.messages.emplace_back();
    mark.role = messages.get_string();
    mark.begin = messages.get<int32_t>();
    const auto flags = messages.get<uint8_t>();
    if (flags > (kReply | kOpen)) fail(ErrorCode::corrupt, "snapshot", "message flags ", int{flags});
    mark.reply = (flags & kReply) != 0;
    mark.open = (flags & kOpen) != 0;
  }
  if (file.has("waiting")) {
    ByteReader waiting = file.read("waiting");
    for (auto left = waiting.get<uint64_t>(); left > 0; left--) {
      Message& message = t.waiting.emplace_back();
      message.role = waiting.get_string();
      message.content = waiting.get_string();
    }
  } else if (!t.messages.empty() && t.messages[0].begin == 0 && context.begun()) {
    // To version 2 the begin token was the first message's, maybe all of it.
    t.messages[0].begin = 1;
    if (t.message(0).size() <= 0 && !t.messages[0].reply) t.messages.erase(t.messages.begin());
  }
}

void read_erased(const SnapshotReader& file, Context& context) {
  const int vocabulary = context.hparams().vocabulary;
  ByteReader erased = file.read("erased");
  for (auto left = erased.get<uint64_t>(); left > 0; left--) {
    context.erased.push_back(erased.get_array<Token>(erased.get<uint64_t>()));
    for (const Token token : context.erased.back()) {
      if (token < 0 || token >= vocabulary) {
        fail(ErrorCode::corrupt, "snapshot", "erased token ", token, " is outside the vocabulary of ",
             vocabulary);
      }
    }
  }
}

void put_budget(ByteWriter& out, const Budget& budget) {
  out.put(static_cast<uint8_t>(budget.kind));
  out.put(budget.amount);
}

Budget get_budget(ByteReader& in) {
  const auto kind = in.get<uint8_t>();
  if (kind > static_cast<uint8_t>(Budget::Kind::bytes))
    fail(ErrorCode::corrupt, "snapshot", "budget kind ", int{kind});
  return {static_cast<Budget::Kind>(kind), in.get<double>()};
}

// The options and the cap that a session was saved with.
void read_options(const SnapshotReader& file, SessionOptions& options, Cap& cap) {
  if (!file.has("options")) return;  // 0.1
  ByteReader in = file.read("options");
  options.byte_limit = in.get<uint64_t>();
  options.undo_depth = in.get<int32_t>();
  options.verify_rate = in.get<double>();
  const auto swa = in.get<uint8_t>();
  if (swa > static_cast<uint8_t>(SlidingWindow::window) || !(options.verify_rate >= 0))
    fail(ErrorCode::corrupt, "snapshot", "session options that there are not");
  options.swa = static_cast<SlidingWindow>(swa);
  cap.policy = in.get_string();
  cap.budget = get_budget(in);
  cap.options.seed = in.get<uint64_t>();
  in.expect_end();
  if (cap.policy.empty()) return;
  try {
    check_budget(cap.budget);
    cap.policy = without_files(cap.policy);
  } catch (const Error& error) {
    fail(ErrorCode::corrupt, "snapshot", "the cap: ", error.what());
  }
}

void read_rest(const SnapshotReader& file, Context& context) {
  ByteReader rest = file.read("session");
  context.exact = rest.get<int32_t>();
  context.evicted = rest.get<uint8_t>() != 0;
  try {
    context.eviction.policy = without_files(rest.get_string());
  } catch (const Error& error) {
    fail(ErrorCode::corrupt, "snapshot", "the policy it was evicted with: ", error.what());
  }
  context.eviction.budget = get_budget(rest);
  if (file.has("waiting")) context.eviction.seed = rest.get<uint64_t>();  // since version 3
  if (context.evicted) context.exact = 0;  // 0.1 wrote how long it had been before
}

}  // namespace

void Session::State::write(SnapshotWriter& file) {
  const Context c = settled_fork();
  const Hparams& h = c.hparams();
  ByteWriter model;
  model.put(c.network->fingerprint());
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
  session.put(static_cast<int32_t>(c.exact));
  session.put(static_cast<uint8_t>(c.evicted));
  session.put_string(without_files(c.eviction.policy));
  put_budget(session, c.eviction.budget);
  session.put(c.eviction.seed);
  file.section("session", session.bytes());
  ByteWriter chosen;
  chosen.put(static_cast<uint64_t>(options.byte_limit));
  chosen.put(static_cast<int32_t>(options.undo_depth));
  chosen.put(options.verify_rate);
  chosen.put(static_cast<uint8_t>(options.swa));
  chosen.put_string(without_files(cap.policy));
  put_budget(chosen, cap.budget);
  chosen.put(cap.options.seed);
  file.section("options", chosen.bytes());
  save_cache(file, c.cache);
}

void Session::save(const std::string& path, const Cancel& cancel) const {
  const InUse use(*state_);
  const CancelScope scope(cancel);
  SnapshotWriter file(path);
  state_->write(file);
  file.commit();
}

std::vector<std::byte> Session::save_bytes(const Cancel& cancel) const {
  const InUse use(*state_);
  const CancelScope scope(cancel);
  SnapshotWriter file;
  state_->write(file);
  return file.take();
}

Session Session::load(std::shared_ptr<Model> model, const std::string& path) {
  return read(std::move(model), SnapshotReader(path), path, std::nullopt);
}

Session Session::load(std::shared_ptr<Model> model, const std::string& path, const SessionOptions& options,
                      const Cancel& cancel) {
  const CancelScope scope(cancel);
  return read(std::move(model), SnapshotReader(path), path, options);
}

Session Session::load_bytes(std::shared_ptr<Model> model, std::span<const std::byte> bytes) {
  return read(std::move(model), SnapshotReader(bytes), "the snapshot", std::nullopt);
}

Session Session::load_bytes(std::shared_ptr<Model> model, std::span<const std::byte> bytes,
                            const SessionOptions& options, const Cancel& cancel) {
  const CancelScope scope(cancel);
  return read(std::move(model), SnapshotReader(bytes), "the snapshot", options);
}

Session Session::read(std::shared_ptr<Model> model, const SnapshotReader& file, const std::string& path,
                      const std::optional<SessionOptions>& options) {
  SessionOptions chosen;
  Cap cap;
  read_options(file, chosen, cap);
  Session session(std::move(model), options.value_or(chosen));
  State& state = *session.state_;
  const Network& network = state.model->network();
  const Hparams& h = network.hparams();
  ByteReader of_model = file.read("model");
  const auto fingerprint = of_model.get<uint64_t>();
  const std::string architecture = of_model.get_string();
  const std::string name = of_model.get_string();
  if (fingerprint != network.fingerprint()) {
    fail(ErrorCode::unsupported, "snapshot", path, " was made with another model: ", architecture, " '", name,
         "', this is ", h.architecture, " '", h.name, "'");
  }
  Context context = state.model->new_context();
  context.cache = load_cache(file, state.model->page_pool(), h.layers, h.kv_heads, h.ropes);
  read_transcript(file, context);
  read_erased(file, context);
  read_rest(file, context);
  context.check("snapshot");
  state.check_limit(context);
  state.context = std::move(context);
  if (!options) state.cap = cap;
  state.free_windows();
  state.publish();
  state.model->page_pool()->trim();
  return session;
}

}  // namespace kvedit
