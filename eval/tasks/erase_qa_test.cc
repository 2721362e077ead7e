#include <fstream>
#include <set>

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

TEST(QaFilesTest, WhatNoPassageCanContradictIsLeftOutAndCounted) {
  std::string comparison(kHotpot), yes(kHotpot), inside(kHotpot);
  comparison.replace(comparison.find("bridge"), 6, "comparison");
  yes.replace(yes.find("\"Turin\""), 7, "\"Yes\"");
  inside.replace(inside.find("\"Turin\""), 7, "\"Tur\"");  // stands in no passage as a word
  const QaFile file =
      read_qa(std::string(kHotpot) + "\n" + comparison + "\n" + yes + "\n" + inside, "x.jsonl", true, false);
  EXPECT_EQ(file.items.size(), 1U);
  EXPECT_EQ(file.left_out, (LeftOut{{"answered by yes or no", 1},
                                    {"comparisons", 1},
                                    {"with an answer that no supporting passage states", 1}}));
}

TEST(QaFilesTest, TheFirstAnswerIsNotFilledIntoTheTenthsPlace) {
  std::string record(kMusique);
  record.replace(record.find("mayor of #1?"), 12, "mayor of #10 and #1?");
  EXPECT_EQ(read_qa(record, "x.jsonl", true, true).items[1].question, "Who is the mayor of #10 and Hamburg?");
}

const std::vector<Entity> kPool = {{{"Otto Lang"}, EntityKind::person}, {{"Turin"}, EntityKind::place},
                                   {{"Ida Berg"}, EntityKind::person},  {{"1931"}, EntityKind::number},
                                   {{"America"}, EntityKind::place},    {{"the Arno"}, EntityKind::place}};

std::string another(const Entity& entity, uint64_t seed, const std::vector<std::string>& texts = {}) {
  std::vector<WordList> said;
  for (const std::string& text : texts) said.push_back(words_of(text));
  Random random{seed};
  const std::vector<std::string> found = other_answers(entity, kPool, said, 1, random);
  return found.empty() ? "" : found[0];
}

TEST(EntitiesTest, AnotherOneIsOfItsKind) {
  for (uint64_t seed = 0; seed < 20; seed++) {
    EXPECT_EQ(another(kPool[0], seed), "Ida Berg");
    const std::string year = another(kPool[3], seed);
    EXPECT_EQ(year.size(), 4U);
    EXPECT_EQ(year[0], '1');
    EXPECT_NE(year, "1931");
  }
  EXPECT_EQ(entity_kind("Who wrote it?", "Ida Berg"), EntityKind::person);
  EXPECT_EQ(entity_kind("In which city?", "Turin"), EntityKind::place);
  EXPECT_EQ(entity_kind("How long?", "1931"), EntityKind::number);
}

TEST(EntitiesTest, AWrongAnswerIsApartFromEveryAliasAndSaidNowhereElse) {
  const Entity country{{"U.S.", "America", "the United States", "US"}, EntityKind::place};
  std::set<std::string> found;
  for (uint64_t seed = 0; seed < 30; seed++) {
    found.insert(another(country, seed));
    EXPECT_EQ(another(country, seed, {"A train to Turin."}), "Arno") << "without its article";
    EXPECT_NE(another(country, seed, {"A Turinese train."}), "");
  }
  EXPECT_EQ(found, (std::set<std::string>{"Arno", "Turin"}));
}

TEST(EntitiesTest, ApartMeansNoWordNoNumberAndNotTheSameLetters) {
  const std::pair<const char*, const char*> same[] = {{"Otto Lang", "Lang"},
                                                      {"US", "U.S."},
                                                      {"4", "14"},
                                                      {"5,000", "5000"},
                                                      {"12 May 1945", "3 May 1961"},
                                                      {"twelve", "12"},
                                                      {"São Paulo", "SAO PAULO"},
                                                      {"6.8 inches", "7 inches"},
                                                      {"University of Oslo", "University of Bergen"},
                                                      {"two-time", "twice"}};
  for (const auto& [a, b] : same) {
    EXPECT_FALSE(apart(a, b)) << a << ", " << b;
    EXPECT_FALSE(apart(b, a)) << a << ", " << b;
  }
  for (const auto& [a, b] : {std::pair{"Otto Lang", "Ida Berg"},
                             {"1945", "1961"},
                             {"1 May 1945", "3 June 1911"},
                             {"Turin", "Turinese"},
                             {"US", "Russia"}})
    EXPECT_TRUE(apart(a, b)) << a << ", " << b;
}

TEST(EntitiesTest, ADateLosesItsMonthAndANumberItsUnit) {
  for (uint64_t seed = 0; seed < 30; seed++) {
    for (const char* truth :
         {"12 May 1945", "May 12, 1945", "1 August 1973", "6.8 inches", "about $1.18 trillion"}) {
      const std::string wrong = another({{truth}, EntityKind::time}, seed);
      ASSERT_NE(wrong, "") << truth;
      EXPECT_TRUE(apart(truth, wrong)) << truth << ": " << wrong;
      EXPECT_TRUE(has_digit(wrong));
    }
  }
}

