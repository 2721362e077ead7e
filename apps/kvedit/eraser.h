// The erasers that ship: *.eraser.gguf in a folder, each naming the model that it was trained for.
#pragma once

#include <memory>
#include <string>

#include "kvedit/model.h"

namespace kvedit::cli {

/// The file of the eraser trained for exactly this model (its fingerprint), or empty. Looked for in
/// $KVEDIT_ADAPTERS if that is set, else in ../share/kvedit/adapters and ../adapters of the program's folder.
std::string shipped_eraser(const Model& model);

/// What `path` names; where it is empty the shipped one, null where there is none.
std::shared_ptr<const Adapter> eraser(Model& model, const std::string& path);

}  // namespace kvedit::cli
