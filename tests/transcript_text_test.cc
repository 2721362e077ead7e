// The transcript as text: read in pieces, found though it looks otherwise, handed out in whole characters.
#include <gguf.h>
#include <gtest/gtest.h>

#include "model/utf8.h"
#include "session_testing.h"
#include "tools/text.h"

namespace kvedit {
namespace {

using Conversation = std::vector<Message>;

std::shared_ptr<Model> model(bool sentencepiece = false, const std::string& chat_template = "chatml") {
  ModelOptions options = exact_options();
  options.threads = 1;
  options.chat_template = chat_template;
  TinySpec spec;
  spec.sentencepiece = sentencepiece;
  spec.edit = begin_every_text;
  return load(spec, options);
}

TEST(PiecesTest, AConversationHasTheTokensOfItsWholeText) {
  const Conversation talk = {{"user", "the hello and"},
                             {"assistant", "when he there"},
                             {"user", "then"},
                             {"assistant", "the"},
                             {"user", "and the hello"}};
  for (const bool sentencepiece : {true, false}) {
    for (const char* chat_template : {"llama2", "llama2-sys", "mistral-v1", "mistral-v3", "zephyr", "chatml",
                                      "gemma", "vicuna", "phi3"}) {
      SCOPED_TRACE(cat(chat_template, sentencepiece ? ", SentencePiece" : ", BPE"));
      const auto tiny = model(sentencepiece, chat_template);
      const std::string text = tiny->format(talk, true);
      Session whole(tiny);
      whole.append(text, true);
      Session once(tiny), by_message(tiny), synced(tiny);
      once.append_messages(talk, true);
      for (size_t i = 0; i < talk.size(); i++)
        by_message.append_messages(std::span(talk).subspan(i, 1), i + 1 == talk.size());
      synced.sync(talk);
      EXPECT_EQ(once.tokens(), whole.tokens());
      EXPECT_EQ(by_message.tokens(), whole.tokens());
      EXPECT_EQ(synced.tokens(), whole.tokens());
      std::string joined;
      for (const MessageSpan& message : once.messages()) joined += message.text;
      EXPECT_EQ(joined, text);
    }
  }
}

TEST(PiecesTest, TextGoesOnWithoutASpaceOfTheVocabularys) {
  const auto tiny = model(true);
  Session s(tiny);
  s.append("Hi");
  const int first = s.stats().tokens;
  s.append("Hi");
  EXPECT_EQ(s.text(), "<s>HiHi");
  EXPECT_EQ(s.stats().tokens, first + 2) << "no token for a space";
  s.append("</s>", true);
  s.append("the");
  EXPECT_EQ(s.text(), "<s>HiHi</s>the");
  EXPECT_EQ(s.tokens().back(), tiny->tokenize("the").back()) << "behind a control token a text begins";
  EXPECT_EQ(s.find("</s>the").size(), 1U);
  EXPECT_EQ(s.erase(s.find_one("the").tokens).text[0], "the");
}

TEST(PiecesTest, ARepliedConversationIsReadOnce) {
  // How a reply begins as the template has it, and the token that ends it.
  const std::tuple<const char*, std::string, bool> templates[] = {
      {"llama2", "", true}, {"llama2-sys", "", true}, {"mistral-v1", " ", true}, {"zephyr", "", false}};
  for (const auto& [chat_template, begin, ends] : templates) {
    SCOPED_TRACE(chat_template);
    Session s(model(true, chat_template));
    Conversation talk = {{"user", "the hello"}};
    s.append_messages(talk, true);
    for (const char c : begin + "and") s.append_tokens(std::vector<Token>{3 + c});  // not as it would be read
    if (ends) s.append_tokens(std::vector<Token>{2});
    const std::vector<Token> before = s.tokens();
    talk.push_back({"assistant", "and"});
    talk.push_back({"user", "then"});
    Session appended = s.fork();
    appended.append_messages(std::span(talk).last(1), true);
    EXPECT_EQ(s.sync(talk).erased, 0);
    std::vector<Token> kept = s.tokens();
    kept.resize(before.size());
    EXPECT_EQ(kept, before);
    EXPECT_EQ(appended.tokens(), s.tokens());
  }
}

// Gemma's vocabulary has its makers' own tokens for runs of line ends; a model need not write them.
TEST(PiecesTest, AReplyKeepsItsTokensWhereTheMakersHaveOneForThem) {
  TinySpec spec;
  spec.edit = [](gguf_context* file) {
    const auto list = [&](const char* key) { return gguf_find_key(file, key); };
    const int64_t tokens = list("tokenizer.ggml.tokens"), types = list("tokenizer.ggml.token_type");
    std::vector<std::string> texts;
    for (size_t i = 0; i < gguf_get_arr_n(file, tokens); i++)
      texts.emplace_back(gguf_get_arr_str(file, tokens, i));
    texts[300] = "\n\n";
    std::vector<const char*> pointers;
    for (const std::string& text : texts) pointers.push_back(text.c_str());
    const auto* old = static_cast<const int32_t*>(gguf_get_arr_data(file, types));
    std::vector<int32_t> kinds(old, old + texts.size());
    kinds[300] = 4;  // user-defined
    gguf_set_arr_str(file, "tokenizer.ggml.tokens", pointers.data(), pointers.size());
    gguf_set_arr_data(file, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, kinds.data(), kinds.size());
  };
  ModelOptions options = exact_options();
  options.chat_template = "chatml";
  const auto tiny = load(spec, options);
  ASSERT_EQ(tiny->tokenize("a\n\nb").size(), 3U);
  Session s(tiny);
  Conversation talk = {{"user", "Hi"}};
  s.append_messages(talk, true);
  s.append_tokens(std::vector<Token>{3 + 'a', 3 + '\n', 3 + '\n', 3 + 'b', 2});
  talk.push_back({"assistant", "a\n\nb"});
  talk.push_back({"user", "then"});
  EXPECT_EQ(s.sync(talk).erased, 0);
}

TEST(NearMissTest, ATextThatLooksOtherwiseIsFoundLoosely) {
  Session s(model());
  s.append("She said \u201CThe Code\u00A0is 9023\u201D. Zoe\u0308 left at  noon. The code is 4471.");
  EXPECT_TRUE(s.find("\"the code is 9023\"").empty());
  const std::vector<Found> all = s.find("the code is", {.loose = true});
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].differs, "case, white space");
  EXPECT_EQ(all[1].differs, "case");
  EXPECT_EQ(s.find_one("\"the code is 9023\"", 0, {.loose = true}).differs,
            "case, white space, quotation marks or dashes");
  EXPECT_EQ(s.find_one("Zo\u00EB", 0, {.loose = true}).text, "Zoe\u0308");
  EXPECT_EQ(s.find_one("The code is 4471", 0, {.loose = true}).differs, "");
}

