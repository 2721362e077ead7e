#include "eval/grid.h"

#include <xxhash.h>

#include <cstdio>
#include <optional>

#include "base/check.h"

namespace kvedit::eval {
namespace {

std::string prompt_hash(const Example& example, const Question& question) {
  const auto read = static_cast<std::ptrdiff_t>(question.cut < 0 ? example.context.size() : question.cut);
  std::vector<Token> tokens(example.context.begin(), example.context.begin() + read);
  for (const std::vector<Token>* more : {&question.before, &question.after, &question.continuation})
    tokens.insert(tokens.end(), more->begin(), more->end());
  for (const std::vector<Token>& candidate : question.candidates)
    tokens.insert(tokens.end(), candidate.begin(), candidate.end());
  char text[17];
  std::snprintf(text, sizeof text, "%016llx",
                static_cast<unsigned long long>(XXH3_64bits(tokens.data(), tokens.size() * sizeof(Token))));
  return text;
}

std::string any_of(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : " | ") + text;
  return all;
}

Result result_of(const Task& task, const Wish& wish, const Cell& cell, const Example& example,
                 Asking&& asking) {
  Result result{wish.length,    wish.index,       cell,         {},
                asking.edit_ms, asking.answer_ms, asking.bytes, std::move(asking.policy)};
  for (size_t i = 0; i < example.questions.size(); i++) {
    const Question& question = example.questions[i];
    Answer& answer = asking.answers[i];
    const std::vector<double> scores = task.score(question, answer);
    if (answer.chosen >= 0) answer.text = question.names.at(answer.chosen);
    result.questions.push_back({question.kind, prompt_hash(example, question), any_of(question.expected),
                                std::move(answer.text), scores});
  }
  return result;
}

[[noreturn]] void rethrow(const Error& error, const Wish& wish, const Cell& cell) {
  std::string what = error.what();
  what.erase(0, what.starts_with('[') ? what.find("] ") + 2 : 0);
  fail(error.code(), "eval", what, " (", cell.text(), ", length ", wish.length, ", example ", wish.index,
       ")");
}

}  // namespace

void run_grid(const std::shared_ptr<Model>& model, const Task& task, const Grid& grid,
              const std::function<bool(int length, int example, const Cell& cell)>& have,
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
            if (!asked)
              asked.emplace(model, task.make(*model, wish), grid.seed + static_cast<uint64_t>(i), inner);
            result = result_of(task, wish, cell, asked->example(), asked->ask(cell, grid.adapters, inner));
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
