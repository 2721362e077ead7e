// Erase methods: each changes a fork of a context by the moves of Edit. A method is one file, with the
// parameters it declares, and one line in the table (methods.cc).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "context/edit.h"
#include "kvedit/erase.h"

namespace kvedit {

/// What a method is asked to erase, and how.
struct Erasure {
  std::span<const Span> spans;          // transcript indices, ascending, disjoint, not empty, not everything
  std::optional<int> window;            // of the options' repair_window
  std::optional<int> tail;              // and repair_tail
  std::shared_ptr<const Lora> adapter;  // null unless one was given
};

class EraseMethod {
 public:
  virtual ~EraseMethod() = default;
  virtual EraseMethodInfo info() const = 0;
  /// Whether the options' repair_window and repair_tail count.
  virtual bool has_windows() const { return false; }
  virtual void apply(Edit& edit, const Erasure& erasure) const = 0;
};

/// Throws Error(not_found) naming the methods there are.
const EraseMethod& find_erase_method(std::string_view name);
/// The options with the numbers behind the method's name in their places: "repair:window=32,tail=64".
/// Throws as find_erase_method(), Error(invalid_argument) for what is no number of the method.
EraseOptions with_numbers(EraseOptions options);

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
