// What CONTRIBUTING.md, SECURITY.md and docs/compatibility.md name is there: files, tests and identifiers.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace kvedit {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// Everything that a name may stand in, one behind the other.
std::string sources() {
  std::string all;
  const fs::path root = KVEDIT_SOURCES;
  for (const char* folder :
       {"include", "src", "tools", "eval", "bench", "apps", "tests", "cmake", "scripts", ".ci"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (!entry.is_regular_file() || entry.path().stem() == "contributing_test") continue;
      const std::string extension = entry.path().extension().string();
      if (extension == ".gguf" || extension == ".kv" || extension == ".json") continue;
      all += entry.path().filename().string() + "\n" + read(entry.path());
    }
  }
  return all + read(root / "CMakeLists.txt");
}

// Words in backticks that name a path or an identifier; those with a NAME in them are to be filled in.
std::vector<std::string> names_in(const std::string& page) {
  static const std::regex kQuoted("`([^`]+)`");
  static const std::regex kName(R"((?:[A-Za-z_]+::)?([A-Za-z_][A-Za-z0-9_./-]*)(?:\(\))?)");
  std::vector<std::string> names;
  std::istringstream lines(page);
  bool in_block = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) in_block = !in_block;
    if (in_block) continue;
    for (std::sregex_iterator i(line.begin(), line.end(), kQuoted), end; i != end; ++i) {
      const std::string quoted = (*i)[1];
      std::smatch match;
      const bool placeholder = quoted.find("NAME") != std::string::npos || quoted.starts_with("x.") ||
                               quoted.starts_with("x_") || quoted.starts_with("FOLDER");
      if (!placeholder && std::regex_match(quoted, match, kName)) names.push_back(match[1]);
    }
  }
  return names;
}

TEST(Contributing, WhatItNamesIsThere) {
  const fs::path root = KVEDIT_SOURCES;
  const std::string all = sources();
  size_t found = 0;
  for (const char* page : {"CONTRIBUTING.md", "SECURITY.md", "docs/compatibility.md"}) {
    for (const std::string& name : names_in(read(root / page))) {
      if (name.starts_with("build/")) continue;  // made by a build
      const bool path = name.find('/') != std::string::npos;
      EXPECT_TRUE(fs::exists(root / name) || (!path && all.find(name) != std::string::npos))
          << page << " names " << name;
      found++;
    }
  }
  EXPECT_GT(found, 50U);
}

}  // namespace
}  // namespace kvedit
