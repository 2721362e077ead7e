#include "eval/ruler/ruler.h"

#include <xxhash.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>

#include "eval/metrics/match.h"
#include "eval/ruler/qa.h"
#include "session_testing.h"
#include "tools/text.h"

namespace kvedit::eval::ruler {
namespace {

using Strings = std::vector<std::string>;

std::string text_of(const Prompt& prompt) { return prompt.context + prompt.question + prompt.prefix; }

// What follows the last `mark`: the task itself, after a solved example.
std::string after_last(const std::string& text, const std::string& mark) {
  return text.substr(text.rfind(mark) + mark.size());
}

Strings solve_niah(const std::string& text) {
  static const std::regex kNeedle(R"(One of the special magic \w+ for (\S+) is: (\S+)\.)");
  static const std::regex kQuestion(
      R"(What (?:is|are all) the special magic \w+ for (.+) mentioned in the provided text\?)");
  std::multimap<std::string, std::string> values;
  for (std::sregex_iterator it(text.begin(), text.end(), kNeedle), end; it != end; ++it)
    values.emplace((*it)[1], (*it)[2]);
  std::smatch question;
  std::regex_search(text, question, kQuestion);
  Strings found;
  for (const auto& [key, value] : values)
    if (question[1].str().find(key) != std::string::npos) found.push_back(value);
  return found;
}

Strings solve_tracking(const std::string& text) {
  static const std::regex kLine(R"(VAR (\w+) = (?:VAR )?(\w+))");
  const std::string value = after_last(text, "assigned the value ").substr(0, 5);
  const std::string task = after_last(text, "hidden in the following text.");
  std::set<std::string> equal = {value};
  Strings found;
  for (std::sregex_iterator it(task.begin(), task.end(), kLine), end; it != end; ++it) {
    if (!equal.contains((*it)[2])) continue;
    equal.insert((*it)[1]);
    found.push_back((*it)[1]);
  }
  return found;
}

Strings most_frequent(const std::string& text, const std::regex& word, size_t count) {
  std::map<std::string, int> times;
  for (std::sregex_iterator it(text.begin(), text.end(), word), end; it != end; ++it) times[(*it)[1]]++;
  std::vector<std::pair<int, std::string>> order;
  for (const auto& [name, n] : times) order.emplace_back(n, name);
  std::sort(order.rbegin(), order.rend());
  Strings found;
  for (size_t i = 0; i < std::min(count, order.size()); i++) found.push_back(order[i].second);
  return found;
}

Strings solve(std::string_view wording, const std::string& text) {
  if (wording == "niah") return solve_niah(text);
  if (wording == "variable_tracking") return solve_tracking(text);
  if (wording == "common_words_extraction") {
    const std::string list = after_last(text, "Memorize the ones that appear most often.\n");
    return most_frequent(list.substr(0, list.find("\nQuestion")), std::regex(R"(\d+\. (\S+))"), 10);
  }
  const std::string coded = after_last(text, "appeared coded words. ");
  return most_frequent(coded.substr(0, coded.find("\nQuestion")), std::regex(R"(([a-z]+))"), 3);
}

class RulerTest : public testing::TestWithParam<size_t> {
 protected:
  const Synthetic& task() const { return synthetic_tasks()[GetParam()]; }
  Prompt make_one(int length, uint64_t seed, const Count& count) const {
    return make(task(), {words_, haystack_, count, length, Random{seed, 1}});
  }
  static size_t quarter_of_bytes(const Prompt& prompt) { return text_of(prompt).size() / 4; }

