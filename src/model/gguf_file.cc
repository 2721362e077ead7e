#include "model/gguf_file.h"

#include <gguf.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <span>

#include "model/ggml_log.h"
#include "tools/text.h"

namespace kvedit {
namespace {

constexpr size_t kHeaderBytes = 24;    // magic, version, tensor count, metadata count
constexpr size_t kDataAlignment = 32;  // of ggml's CPU buffers, and GGUF's default

uint32_t little_endian(const std::byte* bytes) {
  uint32_t value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

}  // namespace

GgufFile::GgufFile(const std::string& path, FileBytes::Access access) : path_(path), file_(path, access) {
  route_ggml_logs();
  check_header();
  take_ggml_error();
  const auto bytes = file_.bytes();
  try {
    // ggml checks counts, lengths and types against the bytes that remain, so its own memory is bounded by
    // a few times the file; network_fuzz.cc watches over that.
    context_.reset(gguf_init_from_buffer(bytes.data(), bytes.size(), {.no_alloc = true, .ctx = nullptr}));
  } catch (const std::exception& error) {
    fail(ErrorCode::corrupt, "model", "\"", path, "\" cannot be read: ", error.what());
  }
  if (!context_) {
    const std::string reason = take_ggml_error();
    fail(ErrorCode::corrupt, "model", "\"", path, "\" (", bytes.size(), " bytes) is cut off or damaged",
         reason.empty() ? "" : ": ", reason);
  }
  if (metadata().integer("split.count").value_or(1) > 1) {
    fail(ErrorCode::unsupported, "model", "\"", path, "\" is one part of ",
         *metadata().integer("split.count"), "; merge them with llama-gguf-split");
  }
  read_tensors();
}

void GgufFile::check_header() const {
  const auto bytes = file_.bytes();
  if (bytes.size() < 4 || std::memcmp(bytes.data(), GGUF_MAGIC, 4) != 0) {
    fail(ErrorCode::corrupt, "model", "\"", path_, "\" is not a GGUF file",
         bytes.empty() ? ": it is empty" : "");
  }
  if (bytes.size() < kHeaderBytes) {
    fail(ErrorCode::corrupt, "model", "\"", path_, "\" is cut off: ", bytes.size(), " bytes, the header has ",
         kHeaderBytes);
  }
  const uint32_t version = little_endian(bytes.data() + 4);
  if (version < 2 || version > GGUF_VERSION) {
    fail(ErrorCode::unsupported, "model", "\"", path_, "\" has GGUF version ", version, "; 2 to ",
         GGUF_VERSION, " are supported");
  }
}

void GgufFile::read_tensors() {
  const size_t file_size = file_.bytes().size();
  const size_t alignment = gguf_get_alignment(context_.get());
  if (alignment % kDataAlignment != 0) {
    fail(ErrorCode::unsupported, "model", "\"", path_, "\" aligns its tensors to ", alignment,
         " bytes; a multiple of ", kDataAlignment, " is needed");
  }
  data_offset_ = std::min(gguf_get_data_offset(context_.get()), file_size);
  const int64_t count = gguf_get_n_tensors(context_.get());
  tensors_.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; i++) {
    TensorEntry entry{.name = gguf_get_tensor_name(context_.get(), i),
                      .type = gguf_get_tensor_type(context_.get(), i),
                      .shape = {},
                      .data = nullptr,
                      .size = gguf_get_tensor_size(context_.get(), i)};
    std::copy_n(gguf_get_tensor_ne(context_.get(), i), entry.shape.size(), entry.shape.begin());
    const size_t offset = gguf_get_tensor_offset(context_.get(), i);
    const size_t room = file_size - data_offset_;
    if (offset > room || entry.size > room - offset) {
      fail(ErrorCode::corrupt, "model", "\"", path_, "\" is cut off: tensor \"", entry.name, "\" needs ",
           entry.size, " bytes from byte ", data_offset_, " + ", offset, ", the file has ", file_size);
    }
    entry.data = file_.bytes().data() + data_offset_ + offset;
    tensors_.push_back(std::move(entry));
  }
  std::sort(tensors_.begin(), tensors_.end(),
            [](const TensorEntry& a, const TensorEntry& b) { return a.name < b.name; });
}

const TensorEntry* GgufFile::find(const std::string& name) const {
  const auto found =
      std::lower_bound(tensors_.begin(), tensors_.end(), name,
                       [](const TensorEntry& entry, const std::string& key) { return entry.name < key; });
  return found != tensors_.end() && found->name == name ? &*found : nullptr;
}

std::string shape_text(const std::array<int64_t, GGML_MAX_DIMS>& shape) {
  size_t used = shape.size();
  while (used > 1 && shape[used - 1] == 1) used--;
  return cat("[", join(std::span(shape).first(used)), "]");
}

}  // namespace kvedit
