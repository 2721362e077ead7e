// A session's cache, to be read by what measures it or trains on it.
#pragma once

#include "cache/cache.h"
#include "kvedit/session.h"

namespace kvedit {

/// Returns the cache, which holds all of the transcript but the last token, which is pending. Valid until the
/// session's next call.
const Cache& cache_in(const Session& session);

}  // namespace kvedit
