#include "model/companions.h"

#include <algorithm>
#include <filesystem>

#include "model/gguf_file.h"
#include "tools/fingerprint.h"
#include "tools/text.h"

namespace kvedit {
namespace {

namespace fs = std::filesystem;

bool made_for(const std::string& file, const char* key, const std::string& fingerprint) {
  try {
    return GgufFile(file).metadata().text(key) == fingerprint;
  } catch (const Error&) {
    return false;  // a damaged file is nobody's; who names it is told what is wrong
  }
}

}  // namespace

std::string find_companion(const std::vector<std::string>& folders, std::string_view ending,
                           uint64_t fingerprint) {
  const char* key = ending == ".lkv.gguf" ? "lkv.model.fingerprint" : "kvedit.model.fingerprint";
  const std::string wanted = fingerprint_text(fingerprint);
  for (const std::string& folder : folders) {
    std::error_code error;
    std::vector<std::string> files;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
      if (entry.path().string().ends_with(ending)) files.push_back(entry.path().string());
    }
    std::sort(files.begin(), files.end());
    for (const std::string& file : files) {
      if (made_for(file, key, wanted)) return file;
    }
  }
  return {};
}

}  // namespace kvedit
