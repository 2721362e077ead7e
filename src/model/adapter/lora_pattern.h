// The keys of rank_pattern and alpha_pattern in a PEFT configuration: regular expressions for the ends of
// module names.
#pragma once

#include <regex>
#include <string>

namespace kvedit {

class LoraPattern {
 public:
  /// Throws Error(unsupported) for a pattern over 256 characters or one that Python reads in another way or
  /// that takes more than time linear in the name: groups with (?, counts {n}, classes in classes, letters
  /// after a backslash other than d, D, w, W, s and S.
  explicit LoraPattern(const std::string& pattern);

  /// Tells whether, as in PEFT's get_pattern_key, the pattern matches the name from its start or from behind
  /// a dot, to its end.
  bool matches(const std::string& module) const { return std::regex_match(module, regex_); }

 private:
  std::regex regex_;
};

}  // namespace kvedit
