// The erasers that ship with models.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kvedit/model.h"

namespace kvedit::cli {

/// Returns the path of the model's companion; empty where there is none, or where none of these methods
/// needs an eraser ("all" stands for every method).
std::string shipped_eraser(const Model& model, const std::vector<std::string>& methods);

/// Loads `path` or, where it is empty, the shipped eraser for these methods; null where there is none.
std::shared_ptr<const Adapter> eraser(const Model& model, const std::string& path,
                                      const std::vector<std::string>& methods);

}  // namespace kvedit::cli
