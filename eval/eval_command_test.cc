// `kvedit eval all` from the command line: every task on the default model, at its smallest.
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/check.h"
#include "base/process.h"
#include "contents.h"
#include "eval/cell.h"
#include "eval/task.h"
#include "peer.h"
#include "session_testing.h"

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
      EXPECT_NE(table.find("| " + cell + " | 1 |"), std::string::npos) << cell << "\n" << table;
  }
}

}  // namespace
}  // namespace kvedit::eval