  Vocabulary words_;
  Haystack haystack_{{prose(900, 1), prose(700, 2)}};
};

TEST_P(RulerTest, AnOracleThatReadsTheTextSolvesIt) {
  int solved = 0;
  constexpr int kExamples = 40;
  for (int i = 0; i < kExamples; i++) {
    const Prompt prompt = make_one(i % 2 == 0 ? 1024 : 4096, i, quarter_of_bytes);
    std::string answer;
    for (const std::string& one : solve(task().wording, text_of(prompt))) answer += one + ", ";
    solved += string_match_all(answer, prompt.references) == 1.0;
  }
  EXPECT_GE(solved, 0.95 * kExamples);
}

TEST_P(RulerTest, LengthIsMetWithinTwoPercentAnswerIncluded) {
  const auto model = load(spec_of("llama"), exact_options());
  const Count tokens = [&](const Prompt& prompt) { return model->tokenize(text_of(prompt)).size(); };
  const auto check = [&](int length, const Count& count) {
    const auto made =
        static_cast<double>(count(make_one(length, 7, count)) + wording(task().wording).answer_tokens);
    EXPECT_LE(made, length);
    EXPECT_GE(made, 0.98 * length);
  };
  for (const int length : {1024, 2048, 4096}) check(length, quarter_of_bytes);
  check(8192, tokens);
  EXPECT_EQ(code_of([&] { make_one(100, 7, tokens); }), ErrorCode::out_of_range);
}

TEST_P(RulerTest, SameSeedSameExampleAndOthersDiffer) {
  const std::string text = text_of(make_one(1024, 3, quarter_of_bytes));
  EXPECT_EQ(text_of(make_one(1024, 3, quarter_of_bytes)), text);
  EXPECT_NE(text_of(make_one(1024, 4, quarter_of_bytes)), text);
  // The same bytes on every machine.
  static const std::map<std::string_view, uint64_t> kGolden = {{"niah_single_1", 0x45514a0ea4cc850cU},
                                                               {"niah_single_2", 0x265cfa9a445a8e8cU},
                                                               {"niah_single_3", 0x0b622fee3a632a29U},
                                                               {"niah_multikey_1", 0xd7fb54ef41e46275U},
                                                               {"niah_multikey_2", 0x78a6346bf399f040U},
                                                               {"niah_multikey_3", 0x313123721a5c01afU},
                                                               {"niah_multivalue", 0x3ce5c40fec5cb62cU},
                                                               {"niah_multiquery", 0xa36f9335db555625U},
                                                               {"vt", 0xde8269d39f9e9e15U},
                                                               {"cwe", 0x7a48ea4d1526bbb1U},
                                                               {"fwe", 0xae60cd493b99df9eU}};
  EXPECT_EQ(XXH3_64bits(text.data(), text.size()), kGolden.at(task().name)) << task().name;
}

TEST_P(RulerTest, PromptIsTheOfficialWordingAroundTheContext) {
  const Prompt prompt = make_one(1024, 3, quarter_of_bytes);
  EXPECT_EQ(text_of(prompt).find('{'), std::string::npos);
  for (const std::string& one : prompt.references) EXPECT_EQ(prompt.question.find(one), std::string::npos);
  EXPECT_TRUE(prompt.prefix.starts_with(task().wording == "niah" ? " The special magic " : " Answer: "))
      << prompt.prefix;
}

INSTANTIATE_TEST_SUITE_P(Tasks, RulerTest, testing::Range<size_t>(0, synthetic_tasks().size()),
                         [](const auto& test) { return std::string(synthetic_tasks()[test.param].name); });

TEST(RulerNiahTest, OneNeedleIsAskedForInTheSingular) {
  const Vocabulary words;
  const Haystack haystack({prose(900, 1)});
  const Count count = [](const Prompt& prompt) { return text_of(prompt).size() / 4; };
  const Prompt prompt = make(synthetic_tasks()[0], {words, haystack, count, 1024, Random{1}});
  EXPECT_TRUE(
      prompt.context.starts_with("A special magic number is hidden within the following text. Make sure to "
                                 "memorize it. I will quiz you about "
                                 "the number afterwards.\n"));
  EXPECT_TRUE(prompt.question.starts_with("\nWhat is the special magic number for "));
  EXPECT_TRUE(prompt.prefix.ends_with(" mentioned in the provided text is"));
}

TEST(RulerNiahTest, NeedlesStandOnceAndApart) {
  const Vocabulary words;
  const Haystack haystack({prose(900, 1)});
  const Count count = [](const Prompt& prompt) { return text_of(prompt).size() / 4; };
  for (const Synthetic& task : synthetic_tasks()) {
    if (task.wording != "niah") continue;
    for (uint64_t seed = 0; seed < 10; seed++) {
      const Prompt prompt = make(task, {words, haystack, count, 1024, Random{seed}});
      EXPECT_EQ(std::set<std::string>(prompt.references.begin(), prompt.references.end()).size(),
                prompt.references.size());
      for (const std::string& value : prompt.references) {
        const std::string end = " is: " + value + ".";
        const size_t at = prompt.context.find(end);
        ASSERT_NE(at, std::string::npos);
        EXPECT_EQ(prompt.context.find(value, at + end.size()), std::string::npos);
      }
    }
  }
}

// A set of two articles, with one fact in each document.
nlohmann::json squad() {
  nlohmann::json data = nlohmann::json::array();
  for (int a = 0; a < 2; a++) {
    nlohmann::json paragraphs = nlohmann::json::array();
    for (int p = 0; p < 30; p++) {
      const std::string key = std::to_string(100 * a + p);
      paragraphs.push_back(
          {{"context", "The code of room " + key + " is c" + key + "x. " + prose(10 + p, 100 * a + p)},
           {"qas",
            {{{"question", "What is the code of room " + key + "?"},
              {"is_impossible", p % 5 == 4},
              {"answers", {{{"text", "c" + key + "x"}}}}}}}});
    }
    data.push_back({{"title", "t"}, {"paragraphs", paragraphs}});
  }
  return {{"data", data}};
}

TEST(RulerQaTest, DocumentsOfTheQuestionAndOthersMeetTheLength) {
  const QaSet set = read_qa(squad(), [](const std::string& what) { FAIL() << what; });
  EXPECT_EQ(set.name, "qa_1");
  EXPECT_EQ(set.documents.size(), 60U);
  ASSERT_EQ(set.questions.size(), 48U);
  const Count count = [](const Prompt& prompt) { return text_of(prompt).size() / 4; };
  int solved = 0;
  for (size_t q = 0; q < set.questions.size(); q++) {
    const auto prompt = qa(set, q, count, 1000, Random{q});
    ASSERT_TRUE(prompt);
    EXPECT_LE(count(*prompt), 1000U);
    EXPECT_GE(count(*prompt), 980U);
    const std::string key = after_last(prompt->question, "the code of room ");
    const std::string fact = "The code of room " + key.substr(0, key.size() - 1) + " is ";
    const std::string answer = after_last(prompt->context, fact);
    solved += string_match_part(answer.substr(0, answer.find('.')), prompt->references) == 1;
  }
  EXPECT_GE(solved, 46);
  EXPECT_FALSE(qa(set, 0, count, 20, Random{1}));
}

TEST(RulerQaTest, HotpotRecordsThatAreNoneAreSkipped) {
  const auto file = nlohmann::json::parse(R"([
    {"question": "Who?", "answer": "A", "context": [["T", ["One. ", "Two."]], ["U", ["Three."]]]},
    {"question": "Who?", "answer": 5, "context": []}, 7])");
  int skipped = 0;
  const QaSet set = read_qa(file, [&](const std::string&) { skipped++; });
  EXPECT_EQ(set.name, "qa_2");
  EXPECT_EQ(skipped, 2);
  EXPECT_EQ(set.documents, (Strings{"T\nOne. Two.", "U\nThree."}));
  ASSERT_EQ(set.questions.size(), 1U);
  EXPECT_EQ(code_of([] { read_qa(nlohmann::json(7), [](const std::string&) {}); }),
            ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace kvedit::eval::ruler
