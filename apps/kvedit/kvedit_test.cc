// The command line as a user has it: what it prints and how it ends, on a tiny random model.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tiny_model.h"
#include "tools/process.h"

namespace kvedit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Words = std::vector<std::string>;

constexpr int kDone = 0, kFailed = 1, kUsage = 2, kCancelled = 3;

class CommandLineTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    TinySpec spec;
    spec.context = 8192;
    model_ = new std::string(write_tiny_model(spec, temporary_path("command_line.gguf")));
  }
  void SetUp() override {
    folder_ = temporary_path("command_line");
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }

  std::string file(const std::string& name, const std::string& text = {}) const {
    const std::string path = folder_ / name;
    if (!text.empty()) write_file(path, text);
    return path;
  }
  static Words command(const std::string& name, const Words& more) {
    Words words = {KVEDIT_PROGRAM, name, "-m", *model_, "--chat-template", "chatml", "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  static Finished run(const std::string& name, const Words& more, const std::string& input = {}) {
    return run_program(command(name, more), input, true);
  }
  static Json json(const std::string& name, Words more, const std::string& input = {}) {
    more.push_back("--json");
    const Finished done = run(name, more, input);
    EXPECT_EQ(done.exit_code, kDone) << done.output << done.errors;
    return Json::parse(done.output);
  }
  /// Every line of a chat in JSON.
  static std::vector<Json> chat(const std::string& input, Words more = {}) {
    more.insert(more.end(), {"--json", "-n", "4"});
    const Finished done = run("chat", more, input);
    EXPECT_EQ(done.exit_code, kDone) << done.errors;
    std::vector<Json> all;
    std::istringstream lines(done.output);
    for (std::string line; std::getline(lines, line);) {
      all.push_back(Json::parse(line, nullptr, false));
      EXPECT_TRUE(all.back().is_object()) << line;
    }
    return all;
  }
  static std::string text_of(const Json& messages) {
    std::string all;
    for (const Json& message : messages) all += message["text"].get<std::string>() + "|";
    return all;
  }

  static std::string* model_;
  fs::path folder_;
};
std::string* CommandLineTest::model_ = nullptr;

constexpr const char* kNotes =
    "The ferry leaves at eight. The code is 9023. The gate is shut.\nThe code is 9023. Ask Lindqvist.\n";

TEST_F(CommandLineTest, AChatInJsonAnswersEveryLineWithAnObject) {
  const std::string notes = file("notes.txt", kNotes);
  const auto all = chat(
      "Hello.\n/read " + notes + "\nWhat now?\n/find code\n/messages\n/erase The code is 9023.\n/verify\n" +
      "/upgrade\n/evict snapkv:window=4,recent=4 "
      "50%\n/undo\n/redo\n/undo\n/fork\n/undo\n/stats\n/regenerate\n/nothing\n" +
      "/save " + file("talk.kv") + "\n/load " + file("talk.kv") + "\n/system Be brief.\n/clear\n/help\n");
  const char* const commands[] = {
      "",     "read", "",     "find",  "messages",   "erase", "verify", "upgrade", "evict",  "undo",  "redo",
      "undo", "fork", "undo", "stats", "regenerate", "",      "save",   "load",    "system", "clear", "help"};
  ASSERT_EQ(all.size(), std::size(commands));
  for (size_t i = 0; i < all.size(); i++) EXPECT_EQ(all[i].value("command", ""), commands[i]) << all[i];
  EXPECT_EQ(all[3]["found"].size(), 2U);
  EXPECT_EQ(all[5]["exactness"], "exact");
  EXPECT_EQ(all[16]["error"]["code"], "invalid_argument");
}

TEST_F(CommandLineTest, APromptIsTheSameInWordsAndAsAnOption) {
  const auto read = [](const Words& prompt) {
    Words words = prompt;
    words.insert(words.end(), {"--raw", "-n", "2"});
    return json("run", words);
  };
  const Json option = read({"-p", "The gate is shut."});
  const Json words = read({"The", "gate", "is", "shut."});
  EXPECT_GT(option["prompt_tokens"], 4);
  EXPECT_EQ(option["prompt_tokens"], words["prompt_tokens"]);
  EXPECT_EQ(option["text"], words["text"]);
  const Json both = read({"-f", file("notes.txt", "The ferry is late."), "-p", "The gate is shut."});
  EXPECT_GT(both["prompt_tokens"], option["prompt_tokens"]);
}

