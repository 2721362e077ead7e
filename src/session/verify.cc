// Verify: how far an edited cache is from the exact one, on probes. Both caches continue with the same
// texts; their next-token distributions are compared, and how likely the erased text still is.
#include <algorithm>
#include <array>
#include <cmath>

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

// Two caches over one transcript, asked the same.
class Comparison {
 public:
  Comparison(const ModelImpl& model, Engine& engine, const Content& now, const Content& exact)
      : vocabulary_(model.network().hparams().vocabulary),
        limit_(model.network().hparams().context_length),
        engine_(engine),
        now_(now),
        exact_(exact) {}

  /// Continues with `text`; returns its log-likelihood now minus exact.
  double ask(std::span<const Token> text, VerifyReport& report) {
    // The pending token first; the last one's own distribution counts too.
    std::vector<Token> tokens = {now_.transcript.tokens.back()};
    tokens.insert(tokens.end(), text.begin(), text.end());
    const Position room =
        limit_ - std::max(now_.transcript.positions.back(), exact_.transcript.positions.back());
    tokens.resize(std::min(tokens.size(), static_cast<size_t>(room)));
    const std::vector<float> p = look_ahead(exact_, engine_, tokens);
    const std::vector<float> q = look_ahead(now_, engine_, tokens);
    double difference = 0;
    for (size_t i = 0; i < tokens.size(); i++) {
      if (i == 0 && report.distributions > 0) {  // after the transcript: the same for every probe
        if (tokens.size() > 1) difference += row(q, i)[tokens[1]] - row(p, i)[tokens[1]];
        continue;
      }
      const std::vector<double> exact = row(p, i), now = row(q, i);
      double kl = 0;
      for (int v = 0; v < vocabulary_; v++) kl += std::exp(exact[v]) * (exact[v] - now[v]);
      report.mean_kl += kl;  // the sum, until the end
      report.max_kl = std::max(report.max_kl, kl);
      report.same_top += top(exact) == top(now);
      report.distributions++;
      if (i + 1 < tokens.size()) difference += now[tokens[i + 1]] - exact[tokens[i + 1]];
    }
    return difference;
  }

 private:
  std::vector<double> row(const std::vector<float>& all, size_t i) const {
    return log_softmax(std::span(all).subspan(i * vocabulary_, vocabulary_));
  }
  static size_t top(const std::vector<double>& logs) {
    return std::max_element(logs.begin(), logs.end()) - logs.begin();
  }

  int vocabulary_;
  Position limit_;
  Engine& engine_;
  const Content& now_;
  const Content& exact_;
};

}  // namespace

VerifyReport Session::State::verify(const Content& now, const VerifyOptions& verify_options) {
  const Stopwatch watch;
  const Tokenizer& tokenizer = model->tokenizer();
  if (now.transcript.size() == 0) fail(ErrorCode::invalid_argument, "verify", "the session is empty");
  std::vector<std::vector<Token>> probes, erased = now.erased;
  for (const std::string& text : verify_options.probes)
    probes.push_back(tokenizer.encode(text, false, false));
  if (probes.empty()) {
    for (const std::string_view text : kProbes) probes.push_back(tokenizer.encode(text, false, false));
  }
  for (const std::string& text : verify_options.erased)
    erased.push_back(tokenizer.encode(text, false, false));

  VerifyReport report;
  Content exact = now.fork();
  {
    const ModelImpl::Lease engine(*model);
    const EraseOptions erase_options{.progress = verify_options.progress};
    EraseWork work{exact.cache, exact.transcript, {}, erase_options, nullptr, *engine};
    work.free_windows = frees_windows(now);
    rebuild(work, now.evicted ? 0 : now.transcript.exact);
    report.tokens_recomputed = work.tokens_recomputed;
    report.note = work.note;
  }
  if (now.evicted) add_note(report.note, "for comparison, " + evict_again(exact));
  const ModelImpl::Lease engine(*model);
  Comparison comparison(*model, *engine, now, exact);
  report.probes = static_cast<int>(probes.size());
  for (const auto& probe : probes) comparison.ask(probe, report);
  for (const auto& text : erased) {
    report.residual_preference += comparison.ask(text, report);
    report.erased_tokens += static_cast<int>(text.size());
  }
  if (report.erased_tokens > 0) report.residual_preference /= report.erased_tokens;
  report.mean_kl /= report.distributions;
  report.same_top /= report.distributions;
  report.ms = watch.ms();
  return report;
}

VerifyReport Session::verify(const VerifyOptions& options) const {
  const Settled use(*state_);
  return state_->verify(state_->content, options);
}

}  // namespace kvedit
