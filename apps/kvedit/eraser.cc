#include "eraser.h"

#include <algorithm>

#include "edit.h"

namespace kvedit::cli {

std::string shipped_eraser(const Model& model, const std::vector<std::string>& methods) {
  const bool wanted = std::any_of(methods.begin(), methods.end(), [](const std::string& method) {
    return method == "all" || needs_adapter(method);
  });
  return wanted ? model.companion(".eraser.gguf") : std::string();
}

std::shared_ptr<const Adapter> eraser(const Model& model, const std::string& path,
                                      const std::vector<std::string>& methods) {
  const std::string file = path.empty() ? shipped_eraser(model, methods) : path;
  return file.empty() ? nullptr : model.load_adapter(file);
}

}  // namespace kvedit::cli
