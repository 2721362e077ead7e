// The file that the parts of LKV read, by the parameter `file` which scorer and allocator share.
#pragma once

#include <memory>

#include "evict/policy.h"
#include "model/lkv.h"

namespace kvedit {

Parameter lkv_file_parameter();

/// Loads the file, null where none is given. Throws as Lkv::load.
std::shared_ptr<const Lkv> load_lkv(const Parameters& parameters);

/// Throws Error(not_found) for null, else as Lkv::check.
void check_lkv(const Lkv* lkv, const Network& network);

}  // namespace kvedit
