#include "eval/grid.h"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "base/check.h"
#include "base/stopwatch.h"

namespace kvedit::eval {
namespace {

std::string prompt_hash(const Example& example) {
  std::vector<Token> tokens = example.context;
  tokens.insert(tokens.end(), example.continuation.begin(), example.continuation.end());
  char text[17];
  std::snprintf(text, sizeof text, "%016llx",
                static_cast<unsigned long long>(XXH3_64bits(tokens.data(), tokens.size() * sizeof(Token))));
  return text;
}

/// Log-probabilities of the next token before each of the continuation's, [continuation][vocabulary].
std::vector<float> forced(const Session& session, const std::vector<Token>& continuation) {
  std::vector<float> logs = session.logits_after(std::span(continuation).first(continuation.size() - 1));
  const size_t vocabulary = logs.size() / continuation.size();
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

void compare(const std::vector<float>& full, const std::vector<float>& now,
             const std::vector<Token>& continuation, Answer& answer) {
  const size_t vocabulary = now.size() / continuation.size();
  double kl = 0;
  for (size_t i = 0; i < now.size(); i++) kl += std::exp(full[i]) * (full[i] - now[i]);
  double likelihood = 0;
  for (size_t i = 0; i < continuation.size(); i++) likelihood += now[i * vocabulary + continuation[i]];
  const auto count = static_cast<double>(continuation.size());
  answer.kl = kl / count;
  answer.perplexity = std::exp(-likelihood / count);
}

/// An example in the cache.
class Asked {
 public:
  Asked(const std::shared_ptr<Model>& model, const Task& task, const Haystack& haystack, const Wish& wish,
        const Progress& progress)
      : task_(task), wish_(wish), example_(task.make(*model, haystack, wish)), session_(model) {
    session_.append_tokens(example_.context, progress);
    if (!example_.continuation.empty()) full_ = forced(session_, example_.continuation);
  }

  Result run(const Cell& cell, const Progress& progress) const {
    Result result{wish_.length, wish_.index, cell, prompt_hash(example_), example_.expected};
    Session session = session_.fork();
    const Stopwatch watch;
    if (cell != kFull) {
      EvictOptions options;
      options.seed = wish_.seed + static_cast<uint64_t>(wish_.index);
      options.progress = progress;
      result.policy = session.evict(cell.policy, Budget::parse(cell.keep), options).policy;
    }
    result.bytes = session.stats().bytes;
    Answer answer;
    if (example_.continuation.empty()) {
      GenerateOptions options;
      options.max_tokens = example_.answer_tokens;
      options.stop = {"\n"};
      answer.text = session.generate(options).text;
    } else {
      compare(full_, forced(session, example_.continuation), example_.continuation, answer);
    }
    result.ms = watch.ms();
    result.scores = task_.score(example_, answer);
    result.answer = std::move(answer.text);
    return result;
  }

 private:
  const Task& task_;
  Wish wish_;
  Example example_;
  Session session_;
  std::vector<float> full_;
};

[[noreturn]] void rethrow(const Error& error, const Wish& wish, const Cell& cell) {
  std::string what = error.what();
  what.erase(0, what.starts_with('[') ? what.find("] ") + 2 : 0);
  fail(error.code(), "eval", what, " (", cell.policy, " at ", cell.keep, ", length ", wish.length,
       ", example ", wish.index, ")");
}

}  // namespace

void run_grid(const std::shared_ptr<Model>& model, const Task& task, const Haystack& haystack,
              const Grid& grid, const std::function<bool(int length, int example, const Cell& cell)>& have,
              const std::function<void(const Result&)>& emit, const Progress& progress) {
  const size_t total = grid.lengths.size() * grid.examples * grid.cells.size();
  size_t done = 0;
  const Progress inner = [&](size_t, size_t) { return !progress || progress(done, total); };
  for (const int length : grid.lengths) {
    for (int i = 0; i < grid.examples; i++) {
      const Wish wish{length, grid.seed, i};
      std::optional<Asked> asked;
      for (const Cell& cell : grid.cells) {
        if (!inner(0, 0))
          fail(ErrorCode::cancelled, "eval", "cancelled after ", done, " of ", total, " results");
        if (!have(length, i, cell)) {
          Result result;
          try {
            if (!asked) asked.emplace(model, task, haystack, wish, inner);
            result = asked->run(cell, inner);
          } catch (const Error& error) {
            rethrow(error, wish, cell);
          }
          emit(result);
        }
        done++;
      }
    }
  }
}

}  // namespace kvedit::eval
