// Verify: how far an edited cache is from the exact one, on probes. Both caches continue with the same
// texts; their next-token distributions are compared, and how likely the erased text still is.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "model/utf8.h"
#include "session/mentions.h"
#include "session/state.h"

namespace kvedit {
namespace {

// The automatic set: ways to go on from any text, that make the model look back.
constexpr std::array<std::string_view, 4> kProbes = {
    "\n\nQuestion: What does the text above say?\nAnswer: It says that",
    "\n\nIn short,",
    " To repeat the most important number, name and date:",
    "\n\nThe first thing to remember is",
};

std::vector<double> log_softmax(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - top);
  std::vector<double> logs(logits.begin(), logits.end());
  for (double& x : logs) x -= top + std::log(sum);
  return logs;
}

// The most memory that logits take at a time, for each of the two caches.
constexpr size_t kLogitBytes = 16 << 20;
constexpr size_t kMostRows = 64;

// A fork of one cache that goes on with a text, block by block.
class Continuing {
 public:
  Continuing(const Context& context, Engine& engine)
      : cache_(context.cache.fork()), next_(context.transcript.positions.back()), engine_(engine) {}

  /// Next-token distributions after each token of the block, [tokens][vocabulary].
  std::vector<float> read(std::span<const Token> block, const Progress& progress) {
    std::vector<Position> positions(block.size());
    std::iota(positions.begin(), positions.end(), next_);
    next_ += static_cast<Position>(block.size());
    cache_.append(positions);
    const Run run{&cache_, block, positions, Logits::all};
    return std::move(engine_.forward({&run, 1}, progress)[0]);
  }

 private:
  Cache cache_;
  Position next_;
  Engine& engine_;
};

// Two caches over one transcript, asked the same.
class Comparison {
 public:
  Comparison(const ModelImpl& model, Engine& engine, const Context& now, const Context& exact,
             const Progress& progress)
      : vocabulary_(model.network().hparams().vocabulary),
        limit_(model.network().hparams().context_length),
        engine_(engine),
        now_(now),
        exact_(exact),
        progress_(progress) {}

  struct Answer {
    double difference = 0;  // of the text's log-likelihood, now minus exact
    int tokens = 0;         // of it that the context has room for
  };

  /// Continues with `text`.
  Answer ask(std::span<const Token> text, VerifyReport& report) {
    // The pending token first; the last one's own distribution counts too.
    std::vector<Token> tokens = {now_.transcript.tokens.back()};
    tokens.insert(tokens.end(), text.begin(), text.end());
    const Position room =
        limit_ - std::max(now_.transcript.positions.back(), exact_.transcript.positions.back());
    tokens.resize(std::min(tokens.size(), static_cast<size_t>(room)));
    Answer answer;
    answer.tokens = static_cast<int>(tokens.size()) - 1;
    Continuing exact(exact_, engine_), now(now_, engine_);
    const size_t block = std::clamp<size_t>(kLogitBytes / (vocabulary_ * sizeof(float)), 1, kMostRows);
    for (size_t first = 0; first < tokens.size(); first += block) {
      const auto part = std::span<const Token>(tokens).subspan(first, std::min(block, tokens.size() - first));
      const std::vector<float> p = exact.read(part, progress_), q = now.read(part, progress_);
      for (size_t i = 0; i < part.size(); i++) {
        const size_t at = first + i;
        const std::vector<double> then = row(p, i), today = row(q, i);
        if (at + 1 < tokens.size()) answer.difference += today[tokens[at + 1]] - then[tokens[at + 1]];
        // After the transcript: the same for every text.
        if (at > 0 || report.distributions == 0) count(then, today, report);
      }
    }
    return answer;
  }

 private:
  void count(const std::vector<double>& exact, const std::vector<double>& now, VerifyReport& report) const {
    double kl = 0;
    for (int v = 0; v < vocabulary_; v++) kl += std::exp(exact[v]) * (exact[v] - now[v]);
    report.mean_kl += kl;  // the sum, until the end
    report.max_kl = std::max(report.max_kl, kl);
    report.same_top += top(exact) == top(now);
    report.distributions++;
  }
  std::vector<double> row(const std::vector<float>& all, size_t i) const {
    return log_softmax(std::span(all).subspan(i * vocabulary_, vocabulary_));
  }
  static size_t top(const std::vector<double>& logs) {
    return std::max_element(logs.begin(), logs.end()) - logs.begin();
  }

  int vocabulary_;
  Position limit_;
  Engine& engine_;
  const Context& now_;
  const Context& exact_;
  const Progress& progress_;
};

}  // namespace

VerifyReport Session::State::verify(const Context& now, const VerifyOptions& verify_options) {
  const Stopwatch watch;
  const Tokenizer& tokenizer = model->tokenizer();
  if (now.transcript.size() == 0) fail(ErrorCode::invalid_argument, "verify", "the session is empty");
  std::vector<std::vector<Token>> probes, erased = now.erased;
  const auto going_on = [&](std::string_view text) {
    const TextPart part = {text};
    return tokenizer.encode({&part, 1}, now.transcript.tokens.back());
  };
  for (const std::string& text : verify_options.probes) probes.push_back(going_on(text));
  if (probes.empty()) {
    for (const std::string_view text : kProbes) probes.push_back(going_on(text));
  }
  for (const std::string& text : verify_options.erased) erased.push_back(going_on(whole_characters(text)));

  VerifyReport report;
  Context exact = [&] {
    const ModelImpl::Lease engine(*model);
    Edit edit(now.fork(), *engine, {"verify", frees_windows(now), verify_options.progress});
    edit.rebuild(now.exact);
    report.tokens_recomputed = edit.tokens_forwarded();
    report.note = edit.note();
    return std::move(edit).finish();
  }();
  if (now.evicted) add_note(report.note, "for comparison, " + evict_again(exact, verify_options.progress));
  const ModelImpl::Lease engine(*model);
  Comparison comparison(*model, *engine, now, exact, verify_options.progress);
  report.probes = static_cast<int>(probes.size());
  size_t asked = 0, measured = 0;
  for (const auto& probe : probes) {
    asked += probe.size();
    measured += comparison.ask(probe, report).tokens;
  }
  for (const auto& text : erased) {
    const Comparison::Answer answer = comparison.ask(text, report);
    report.residual_preference += answer.difference;
    report.erased_tokens += answer.tokens;
    asked += text.size();
    measured += answer.tokens;
  }
  if (measured < asked) {
    add_note(report.note, cat("the context has room for ", measured, " of the ", asked,
                              " tokens to ask for; upgrade frees positions that edits left unused"));
  }
  if (report.erased_tokens > 0) report.residual_preference /= report.erased_tokens;
  report.mentions = mentions(tokenizer, {tokenizer, now.transcript.tokens}, erased);
  report.mean_kl /= report.distributions;
  report.same_top /= report.distributions;
  report.ms = watch.ms();
  return report;
}

VerifyReport Session::verify(const VerifyOptions& options) const {
  const InUse use(*state_);
  const CancelScope scope(options.cancel);
  return state_->verify(state_->settled_fork(), options);
}

}  // namespace kvedit
