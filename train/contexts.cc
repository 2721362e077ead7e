#include "train/contexts.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "eval/task.h"
#include "tools/text.h"

namespace kvedit::train {
namespace {

using eval::Random;

constexpr std::string_view kPolicies[] = {"snapkv", "keydiff", "streaming-llm", "laprox"};
constexpr int kShortestNumbers = 250;     // tokens: six sentences with numbers take about 120
constexpr size_t kShortestEvicted = 160;  // tokens: 30 % of it is more than what is always kept

// Small values as often as large ones.
int log_uniform(int least, int most, Random& random) {
  const double low = std::log(least), high = std::log(most + 1);
  return std::min(most, static_cast<int>(std::exp(low + (high - low) * random.unit())));
}

bool chance(double share, Random& random) { return random.unit() < share; }

void add(std::vector<Token>& to, const std::vector<Token>& tokens) {
  to.insert(to.end(), tokens.begin(), tokens.end());
}

// Pieces that tokenise apart: each but the first begins with white space.
std::vector<std::string> sentences(const std::string& text) {
  std::vector<std::string> all;
  size_t from = 0;
  while (from < text.size()) {
    const size_t stop = text.find(". ", from);
    const size_t end = stop == std::string::npos ? text.size() : stop + 1;
    all.push_back(text.substr(from, end - from));
    from = end;
  }
  return all;
}

enum class Role { unique, conflicting, retained };
constexpr std::string_view kRoleNames[] = {"unique", "conflicting", "retained"};

// A sentence of a context under construction.
struct Piece {
  std::string text;
  bool erased = false;
};

struct Planned {
  Fact fact;
  Role role;
};

// One or two facts that go, some that stay.
std::vector<Planned> plan_facts(const FactFinder& finder, Random& random) {
  std::vector<Planned> planned;
  const auto fact = [&] {
    return !finder.empty() && chance(0.5, random) ? finder.draw(random) : invent_fact(random);
  };
  const size_t gone = chance(0.75, random) ? 1 : 2;
  for (size_t i = 0; i < gone; i++)
    planned.push_back({fact(), chance(0.5, random) ? Role::unique : Role::conflicting});
  const size_t kept = 1 + random.below(2);
  for (size_t i = 0; i < kept; i++) planned.push_back({fact(), Role::retained});
  return planned;
}

// Puts each fact's statement behind a random sentence of the text, and marks what is erased.
void insert_facts(std::vector<Piece>& pieces, const std::vector<Planned>& planned, Random& random) {
  const auto insert = [&](const std::string& statement, bool erased) {
    const size_t at = 1 + random.below(pieces.size());
    pieces.insert(pieces.begin() + static_cast<ptrdiff_t>(at), {" " + statement, erased});
  };
  for (const Planned& plan : planned) {
    insert(plan.role == Role::conflicting ? plan.fact.contradiction : plan.fact.statement,
           plan.role != Role::retained);
    if (plan.role == Role::conflicting) insert(plan.fact.statement, false);
  }
  if (chance(0.2, random)) {  // a neighbouring sentence goes with it
    const auto erased = std::find_if(pieces.begin(), pieces.end(), [](const Piece& p) { return p.erased; });
    if (std::next(erased) != pieces.end()) std::next(erased)->erased = true;
  }
  if (pieces.back().erased) pieces.push_back({" That is all for today."});
}

// Appends the pieces' tokens; erased neighbours are one span.
void append_pieces(Context& context, const Model& model, const std::vector<Piece>& pieces) {
  for (const Piece& piece : pieces) {
    const auto begin = static_cast<int>(context.tokens.size());
    add(context.tokens, model.tokenize(piece.text));
    const auto end = static_cast<int>(context.tokens.size());
    if (!piece.erased) continue;
    if (!context.erased.empty() && context.erased.back().end == begin) {
      context.erased.back().end = end;
    } else {
      context.erased.push_back({begin, end});
    }
  }
}

// Tokenises a question about the fact, up to its answer; without `chat` as plain text.
std::vector<Token> question_tokens(const Model& model, const Fact& fact, const eval::ChatFormat* chat,
                                   Random& random) {
  const bool opened = chance(0.5, random);
  if (chat == nullptr) {
    return model.tokenize(cat("\n\nQuestion: ", fact.question, "\nAnswer:", opened ? fact.opening : ""));
  }
  std::vector<Token> question = model.tokenize("\n\n" + fact.question);
  add(question, model.tokenize(chat->after, true));
  if (opened) add(question, model.tokenize(fact.opening.substr(1)));
  return question;
}

}  // namespace

ContextSource::ContextSource(const Model& model, Passages passages, const ContextSizes& sizes)
    : model_(model), passages_(std::move(passages)), sizes_(sizes), finder_(passages_) {
  if (2 * sizes.tokens > model.info().context_length) {
    fail(ErrorCode::out_of_range, "train", "contexts of ", sizes.tokens,
         " tokens; at most half the model's, ", model.info().context_length, ", are possible");
  }
  if (sizes.span_max < sizes.span_min) {
    fail(ErrorCode::out_of_range, "train", "span-max ", sizes.span_max, " is below span-min ",
         sizes.span_min);
  }
  for (const Passage& passage : passages_.all) tokens_.push_back(model.tokenize(passage.text));
  gap_ = model.tokenize("\n\n");
  eval::TaskOptions options;
  options.haystack = std::make_shared<const eval::Haystack>(haystack_of(passages_));
  numbers_ = eval::open_task("erase-niah", options);
  chat_ = eval::chat_format(model);
}

std::vector<Token> ContextSource::stream(int tokens, Random& random) const {
  std::vector<Token> all = eval::tokens_from_start(model_, "\n");
  while (static_cast<int>(all.size()) < tokens) {
    add(all, tokens_[random.below(tokens_.size())]);
    add(all, gap_);
  }
  all.resize(tokens);
  return all;
}

void ContextSource::maybe_evict(Context& context, Random& random) const {
  if (context.tokens.size() < kShortestEvicted || !chance(sizes_.evicted, random)) return;
  context.policy = kPolicies[random.below(std::size(kPolicies))];
  context.keep = 0.3 + 0.5 * random.unit();
}

Context ContextSource::neighbours(Random random) const {
  const int spans = chance(0.8, random) ? 1 : 2;
  const int stale =
      chance(0.7, random) ? 0 : log_uniform(8, 256, random);  // read before the erase, behind the spans
  const int behind = stale + sizes_.neighbours + 1;
  std::vector<int> sizes, gaps;
  int used = behind;
  for (int i = 0; i < spans; i++) {
    sizes.push_back(log_uniform(sizes_.span_min, sizes_.span_max, random));
    gaps.push_back(i == 0 ? 0 : log_uniform(8, 64, random));
    used += sizes[i] + gaps[i];
  }
  const int prefix = log_uniform(8, std::max(16, sizes_.tokens - used), random);
  std::vector<Token> all = stream(prefix + used, random);

  Context context;
  int at = prefix;
  for (int i = 0; i < spans; i++) {
    at += gaps[i];
    context.erased.push_back({at, at + sizes[i]});
    at += sizes[i];
  }
  const int read = at + stale + 1;  // the last one is pending: no erase is needed behind nothing
  Probe probe;
  probe.kind = stale == 0 ? "neighbours" : "distant";
  probe.forced.assign(all.begin() + read, all.begin() + read + sizes_.neighbours);
  all.resize(read);
  context.tokens = std::move(all);
  maybe_evict(context, random);
  context.probes = {std::move(probe)};
  return context;
}

Context ContextSource::facts(Random random) const {
  const std::vector<Planned> planned = plan_facts(finder_, random);
  const bool chat = !chat_.before.empty() && chance(0.4, random);
  const int length = log_uniform(std::min(150, sizes_.tokens), sizes_.tokens, random);
  std::vector<Piece> pieces = {{chat ? "Read these notes." : "Notes."}};
  for (int tokens = 0; tokens < length;) {
    const size_t index = random.below(passages_.all.size());
    tokens += static_cast<int>(tokens_[index].size());
    bool first = true;
    for (std::string& sentence : sentences(passages_.all[index].text)) {
      const std::string space = first ? "\n\n" : sentence.starts_with(' ') ? "" : " ";
      pieces.push_back({space + sentence});
      first = false;
    }
  }
  const size_t most = static_cast<size_t>(length) / 12;
  if (pieces.size() > most + 4)
    pieces.resize(most + 4);  // about 25 tokens a sentence: half of it is room enough
  insert_facts(pieces, planned, random);

  Context context;
  context.tokens = chat ? model_.tokenize(chat_.before, true) : eval::tokens_from_start(model_, "");
  append_pieces(context, model_, pieces);
  maybe_evict(context, random);

  for (int i = 0; i < sizes_.questions; i++) {
    const Planned& plan = planned[i < static_cast<int>(planned.size()) ? i : random.below(planned.size())];
    const bool stale = chance(0.6, random);
    Probe probe;
    probe.kind = cat(stale ? "stale/" : "fresh/", kRoleNames[static_cast<size_t>(plan.role)]);
    (stale ? probe.before : probe.after) =
        question_tokens(model_, plan.fact, chat ? &chat_ : nullptr, random);
    if (stale && chance(0.3, random)) probe.answer_before = 1 + static_cast<int>(random.below(4));
    context.probes.push_back(std::move(probe));
  }
  return context;
}

// Draws another length where no prefix of the text has the first one.
eval::Example ContextSource::numbers_of_some_length(Random& random) const {
  for (int left = 8;; left--) {
    eval::ExampleSpec spec;
    spec.length = log_uniform(std::min(kShortestNumbers, sizes_.tokens), sizes_.tokens, random);
    spec.seed = random.below(size_t{1} << 32U);
    try {
      return numbers_->make(model_, spec);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::out_of_range || left == 0) throw;
    }
  }
}

