// A needle in a haystack: numbers stand in a long text, some are asked for, over a grid of lengths and
// depths.
//   niah        any number of needles at depths of a grid, in prose or noise; the context is read alone
//   niah-noise  one needle at a random depth among five sentences repeated; question and the beginning of the
//               answer are read before the cache is edited, so a policy can know what is asked
//   niah-keys   the same for five needles with keys of their own in prose, one in each fifth of the text
#include <algorithm>
#include <cmath>

#include "eval/fit.h"
#include "eval/needles.h"
#include "eval/task.h"
#include "eval/wording.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace {

// The haystack with the needles between its sentences; their depths ascend.
std::string with_needles(std::string_view haystack, const std::vector<Needle>& needles) {
  std::string text(kNeedleOpening);
  size_t done = 0;
  for (const Needle& needle : needles) {
    const auto depth = static_cast<size_t>(needle.depth * static_cast<double>(haystack.size()));
    const size_t end = std::max(done, sentence_end(haystack, depth));
    text.append(haystack.substr(done, end - done));
    if (text.back() != '\n') text += ' ';
    text += needle.sentence();
    if (end < haystack.size() && haystack[end] != ' ' && haystack[end] != '\n') text += ' ';
    done = end;
  }
  return text.append(haystack.substr(done));
}

class Niah final : public Task {
 public:
  Niah(const char* name, Order order, const TaskOptions& options)
      : name_(name),
        order_(options.order == Order::own ? order : options.order),
        haystack_(options.haystack),
        needles_(options.parameters.integer("needles")),
        asked_(std::min(options.parameters.integer("asked"), needles_)),
        depths_(options.parameters.integer("depths")),
        noise_(options.parameters.text("filler") == "noise") {}

  TaskInfo info() const override {
    return {.name = name_,
            .description = cat(needles_, " of ", noise_ ? "repeated noise's" : "prose's", " numbers, ",
                               asked_, " asked for"),
            .protocol = describe(order_),
            .metrics = {{"found", Mean::share}},
            .able = 0.5};
  }

  Example make(const Model& model, const ExampleSpec& spec) const override {
    Random random = spec.random();
    std::vector<Needle> needles = draw_needles(needles_, random);
    const std::vector<size_t> asked = asked_needles(needles, spec.index, random);
    const size_t bytes = spec.length * kMostBytesAToken;
    const std::string filler = draw_filler(noise_, *haystack_, bytes, random);
    Example example;
    size_t longest = 0;
    for (const size_t i : asked) {
      Question question = ordered_question(model, order_, needles[i].question(), needles[i].opening());
      question.kind = kind(needles[i].depth);
      question.expected = {needles[i].value};
      question.answer_tokens = kNeedleAnswerTokens;
      longest = std::max(longest, question.before.size());
      example.questions.push_back(std::move(question));
    }
    const auto build = [&](size_t size) {
      return tokens_from_start(model, with_needles(words(filler, 0, size), needles));
    };
    const size_t size = fit([&](size_t s) { return build(s).size() + longest; }, filler.size(), spec.length);
    example.context = build(size);
    return example;
  }

  std::vector<double> score(const Question& question, const Answer& answer) const override {
    return {says(answer.text, question.expected.front()) ? 1.0 : 0.0};
  }

 private:
  // With a grid of depths, the index-th example's needle stands at the next of them.
  std::vector<size_t> asked_needles(std::vector<Needle>& needles, int index, Random& random) const {
    if (depths_ == 0 || asked_ > 1) return random.sample(asked_, needles.size());
    const double depth = depths_ == 1 ? 0.5 : static_cast<double>(index % depths_) / (depths_ - 1);
    const auto slot = static_cast<size_t>(depth * static_cast<double>(needles.size()));
    const size_t asked = std::min(needles.size() - 1, slot);
    needles[asked].depth = depth;
    return {asked};
  }

  std::string kind(double depth) const {
    if (depths_ < 2) return "";
    const double nearest = std::round(depth * (depths_ - 1)) / (depths_ - 1);
    return cat("all depths/", static_cast<int>(std::round(100 * nearest)), " %");
  }

  std::string name_;
  Order order_;
  std::shared_ptr<const Haystack> haystack_;
  int needles_, asked_, depths_;
  bool noise_;
};

std::vector<Parameter> parameters(int needles, int depths, int filler) {
  return {{"needles", static_cast<double>(needles), "numbers with keys in the text", 1, kMostNeedles},
          {"asked", 1, "of them asked for in each example", 1, kMostNeedles},
          {"depths", static_cast<double>(depths), "of the grid, from the beginning to the end; 0: random", 0,
           101},
          {.name = "filler",
           .value = static_cast<double>(filler),
           .description = "what they stand in",
           .choices = {"prose", "noise"}}};
}

template <int variant>
std::unique_ptr<Task> open(const TaskOptions& options) {
  constexpr const char* kNames[] = {"niah", "niah-noise", "niah-keys"};
  return std::make_unique<Niah>(kNames[variant], variant == 0 ? Order::question_after : Order::answer_first,
                                options);
}

}  // namespace

TaskEntry niah_task() {
  return {.name = "niah",
          .description = "Needles in a haystack, over lengths and depths",
          .parameters = parameters(1, 5, 0),
          .quick_examples = 5,
          .open = open<0>};
}

TaskEntry niah_noise_task() {
  return {.name = "niah-noise",
          .description = "One number in repeated noise, the question read first",
          .parameters = parameters(1, 0, 1),
          .open = open<1>};
}

TaskEntry niah_keys_task() {
  return {.name = "niah-keys",
          .description = "Five numbers with keys in prose, one asked for, the question read first",
          .parameters = parameters(5, 0, 0),
          .open = open<2>};
}

}  // namespace kvedit::eval
