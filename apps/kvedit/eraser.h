// The erasers that ship: *.eraser.gguf in a folder, each naming the model that it was trained for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kvedit/model.h"

namespace kvedit::cli {

/// The file of the eraser trained for exactly this model (its fingerprint); empty where there is none, or
/// where no method of these ("all" has every one) needs one. Looked for in $KVEDIT_ADAPTERS if that is set,
/// else in
/// ../share/kvedit/adapters and ../adapters of the program's folder.
std::string shipped_eraser(const Model& model, const std::vector<std::string>& methods);

/// What `path` names; where it is empty the shipped one for these methods, null where there is none.
std::shared_ptr<const Adapter> eraser(const Model& model, const std::string& path,
                                      const std::vector<std::string>& methods);

}  // namespace kvedit::cli
