#include "eval/grid.h"

#include <xxhash.h>

#include <algorithm>
#include <optional>

#include "tools/fingerprint.h"
#include "tools/resident.h"
#include "tools/stopwatch.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace {

std::string any_of(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : " | ") + text;
  return all;
}

// An example in the cache, what reading it cost, and what each cell makes of it.
class MeasuredExample {
 public:
  MeasuredExample(const std::shared_ptr<Model>& model, Example example, uint64_t seed,
                  const Progress& progress)
      : loaded_(model, std::move(example), seed, progress), ms_(watch_.ms()), peak_(peak_resident_bytes()) {}

  Result result(const Task& task, const ExampleSpec& spec, const Cell& cell, const Adapters& adapters,
                const Progress& progress) {
    reset_peak_resident();
    CellAnswers answers = loaded_.ask(cell, adapters, progress);
    return {spec.length,
            spec.index,
            cell,
            score_answers(task, loaded_.example(), std::move(answers.answers)),
            answers.edit_ms,
            answers.answer_ms,
            answers.bytes,
            std::move(answers.policy),
            ms_,
            std::max(peak_, peak_resident_bytes())};
  }

 private:
  Stopwatch watch_;
  LoadedExample loaded_;
  double ms_;
  size_t peak_;
};

[[noreturn]] void rethrow(const Error& error, const ExampleSpec& spec, const Cell& cell) {
  fail(error.code(), "eval", error.message(), " (", cell.text(), ", length ", spec.length, ", example ",
       spec.index, ")");
}

}  // namespace

std::string prompt_hash(const Example& example, const Question& question) {
  const auto read = static_cast<std::ptrdiff_t>(question.cut < 0 ? example.context.size() : question.cut);
  std::vector<Token> tokens(example.context.begin(), example.context.begin() + read);
  for (const std::vector<Token>* more : {&question.before, &question.after, &question.continuation})
    tokens.insert(tokens.end(), more->begin(), more->end());
  for (const std::vector<Token>& candidate : question.candidates)
    tokens.insert(tokens.end(), candidate.begin(), candidate.end());
  return fingerprint_text(XXH3_64bits(tokens.data(), tokens.size() * sizeof(Token)));
}

std::vector<QuestionResult> score_answers(const Task& task, const Example& example,
                                          std::vector<Answer> answers) {
  std::vector<QuestionResult> results;
  for (size_t i = 0; i < example.questions.size(); i++) {
    const Question& question = example.questions[i];
    Answer& answer = answers.at(i);
    const std::vector<double> scores = task.score(question, answer);
    if (answer.chosen >= 0) answer.text = question.names.at(answer.chosen);
    results.push_back({question.kind, prompt_hash(example, question), any_of(question.expected),
                       std::move(answer.text), scores});
  }
  return results;
}

void run_grid(const std::shared_ptr<Model>& model, const Task& task, const Grid& grid,
              const std::function<bool(int length, int example, const Cell& cell)>& have,
              const std::function<void(const Result&)>& emit, const Progress& progress) {
  const size_t total = grid.lengths.size() * grid.examples * grid.cells.size();
  size_t done = 0;
  const Progress inner = [&](size_t, size_t) { return !progress || progress(done, total); };
  for (const int length : grid.lengths) {
    for (int i = 0; i < grid.examples; i++) {
      const ExampleSpec spec{length, grid.seed, i};
      std::optional<MeasuredExample> measured;
      for (const Cell& cell : grid.cells) {
        if (!inner(0, 0))
          fail(ErrorCode::cancelled, "eval", "cancelled after ", done, " of ", total, " results");
        if (!have(length, i, cell)) {
          Result result;
          try {
            if (!measured) {
              reset_peak_resident();
              measured.emplace(model, task.make(*model, spec), grid.seed + static_cast<uint64_t>(i), inner);
            }
            result = measured->result(task, spec, cell, grid.adapters, inner);
          } catch (const Error& error) {
            rethrow(error, spec, cell);
          }
          emit(result);
        }
        done++;
      }
    }
  }
}

}  // namespace kvedit::eval
