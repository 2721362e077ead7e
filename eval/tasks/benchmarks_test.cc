// RULER and LongBench as tasks: from files in their official formats.
#include <filesystem>
#include <fstream>

#include "eval/chat.h"
#include "eval/task.h"
#include "session_testing.h"

namespace kvedit::eval {
namespace {

constexpr std::string_view kRulerLine =
    R"({"index": 0, "input": "A special magic number is hidden within the following text.\nOne of the special magic numbers for a-b is: 1234567.\nWhat is the special magic number for a-b mentioned in the provided text? The special magic number for a-b mentioned in the provided text is", "outputs": ["1234567"], "length": 90})";

std::string long_bench_line(const std::string& set, const std::string& context,
                            const std::string& classes = "null") {
  return R"({"input": "What is it?", "context": ")" + context +
         R"(", "answers": ["A pear", "Food"], "length": 9, "dataset": ")" + set +
         R"(", "language": "en", "all_classes": )" + classes + R"(, "_id": "0"})";
}

class BenchmarksTest : public testing::Test {
 protected:
  BenchmarksTest() {
    TinySpec spec = spec_of("llama");
    spec.context = 4096;
    model_ = load(spec, exact_options());
  }
  std::string write(const std::string& name, std::string_view text) {
    const auto path = std::filesystem::path(testing::TempDir()) / name;
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  std::unique_ptr<Task> open(const std::string& task, const std::vector<std::string>& data,
                             bool strict = false) {
    return open_task(task, {std::make_shared<const Haystack>(Haystack({prose(900, 1)})), data, strict});
  }
  std::string text(const std::vector<Token>& tokens) { return model_->detokenize(tokens); }
  static double score(const Task& task, const Question& question, const std::string& answer) {
    Answer given;
    given.text = answer;
    return task.score(question, given).at(0);
  }

  std::shared_ptr<Model> model_;
};

TEST_F(BenchmarksTest, RulersOwnFileIsAskedAsItIs) {
  const auto task = open("ruler", {write("r.jsonl", std::string(kRulerLine) + "\n")});
  EXPECT_EQ(task->info().examples, 1);
  const Example example = task->make(*model_, {0, 1, 0});
  const Question& question = example.questions.at(0);
  EXPECT_TRUE(text(example.context).ends_with(" is: 1234567."));
  EXPECT_TRUE(text(question.after).starts_with("\nWhat is the special magic number for a-b"));
  EXPECT_TRUE(text(question.after).ends_with("mentioned in the provided text is"));
  EXPECT_TRUE(question.before.empty());
  EXPECT_TRUE(question.stop.empty());
  EXPECT_EQ(question.answer_tokens, 128);
  EXPECT_EQ(score(*task, question, " 1234567.\n"), 1);
  EXPECT_EQ(score(*task, question, " 123456"), 0);
}

TEST_F(BenchmarksTest, MalformedLinesAreCountedOrNamed) {
  for (const std::string name : {"ruler", "longbench"}) {
    const std::string good = name == "ruler" ? std::string(kRulerLine) : long_bench_line("qasper", "text");
    const std::string path = write(name + ".jsonl", good + "\n{\"input\": 5}\n\nnot json\n" + good + "\n");
    const auto task = open(name, {path});
    EXPECT_EQ(task->info().examples, 2);
    ASSERT_FALSE(task->info().notes.empty());
    EXPECT_TRUE(task->info().notes[0].starts_with("2 malformed lines left out, the first: " + path + ":2: "));
    try {
      open(name, {path}, true);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::corrupt);
      EXPECT_NE(std::string(error.what()).find(path + ":2: "), std::string::npos) << error.what();
    }
  }
}

TEST_F(BenchmarksTest, RulersTasksTakeTurnsAndMeetTheLength) {
  const auto task = open("ruler", {});
  std::set<std::string> kinds;
  for (int i = 0; i < 11; i++) {
    const Example example = task->make(*model_, {8192, 1, i});
    const Question& question = example.questions.at(0);
    kinds.insert(question.kind);
    const auto tokens =
        static_cast<double>(example.context.size() + question.after.size() + question.answer_tokens);
    EXPECT_LE(tokens, 8192) << question.kind;
    EXPECT_GE(tokens, 0.98 * 8192) << question.kind;
  }
  EXPECT_EQ(kinds.size(), 11U);
  EXPECT_TRUE(kinds.contains("all/vt"));
  EXPECT_EQ(open("ruler:task=fwe", {})->make(*model_, {4096, 1, 0}).questions.at(0).kind, "fwe");
  EXPECT_EQ(code_of([&] { open("ruler:task=qa_2", {}); }), ErrorCode::invalid_argument);
}

TEST_F(BenchmarksTest, LongBenchPromptsLoseTheirMiddle) {
  const std::string path = write("q.jsonl", long_bench_line("qasper", "BEGIN " + prose(3000, 3) + " END"));
  const auto task = open("longbench:limit=1500", {path});
  const Example example = task->make(*model_, {0, 1, 0});
  const Question& question = example.questions.at(0);
  EXPECT_LE(example.context.size() + question.after.size(), 1530U);
  EXPECT_GE(example.context.size() + question.after.size(), 1470U);
  EXPECT_NE(text(example.context).find("Article: BEGIN "), std::string::npos);
  EXPECT_TRUE(text(example.context).ends_with(" END"));
  EXPECT_NE(text(question.after).find("\n\nQuestion: What is it?\n\nAnswer:"), std::string::npos);
  EXPECT_EQ(question.answer_tokens, 128);
  EXPECT_EQ(question.kind, "qasper");
  EXPECT_EQ(score(*task, question, "It is the pear."), 0.5);
  EXPECT_EQ(code_of([&] {
              open("longbench:limit=20", {path})->make(*model_, {0, 1, 0});
            }),
            ErrorCode::out_of_range);
}

TEST_F(BenchmarksTest, LongBenchClassesComeFromTheFile) {
  const auto task =
      open("longbench", {write("t.jsonl", long_bench_line("trec", "x", R"(["Food", "Date"])"))});
  const Question question = task->make(*model_, {0, 1, 0}).questions.at(0);
  EXPECT_EQ(score(*task, question, "\nFood\nDate"), 1);
  EXPECT_EQ(score(*task, question, "Food or Date"), 0.5);
}

TEST_F(BenchmarksTest, UnknownDataSetIsMalformed) {
  EXPECT_EQ(code_of([&] { open("longbench", {write("u.jsonl", long_bench_line("nosuch", "x"))}, true); }),
            ErrorCode::corrupt);
}

TEST_F(BenchmarksTest, ChatFormatStandsAroundTheMessage) {
  TinySpec spec = spec_of("llama");
  ModelOptions options = exact_options();
  options.chat_template = "chatml";
  const auto model = load(spec, options);
  const ChatFormat format = chat_format(*model);
  const std::vector<Message> message = {{"user", "C Q"}};
  EXPECT_EQ(format.before + "C Q" + format.after, model->format(message, true));
  const PromptTokens prompt = tokens_of(*model, format, "C", " Q", " A");
  EXPECT_EQ(ordered_question(prompt, Order::own).before, std::vector<Token>());
  EXPECT_EQ(ordered_question(prompt, Order::question_first).before, prompt.question);
  EXPECT_EQ(ordered_question(prompt, Order::question_first).after, prompt.opening);
  EXPECT_TRUE(ordered_question(prompt, Order::answer_first).after.empty());
}

}  // namespace
}  // namespace kvedit::eval
