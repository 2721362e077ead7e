// What makes the work of a thread give up. Long loops and passes ask; nobody hands it down to them.
#pragma once

#include <string_view>

#include "kvedit/types.h"

namespace kvedit {

/// For as long as it lives, work of this thread gives up when `cancel` is requested, or when an outer scope's
/// is.
class CancelScope {
 public:
  explicit CancelScope(Cancel cancel);
  ~CancelScope();
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

  /// Tells whether this one or one around it is requested. Safe to ask from a thread that looks while this
  /// one waits.
  bool requested() const;
  /// Throws Error(cancelled) that says why, if requested().
  void check(std::string_view where) const;
  /// Returns this thread's innermost one, or null.
  static const CancelScope* current();

 private:
  Cancel cancel_;
  const CancelScope* outer_;
};

/// Throws Error(cancelled) where this thread's work is to give up.
void check_cancel(std::string_view where);

}  // namespace kvedit