TEST_F(CommandLineTest, ErrorsOfTheLibraryNameTheFlagsOfTheCommandLine) {
  const std::string notes = file("notes.txt", "The gate is shut. The ferry is late.");
  const Finished steer = run("erase", {"-f", notes, "--span", "The gate is shut.", "--method", "steer"});
  EXPECT_EQ(steer.exit_code, kUsage);
  EXPECT_NE(steer.errors.find("--adapter"), std::string::npos) << steer.errors;
  EXPECT_EQ(steer.errors.find("Options::"), std::string::npos) << steer.errors;
  const std::string talk = file("talk.json", R"([{"role": "user", "content": "Hello."}])");
  const Finished chat = run_program({KVEDIT_PROGRAM, "chat", "-m", *model_, "--threads", "1", "--json"},
                                    "/sync " + talk + " steer\n", true);
  EXPECT_NE(chat.output.find("--adapter"), std::string::npos) << chat.output << chat.errors;
  EXPECT_EQ(chat.output.find("Options::"), std::string::npos) << chat.output;
}

TEST_F(CommandLineTest, ADocumentAndWhatIsSaidOfItAreOneMessage) {
  const std::string notes = file("notes.txt", kNotes);
  const auto all =
      chat("What is the code?\n/messages\n/erase file:" + notes + " shift\n/messages\n", {"-f", notes});
  ASSERT_EQ(all.size(), 4U);
  ASSERT_EQ(all[1]["messages"].size(), 2U);
  EXPECT_EQ(all[1]["messages"][0]["name"], "user:1");
  EXPECT_EQ(all[1]["messages"][0]["text"], "<|im_start|>user\n" +
                                               std::string(kNotes).substr(0, std::string(kNotes).size() - 1) +
                                               "\n\nWhat is the code?<|im_end|>\n");
  EXPECT_EQ(all[3]["messages"][0]["text"], "<|im_start|>user\n\n\nWhat is the code?<|im_end|>\n");
}

TEST_F(CommandLineTest, AnEraseTellsWhichMessagesStillSayIt) {
  const auto all = chat("My bank PIN is 4456.\nIs 4456 right?\n/erase My bank PIN is 4456.\n/verify 4456\n");
  ASSERT_EQ(all.size(), 4U);
  for (const Json& report : {all[2], all[3]}) {
    ASSERT_FALSE(report["mentions"].empty()) << report;
    EXPECT_EQ(report["mentions"][0]["word"], "4456");
    EXPECT_EQ(report["mentions"][0]["places"][0]["message"], "user:2");
  }
  const Finished text =
      run("chat", {"-n", "4"}, "My bank PIN is 4456.\nIs 4456 right?\n/erase My bank PIN is 4456.\n");
  EXPECT_NE(text.output.find("to erase that too: /erase user:2"), std::string::npos) << text.output;
}

TEST_F(CommandLineTest, RegenerateReplacesTheLastReplyAlone) {
  const auto all = chat("Hello.\n/messages\n/regenerate\n/messages\nAgain.\n/regenerate\n/messages\n",
                        {"--temperature", "1", "--seed", "7"});
  ASSERT_EQ(all.size(), 7U);
  EXPECT_EQ(all[1]["messages"].size(), 2U);
  EXPECT_EQ(all[3]["messages"].size(), 2U);
  EXPECT_NE(text_of(all[1]["messages"]), text_of(all[3]["messages"]));
  EXPECT_EQ(all[1]["messages"][0], all[3]["messages"][0]);
  ASSERT_EQ(all[6]["messages"].size(), 4U);
  EXPECT_EQ(all[6]["messages"][3]["name"], "assistant:2");
}

TEST_F(CommandLineTest, ClearBeginsAnewWithTheSystemMessage) {
  const auto all = chat("Hello.\n/clear\n/messages\n", {"--system", "Be brief."});
  ASSERT_EQ(all.back()["messages"].size(), 1U);
  EXPECT_EQ(all.back()["messages"][0]["name"], "system:1");
}

