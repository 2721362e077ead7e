#include "base/cancel.h"

#include <chrono>
#include <utility>

#include "tools/text.h"

namespace kvedit {
namespace {

thread_local const CancelScope* innermost = nullptr;

}  // namespace

bool Cancel::requested() const {
  return token.stop_requested() || (deadline && std::chrono::steady_clock::now() >= *deadline);
}

CancelScope::CancelScope(Cancel cancel)
    : cancel_(std::move(cancel)), outer_(std::exchange(innermost, this)) {}
CancelScope::~CancelScope() { innermost = outer_; }
const CancelScope* CancelScope::current() { return innermost; }

bool CancelScope::requested() const { return cancel_.requested() || (outer_ && outer_->requested()); }

void CancelScope::check(std::string_view where) const {
  if (cancel_.token.stop_requested()) fail(ErrorCode::cancelled, where, "cancelled by its caller");
  if (cancel_.requested()) fail(ErrorCode::cancelled, where, "cancelled: the deadline has passed");
  if (outer_) outer_->check(where);
}

void check_cancel(std::string_view where) {
  if (const CancelScope* scope = CancelScope::current()) scope->check(where);
}

}  // namespace kvedit
