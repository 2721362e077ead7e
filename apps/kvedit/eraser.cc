#include "eraser.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/fingerprint.h"
#include "common.h"
#include "edit.h"
#include "model/gguf_file.h"

namespace kvedit::cli {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> folders() {
  if (const std::string named = environment("KVEDIT_ADAPTERS"); !named.empty()) return {named};
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return {};
  const fs::path above = program.parent_path().parent_path();
  return {above / "share/kvedit/adapters", above / "adapters"};
}

bool made_for(const fs::path& file, const std::string& fingerprint) {
  try {
    return GgufFile(file.string()).metadata().text("kvedit.model.fingerprint") == fingerprint;
  } catch (const Error&) {
    return false;  // a damaged file is nobody's; --adapter names what is wrong with it
  }
}

}  // namespace

std::string shipped_eraser(const Model& model, const std::vector<std::string>& methods) {
  const bool wanted = std::any_of(methods.begin(), methods.end(), [](const std::string& method) {
    return method == "all" || needs_adapter(method);
  });
  if (!wanted) return {};
  const std::string fingerprint = fingerprint_text(model.info().fingerprint);
  for (const fs::path& folder : folders()) {
    std::error_code error;
    std::vector<fs::path> files;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
      if (entry.path().string().ends_with(".eraser.gguf")) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) {
      if (made_for(file, fingerprint)) return file.string();
    }
  }
  return {};
}

std::shared_ptr<const Adapter> eraser(const Model& model, const std::string& path,
                                      const std::vector<std::string>& methods) {
  const std::string file = path.empty() ? shipped_eraser(model, methods) : path;
  return file.empty() ? nullptr : model.load_adapter(file);
}

}  // namespace kvedit::cli
