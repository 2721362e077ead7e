// Erase methods: each changes a fork of a context by the moves of Edit. A method is one file, with the
// parameters it declares, and one line in the table (methods.cc).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "context/edit.h"
#include "kvedit/erase.h"
#include "tools/parameters.h"

namespace kvedit {

/// What a method is asked to erase, and how.
struct Erasure {
  std::span<const Span> spans;          // transcript indices, ascending, disjoint, not empty, not everything
  const Parameters& parameters;         // those of the method's info()
  std::shared_ptr<const Lora> adapter;  // null unless one was given
};

class EraseMethod {
 public:
  virtual ~EraseMethod() = default;
  virtual EraseMethodInfo info() const = 0;
  virtual void apply(Edit& edit, const Erasure& erasure) const = 0;
};

/// A method with values for its parameters.
struct ChosenMethod {
  const EraseMethod& method;
  EraseMethodInfo info;
  Parameters parameters;

  void apply(Edit& edit, std::span<const Span> spans, std::shared_ptr<const Lora> adapter) const {
    method.apply(edit, {spans, parameters, std::move(adapter)});
  }
};

/// Reads "NAME" or "NAME:key=value,...". Throws Error(not_found) naming the methods there are,
/// Error(invalid_argument) for a parameter that the method does not have or a value that is no number,
/// Error(out_of_range) with the limits for a value outside them.
ChosenMethod choose_method(std::string_view text);
/// A parameter that counts tokens.
Parameter token_count(std::string name, int value, std::string description, int minimum = 0);

/// Returns the given adapter as the engine uses it. Throws Error(invalid_argument) naming the option's
/// `field` where the method needs one and none is given.
std::shared_ptr<const Lora> eraser_of(const std::shared_ptr<const Adapter>& given,
                                      const EraseMethodInfo& method, std::string_view where,
                                      std::string_view field);

/// Returns the first `window` tokens from each seam on and the text's last `tail`, the pending one apart;
/// they may overlap, and pass the end.
std::vector<Span> repair_windows(const Transcript& t, std::span<const int> seams, int window, int tail);
/// Forwards the tokens of spans again, all in one pass; they may overlap, and pass the end.
void forward_windows(Edit& edit, std::vector<Span> spans);

// The factories, one a file.
const EraseMethod& recompute_method();
const EraseMethod& steer_method();
const EraseMethod& mend_method();
const EraseMethod& repair_method();
const EraseMethod& shift_method();
const EraseMethod& drop_method();

}  // namespace kvedit
