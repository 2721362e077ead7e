#include <fstream>

#include "eval/entities.h"
#include "eval/qa_files.h"
#include "eval/task.h"
#include "session_testing.h"

namespace kvedit::eval {
namespace {

constexpr const char* kMusique =
    R"({"id":"2hop__1","paragraphs":[{"idx":0,"title":"Ada","paragraph_text":"Ada was born in Hamburg.","is_supporting":true},)"
    R"({"idx":1,"title":"Hamburg","paragraph_text":"The mayor of Hamburg is Otto Lang.","is_supporting":true},)"
    R"({"idx":2,"title":"Bees","paragraph_text":"Bees make honey.","is_supporting":false}],)"
    R"("question":"Who is mayor where Ada was born?","question_decomposition":[{"id":1,"question":"Ada >> place of birth",)"
    R"("answer":"Hamburg","paragraph_support_idx":0},{"id":2,"question":"Who is the mayor of #1?","answer":"Otto Lang",)"
    R"("paragraph_support_idx":1}],"answer":"Otto Lang","answer_aliases":["Lang"],"answerable":true})";
constexpr const char* kHotpot =
    R"({"_id":"x","question":"Where did Ben live?","answer":"Turin","type":"bridge","level":"easy",)"
    R"("supporting_facts":[["Ben",1]],"context":[["Ann",["Ann sang."," Often."]],["Ben",["Ben wrote.","He lived in Turin."]]],)"
    R"("evidences":[["Ben","residence","Turin"]]})";
constexpr const char* kIirc =
    R"({"pid":"p","title":"Cat Hill","text":"The hill is in Wales.","links":[],"questions":[{"qid":"q","question":)"
    R"("When did its mayor die?","answer":{"type":"span","answer_spans":[{"text":"1931","passage":"Ed","start":0,"end":4}]},)"
    R"("question_links":["Ed"],"context":[{"text":"The hill","passage":"main","indices":[0,8]},)"
    R"({"text":"Ed died in 1931.","passage":"Ed","indices":[0,16]}]},{"qid":"r","question":"Is it high?","answer":)"
    R"({"type":"none"},"question_links":[],"context":[]}]})";

std::string all() { return std::string(kMusique) + "\n" + kHotpot + "\n" + kIirc + "\n"; }

TEST(QaFilesTest, OfficialFormatsAreRead) {
  const QaFile file = read_qa(all(), "x.jsonl", true, false);
  ASSERT_EQ(file.items.size(), 3U);
  EXPECT_EQ(file.items[0].answers, (std::vector<std::string>{"Otto Lang", "Lang"}));
  EXPECT_EQ(file.items[0].passages[file.items[0].supporting].title, "Hamburg");
  EXPECT_EQ(file.items[1].passages[1].text, "Ben wrote. He lived in Turin.");
  EXPECT_EQ(file.items[1].supporting, 1U);
  EXPECT_EQ(file.items[2].answers[0], "1931");
  EXPECT_EQ(file.items[2].passages[file.items[2].supporting].title, "Ed");
}

TEST(QaFilesTest, AnArrayIsTheSameAsLines) {
  const std::string array = "[" + std::string(kMusique) + ",\n" + kHotpot + "]";
  EXPECT_EQ(read_qa(array, "x.json", true, false).items.size(), 2U);
}

TEST(QaFilesTest, SingleHopsHaveEarlierAnswersFilledIn) {
  const QaFile file = read_qa(kMusique, "x.jsonl", true, true);
  ASSERT_EQ(file.items.size(), 2U);
  EXPECT_EQ(file.items[0].question, "What is the place of birth of Ada?");
  EXPECT_EQ(file.items[0].supporting, 0U);
  EXPECT_EQ(file.items[1].question, "Who is the mayor of Hamburg?");
}

TEST(QaFilesTest, MalformedRecordsNameFileAndLineOrAreCounted) {
  const std::string text = std::string(kHotpot) + "\n{\"supporting_facts\":[]}\nnot JSON\n" + kHotpot;
  const QaFile file = read_qa(text, "x.jsonl", false, false);
  EXPECT_EQ(file.items.size(), 2U);
  EXPECT_EQ(file.malformed, 2);
  EXPECT_EQ(file.first_malformed, "x.jsonl:2: no text \"question\"");
  EXPECT_EQ(code_of([&] { read_qa(text, "x.jsonl", true, false); }), ErrorCode::corrupt);
  EXPECT_EQ(code_of([&] { read_qa("[]", "x.json", false, false); }), ErrorCode::corrupt);
}

TEST(EntitiesTest, AnotherOneIsOfItsKind) {
  const std::vector<Entity> pool = {{"Otto Lang", EntityKind::person},
                                    {"Turin", EntityKind::place},
                                    {"Ida Berg", EntityKind::person},
                                    {"1931", EntityKind::number}};
  for (uint64_t seed = 0; seed < 20; seed++) {
    Draws draws{seed};
    EXPECT_EQ(another_entity(pool[0], pool, draws), "Ida Berg");
    const std::string year = another_entity(pool[3], pool, draws);
    EXPECT_EQ(year.size(), 4U);
    EXPECT_EQ(year[0], '1');
    EXPECT_NE(year, "1931");
  }
  EXPECT_EQ(entity_kind("Who wrote it?", "Ida Berg"), EntityKind::person);
  EXPECT_EQ(entity_kind("In which city?", "Turin"), EntityKind::place);
  EXPECT_EQ(entity_kind("How long?", "1931"), EntityKind::number);
}

class EraseQaTest : public testing::Test {
 protected:
  EraseQaTest() { std::ofstream(path_, std::ios::binary) << all(); }
  std::string path_ = temporary_path("qa.jsonl");
  std::shared_ptr<Model> model_ = load(spec_of("llama"), exact_options());
};

// The oracle searches what remains for the right answer; the wrong one is only in the erased passage.
TEST_F(EraseQaTest, AnOracleThatReadsWhatRemainsSolvesIt) {
  const auto task = open_task("erase-qa", {nullptr, {path_}, true, Order::own, {}});
  ASSERT_EQ(task->info().examples, 3);
  for (int i = 0; i < 3; i++) {
    const Example example = task->make(*model_, {450, 1, i});
    EXPECT_EQ(task->make(*model_, {450, 1, i}).context, example.context);
    EXPECT_LE(example.context.size(), 450U);
    ASSERT_EQ(example.erased.size(), 1U);
    std::vector<Token> rest = example.context;
    const auto begin = rest.begin() + example.erased[0].begin, end = rest.begin() + example.erased[0].end;
    const std::string erased = model_->detokenize(std::vector(begin, end));
    rest.erase(begin, end);
    const std::string remains = model_->detokenize(rest);
    for (const Question& question : example.questions) {
      EXPECT_NE(erased.find(question.wrong), std::string::npos);
      EXPECT_EQ(erased.find(question.expected[0]), std::string::npos);
      EXPECT_EQ(remains.find(question.wrong), std::string::npos);
      ASSERT_NE(remains.find(question.expected[0]), std::string::npos);
      Answer answer;
      answer.text = " The " + question.expected[0] + ".";
      EXPECT_EQ(task->score(question, answer), (std::vector<double>{1, 1, 0, 0, 0}));
      answer.text = " " + question.wrong;
      EXPECT_EQ(task->score(question, answer), (std::vector<double>{0, 0, 1, 0, 0}));
    }
  }
  EXPECT_EQ(code_of([&] { task->make(*model_, {100, 1, 0}); }), ErrorCode::out_of_range);
}

}  // namespace
}  // namespace kvedit::eval