Context ContextSource::around_numbers(Random random) const {
  std::vector<const eval::Question*> texts;
  eval::Example example;
  while (texts.empty()) {
    example = numbers_of_some_length(random);
    for (const eval::Question& question : example.questions)
      if (!question.continuation.empty()) texts.push_back(&question);
  }
  const eval::Question& text = *texts[random.below(texts.size())];
  Context context;
  context.tokens.assign(example.context.begin(), example.context.begin() + text.cut);
  for (const Span span : example.erased)
    if (span.end < text.cut) context.erased.push_back(span);
  maybe_evict(context, random);
  context.probes = {{.kind = text.kind == "neighbours" ? text.kind : "distant", .forced = text.continuation}};
  return context;
}

Context ContextSource::numbers(Random random) const {
  eval::Example example = numbers_of_some_length(random);
  Context context{std::move(example.context), std::move(example.erased), {}, {}};
  maybe_evict(context, random);
  std::erase_if(example.questions, [](const eval::Question& q) { return !q.continuation.empty(); });
  for (const size_t i : random.sample(sizes_.questions, example.questions.size())) {
    eval::Question& question = example.questions[i];
    context.probes.push_back(
        {question.kind, std::move(question.before), std::move(question.after), {}, question.answer_tokens});
  }
  return context;
}

}  // namespace kvedit::train
