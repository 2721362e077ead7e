// Hugging Face's safetensors files: github.com/huggingface/safetensors. A header of JSON, then the tensors'
// numbers, little-endian and row-major.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/file_bytes.h"

namespace kvedit {

struct SafetensorsEntry {
  std::string name;
  std::string type;  // F32, BF16, I64, ...
  std::vector<int64_t> shape;
  std::span<const std::byte> data;  // inside the file, at any alignment
};

class SafetensorsFile {
 public:
  /// Throws Error(not_found, io) for the path, Error(corrupt) for a damaged or cut-off file: the tensors must
  /// fill the file without gaps or overlaps, each with the size that its shape and type give.
  /// Error(unsupported) for an unknown type, by its name.
  explicit SafetensorsFile(const std::string& path);

  const std::vector<SafetensorsEntry>& tensors() const { return tensors_; }  // by their place in the file

 private:
  FileBytes file_;
  std::vector<SafetensorsEntry> tensors_;
};

}  // namespace kvedit
