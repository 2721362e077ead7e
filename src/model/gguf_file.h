// A GGUF file opened for reading: metadata and the table of tensors, each checked against the
// file's size. The format: github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <ggml-cpp.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/file_bytes.h"
#include "model/metadata.h"

namespace kvedit {

struct TensorEntry {
  std::string name;
  ggml_type type;
  std::array<int64_t, GGML_MAX_DIMS> shape;  // 1 beyond the tensor's own dimensions
  const std::byte* data;                     // inside the file, aligned to 32
  size_t size;
};

class GgufFile {
 public:
  /// Throws Error(not_found, io) for the path, Error(corrupt) for what is not GGUF, damaged or cut
  /// off, Error(unsupported) for another version, a split model, or data aligned to less than 32.
  explicit GgufFile(const std::string& path, FileBytes::Access access = FileBytes::Access::map);

  const std::string& path() const { return path_; }
  Metadata metadata() const { return Metadata(context_.get()); }
  const std::vector<TensorEntry>& tensors() const { return tensors_; }
  const TensorEntry* find(const std::string& name) const;  // null where absent
  std::span<const std::byte> bytes() const { return file_.bytes(); }
  void check() const { file_.check(); }
  size_t data_offset() const { return data_offset_; }  // metadata and table end here

 private:
  void check_header() const;
  void read_tensors();

  std::string path_;
  FileBytes file_;
  gguf_context_ptr context_;
  std::vector<TensorEntry> tensors_;  // sorted by name
  size_t data_offset_ = 0;
};

/// Writes a shape for messages: "[576, 192]".
std::string shape_text(const std::array<int64_t, GGML_MAX_DIMS>& shape);

}  // namespace kvedit