TEST(WordingTest, NothingIsReplacedInsideAWordOrNumber) {
  const auto put = [](const char* text, const char* from) { return replaced(text, {{words_of(from), "X"}}); };
  EXPECT_EQ(put("4 men, 14 boats, 1945, 4.5 km, 3,4 and 4.", "4"),
            "X men, 14 boats, 1945, 4.5 km, 3,4 and X.");
  EXPECT_EQ(put("He told us of the US and Russia.", "US"), "He told us of the X and Russia.");
  EXPECT_EQ(put("Älter als Alt, alt-Alt, Altar.", "Alt"), "Älter als X, alt-X, Altar.");
  EXPECT_EQ(put("ört Ört Örtlich", "Ört"), "ört X Örtlich");
  EXPECT_EQ(put("Otto Lang's  house, Otto  Lang", "Otto Lang"), "X's  house, X");
  EXPECT_EQ(put("5,000 or 5000", "5000"), "X or X");
  EXPECT_EQ(put("nothing", ""), "nothing");
  EXPECT_EQ(replaced("Ann met Ben", {{words_of("Ann"), "Ben"}, {words_of("Ben"), "Ann"}}), "Ben met Ann");
  EXPECT_TRUE(says("The 4471st", "4471st"));
  EXPECT_FALSE(says("It is 44719.", "4471"));
  EXPECT_FALSE(says("anything", ""));
}

TEST(EntitiesTest, TheCopySpeaksOfTheOtherInTitleAliasesAndSurnames) {
  const Entity person{{"Otto Lang", "O. Lang"}, EntityKind::person};
  const auto copy =
      contradicted({"Otto Lang", "Otto Lang (O. Lang) was mayor. Lang lived in Langen; Otto's wife was Ann."},
                   person, "Ida Berg");
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->title, "Ida Berg");
  EXPECT_EQ(copy->text, "Ida Berg (Ida Berg) was mayor. Berg lived in Langen; Ida's wife was Ann.");
}

TEST(EntitiesTest, ACopyThatStillStatesTheTruthIsNone) {
  const Passage passage{"A port", "Wilmington Field is north of Wilmington."};
  EXPECT_FALSE(contradicted(passage, {{"Wilmington Field"}, EntityKind::place}, "Turin"));
  EXPECT_TRUE(contradicted(passage, {{"Wilmington Field", "Wilmington"}, EntityKind::place}, "Turin"));
  EXPECT_TRUE(contradicted({"", "He is from Norway, and no other."},
                           {{"Norway", "NO", "no"}, EntityKind::place}, "Turin"));
}

// Any two of the names, in any sentence: the copy says the one and nothing of the other, and nothing else
// changes.
TEST(EntitiesTest, WhateverIsAssertedTheTruthIsGoneAndTheRestStays) {
  const std::vector<std::string> names = {"Otto Lang",   "1931", "Turin", "the Arno",
                                          "12 May 1945", "U.S.", "4",     "Bó Åkesson"};
  Random random{3};
  for (int i = 0; i < 400; i++) {
    const std::string &truth = names[random.below(names.size())], &wrong = names[random.below(names.size())];
    if (!apart(truth, wrong)) continue;
    const std::string head =
        i % 2 == 0 ? "Langers wrote 19312 notes on " : "(In 441 of 1,946 Turiner towns) ";
    const std::string end = i % 3 == 0 ? ", as was said; 45 came." : " is it!";
    const auto copy = contradicted({"", head + truth + end}, {{truth}, EntityKind::other}, wrong);
    ASSERT_TRUE(copy) << truth;
    EXPECT_FALSE(says(copy->text, truth)) << copy->text;
    EXPECT_TRUE(says(copy->text, wrong)) << copy->text;
    EXPECT_TRUE(copy->text.starts_with(head)) << copy->text;
    EXPECT_TRUE(copy->text.ends_with(end)) << copy->text;
  }
}

class EraseQaTest : public testing::Test {
 protected:
  EraseQaTest() { std::ofstream(path_, std::ios::binary) << all(); }
  std::string path_ = temporary_path("qa.jsonl");
  std::shared_ptr<Model> model_ = load(spec_of("llama"), exact_options());
};

// The oracle searches what remains for the right answer; the wrong one is only in the erased passage.
TEST_F(EraseQaTest, AnOracleThatReadsWhatRemainsSolvesIt) {
  const auto task = open_task("erase-qa", {nullptr, {path_}, true, Order::own});
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

TEST_F(EraseQaTest, QuestionsLeftOutAreToldByReason) {
  std::string comparison(kHotpot), stays(kHotpot), alone(kHotpot);
  comparison.replace(comparison.find("bridge"), 6, "comparison");
  stays.replace(stays.find("\"Turin\""), 7, "\"sunny Turin\"");
  stays.replace(stays.find("lived in Turin."), 15, "lived in sunny Turin; Turin is big and sunny.");
  std::ofstream(path_, std::ios::binary | std::ios::app) << comparison << "\n" << stays << "\n";
  const TaskInfo info = open_task("erase-qa", {nullptr, {path_}, true, Order::own})->info();
  EXPECT_EQ(info.examples, 3);
  ASSERT_EQ(info.notes.size(), 1U);
  EXPECT_EQ(
      info.notes[0],
      "3 questions; left out 1 comparisons; left out 1 whose wrong passage would still state the truth; "
      "left out 1 without one answer");
  write_file(path_, comparison);
  EXPECT_EQ(code_of([&] {
              open_task("erase-qa", {nullptr, {path_}, true, Order::own});
            }),
            ErrorCode::corrupt);
  write_file(path_, kHotpot);  // no other answer to put in its place
  EXPECT_EQ(code_of([&] {
              open_task("erase-qa", {nullptr, {path_}, true, Order::own});
            }),
            ErrorCode::invalid_argument);
}

TEST_F(EraseQaTest, ALeakIsAWordNotAPieceOfOne) {
  const auto task = open_task("erase-qa", {nullptr, {path_}, true, Order::own});
  Question question;
  question.expected = {"1931"};
  question.wrong = "1962";
  Answer answer;
  answer.text = " 19623";
  EXPECT_EQ(task->score(question, answer)[2], 0);
  answer.text = " In 1962.";
  EXPECT_EQ(task->score(question, answer)[2], 1);
}

}  // namespace
}  // namespace kvedit::eval
