// Typed reading of GGUF metadata. ggml's own getters abort on a key of another type; these throw.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct gguf_context;

namespace kvedit {

/// A view, which the gguf_context outlives. Getters return nullopt for an absent key, and throw
/// Error(corrupt) with the key's name for one of a wrong type.
class Metadata {
 public:
  explicit Metadata(const gguf_context* context) : context_(context) {}

  bool has(const std::string& key) const;
  bool is_array(const std::string& key) const;
  std::optional<std::string> text(const std::string& key) const;
  std::optional<int64_t> integer(const std::string& key) const;  // of any width; saturated to int64
  std::optional<double> number(const std::string& key) const;    // f32, f64 or an integer
  std::optional<bool> flag(const std::string& key) const;
  std::optional<std::vector<int64_t>> integers(const std::string& key) const;  // array of integers or bools
  std::optional<std::vector<std::string_view>> texts(const std::string& key) const;  // views into the context

 private:
  const gguf_context* context_;
};

}  // namespace kvedit
