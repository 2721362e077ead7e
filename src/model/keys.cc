#include "model/keys.h"

namespace kvedit {

void Keys::missing(const std::string& key) const {
  fail(ErrorCode::corrupt, "model", "metadata key \"", full(key), "\" is missing");
}

int Keys::integer(const std::string& key, int low, int high) const {
  const auto value = metadata_.integer(full(key));
  if (!value) missing(key);
  if (*value < low || *value > high) out_of_range<int64_t>(key, *value, low, high);
  return static_cast<int>(*value);
}

int Keys::integer_or(const std::string& key, int otherwise, int low, int high) const {
  if (has(key)) return integer(key, low, high);
  if (otherwise < low || otherwise > high)
    out_of_range<int>(key, otherwise, low, high);  // computed from others
  return otherwise;
}

double Keys::number(const std::string& key, double low, double high) const {
  const auto value = metadata_.number(full(key));
  if (!value) missing(key);
  if (!(*value >= low && *value <= high)) out_of_range<double>(key, *value, low, high);  // NaN too
  return *value;
}

double Keys::number_or(const std::string& key, double otherwise, double low, double high) const {
  return has(key) ? number(key, low, high) : otherwise;
}

int Keys::same_in_layers(const std::string& key, int layers, int low, int high) const {
  if (!metadata_.is_array(full(key))) return integer(key, low, high);
  const auto values = *metadata_.integers(full(key));
  if (values.size() != static_cast<size_t>(layers)) {
    fail(ErrorCode::corrupt, "model", "metadata key \"", full(key), "\" has ", values.size(), " values for ",
         layers, " layers");
  }
  for (const int64_t value : values) {
    if (value != values[0]) refuse(key, cat(values[0], " in one layer and ", value, " in another"));
  }
  if (values[0] < low || values[0] > high) out_of_range<int64_t>(key, values[0], low, high);
  return static_cast<int>(values[0]);
}

void Keys::refuse_unless_equal(const std::string& key, double wanted) const {
  const double value = number_or(key, wanted, -1e30, 1e30);
  if (value != wanted) refuse(key, value);
}

}  // namespace kvedit
