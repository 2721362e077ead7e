#include "model/adapter/safetensors_header.h"

#include <nlohmann/json.hpp>
#include <set>

#include "tools/text.h"

namespace kvedit {
namespace {

/// Follows the parser: where it stands is the depth and the last keys.
class Handler final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Handler(const std::string& path) : path_(path) {}
  std::vector<SafetensorsRow> take() { return std::move(rows_); }

  bool start_object(size_t /*elements*/) override {
    if (depth_ == 1) {
      in_metadata_ = name_ == "__metadata__";
      if (!in_metadata_) rows_.push_back({.name = name_, .type = {}, .shape = {}, .offsets = {}});
      seen_.clear();
    } else if (depth_ != 0) {
      misplaced("an object");
    }
    depth_++;
    return true;
  }
  bool end_object() override {
    depth_--;
    if (depth_ == 1 && !in_metadata_ && seen_.size() != 3) {
      bad(cat("gives tensor \"", name_, "\" not all of dtype, shape and data_offsets"));
    }
    if (depth_ == 1 && !in_metadata_ && rows_.back().offsets.size() != 2) {
      bad(cat("gives tensor \"", name_, "\" ", rows_.back().offsets.size(), " data_offsets, not 2"));
    }
    return true;
  }
  bool key(std::string& text) override {
    if (!(depth_ == 1 ? names_ : seen_).insert(text).second) bad(cat("has the key \"", text, "\" twice"));
    if (depth_ == 2 && !in_metadata_ && text != "dtype" && text != "shape" && text != "data_offsets") {
      bad(cat("gives tensor \"", name_, "\" the key \"", text, "\""));
    }
    (depth_ == 1 ? name_ : field_) = text;
    return true;
  }
  bool string(std::string& text) override {
    if (depth_ != 2 || (!in_metadata_ && field_ != "dtype")) misplaced("a text");
    if (!in_metadata_) rows_.back().type = text;
    return true;
  }
  bool start_array(size_t /*elements*/) override {
    if (depth_ != 2 || in_metadata_ || field_ == "dtype") misplaced("a list");
    depth_++;
    return true;
  }
  bool end_array() override {
    depth_--;
    return true;
  }
  bool number_unsigned(uint64_t value) override {
    if (depth_ != 3 || value > INT64_MAX) misplaced(cat(value));
    (field_ == "shape" ? rows_.back().shape : rows_.back().offsets).push_back(static_cast<int64_t>(value));
    return true;
  }
  bool null() override { misplaced("null"); }
  bool boolean(bool) override { misplaced("a truth value"); }
  bool number_integer(int64_t value) override { misplaced(cat(value)); }
  bool number_float(double, const std::string& text) override { misplaced(text); }
  bool binary(nlohmann::json::binary_t&) override { misplaced("binary data"); }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception& error) override {
    bad(cat("is no JSON: ", error.what()));
  }

 private:
  [[noreturn]] void bad(const std::string& what) const {
    fail(ErrorCode::corrupt, "model", "the header of \"", path_, "\" ", what);
  }
  [[noreturn]] void misplaced(const std::string& what) const {
    bad(cat("has ", what, " where none belongs",
            name_.empty() ? "" : cat(", at \"", name_, "\"", field_.empty() ? "" : " ", field_)));
  }

  const std::string& path_;
  std::vector<SafetensorsRow> rows_;
  int depth_ = 0;  // 1 in the header, 2 in a tensor or the metadata, 3 in a list
  bool in_metadata_ = false;
  std::string name_, field_;            // the last keys of depth 1 and 2
  std::set<std::string> names_, seen_;  // all keys of depth 1, and those of this object of depth 2
};

}  // namespace

std::vector<SafetensorsRow> parse_safetensors_header(std::string_view text, const std::string& path) {
  Handler handler(path);
  // Else a lone number or text would be a whole header.
  if (!text.starts_with('{')) fail(ErrorCode::corrupt, "model", "\"", path, "\" is not a safetensors file");
  nlohmann::json::sax_parse(text, &handler);
  return handler.take();
}

}  // namespace kvedit
