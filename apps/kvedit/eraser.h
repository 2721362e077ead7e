// The erasers that ship.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kvedit/model.h"

namespace kvedit::cli {

/// The model's companion; empty where there is none, or where no method of these ("all" has every one) needs
/// an eraser.
std::string shipped_eraser(const Model& model, const std::vector<std::string>& methods);

/// What `path` names; where it is empty the shipped one for these methods, null where there is none.
std::shared_ptr<const Adapter> eraser(const Model& model, const std::string& path,
                                      const std::vector<std::string>& methods);

}  // namespace kvedit::cli
