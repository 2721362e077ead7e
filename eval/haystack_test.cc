#include "eval/haystack.h"

#include <filesystem>
#include <fstream>

#include "session_testing.h"

namespace kvedit::eval {
namespace {

namespace fs = std::filesystem;

std::string folder(const std::string& name) {
  std::string path = temporary_path(name);
  fs::create_directories(path);
  return path;
}

TEST(HaystackTest, BrokenLinesAreProseAgain) {
  const Haystack haystack({"  One\nline,  two\r\nlines.\n\n \nA paragraph. \n", " \n"});
  EXPECT_EQ(haystack.documents(), (std::vector<std::string>{"One line, two lines.\n\nA paragraph."}));
}

TEST(HaystackTest, ReadsTextsOfAFolderByNameAndEachFileOnce) {
  const std::string path = folder("texts");
  write_file(path + "/b.txt", "second");
  write_file(path + "/a.txt", "first");
  write_file(path + "/notes.md", "another format");
  fs::create_symlink("a.txt", path + "/c.txt");
  EXPECT_EQ(Haystack::load(path).documents(), (std::vector<std::string>{"first", "second"}));
  EXPECT_EQ(Haystack::load(path + "/notes.md").documents(), std::vector<std::string>{"another format"});
}

TEST(HaystackTest, ReadsEveryFileWhereNoneIsNamedText) {
  const std::string path = folder("licences");
  write_file(path + "/GPL-3", "a licence");
  EXPECT_EQ(Haystack::load(path).documents(), std::vector<std::string>{"a licence"});
}

TEST(HaystackTest, RefusesWhatIsNotThereAndWhatIsEmpty) {
  EXPECT_EQ(code_of([] { Haystack::load(temporary_path("nowhere")); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([] { Haystack::load(folder("empty")); }), ErrorCode::invalid_argument);
}

TEST(HaystackTest, StretchIsWholeWordsFromAnywhereRoundAndRound) {
  const Haystack haystack({"alpha beta gamma", "delta epsilon"});
  const std::string all = "alpha beta gamma\n\ndelta epsilon\n\nalpha beta gamma\n\ndelta epsilon\n\nalpha";
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 40; seed++) {
    Random random{seed};
    const std::string text = haystack.stretch(36, random);
    EXPECT_NE((all + " ").find(text), std::string::npos) << text;
    EXPECT_GE(text.size(), 36U - std::string("\n\nepsilon").size());
    EXPECT_LE(text.size(), 36U);
    seen.insert(text);
  }
  EXPECT_EQ(seen.size(), 5U) << "one for each word";
}

TEST(HaystackTest, AStretchOfALongDocumentEndsWithAWord) {
  const Haystack haystack({"dreißig müde Käfer dösen über grünen Blättern und träumen von größeren Bäumen"});
  const std::string all = " " + haystack.documents().front() + "\n\n" + haystack.documents().front() + " ";
  for (uint64_t seed = 0; seed < 40; seed++) {
    for (size_t bytes = 18; bytes < 40; bytes++) {
      Random random{seed, bytes};
      const std::string text = haystack.stretch(bytes, random);
      const size_t at = all.find(text);
      ASSERT_NE(at, std::string::npos) << text;
      EXPECT_TRUE(all[at + text.size()] == ' ' || all[at + text.size()] == '\n') << text;
      EXPECT_LE(text.size(), bytes);
    }
  }
}

TEST(HaystackTest, WordsAreNotCut) {
  EXPECT_EQ(words("one two three", 0, 7), "one two");
  EXPECT_EQ(words("one two three", 0, 6), "one");
  EXPECT_EQ(words("one two three", 1, 100), "two three");
  EXPECT_EQ(words("one two three", 4, 100), "two three");
  EXPECT_EQ(words("one two three", 9, 100), "");
  EXPECT_EQ(words("one", 0, 2), "");
}

TEST(DrawsTest, AreTheSameOnEveryMachine) {
  Random random{1, 2, 3};
  EXPECT_EQ(random.below(1000000), 374162U);  // recorded once
  EXPECT_EQ(random.sample(4, 10), (std::vector<size_t>{6, 5, 7, 8}));
}

}  // namespace
}  // namespace kvedit::eval
