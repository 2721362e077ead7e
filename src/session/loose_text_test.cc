#include "session/loose_text.h"

#include <gtest/gtest.h>

namespace kvedit {
namespace {

std::string found(const std::string& in, const std::string& text) {
  const auto all = LooseText(in, kEveryDifference).find(LooseText(text, kEveryDifference));
  return all.empty() ? "" : in.substr(all[0].begin, all[0].end - all[0].begin);
}

TEST(LooseText, CaseWhiteSpaceMarksAndFormsDoNotMatter) {
  EXPECT_EQ(found("Well, The  Code\r\nis here.", "the code is"), "The  Code\r\nis");
  EXPECT_EQ(found("a no\u00A0break space", "no break"), "no\u00A0break");
  EXPECT_EQ(found("She said \u201Cit\u2019s off\u201D.", "\"It's off\""), "\u201Cit\u2019s off\u201D");
  EXPECT_EQ(found("pages 4\u201312", "4-12"), "4\u201312");
  EXPECT_EQ(found("Zoe\u0308 was here", "zo\u00EB"), "Zoe\u0308");
  EXPECT_EQ(found("ZO\u00CB was here", "Zoe\u0308"), "ZO\u00CB");
  EXPECT_EQ(found("of\uFB01ce", "office"), "of\uFB01ce");
  EXPECT_EQ(found("STRASSE", "stra\u00DFe"), "STRASSE");
  EXPECT_EQ(found("  padded", " padded "), "padded");
  EXPECT_EQ(found("another", "other one"), "");
}

TEST(LooseText, NoPartOfACharacterIsFound) {
  EXPECT_EQ(found("o\uFB03ce", "of"), "") << "half of a ligature";
  EXPECT_EQ(found("Zoe\u0308", "Zoe"), "") << "a letter without its mark";
}

TEST(LooseText, BytesThatAreNoTextAreFoundAsTheyAre) {
  EXPECT_EQ(found("a \xC3\x28 b \x9F", "\xC3\x28 B \x9F"), "\xC3\x28 b \x9F");
  EXPECT_EQ(found("\xF0\x9F", "\x9F"), "\x9F");
}

TEST(LooseText, DifferencesAreNamed) {
  EXPECT_EQ(differences("the code", "The code"), "case");
  EXPECT_EQ(differences("the code", "the  code"), "white space");
  EXPECT_EQ(differences("the code", "the\u00A0code"), "white space");
  EXPECT_EQ(differences("it's", "it\u2019s"), "quotation marks or dashes");
  EXPECT_EQ(differences("Zo\u00EB", "Zoe\u0308"), "Unicode form");
  EXPECT_EQ(differences("the code", "The\ncode"), "case, white space");
  EXPECT_EQ(differences("same", "same"), "");
}

TEST(LooseText, TheNearestPlaceHasTheFewestEdits) {
  const std::string in = "The gate was shut. The code was 9023, they said. Then it rained.";
  const auto near = LooseText(in, kEveryDifference).nearest(LooseText("The code is 9023", kEveryDifference));
  EXPECT_EQ(in.substr(near.place.begin, near.place.end - near.place.begin), "The code was 9023");
  EXPECT_EQ(near.edits, 2U);
  EXPECT_EQ(near.characters, 16U);
}

}  // namespace
}  // namespace kvedit
