// Bringing a session in line with the conversation as a client now holds it, by the cheapest edit,
// instead of reading all of it again: clients strip reasoning blocks, edit or drop old messages.
#pragma once

#include <memory>
#include <string>

#include "kvedit/adapter.h"
#include "kvedit/erase.h"
#include "kvedit/types.h"

namespace kvedit {

struct SyncOptions {
  /// The erase method, as in EraseOptions, by which tokens go that the conversation no longer has; what is
  /// new is read at its place, and the rest keeps its entries. With an exact method everything from the first
  /// difference on is read again instead.
  std::string method = "recompute";
  bool reply = true;                       // the conversation ends with the opening of the assistant's turn
  std::shared_ptr<const Adapter> adapter;  // of a method that needs one
  /// What the conversation no longer has is nowhere afterwards, as with EraseOptions::forget.
  bool forget = false;
  /// Refuses with Error(out_of_range) rather than forward more than this many tokens; -1: any number.
  int max_forwarded = -1;
  Progress progress;
  Cancel cancel;
};

struct SyncReport {
  std::string method;
  Exactness exactness = Exactness::exact;  // exact too when nothing but the end changed
  int tokens = 0;                          // of the conversation now
  int reused = 0;                          // entries that stay, the pending token apart
  int erased = 0;                          // tokens that went
  int read = 0;                            // tokens forwarded, the pending one apart
  int recomputed = 0;                      // tokens that the method forwarded: again, or as steering states
  int edits = 0;                           // places that differ
  std::string note;
  double ms = 0;
};

}  // namespace kvedit
