// Conversations as JSON, in the shapes that clients have, read by the program.
#include <gtest/gtest.h>

#include "tiny_model.h"
#include "tools/process.h"
#include "tools/text.h"

namespace kvedit {
namespace {

class ConversationFileTest : public testing::Test {
 protected:
  // What /sync and then /messages say.
  std::string read(const std::string& json) const {
    const std::string file = temporary_path("conversation.json");
    write_file(file, json);
    const Finished done =
        run_program({KVEDIT_PROGRAM, "chat", "-m", model_, "--threads", "1", "--chat-template", "chatml"},
                    "/sync " + file + "\n/messages\n", true);
    EXPECT_LT(done.exit_code, 128) << "no signal";
    return done.output + done.errors;
  }
  void expect_read(const std::string& json, const std::string& part) const {
    const std::string said = read(json);
    EXPECT_NE(said.find(part), std::string::npos) << json.substr(0, 200) << "\n" << said;
  }

  std::string model_ = write_tiny_model({}, temporary_path("conversation.gguf"));
};

TEST_F(ConversationFileTest, ContentIsTextOrPartsOfTextOrNull) {
  expect_read(R"([{"role": "user", "content": "Hello"}])", "user Hello<|im_end|>");
  expect_read(R"({"model": "m", "tools": [], "messages": [{"role": "user", "content": "Hello"}]})",
              "user Hello");
  expect_read(
      "\xEF\xBB\xBF"
      R"([{"role": "user", "content": "Hello"}])",
      "user Hello");
  expect_read(
      R"([{"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}])",
      "user Hello");
  expect_read(R"([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": null}])",
              "assistant:1");
}

TEST_F(ConversationFileTest, NumbersThatNoDoubleHoldsAreNamed) {
  expect_read(R"([{"role": "user", "content": "Hi", "n": 1e999}])",
              "message 1, \"n\": there is a number that cannot be read");
}

TEST_F(ConversationFileTest, WhatCannotBeReadIsNamedWithItsMessage) {
  const std::string first = R"([{"role": "user", "content": "Hi"}, )";
  expect_read(first + R"({"role": "assistant", "content": null, "tool_calls": [{"id": "1"}]}])",
              "message 2: \"tool_calls\"");
  expect_read(
      first + R"({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}])",
      "message 2: part 2 of \"content\" is of type \"image_url\"");
  expect_read(first + R"({"role": "user", "content": [{"type": "text"}]}])", "message 2: part 1");
  expect_read(first + R"({"role": "user", "content": 7}])", "message 2: \"content\" is neither");
  expect_read(first + R"({"role": "user"}])", "message 2: there is no \"content\"");
  expect_read(first + R"({"content": "Hi"}])", "message 2: there is no text \"role\"");
  expect_read(first + R"("Hi"])", "message 2: this is no object");
  expect_read(first + R"({"role": "user", "content": "cut \ud83d"}])",
              "message 2, \"content\": half a surrogate");
  expect_read(first + R"({"role": "user", "content": "cut \ude00"}])",
              "message 2, \"content\": half a surrogate");
  expect_read(R"({"a": [{"b": "c"}], "messages": [{"content": "cut \ud83d", "role": "user"}]})",
              "message 1, \"content\": half a surrogate");
  expect_read(first + "{\"role\": \"user\", \"content\": \"\xC3\"}]",
              "message 2, \"content\": text is not UTF-8");
  expect_read(first + "\n{\"role\": user}]", "this is not JSON at line 2");
  expect_read("\xFF\xFE[\0", "UTF-16");
  expect_read(R"([{"role": "user", "content": "a\u0000b"}])", "message 1");
  expect_read("[]", "no array of messages");
}

TEST_F(ConversationFileTest, DeepNestingIsRefused) {
  for (const std::string open : {"[", "{\"messages\":", "{\"messages\":[["}) {
    std::string deep;
    for (int i = 0; i < 300000; i++) deep += open;
    expect_read(deep, "nested more than");
  }
}

}  // namespace
}  // namespace kvedit
