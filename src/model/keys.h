// Metadata keys of one architecture ("llama.block_count"), read within limits.
#pragma once

#include <string>

#include "model/metadata.h"
#include "tools/text.h"

namespace kvedit {

/// Every reader throws Error(corrupt) naming the key for a missing key without default, a wrong type
/// or a value outside [low, high].
class Keys {
 public:
  Keys(const Metadata& metadata, const std::string& architecture)
      : metadata_(metadata), prefix_(architecture + ".") {}

  const Metadata& metadata() const { return metadata_; }
  std::string full(const std::string& key) const { return prefix_ + key; }
  bool has(const std::string& key) const { return metadata_.has(full(key)); }

  int integer(const std::string& key, int low, int high) const;
  int integer_or(const std::string& key, int otherwise, int low, int high) const;
  double number(const std::string& key, double low, double high) const;
  double number_or(const std::string& key, double otherwise, double low, double high) const;
  /// Reads one number, or an array with one a layer. Throws Error(unsupported) where these differ.
  int same_in_layers(const std::string& key, int layers, int low, int high) const;

  void refuse_unless_equal(const std::string& key, double wanted) const;
  template <typename Value>
  [[noreturn]] void refuse(const std::string& key, const Value& value) const {
    fail(ErrorCode::unsupported, "model", "metadata key \"", full(key), "\" is ", value,
         ", which is not supported");
  }
  template <typename Value>
  [[noreturn]] void out_of_range(const std::string& key, const Value& value, Value low, Value high) const {
    fail(ErrorCode::corrupt, "model", "metadata key \"", full(key), "\" is ", value, ", possible are ", low,
         " to ", high);
  }

 private:
  [[noreturn]] void missing(const std::string& key) const;

  Metadata metadata_;
  std::string prefix_;
};

}  // namespace kvedit
