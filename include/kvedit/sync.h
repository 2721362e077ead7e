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
  /// exact: everything after the first difference is read again. shift: what stands unchanged behind a
  /// difference moves to its new place. steer: the same, and what goes is replaced by steering states.
  std::string policy = "exact";
  bool reply = true;                       // the conversation ends with the opening of the assistant's turn
  std::shared_ptr<const Adapter> adapter;  // steer
  Progress progress;
};

struct SyncReport {
  std::string policy;
  Exactness exactness = Exactness::exact;  // exact too when nothing but the end changed
  int tokens = 0;                          // of the conversation now
  int reused = 0;                          // entries that stay, the pending token apart
  int erased = 0;                          // tokens that went
  int read = 0;                            // tokens forwarded, the pending one apart
  int steered = 0;                         // erased tokens that were forwarded with the eraser
  int edits = 0;                           // places that differ
  std::string note;
  double ms = 0;
};

}  // namespace kvedit
