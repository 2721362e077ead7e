#include "eval/loaded_example.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "tools/stopwatch.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace {

constexpr SessionOptions kNoHistory = {.undo_depth = 0};  // nobody undoes here

Session with(const Session& session, const std::vector<Token>& tokens, const Progress& progress) {
  Session longer = session.fork();
  if (!tokens.empty()) longer.append_tokens(tokens, progress);
  return longer;
}

// Log-probabilities of the next token before each of `tokens` (not empty), [tokens][vocabulary].
std::vector<float> forced(const Session& session, std::span<const Token> tokens) {
  std::vector<float> logs = session.logits_after(tokens.first(tokens.size() - 1));
  const size_t vocabulary = logs.size() / tokens.size();
  for (auto row = logs.begin(); row != logs.end(); row += static_cast<std::ptrdiff_t>(vocabulary)) {
    const auto end = row + static_cast<std::ptrdiff_t>(vocabulary);
    const float top = *std::max_element(row, end);
    double sum = 0;
    for (auto x = row; x != end; ++x) sum += std::exp(*x - top);
    const auto shift = static_cast<float>(top + std::log(sum));
    for (auto x = row; x != end; ++x) *x -= shift;
  }
  return logs;
}

// Mean over the tokens of KL(exact || now), in nats; both [tokens][vocabulary].
double mean_kl(std::span<const float> exact, std::span<const float> now, size_t tokens) {
  double kl = 0;
  for (size_t i = 0; i < now.size(); i++) kl += std::exp(exact[i]) * (exact[i] - now[i]);
  return kl / static_cast<double>(tokens);
}

// Sum of the tokens' log-probabilities in [tokens][vocabulary].
double log_likelihood(std::span<const float> logs, std::span<const Token> tokens) {
  const size_t vocabulary = logs.size() / tokens.size();
  double sum = 0;
  for (size_t i = 0; i < tokens.size(); i++) sum += logs[i * vocabulary + tokens[i]];
  return sum;
}

int likeliest(const Session& session, const std::vector<std::vector<Token>>& candidates) {
  int best = -1;
  double highest = 0;
  for (size_t i = 0; i < candidates.size(); i++) {
    const double sum = log_likelihood(forced(session, candidates[i]), candidates[i]);
    if (best >= 0 && sum <= highest) continue;
    best = static_cast<int>(i);
    highest = sum;
  }
  return best;
}

bool writes(const Question& question) {
  return question.continuation.empty() && (question.compared || question.candidates.empty());
}

// The likeliest token that neither ends an answer nor is a line break alone.
Token likeliest_beginning(const Model& model, Session& session) {
  const Token line_break = model.tokenize("\n").back();
  const std::vector<float> logits = session.logits();
  Token best = -1;
  for (Token token = 0; token < static_cast<Token>(logits.size()); token++) {
    if (token == line_break || model.is_end(token)) continue;
    if (best < 0 || logits[token] > logits[best]) best = token;
  }
  return best;
}

Generation generate(const Model& model, Session& session, const Question& question) {
  GenerateOptions options;
  options.max_tokens = question.answer_tokens;
  options.stop = question.stop;
  std::vector<Token> first;
  if (question.begins) {
    first = {likeliest_beginning(model, session)};
    session.append_tokens(first);
    options.max_tokens--;
  }
  Generation generation = session.generate(options);
  if (generation.stop == StopReason::error) throw Error(generation.error_code, "eval", generation.error);
  if (!first.empty()) {
    generation.tokens.insert(generation.tokens.begin(), first.begin(), first.end());
    generation.text = answer_text(model, generation.tokens, question);
  }
  return generation;
}

}  // namespace

std::string answer_text(const Model& model, const std::vector<Token>& tokens, const Question& question) {
  const std::string text = model.detokenize(tokens);
  const size_t begun =
      question.begins && !tokens.empty() ? model.detokenize(std::vector<Token>{tokens.front()}).size() : 0;
  size_t end = text.size();
  for (const std::string& stop : question.stop) end = std::min(end, text.find(stop, begun));
  return text.substr(0, end);
}

LoadedExample::LoadedExample(const std::shared_ptr<Model>& model, Example example, uint64_t seed,
                             const Progress& progress)
    : model_(model), example_(std::move(example)), seed_(seed) {
  const auto all = static_cast<int>(example_.context.size());
  std::set<int> cuts;
  for (Question& question : example_.questions) {
    if (question.cut < 0) question.cut = all;
    cuts.insert(question.cut);
  }
  Session session(model, kNoHistory);
  int read = 0;
  for (const int cut : cuts) {
    session.append_tokens(std::span(example_.context).subspan(read, cut - read), progress);
    read = cut;
    for (size_t i = 0; i < example_.questions.size(); i++) {
      const Question& question = example_.questions[i];
      if (question.cut != cut) continue;
      auto base = std::find_if(bases_.begin(), bases_.end(), [&](const Base& known) {
        return known.cut == cut && known.before == question.before;
      });
      if (base == bases_.end()) {
        bases_.push_back(
            {cut, question.before, with(session, question.before, progress), {}, make_evict_passes()});
        base = std::prev(bases_.end());
      }
      base->questions.push_back(i);
    }
  }
}

