// `kvedit eval all` from the command line: every task on the default model, at its smallest.
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "contents.h"
#include "eval/cell.h"
#include "eval/task.h"
#include "model/lkv_testing.h"
#include "peer.h"
#include "session_testing.h"
#include "tiny_adapter.h"
#include "tools/process.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace {

namespace fs = std::filesystem;

// MuSiQue's format, in words of our own. The last two passages support nothing.
constexpr std::string_view kOthers =
    R"({"idx": 8, "title": "Kelp", "paragraph_text": "Kelp grows in cold and shallow water. It holds on to rocks with a )"
    R"(foot that is no root, since it takes what it needs from the water around it. Fish lay their eggs among its leaves, and )"
    R"(crabs hide there from the gulls. In spring it can grow by half a metre in one day. People dry it on the beach, burn it )"
    R"(for its ash, or eat it in soup.", "is_supporting": false}, )"
    R"({"idx": 9, "title": "Slate", "paragraph_text": "Slate splits into thin plates, which keep rain out for a hundred years. )"
    R"(The quarry behind the town was given up when tiles of clay became cheaper, and its lowest hall filled with water. Divers )"
    R"(train in it now.", "is_supporting": false})";

std::string musique() {
  return cat(
      R"({"id": "2hop__1_2", "paragraphs": [)",
      R"({"idx": 0, "title": "Orla Brandt", "paragraph_text": "Orla Brandt is a painter who was born in Ribe.", "is_supporting": true}, )",
      R"({"idx": 1, "title": "Ribe", "paragraph_text": "The oldest inn of Ribe was opened by Jens Holm.", "is_supporting": true}, )",
      kOthers,
      R"(], "question": "Who opened the oldest inn of the town where Orla Brandt was born?", "question_decomposition": [], )",
      R"("answer": "Jens Holm", "answer_aliases": ["Holm"], "answerable": true})", "\n",
      R"({"id": "2hop__3_4", "paragraphs": [)",
      R"({"idx": 0, "title": "The Gull", "paragraph_text": "The Gull is a boat that Mette Dahl built.", "is_supporting": true}, )",
      kOthers, R"(], "question": "Who built the Gull?", "question_decomposition": [], )",
      R"("answer": "Mette Dahl", "answer_aliases": [], "answerable": true})", "\n");
}

// LongBench's.
constexpr std::string_view kLongBench =
    R"({"input": "Where is the key of the boat house?", "context": "The boat house is closed in winter. Its key hangs in the bakery.", )"
    R"("answers": ["In the bakery."], "length": 12, "dataset": "qasper", "language": "en", "all_classes": null, "_id": "1"})"
    "\n";

// It always keeps less than half of what stands before the first erased span.
constexpr const char* kPolicy = "snapkv:recent=8,window=8";

TEST(EvalCommandTest, EveryTaskFillsItsGrid) {
  const std::string model = kSmolLM2.path();
  if (model.empty()) GTEST_SKIP() << "scripts/deps has not brought the default model";
  const fs::path folder = fs::path(testing::TempDir()) / "eval_command";
  fs::remove_all(folder);
  fs::create_directories(folder);
  std::ofstream(folder / "musique.jsonl") << musique();
  std::ofstream(folder / "qasper.jsonl") << kLongBench;
  const Finished done = run_program({KVEDIT_PROGRAM,
                                     "eval",
                                     "all",
                                     "-m",
                                     model,
                                     "--policy",
                                     kPolicy,
                                     "--keep",
                                     "50%",
                                     "--method",
                                     "drop",
                                     "--examples",
                                     "1",
                                     "--lengths",
                                     "400",
                                     "--threads",
                                     "1",
                                     "--data",
                                     "erase-qa=" + (folder / "musique.jsonl").string(),
                                     "--data",
                                     "longbench=" + (folder / "qasper.jsonl").string(),
                                     "--linear",
                                     "auto",
                                     "--strict",
                                     "--out",
                                     folder},
                                    "", true);
  ASSERT_EQ(done.exit_code, 0) << done.errors;

  const std::string evicted = std::string(kPolicy) + "@50%";
  for (const TaskEntry& task : tasks()) {
    SCOPED_TRACE(task.name);
    std::set<std::string> wanted;
    if (task.evicts) wanted.insert({"full", evicted});
    if (task.erases) wanted.insert({"recompute", "drop"});
    if (!task.evicts) wanted.insert({evicted + "+recompute", evicted + "+drop"});
    const auto results = nlohmann::json::parse(contents(folder / task.name / "results.json"));
    EXPECT_TRUE(results.at("setting").at("task") == task.name);
    std::set<std::string> cells;
    for (const auto& result : results.at("results")) {
      const Cell cell{result.at("policy"), result.at("keep"), result.at("method"), result.at("adapter")};
      cells.insert(cell.text());
      EXPECT_FALSE(result.at("questions").empty()) << cell.text();
    }
    EXPECT_EQ(cells, wanted);
    const std::string table = contents(folder / task.name / "table.md");
    for (const std::string& cell : wanted)
      EXPECT_NE(table.find("| " + cell + " | 1\\* |"), std::string::npos) << cell << "\n" << table;
  }
}

