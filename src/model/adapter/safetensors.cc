#include "model/adapter/safetensors.h"

#include <algorithm>
#include <map>

#include "model/adapter/safetensors_header.h"
#include "tools/text.h"

namespace kvedit {
namespace {

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // as in the reference implementation
constexpr size_t kMaxDims = 8;

int64_t element_size(const SafetensorsRow& row) {
  static const std::map<std::string, int64_t> kSizes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
      {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4},     {"F64", 8},     {"I64", 8}, {"U64", 8}};
  const auto found = kSizes.find(row.type);
  if (found == kSizes.end()) {
    fail(ErrorCode::unsupported, "model", "tensor \"", row.name, "\" has the unknown type \"", row.type,
         "\"");
  }
  return found->second;
}

/// Bytes of the tensor, or more than `room` where it would not fit.
int64_t bytes_of(const SafetensorsRow& row, int64_t room) {
  int64_t bytes = element_size(row);
  if (std::find(row.shape.begin(), row.shape.end(), 0) != row.shape.end()) return 0;
  for (const int64_t extent : row.shape) {
    if (extent > room / bytes) return room + 1;
    bytes *= extent;
  }
  return bytes;
}

std::string_view header_of(std::span<const std::byte> bytes, const std::string& path) {
  if (bytes.size() < kLengthBytes) {
    fail(ErrorCode::corrupt, "model", "\"", path, "\" is not a safetensors file: ", bytes.size(), " bytes");
  }
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; i++) length |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  if (length > kMaxHeaderBytes || length > bytes.size() - kLengthBytes) {
    fail(ErrorCode::corrupt, "model", "\"", path, "\" (", bytes.size(),
         " bytes) is cut off or damaged: a header of ", length, " bytes, at most ", kMaxHeaderBytes,
         " are read");
  }
  return {reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length};
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(path) {
  const std::string_view header = header_of(file_.bytes(), path);
  std::vector<SafetensorsRow> rows = parse_safetensors_header(header, path);
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.offsets < b.offsets; });

  const auto data = file_.bytes().subspan(kLengthBytes + header.size());
  const auto room = static_cast<int64_t>(data.size());
  int64_t place = 0;
  for (SafetensorsRow& row : rows) {
    const int64_t begin = row.offsets[0];
    const int64_t end = row.offsets[1];
    if (begin != place || end < begin || end > room) {
      fail(ErrorCode::corrupt, "model", "tensor \"", row.name, "\" of \"", path, "\" lies at ", begin, " to ",
           end, "; the one before it ends at ", place, ", the data at ", room);
    }
    if (row.shape.size() > kMaxDims) {
      fail(ErrorCode::unsupported, "model", "tensor \"", row.name, "\" has ", row.shape.size(),
           " dimensions, at most ", kMaxDims, " are read");
    }
    if (const int64_t wanted = bytes_of(row, room); wanted != end - begin) {
      fail(ErrorCode::corrupt, "model", "tensor \"", row.name, "\" of \"", path, "\" has ", end - begin,
           " bytes, which are not those of its shape in ", row.type);
    }
    place = end;
    tensors_.push_back({.name = std::move(row.name),
                        .type = std::move(row.type),
                        .shape = std::move(row.shape),
                        .data = data.subspan(begin, end - begin)});
  }
  if (place != room) {
    fail(ErrorCode::corrupt, "model", "\"", path, "\" has ", data.size(),
         " bytes of data, its tensors end at ", place);
  }
}

}  // namespace kvedit
