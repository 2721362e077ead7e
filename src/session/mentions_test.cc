#include "session/mentions.h"

#include <gtest/gtest.h>

#include "tiny_model.h"

namespace kvedit {
namespace {

class MentionsTest : public testing::Test {
 protected:
  std::vector<Mention> said(const std::string& left, const std::string& erased) const {
    const std::vector<std::vector<Token>> texts = {tokenizer_.encode(erased, false, false)};
    return mentions(tokenizer_, {tokenizer_, tokenizer_.encode(left, false, false)}, texts);
  }
  std::vector<std::string> words(const std::string& left, const std::string& erased) const {
    std::vector<std::string> all;
    for (const Mention& mention : said(left, erased)) all.push_back(mention.word);
    return all;
  }
  Tokenizer tokenizer_{write_tiny_model({}, temporary_path("mentions.gguf"))};
};

using Words = std::vector<std::string>;

TEST_F(MentionsTest, NumbersAreFoundHoweverTheyAreGrouped) {
  EXPECT_EQ(words("It said 4456, twice.", "The PIN is 4456."), Words{"4456"});
  EXPECT_EQ(words("that makes 12000 in all", "It costs 12,000 a year."), Words{"12,000"});
  EXPECT_EQ(words("at 18:30", "We met at 18:30 there."), Words{"18:30"});
  EXPECT_EQ(words("room 44561, or 445", "The PIN is 4456."), Words{});
  EXPECT_EQ(words("of 4 or 5", "I have 4 of 5."), Words{}) << "one digit tells nothing";
}

TEST_F(MentionsTest, NamesAreFoundInEitherCase) {
  EXPECT_EQ(words("ask lindqvist", "The keeper is Mr Lindqvist."), Words{"Lindqvist"});
  EXPECT_EQ(words("\u00e9mile too", "His name is \u00c9mile."), Words{"\u00c9mile"});
  EXPECT_EQ(words("the end", "The end. The start."), Words{}) << "a capital that any sentence begins with";
}

TEST_F(MentionsTest, WhatTheTranscriptDoesNotSayIsNotThere) {
  EXPECT_TRUE(words("Nothing of it.", "The PIN is 4456.").empty());
  EXPECT_TRUE(words("", "The PIN is 4456.").empty());
}

TEST_F(MentionsTest, EveryPlaceIsNamed) {
  const auto found = said("4456 and 4456, then Lindqvist", "Mr Lindqvist knows 4456.");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].word, "Lindqvist") << "the rarer first";
  ASSERT_EQ(found[1].places.size(), 2U);
  EXPECT_NE(found[1].places[0].text.find("4456"), std::string::npos);
}

TEST_F(MentionsTest, BytesThatAreNoTextAreNoWords) {
  std::vector<Token> halves = {3 + 0xE6, 3 + 0x97, 3 + 0xF0, 3 + 0xFF};
  for (int i = 0; i < 200; i++) halves.push_back(3 + (i * 89 + 101) % 256);
  const std::vector<std::vector<Token>> texts = {halves};
  EXPECT_TRUE(mentions(tokenizer_, {tokenizer_, halves}, texts).empty());
}

}  // namespace
}  // namespace kvedit
