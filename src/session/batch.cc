// A batch: the next tokens of many works in one block.
#include <algorithm>
#include <vector>

#include "session/state.h"
#include "session/work_state.h"

namespace kvedit {
namespace {

constexpr size_t kFewTokens = 8;  // up to here a forwarding takes part as a whole, whatever the others want

}  // namespace

struct Batch::State {
  struct Member {
    std::weak_ptr<Work::State> work;
    Priority priority = Priority::normal;
  };
  using Works = std::vector<std::shared_ptr<Work::State>>;

  std::shared_ptr<Model> handle;
  std::shared_ptr<ModelImpl> model;
  BatchOptions options;
  std::vector<Member> members;  // each step begins with another one
  BatchStep last;

  /// Drops members that are done or destroyed, and lets the others go on until they want tokens forwarded.
  void gather();
  Works of(Priority priority) const;
  /// Gives works a share of the block, in their order; returns the tokens that are left.
  size_t share(const Works& works, size_t room, std::vector<Engine::Share>& shares, Works& sharing) const;
  void forward(std::span<const Engine::Share> shares, const Works& sharing);
};

Batch::Batch(std::shared_ptr<Model> model, const BatchOptions& options) : state_(std::make_unique<State>()) {
  if (!model) fail(ErrorCode::invalid_argument, "batch", "a batch needs a model from Model::load");
  if (options.block_tokens < 1 || options.block_tokens > kMaxBlockTokens) {
    fail(ErrorCode::out_of_range, "batch", "blocks of ", options.block_tokens, " tokens; 1 to ",
         kMaxBlockTokens);
  }
  state_->model = implementation(*model);
  state_->handle = std::move(model);
  state_->options = options;
}

Batch::~Batch() {
  if (!state_) return;
  for (const State::Member& member : state_->members) {
    if (const auto work = member.work.lock()) work->in_batch = false;
  }
}
Batch::Batch(Batch&&) noexcept = default;
Batch& Batch::operator=(Batch&&) noexcept = default;

void Batch::add(const Work& work, Priority priority) {
  if (work.state_->model != state_->model)
    fail(ErrorCode::invalid_argument, "batch", "the work is on a session of another model");
  if (work.state_->in_batch) fail(ErrorCode::invalid_argument, "batch", "the work takes part already");
  state_->members.push_back({work.state_, priority});
  work.state_->in_batch = true;
}

const BatchStep& Batch::last() const { return state_->last; }

void Batch::State::gather() {
  std::erase_if(members, [](const Member& member) {
    const auto work = member.work.lock();
    if (work && !work->done() && !work->waiting) work->advance();
    return !work || work->done();
  });
  if (!members.empty()) std::rotate(members.begin(), members.begin() + 1, members.end());
}

Batch::State::Works Batch::State::of(Priority priority) const {
  Works works;
  for (const Member& member : members) {
    if (member.priority != priority) continue;
    if (auto work = member.work.lock(); work && work->waiting) works.push_back(std::move(work));
  }
  return works;
}

size_t Batch::State::share(const Works& works, size_t room, std::vector<Engine::Share>& shares,
                           Works& sharing) const {
  const auto give = [&](const std::shared_ptr<Work::State>& work, size_t tokens) {
    if (tokens == 0) return;
    shares.push_back({work->waiting, tokens});
    sharing.push_back(work);
    room -= tokens;
  };
  Works many;
  for (const auto& work : works) {
    const size_t left = work->waiting->left();
    if (left > std::min<size_t>(kFewTokens, options.block_tokens)) {
      many.push_back(work);
    } else if (left <= room) {
      give(work, left);
    }
  }
  // The shortest first, so that what they do not need goes to the others.
  std::stable_sort(many.begin(), many.end(),
                   [](const auto& a, const auto& b) { return a->waiting->left() < b->waiting->left(); });
  for (size_t i = 0; i < many.size(); i++) {
    const size_t fair = (room + many.size() - i - 1) / (many.size() - i);
    give(many[i], std::min(many[i]->waiting->left(), fair));
  }
  return room;
}

void Batch::State::forward(std::span<const Engine::Share> shares, const Works& sharing) {
  std::vector<const CancelScope*> scopes = {CancelScope::current()};
  bool records = false;
  for (const auto& work : sharing) {
    scopes.push_back(work->cancel);
    records |= work->waiting->records();
  }
  try {
    const ModelImpl::Lease engine(*model);
    engine->forward_block(shares, records ? std::span<const CancelScope*>() : scopes);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::cancelled) {
      CancelScope::current()->check("batch");
      // Only whose scope was requested ends; the others' tokens are forwarded by the next step.
      for (const auto& work : sharing) {
        if (work->cancel && work->cancel->requested()) work->advance();
      }
      return;
    }
    for (const auto& work : sharing) work->failed = std::current_exception();
  }
  for (const auto& work : sharing) work->advance();
}

bool Batch::step(const Cancel& cancel) {
  const CancelScope scope(cancel);
  const Stopwatch watch;
  State& batch = *state_;
  batch.gather();
  std::vector<Engine::Share> shares;
  State::Works sharing;
  const size_t room = batch.share(batch.of(Priority::normal), batch.options.block_tokens, shares, sharing);
  batch.share(batch.of(Priority::background), room, shares, sharing);
  if (!shares.empty()) batch.forward(shares, sharing);
  batch.last = {static_cast<int>(sharing.size()), 0, 0};
  for (const Engine::Share& share : shares) batch.last.tokens += static_cast<int>(share.tokens);
  batch.last.ms = watch.ms();
  return std::any_of(batch.members.begin(), batch.members.end(), [](const State::Member& member) {
    const auto work = member.work.lock();
    return work && !work->done();
  });
}

}  // namespace kvedit