// Nothing that has been measured is kept where a file has changed under its name.
class EvalResumeTest : public testing::Test {
 protected:
  EvalResumeTest() {
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "adapters");
    std::ofstream(folder_ / "hay.txt") << prose(400, 1);
    TinySpec spec;
    spec.context = 1024;
    write_tiny_model(spec, model_);
    network_ = Network::load(model_);
    write_eraser(1);
  }
  void write_eraser(uint32_t seed) const {
    TinyAdapterSpec spec;
    spec.seed = seed;
    write_lora_gguf(*network_, spec, folder_ / "e.gguf");
  }
  Finished run(const std::vector<std::string>& more) const {
    std::vector<std::string> words = {
        KVEDIT_PROGRAM, "eval", "text:span=20", "-m",  model_,      "--haystack", folder_ / "hay.txt",
        "--examples",   "1",    "--lengths",    "150", "--threads", "1",          "--out",
        folder_ / "out"};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words, "", true);
  }

  fs::path folder_ = fs::path(testing::TempDir()) / "eval_resume";
  std::string model_ = folder_ / "tiny.gguf";
  std::shared_ptr<const Network> network_;
};

TEST_F(EvalResumeTest, AnAdapterTrainedAnewIsNoticed) {
  const std::vector<std::string> steer = {"--method", "steer", "--adapter", folder_ / "e.gguf", "--resume"};
  const Finished first = run(steer), again = run(steer);
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  ASSERT_EQ(again.exit_code, 0) << again.errors;
  EXPECT_EQ(first.output, again.output);
  write_eraser(2);
  const Finished changed = run(steer);
  EXPECT_EQ(changed.exit_code, 2);
  EXPECT_NE(changed.errors.find("results of trained"), std::string::npos) << changed.errors;
}

TEST_F(EvalResumeTest, AnLkvFileTrainedAnewIsNoticedByNameOrNot) {
  setenv("KVEDIT_ADAPTERS", (folder_ / "adapters").c_str(), 1);
  const std::string file = folder_ / "adapters" / "tiny.lkv.gguf";
  const auto write = [&](int hidden) {
    const Hparams& h = network_->hparams();
    write_lkv({.layers = h.layers,
               .kv_heads = h.kv_heads,
               .key_dim = h.key_dim,
               .value_dim = h.value_dim,
               .hidden = hidden,
               .fingerprint = network_->fingerprint()},
              file);
  };
  for (const std::string policy : {"lkv", "lkv:file="}) {
    SCOPED_TRACE(policy);
    fs::remove_all(folder_ / "out");
    const std::vector<std::string> evict = {"--policy", policy == "lkv" ? policy : policy + file, "--keep",
                                            "60%", "--resume"};
    write(5);
    ASSERT_EQ(run(evict).exit_code, 0) << run(evict).errors;
    write(0);
    const Finished changed = run(evict);
    EXPECT_EQ(changed.exit_code, 2);
    EXPECT_NE(changed.errors.find("results of trained"), std::string::npos) << changed.errors;
  }
  // Of a model that no file was trained for, one that is named counts all the same.
  unsetenv("KVEDIT_ADAPTERS");
  fs::remove_all(folder_ / "out");
  const std::vector<std::string> named = {"--policy", "lkv:file=" + file, "--keep", "60%", "--resume"};
  write(5);
  ASSERT_EQ(run(named).exit_code, 0) << run(named).errors;
  write(0);
  EXPECT_EQ(run(named).exit_code, 2);
}

TEST_F(EvalResumeTest, WhatErasesRunsInF32UnlessToldOtherwise) {
  const auto kernel = [&](const std::vector<std::string>& words) {
    fs::remove_all(folder_ / "out");
    const Finished done = run(words);
    EXPECT_EQ(done.exit_code, 0) << done.errors;
    return nlohmann::json::parse(contents(folder_ / "out" / "results.json")).at("setting").at("linear");
  };
  EXPECT_TRUE(kernel({"--method", "drop"}) == "f32");
  EXPECT_TRUE(kernel({"--method", "drop", "--linear", "ggml"}) == "ggml");
  const auto unasked = kernel({"--policy", "keydiff", "--keep", "50%"});
  EXPECT_TRUE(unasked == kernel({"--policy", "keydiff", "--keep", "50%", "--linear", "auto"}));
}

TEST(EvalListTest, TasksAreListedWithTheirParameters) {
  const Finished table = run_program({KVEDIT_PROGRAM, "eval", "--list"}, "", true);
  EXPECT_EQ(table.exit_code, 0) << table.errors;
  const Finished json = run_program({KVEDIT_PROGRAM, "eval", "--list", "--json"}, "", true);
  const auto list = nlohmann::json::parse(json.output);
  EXPECT_EQ(list.size(), tasks().size());
  for (const TaskEntry& task : tasks()) {
    EXPECT_NE(table.output.find("\n" + task.name + " "), std::string::npos) << table.output;
    for (const Parameter& p : task.parameters)
      EXPECT_NE(table.output.find("  " + p.name + ": "), std::string::npos) << p.name;
  }
  EXPECT_EQ(run_program({KVEDIT_PROGRAM, "eval"}, "", true).exit_code, 2);
}

}  // namespace
}  // namespace kvedit::eval
