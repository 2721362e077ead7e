// Files trained for one model, beside others' in a folder: each names the fingerprint of its model.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvedit {

/// Returns the first file, by folder and name, that ends in ".eraser.gguf" or ".lkv.gguf", whichever is asked
/// for, and was trained for the model with this fingerprint; empty: none. A file that cannot be read is
/// passed over.
std::string find_companion(const std::vector<std::string>& folders, std::string_view ending,
                           uint64_t fingerprint);

}  // namespace kvedit