TEST(NearMissTest, WhatIsNotThereIsToldWithWhatIsNearest) {
  Session s(model());
  s.append("The gate was shut. The code was 9023. ");
  const auto near = s.find_nearest("The code is 9023");
  ASSERT_TRUE(near);
  EXPECT_EQ(near->differs, "2 of 16 characters");
  EXPECT_NE(near->text.find("The code was 9023"), std::string::npos);
  EXPECT_EQ(s.find_nearest("the gate")->differs, "case");
  EXPECT_EQ(s.find_nearest("The gate")->differs, "");
  EXPECT_FALSE(s.find_nearest("Nothing like it was ever said"));
  const auto what = [&](const char* text) -> std::string {
    try {
      s.find_one(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::not_found);
      return error.what();
    }
    return "";
  };
  EXPECT_NE(what("the code was").find("The code was', other in case"), std::string::npos)
      << what("the code was");
  EXPECT_EQ(what("Nothing like it was ever said").find("nearest"), std::string::npos);
  EXPECT_FALSE(Session(s.model()).find_nearest("x"));
}

TEST(NearMissTest, ACopyThatLooksOtherwiseIsStillSaid) {
  Session s(model());
  s.append("The code is 9023. Nobody knew. THE  CODE IS 9023.");
  const EraseReport report = s.erase(s.find_one("The code is 9023.").tokens);
  ASSERT_EQ(report.repeated.size(), 1U);
  EXPECT_EQ(report.repeated[0].differs, "case, white space");
}