TEST_F(CommandLineTest, LinesBetweenTripleQuotesAreOneMessage) {
  const auto all = chat("\"\"\"one\n\n/two\nthree\"\"\"\n/messages\n");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_NE(text_of(all[1]["messages"]).find("one\n\n/two\nthree"), std::string::npos);
}

TEST_F(CommandLineTest, AFailedSaveIsNotTheNextOnesTarget) {
  const std::string good = file("good.kv");
  const auto all = chat("Hello.\n/save " + good + "\n/save " + file("none") + "/bad.kv\n/save\n/load " +
                        file("no.kv") + "\n/save\n");
  ASSERT_EQ(all.size(), 6U);
  EXPECT_TRUE(all[2].contains("error"));
  EXPECT_EQ(all[3]["file"], good);
  EXPECT_TRUE(all[4].contains("error"));
  EXPECT_EQ(all[5]["file"], good);
}

TEST_F(CommandLineTest, RunTakesASystemMessageAndSaysWhereItWasCutShort) {
  const std::string saved = file("run.kv");
  const Finished done = run("run", {"--system", "Be brief.", "Hello.", "-n", "3", "--save", saved});
  EXPECT_EQ(done.exit_code, kDone) << done.errors;
  EXPECT_NE(done.errors.find("cut short by max_tokens"), std::string::npos) << done.errors;
  const Json info = json("info", {saved});
  ASSERT_EQ(info["messages"].size(), 3U);
  EXPECT_EQ(info["messages"][0]["name"], "system:1");
  const Finished shown = run("info", {saved});
  EXPECT_NE(shown.output.find("user:1 tokens"), std::string::npos) << shown.output;
}

TEST_F(CommandLineTest, WithoutALimitARunEndsWithItsReplyOrTheContext) {
  TinySpec spec;
  spec.context = 128;
  const std::string small = write_tiny_model(spec, temporary_path("small.gguf"));
  const Finished done = run_program(
      {KVEDIT_PROGRAM, "run", "-m", small, "--raw", "Hello.", "-n", "-1", "--json", "--threads", "1"}, "",
      true);
  ASSERT_EQ(done.exit_code, kDone) << done.errors;
  const Json report = Json::parse(done.output);
  EXPECT_TRUE(report["stop"] == "end_token" || report["stop"] == "context_full") << report;
  EXPECT_EQ(run("run", {"--raw", "Hello.", "-n", "-2"}).exit_code, kUsage);
  EXPECT_EQ(run("run", {"--raw", "Hello.", "-n", "0"}).exit_code, kUsage);
}

