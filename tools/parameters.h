// Parameters that stand behind a name, as in "snapkv:window=32,kernel=7": declared with defaults and limits,
// then set by text.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvedit/types.h"

namespace kvedit {

/// Splits "key=value,key=value", in order, into views of `text`. Throws Error(invalid_argument) of `where`,
/// quoting what is not key=value or naming a key that is given twice.
std::vector<std::pair<std::string_view, std::string_view>> key_values(std::string_view text,
                                                                      std::string_view where);

/// A name and the text of its parameters: "snapkv" and "window=32" of "snapkv:window=32".
struct NamedText {
  std::string_view name, parameters;
};
NamedText split_name(std::string_view text);

class Parameters {
 public:
  /// where: the part of the library that errors name.
  explicit Parameters(std::string_view where, std::vector<Parameter> declared = {});

  /// Throws Error(invalid_argument) for a name declared before.
  void declare(std::vector<Parameter> parameters);
  /// Throws Error(invalid_argument) naming an unknown parameter and the known ones, or quoting a value
  /// that is no number; Error(out_of_range) with the limits for one outside them.
  void set(std::string_view name, std::string_view value);
  /// Sets what "key=value,key=value" says; empty text says nothing. Throws as key_values() and set().
  void read(std::string_view text);

  const std::vector<Parameter>& all() const { return all_; }
  const Parameter& at(std::string_view name) const;  // throws as set()
  double get(std::string_view name) const { return at(name).value; }
  int integer(std::string_view name) const { return static_cast<int>(get(name)); }
  /// Returns the value as set() reads it: "32", "0.2", "avg", "path/to/file".
  std::string text(std::string_view name) const;
  /// Returns what `load` makes of the text, made once: a scorer and an allocator share a file that both read.
  template <typename T>
  std::shared_ptr<const T> loaded(std::string_view name,
                                  std::shared_ptr<const T> (*load)(const std::string&)) const {
    std::shared_ptr<const void>& kept = loaded_[std::string(name)];
    if (!kept) kept = load(text(name));
    return std::static_pointer_cast<const T>(kept);
  }

 private:
  std::string where_;
  std::vector<Parameter> all_;
  mutable std::map<std::string, std::shared_ptr<const void>> loaded_;  // until the text changes
};

}  // namespace kvedit
