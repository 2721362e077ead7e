// Snapshots of sessions: sections "model", "transcript" and "session" beside the cache's own.
#include <algorithm>

#include "cache/snapshot.h"
#include "session/state.h"

namespace kvedit {
namespace {

void check_transcript(const Transcript& t, const Cache& cache, const Hparams& h) {
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
  // Transcript and cache agree: entries stand at positions of tokens, the last token's is not there yet.
  const std::span<const Position> cached(t.positions.data(),
                                         t.positions.empty() ? 0 : t.positions.size() - 1);
  for (int layer = 0; layer < cache.layers(); layer++) {
    for (int head = 0; head < cache.kv_heads(); head++) {
      const std::vector<Position> held = cache.lane(layer, head).positions();
      if (!std::includes(cached.begin(), cached.end(), held.begin(), held.end())) {
        corrupt("lane ", layer, "/", head, " holds positions that the transcript does not have");
      }
    }
  }
}

}  // namespace

void Session::save(const std::string& path) const {
  const Settled use(*state_);
  const Content& c = state_->content;
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
  file.section("transcript", transcript.bytes());
  ByteWriter session;
  session.put(static_cast<int32_t>(c.transcript.exact));
  session.put(static_cast<uint8_t>(c.evicted));
  session.put_string(c.policy);
  session.put(static_cast<uint8_t>(c.budget.kind));
  session.put(c.budget.amount);
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
  ByteReader rest = file.read("session");
  content.transcript.exact = rest.get<int32_t>();
  content.evicted = rest.get<uint8_t>() != 0;
  content.policy = rest.get_string();
  const auto kind = rest.get<uint8_t>();
  if (kind > static_cast<uint8_t>(Budget::Kind::bytes))
    fail(ErrorCode::corrupt, "snapshot", "budget kind ", int{kind});
  content.budget.kind = static_cast<Budget::Kind>(kind);
  content.budget.amount = rest.get<double>();
  check_transcript(content.transcript, content.cache, h);
  state.check_limit(content);
  state.content = std::move(content);
  return session;
}

}  // namespace kvedit