TEST(WholeCharactersTest, GeneratedTextIsValid) {
  const auto tiny = model();
  int halves = 0;
  for (uint32_t seed = 1; seed <= 40; seed++) {
    Session s(tiny);
    s.append("the");
    std::string streamed;
    const Generation made =
        s.generate({.max_tokens = 12, .temperature = 3, .seed = seed, .on_text = [&](std::string_view part) {
                      EXPECT_EQ(valid_utf8_bytes(part), part.size());
                      streamed += part;
                      return true;
                    }});
    EXPECT_EQ(streamed, made.text);
    halves += unfinished_utf8_bytes(s.text()) > 0;
    // A client hands it back: what of it is no text is read again.
    const Conversation talk = {{"user", "Hi"}, {"assistant", made.text}};
    EXPECT_NO_THROW(s.sync(talk));
  }
  EXPECT_GT(halves, 0);
}

TEST(WholeCharactersTest, ACharacterBelongsToTheCallThatFinishesIt) {
  const auto tiny = model();
  int finished = 0;
  for (uint32_t seed = 1; seed <= 60 && finished == 0; seed++) {
    Session s(tiny);
    s.append_tokens(std::vector<Token>{3 + 'a', 3 + 0xC3});
    const Generation made = s.generate({.max_tokens = 1, .temperature = 5, .seed = seed});
    const Token next = made.tokens[0];
    if (next < 3 + 0x80 || next >= 3 + 0xC0) continue;
    finished++;
    EXPECT_EQ(made.text, std::string("\xC3") + static_cast<char>(next - 3));
  }
  EXPECT_EQ(finished, 1);
}

TEST(WholeCharactersTest, WhatAnEraseReportsCanBeVerified) {
  Session s(model());
  s.append("Zo\u00EB left \U0001F600 at noon");
  const auto byte = [&](const char* text, int begin, int end) {
    const int at = s.find_one(text).tokens.begin;
    return Span{at + begin, at + end};
  };
  const std::vector<Span> halves = {byte("\u00EB", 1, 4), byte("\U0001F600", 2, 4)};
  const EraseReport report = s.erase(halves, {.method = "shift"});
  ASSERT_LT(valid_utf8_bytes(report.text[0]), report.text[0].size());
  EXPECT_GT(s.verify({.erased = report.text}).erased_tokens, 0);
  EXPECT_EQ(code_of([&] { s.verify({.erased = {"a\xFFz"}}); }), ErrorCode::invalid_argument);
}

TEST(LookingTest, CallsThatChangeNothingKeepTheLogitsMadeAhead) {
  const auto tiny = model();
  Session s = filled(tiny, 65);  // the pending token's entry begins a page
  const SessionStats before = s.stats();
  const size_t pages = tiny->pool().pages_in_use;
  const std::vector<float> logits = s.logits();
  const size_t ahead = tiny->pool().pages_in_use;
  ASSERT_GT(ahead, pages);
  const SessionStats stats = s.stats();
  EXPECT_EQ(stats.entries, before.entries);
  EXPECT_EQ(stats.bytes, before.bytes);
  s.save(temporary_path("ahead.kv"));
  EXPECT_LT(s.verify().max_kl, 1e-9);
  const std::vector<Token> next = {5, 9};
  const std::vector<float> after = s.logits_after(next);
  EXPECT_EQ(after, filled(tiny, 65).logits_after(next));
  Session fork = s.fork();
  EXPECT_EQ(tiny->pool().pages_in_use, ahead) << "the entry is still there, and shared";
  EXPECT_EQ(fork.stats().entries, before.entries);
  EXPECT_EQ(fork.logits(), logits);
  EXPECT_EQ(tiny->pool().pages_in_use, ahead) << "the fork has them, too";
  EXPECT_EQ(s.logits(), logits);
  Session edited = s.fork();
  edited.erase(Span{10, 20});
  EXPECT_EQ(edited.stats().tokens, 55);
  EXPECT_EQ(s.logits(), logits);
  EXPECT_EQ(Session::load(tiny, temporary_path("ahead.kv")).logits(), logits);
  s.append_tokens(next);
  Session exact = fresh(tiny, s.tokens());
  EXPECT_LT(from(exact, s).max, 1e-6);
}

}  // namespace
}  // namespace kvedit
