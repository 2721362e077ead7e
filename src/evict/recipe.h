// A policy's text, read into a tree: pairs of scorer and allocator at its leaves, combinators above.
//
//   policy = term [":" key "=" value {"," key "=" value}]
//   term   = name | scorer "+" allocator | combinator "(" policy {";" policy} ")"
//
// A scorer and its allocator share parameters of the same name. Behind a combinator's parentheses its own
// parameters and those of its policies are set; one whose name another part has, too, is "a.name" for the
// first policy, "b.name" for the second. A value ends at a comma, inside parentheses at ";" or ")" as well.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "evict/policy.h"

namespace kvedit {

class Recipe {
 public:
  /// Throws Error(not_found) listing the names, Error(invalid_argument) for text that is no policy, as
  /// Parameters::set for values, Error(out_of_range) for more than a policy may cost.
  static Recipe read(std::string_view text);

  /// Writes a text that makes the same policy, with every parameter.
  std::string text() const;
  /// Lists those of the whole tree; the last are `sinks` and `recent`.
  std::vector<Parameter> parameters() const;
  const Parameters& own() const { return own_; }  // of the whole and the combinator or pair on top
  void set(std::string_view name, std::string_view value);
  std::unique_ptr<Selector> make() const;
  size_t pairs() const;  // at its leaves

 private:
  struct Handle {  // of a parameter, somewhere in the tree
    std::string name;
    Parameters* owner;
    std::string own_name;
  };
  static Recipe read(std::string_view text, int depth);
  void read_parameters(std::string_view text);
  static Recipe term(std::string_view text, int depth);
  static Recipe pair(std::string_view text, std::string_view scorer, std::string_view allocator);
  static Recipe combination(std::string_view text, size_t open, int depth);
  void declare_always_kept();
  std::vector<Handle> handles();

  std::string name_;
  Parameters own_{"evict"};
  int sinks_ = 0;
  int recent_ = 0;
  std::vector<Recipe> bases_;
  std::function<std::unique_ptr<Selector>(const Parameters&, std::vector<std::unique_ptr<Selector>>)> make_;
};

}  // namespace kvedit