std::vector<Span> LoadedExample::erased_before(int cut) const {
  std::vector<Span> spans;
  for (const Span& span : example_.erased) {
    if (span.end <= cut) spans.push_back(span);
  }
  return spans;
}

const Session& LoadedExample::without_erased(int cut, const Progress& progress) {
  const auto known = without_erased_.find(cut);
  if (known != without_erased_.end()) return known->second;
  std::vector<Token> rest;
  int done = 0;
  for (const Span& span : erased_before(cut)) {
    rest.insert(rest.end(), example_.context.begin() + done, example_.context.begin() + span.begin);
    done = span.end;
  }
  rest.insert(rest.end(), example_.context.begin() + done, example_.context.begin() + cut);
  Session session(model_, kNoHistory);
  session.append_tokens(rest, progress);
  return without_erased_.emplace(cut, std::move(session)).first->second;
}

const LoadedExample::Exact& LoadedExample::exact(const Base& base, size_t index, bool erased,
                                                 const Progress& progress) {
  const auto known = exact_.find({index, erased});
  if (known != exact_.end()) return known->second;
  const Question& question = example_.questions[index];
  const Session read =
      erased ? with(without_erased(base.cut, progress), base.before, progress) : base.session.fork();
  Session session = with(read, question.after, progress);
  Exact exact;
  if (!question.continuation.empty()) {
    exact.forced = question.continuation;
  } else {
    exact.chosen = likeliest(session, question.candidates);
  }
  if (writes(question) && question.compared) {
    Session answering = session.fork();
    Generation answer = generate(*model_, answering, question);
    exact.text = std::move(answer.text);
    exact.forced = std::move(answer.tokens);
  }
  if (!exact.forced.empty()) exact.logs = forced(session, exact.forced);
  return exact_.emplace(std::pair(index, erased), std::move(exact)).first->second;
}

void LoadedExample::edit(Session& session, const Base& base, const Cell& cell, const Adapters& adapters,
                         const Progress& progress, CellAnswers& result) const {
  const Stopwatch watch;
  double spared_ms = 0;
  if (cell.evicts()) {
    EvictOptions options;
    options.seed = seed_;
    options.progress = progress;
    options.passes = base.passes;
    EvictReport report = session.evict(cell.policy, Budget::parse(cell.keep), options);
    result.policy = std::move(report.policy);
    spared_ms = report.spared_ms;
  }
  const std::vector<Span> spans = erased_before(base.cut);
  if (cell.erases() && cell.method != "none" && !spans.empty()) {
    EraseOptions options;
    options.method = cell.method;
    options.progress = progress;
    if (!cell.adapter.empty()) options.adapter = adapters.at(cell.adapter);
    session.erase(spans, options);
  }
  result.edit_ms += (watch.ms() + spared_ms) / static_cast<double>(bases_.size());
}

CellAnswers LoadedExample::ask(const Cell& cell, const Adapters& adapters, const Progress& progress) {
  CellAnswers result;
  result.answers.resize(example_.questions.size());
  for (const Base& base : bases_) {
    Session edited = base.session.fork();
    edit(edited, base, cell, adapters, progress, result);
    result.bytes = std::max(result.bytes, edited.stats().bytes);
    for (const size_t index : base.questions) {
      const Question& question = example_.questions[index];
      const Exact& reference = exact(base, index, cell.erases(), progress);
      Answer& answer = result.answers[index];
      answer.exact_text = reference.text;
      answer.exact_chosen = reference.chosen;
      const Stopwatch reading;
      Session session = with(edited, question.after, progress);
      result.answer_ms += reading.ms();
      if (!reference.forced.empty()) {
        const std::vector<float> now = forced(session, reference.forced);
        const size_t count = reference.forced.size();
        answer.kl = mean_kl(reference.logs, now, count);
        answer.perplexity = std::exp(-log_likelihood(now, reference.forced) / static_cast<double>(count));
      }
      const Stopwatch answering;
      answer.chosen = likeliest(session, question.candidates);
      if (writes(question)) answer.text = generate(*model_, session, question).text;
      result.answer_ms += answering.ms();
      answer.same = answer.text == answer.exact_text && answer.chosen == answer.exact_chosen;
    }
  }
  return result;
}

}  // namespace kvedit::eval