TEST_F(CommandLineTest, ATerminationSavesWhatWasMade) {
  TinySpec spec;
  spec.context = 1 << 20;
  const std::string model = write_tiny_model(spec, temporary_path("endless.gguf")), saved = file("run.kv");
  const auto words = [&](int prompt, const Words& more) {
    Words all = {KVEDIT_PROGRAM,     "run", "-m",        model, "--raw", std::to_string(prompt),
                 "--repeat-penalty", "1",   "--threads", "1"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  int prompt = 1;  // that the model answers without an end
  const auto ends = [&] {
    return Json::parse(run_program(words(prompt, {"-n", "1000", "--json"}), "", true).output)["stop"] !=
           "max_tokens";
  };
  while (prompt < 100 && ends()) prompt++;
  Words limited = {"timeout", "--preserve-status", "-s", "TERM", "1"};
  const Words endless = words(prompt, {"-n", "-1", "--save", saved});
  limited.insert(limited.end(), endless.begin(), endless.end());
  EXPECT_EQ(run_program(limited, "", true).exit_code, kCancelled);
  EXPECT_TRUE(fs::exists(saved));
}

TEST_F(CommandLineTest, WhereNothingCanBeWrittenIsToldBeforeTheWork) {
  const std::string nowhere = file("none") + "/x.kv";
  const std::string notes = file("notes.txt", kNotes);
  EXPECT_EQ(run("run", {"Hello.", "--save", nowhere}).exit_code, kUsage);
  EXPECT_EQ(run("chat", {"--session", nowhere}).exit_code, kUsage);
  EXPECT_EQ(run("erase", {"-f", notes, "--span", "The gate is shut.", "--save", nowhere}).exit_code, kUsage);
  EXPECT_EQ(
      run("evict", {"-f", notes, "--policy", "random", "--keep", "50%", "--session", nowhere}).exit_code,
      kUsage);
  EXPECT_EQ(run("run", {"Hello.", "--save", "/dev/null"}).exit_code, kFailed);
}

TEST_F(CommandLineTest, ErasesAllPlacesARangeADocumentAndBySeveralMethods) {
  const std::string notes = file("notes.txt", kNotes),
                    other = file("other.txt", "The tower is tall.\nIts door is red.\n");
  const Json all = json("erase", {"-f", notes, "--span", "The code is 9023.", "--all", "--method", "shift",
                                  "--method", "repair:window=3,tail=2", "--method", "drop"});
  ASSERT_EQ(all["edits"].size(), 3U);
  EXPECT_EQ(all["edits"][1]["method"], "repair:window=3,tail=2");
  for (const Json& edit : all["edits"]) {
    EXPECT_EQ(edit["spans"].size(), 2U);
    EXPECT_TRUE(edit["repeated"].empty());
  }
  const Json range = json("erase", {"-f", notes, "--from", "The ferry", "--to", "is shut."});
  EXPECT_EQ(range["edits"][0]["spans"][0]["text"],
            "The ferry leaves at eight. The code is 9023. The gate is shut.");
  const Json document = json("erase", {"-f", notes, "-f", other, "--document", other});
  EXPECT_EQ(document["edits"][0]["spans"][0]["text"], "The tower is tall.\nIts door is red.");
  EXPECT_EQ(run("erase", {"-f", notes, "--document", other}).exit_code, kUsage);
  EXPECT_EQ(run("erase", {"-f", notes, "--from", "is shut.", "--to", "The ferry"}).exit_code, kUsage);
  EXPECT_EQ(run("erase", {"-f", notes, "--from", "The ferry"}).exit_code, kUsage);
  EXPECT_EQ(run("erase", {"-f", notes}).exit_code, kUsage);
}

TEST_F(CommandLineTest, AnEditedSessionIsVerifiedAndUpgradedLater) {
  const std::string notes = file("notes.txt", kNotes), edited = file("edited.kv"), exact = file("exact.kv");
  json("erase", {"-f", notes, "--span", "The gate is shut.", "--method", "shift", "--save", edited});
  const Json verified = json("erase", {"--session", edited, "--verify"});
  EXPECT_GT(verified["verify"]["erased_tokens"].get<int>(), 0);
  EXPECT_FALSE(verified["verify"]["verdict"].get<std::string>().empty());
  const Json upgraded = json("erase", {"--session", edited, "--upgrade", "--save", exact});
  EXPECT_EQ(upgraded["upgrade"]["state"], "done");
  const Json info = json("info", {exact});
  EXPECT_EQ(info["exact_tokens"], info["tokens"]);
}

TEST_F(CommandLineTest, WhatIsForgottenIsInNoFile) {
  const std::string notes = file("notes.txt", kNotes), session = file("new.kv");
  const Words erase = {"-f", notes, "--span", "The gate is shut.", "--session", session, "--forget"};
  EXPECT_EQ(run("erase", erase).exit_code, kUsage) << "the session would keep it";
  EXPECT_FALSE(fs::exists(session));
  Words over = erase;
  over.insert(over.end(), {"--save", session});
  EXPECT_EQ(run("erase", over).exit_code, kDone);
  EXPECT_EQ(run("erase", {"--session", session, "--span", "The gate is shut."}).exit_code, kUsage);
  const Json info = json("info", {session});
  EXPECT_EQ(info.dump().find("gate"), std::string::npos);
}

TEST_F(CommandLineTest, AFullContextTellsOfPositionsThatEditsLeft) {
  TinySpec spec;
  spec.context = 160;
  const std::string small = write_tiny_model(spec, temporary_path("small.gguf")), edited = file("edited.kv");
  const std::string notes = file("notes.txt", kNotes);
  const Words common = {"-m", small, "--threads", "1"};
  Words erase = {KVEDIT_PROGRAM,      "erase",    "--raw", "-f",     notes, "--span",
                 "The gate is shut.", "--method", "drop",  "--save", edited};
  erase.insert(erase.end(), common.begin(), common.end());
  ASSERT_EQ(run_program(erase, "", true).exit_code, kDone);
  bool told = false;
  for (int seed = 1; seed < 20 && !told; seed++) {  // until a reply fills the context
    Words go_on = {KVEDIT_PROGRAM, "run",           "--session", edited,   "-n",
                   "-1",           "--temperature", "1",         "--seed", std::to_string(seed)};
    go_on.insert(go_on.end(), common.begin(), common.end());
    told =
        run_program(go_on, "", true).errors.find("positions are left unused by edits") != std::string::npos;
  }
  EXPECT_TRUE(told);
}

TEST_F(CommandLineTest, EvictTakesSeveralPolicies) {
  const std::string notes = file("notes.txt", kNotes);
  const Json all = json("evict", {"-f", notes, "--policy", "snapkv:window=4,recent=4", "--policy",
                                  "streaming-llm", "--policy", "random", "--keep", "70%"});
  ASSERT_EQ(all["evictions"].size(), 3U);
  EXPECT_EQ(all["evictions"][1]["policy"].get<std::string>().substr(0, 13), "streaming-llm");
}

TEST_F(CommandLineTest, AnswersInAPipeAreWhole) {
  const std::string notes = file("notes.txt", kNotes);
  const Words words = {"-f", notes, "--span", "The gate is shut.", "-q", "Why?", "-n", "200"};
  const Json report = json("erase", words);
  std::string answer = report["answers_before"][0]["answer"];
  std::replace_if(
      answer.begin(), answer.end(), [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  ASSERT_GT(answer.size(), 110U);
  if (answer.find("\xEF\xBF\xBD") != std::string::npos) return;  // bytes that JSON cannot hold
  EXPECT_NE(run("erase", words).output.find(answer), std::string::npos);
}

TEST_F(CommandLineTest, UsageErrorsSaySoAndHowToGoOn) {
  const Finished missing = run_program({"env", "KVEDIT_MODEL=/nope.gguf", KVEDIT_PROGRAM, "info"}, "", true);
  EXPECT_EQ(missing.exit_code, kUsage);
  EXPECT_NE(missing.errors.find("$KVEDIT_MODEL names /nope.gguf"), std::string::npos) << missing.errors;
  const Finished unknown =
      run_program({KVEDIT_PROGRAM, "info", "-m", *model_, "--chat-template", "foo"}, "", true);
  EXPECT_EQ(unknown.exit_code, kUsage) << unknown.errors;
  const std::string notes = file("notes.txt", kNotes);
  const Finished eraser = run("erase", {"-f", notes, "--span", "The gate is shut.", "--method", "steer"});
  EXPECT_EQ(eraser.exit_code, kUsage);
  EXPECT_NE(eraser.errors.find("--adapter"), std::string::npos) << eraser.errors;
}

TEST_F(CommandLineTest, OneVTellsOfUsTwoOfLibraries) {
  const auto lines = [](const std::string& text) { return std::count(text.begin(), text.end(), '\n'); };
  const Finished one = run("info", {"-v"}), two = run("info", {"-vv"});
  EXPECT_LT(lines(one.errors), 5);
  EXPECT_GT(lines(two.errors), lines(one.errors));
}

TEST_F(CommandLineTest, PoliciesFitAPage) {
  const Finished all = run_program({KVEDIT_PROGRAM, "policies"}, "", true);
  std::istringstream lines(all.output);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 110U) << line;
  const Finished one = run_program({KVEDIT_PROGRAM, "policies", "snapkv"}, "", true);
  EXPECT_NE(one.output.find("window"), std::string::npos);
  EXPECT_EQ(run_program({KVEDIT_PROGRAM, "policies", "nonsense"}, "", true).exit_code, kUsage);
}

TEST(PoliciesPage, IsTheTable) {
  std::ostringstream page;
  page << std::ifstream(fs::path(__FILE__).parent_path() / "../../docs/policies.md").rdbuf();
  EXPECT_EQ(page.str(), run_program({KVEDIT_PROGRAM, "policies", "--markdown"}).output)
      << "kvedit policies --markdown >docs/policies.md writes it anew";
}

}  // namespace
}  // namespace kvedit
