// Arrows between folders point one way: tools <- base <- model, cache <- compute <- context <- erase, evict
// <- session; programs see the public headers, tools and each other.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <vector>

namespace kvedit {
namespace {

namespace fs = std::filesystem;

// What each folder of src may include beside itself and the public headers.
const std::map<std::string, std::vector<std::string>> kMayInclude = {
    {"base", {"tools"}},
    {"model", {"tools", "base"}},
    {"cache", {"tools", "base"}},
    {"compute", {"tools", "base", "model", "cache"}},
    {"context", {"tools", "base", "model", "cache", "compute"}},
    {"erase", {"tools", "base", "model", "cache", "compute", "context"}},
    {"evict", {"tools", "base", "model", "cache", "compute", "context"}},
    {"session", {"tools", "base", "model", "cache", "compute", "context", "erase", "evict"}}};

// And what stands outside of it. train, which looks inside for weights, has no rule.
const std::map<std::string, std::vector<std::string>> kProgramsMayInclude = {
    {"tools", {}}, {"eval", {"tools"}}, {"bench", {"tools", "eval"}}, {"apps", {"tools", "eval", "bench"}}};

// Public headers that only session makes.
bool of_session(const std::string& header) {
  return header == "kvedit/model.h" || header == "kvedit/session.h";
}

bool allowed(const std::string& folder, const std::string& header) {
  if (header.find('/') == std::string::npos) return true;  // a dependency's, or a neighbour's
  const std::string into = header.substr(0, header.find('/'));
  const bool inside = kMayInclude.contains(folder);
  if (into == "kvedit") return folder == "session" || !of_session(header) || (!inside && folder != "tools");
  const std::vector<std::string>& below = (inside ? kMayInclude : kProgramsMayInclude).at(folder);
  return into == folder || std::find(below.begin(), below.end(), into) != below.end();
}

// Tests may look anywhere.
bool of_tests(const fs::path& file) {
  const std::string stem = file.stem().string();
  return stem.ends_with("_test") || stem.ends_with("_testing") || stem.ends_with("_fuzz");
}

struct Include {
  int line;
  std::string header;
};

std::vector<Include> includes(const fs::path& file) {
  static const std::regex kInclude(R"rx(\s*#\s*include\s+"([^"]+)".*)rx");
  std::vector<Include> all;
  std::ifstream text(file);
  std::string line;
  for (int number = 1; std::getline(text, line); number++) {
    std::smatch match;
    if (std::regex_match(line, match, kInclude)) all.push_back({number, match[1]});
  }
  return all;
}

// Lists "path:line: ..." for every include of a folder that its rule refuses.
std::vector<std::string> refused(const fs::path& root, const std::string& folder) {
  std::vector<std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
    const fs::path& file = entry.path();
    if ((file.extension() != ".h" && file.extension() != ".cc") || of_tests(file)) continue;
    for (const Include& include : includes(file)) {
      if (allowed(folder, include.header)) continue;
      all.push_back(fs::relative(file, root.parent_path()).string() + ":" + std::to_string(include.line) +
                    ": " + folder + " must not include \"" + include.header + "\"");
    }
  }
  return all;
}

TEST(Arrows, EveryFolderIncludesOnlyThoseBelowIt) {
  const fs::path root = fs::path(KVEDIT_SOURCES) / "src";
  size_t folders = 0;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (!entry.is_directory()) continue;
    const std::string folder = entry.path().filename().string();
    ASSERT_TRUE(kMayInclude.contains(folder)) << "src/" << folder << " has no rule here";
    for (const std::string& fault : refused(root, folder)) ADD_FAILURE() << fault;
    folders++;
  }
  EXPECT_GE(folders, 7U);
}

TEST(Arrows, ProgramsSeeOnlyPublicHeaders) {
  for (const auto& [folder, below] : kProgramsMayInclude) {
    for (const std::string& fault : refused(KVEDIT_SOURCES, folder)) ADD_FAILURE() << fault;
  }
}

TEST(Arrows, PublicHeadersIncludeOnlyEachOther) {
  for (const auto& entry : fs::directory_iterator(fs::path(KVEDIT_SOURCES) / "include/kvedit")) {
    for (const Include& include : includes(entry.path())) {
      EXPECT_TRUE(include.header.starts_with("kvedit/"))
          << entry.path() << ":" << include.line << ": " << include.header;
    }
  }
}

// The rule itself, on a folder made for it.
TEST(Arrows, AnIncludeThatClimbsIsToldWithItsFileAndLine) {
  const fs::path root = fs::path(testing::TempDir()) / "kvedit_arrows/src";
  fs::remove_all(root.parent_path());
  fs::create_directories(root / "cache/deep");
  std::ofstream(root / "cache/deep/a.cc")
      << "#include \"cache/a.h\"\n#include <vector>\n#include \"base/log.h\"\n#include \"model/lora.h\"\n"
         "#  include \"kvedit/session.h\"  // why\n#include \"kvedit/types.h\"\n#include \"eval/task.h\"\n";
  std::ofstream(root / "cache/a_test.cc") << "#include \"session/state.h\"\n";
  EXPECT_EQ(refused(root, "cache"),
            (std::vector<std::string>{"src/cache/deep/a.cc:4: cache must not include \"model/lora.h\"",
                                      "src/cache/deep/a.cc:5: cache must not include \"kvedit/session.h\"",
                                      "src/cache/deep/a.cc:7: cache must not include \"eval/task.h\""}));
}

}  // namespace
}  // namespace kvedit
