// The calls of a session as work in steps: each is the blocking call, on a coroutine.
#include "session/state.h"
#include "session/work_state.h"

namespace kvedit {

template <typename Report, typename Call>
Task<Report> Session::start(Call call) const {
  auto report = std::make_shared<std::optional<Report>>();
  auto work = std::make_shared<Work::State>(
      state_->model, [session = std::make_shared<Session>(Session(state_)), report, call = std::move(call)] {
        report->emplace(call(*session));
      });
  return {Work(std::move(work)), std::move(report)};
}

Task<AppendReport> Session::start_append(std::string text, bool special, Cancel cancel) const {
  return start<AppendReport>([text = std::move(text), special, cancel = std::move(cancel)](Session& session) {
    return session.append(text, special, {}, cancel);
  });
}

Task<AppendReport> Session::start_append_tokens(std::vector<Token> tokens, Cancel cancel) const {
  return start<AppendReport>([tokens = std::move(tokens), cancel = std::move(cancel)](Session& session) {
    return session.append_tokens(tokens, {}, cancel);
  });
}

Task<AppendReport> Session::start_append_messages(std::vector<Message> messages, bool reply,
                                                  Cancel cancel) const {
  return start<AppendReport>(
      [messages = std::move(messages), reply, cancel = std::move(cancel)](Session& session) {
        return session.append_messages(messages, reply, {}, cancel);
      });
}

Task<AppendReport> Session::start_append_open(Message message, Cancel cancel) const {
  return start<AppendReport>([message = std::move(message), cancel = std::move(cancel)](Session& session) {
    return session.append_open(message, {}, cancel);
  });
}

Task<Generation> Session::start_generate(GenerateOptions options) const {
  return start<Generation>(
      [options = std::move(options)](Session& session) { return session.generate(options); });
}

Task<EraseReport> Session::start_erase(std::vector<Span> spans, EraseOptions options) const {
  return start<EraseReport>([spans = std::move(spans), options = std::move(options)](Session& session) {
    return session.erase(spans, options);
  });
}

Task<VerifyReport> Session::start_verify(VerifyOptions options) const {
  return start<VerifyReport>(
      [options = std::move(options)](Session& session) { return session.verify(options); });
}

Task<SyncReport> Session::start_sync(std::vector<Message> messages, SyncOptions options) const {
  return start<SyncReport>([messages = std::move(messages), options = std::move(options)](Session& session) {
    return session.sync(messages, options);
  });
}

Task<EvictReport> Session::start_evict(std::string policy, Budget budget, EvictOptions options) const {
  return start<EvictReport>([policy = std::move(policy), budget, options = std::move(options)](
                                Session& session) { return session.evict(policy, budget, options); });
}

Task<UpgradeStatus> Session::start_upgrade(UpgradeOptions options) const {
  return start<UpgradeStatus>([options](Session& session) {
    const std::shared_ptr<ModelImpl> model = session.state_->model;
    const std::shared_ptr<BackgroundPrefill> exact = [&] {
      const Settled use(*session.state_);
      return session.state_->begin_upgrade(options, false);
    }();
    const ModelImpl::Lease engine(*model);
    exact->read(*engine);
    return exact->status();
  });
}

}  // namespace kvedit
