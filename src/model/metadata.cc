#include "model/metadata.h"

#include <gguf.h>

#include <algorithm>
#include <limits>

#include "tools/text.h"

namespace kvedit {
namespace {

[[noreturn]] void wrong_type(const std::string& key, gguf_type type, std::string_view wanted) {
  fail(ErrorCode::corrupt, "model", "metadata key \"", key, "\" has type ", gguf_type_name(type), ", not ",
       wanted);
}

int64_t saturate(uint64_t value) {
  return static_cast<int64_t>(std::min<uint64_t>(value, std::numeric_limits<int64_t>::max()));
}

template <typename T>
std::vector<int64_t> widen(const void* data, size_t count) {
  const T* values = static_cast<const T*>(data);
  std::vector<int64_t> result(count);
  std::transform(values, values + count, result.begin(), [](T value) { return static_cast<int64_t>(value); });
  return result;
}

}  // namespace

bool Metadata::has(const std::string& key) const { return gguf_find_key(context_, key.c_str()) >= 0; }

bool Metadata::is_array(const std::string& key) const {
  const int64_t id = gguf_find_key(context_, key.c_str());
  return id >= 0 && gguf_get_kv_type(context_, id) == GGUF_TYPE_ARRAY;
}

std::optional<std::string> Metadata::text(const std::string& key) const {
  const int64_t id = gguf_find_key(context_, key.c_str());
  if (id < 0) return std::nullopt;
  const gguf_type type = gguf_get_kv_type(context_, id);
  if (type != GGUF_TYPE_STRING) wrong_type(key, type, "text");
  return gguf_get_val_str(context_, id);
}

std::optional<int64_t> Metadata::integer(const std::string& key) const {
  const int64_t id = gguf_find_key(context_, key.c_str());
  if (id < 0) return std::nullopt;
  const gguf_type type = gguf_get_kv_type(context_, id);
  switch (type) {
    case GGUF_TYPE_UINT8:
      return gguf_get_val_u8(context_, id);
    case GGUF_TYPE_INT8:
      return gguf_get_val_i8(context_, id);
    case GGUF_TYPE_UINT16:
      return gguf_get_val_u16(context_, id);
    case GGUF_TYPE_INT16:
      return gguf_get_val_i16(context_, id);
    case GGUF_TYPE_UINT32:
      return gguf_get_val_u32(context_, id);
    case GGUF_TYPE_INT32:
      return gguf_get_val_i32(context_, id);
    case GGUF_TYPE_UINT64:
      return saturate(gguf_get_val_u64(context_, id));
    case GGUF_TYPE_INT64:
      return gguf_get_val_i64(context_, id);
    default:
      wrong_type(key, type, "an integer");
  }
}

std::optional<double> Metadata::number(const std::string& key) const {
  const int64_t id = gguf_find_key(context_, key.c_str());
  if (id < 0) return std::nullopt;
  const gguf_type type = gguf_get_kv_type(context_, id);
  if (type == GGUF_TYPE_FLOAT32) return gguf_get_val_f32(context_, id);
  if (type == GGUF_TYPE_FLOAT64) return gguf_get_val_f64(context_, id);
  if (type == GGUF_TYPE_ARRAY || type == GGUF_TYPE_STRING || type == GGUF_TYPE_BOOL) {
    wrong_type(key, type, "a number");
  }
  return static_cast<double>(*integer(key));
}

std::optional<bool> Metadata::flag(const std::string& key) const {
  const int64_t id = gguf_find_key(context_, key.c_str());
  if (id < 0) return std::nullopt;
  const gguf_type type = gguf_get_kv_type(context_, id);
  if (type != GGUF_TYPE_BOOL) wrong_type(key, type, "bool");
  return gguf_get_val_bool(context_, id);
}

std::optional<std::vector<int64_t>> Metadata::integers(const std::string& key) const {
  const int64_t id = gguf_find_key(context_, key.c_str());
  if (id < 0) return std::nullopt;
  const gguf_type type = gguf_get_kv_type(context_, id);
  if (type != GGUF_TYPE_ARRAY) wrong_type(key, type, "an array of integers");
  const gguf_type element = gguf_get_arr_type(context_, id);
  const size_t count = gguf_get_arr_n(context_, id);
  if (element == GGUF_TYPE_STRING) wrong_type(key, element, "an array of integers");
  if (count == 0) return std::vector<int64_t>{};
  const void* data = gguf_get_arr_data(context_, id);
  switch (element) {
    case GGUF_TYPE_BOOL:
    case GGUF_TYPE_INT8:
      return widen<int8_t>(data, count);
    case GGUF_TYPE_UINT8:
      return widen<uint8_t>(data, count);
    case GGUF_TYPE_UINT16:
      return widen<uint16_t>(data, count);
    case GGUF_TYPE_INT16:
      return widen<int16_t>(data, count);
    case GGUF_TYPE_UINT32:
      return widen<uint32_t>(data, count);
    case GGUF_TYPE_INT32:
      return widen<int32_t>(data, count);
    case GGUF_TYPE_INT64:
      return widen<int64_t>(data, count);
    default:
      wrong_type(key, element, "an array of integers");
  }
}

std::optional<std::vector<std::string_view>> Metadata::texts(const std::string& key) const {
  const int64_t id = gguf_find_key(context_, key.c_str());
  if (id < 0) return std::nullopt;
  const gguf_type type = gguf_get_kv_type(context_, id);
  if (type != GGUF_TYPE_ARRAY) wrong_type(key, type, "an array of texts");
  if (gguf_get_arr_type(context_, id) != GGUF_TYPE_STRING) {
    wrong_type(key, gguf_get_arr_type(context_, id), "an array of texts");
  }
  std::vector<std::string_view> result(gguf_get_arr_n(context_, id));
  for (size_t i = 0; i < result.size(); i++) result[i] = gguf_get_arr_str(context_, id, i);
  return result;
}

}  // namespace kvedit
