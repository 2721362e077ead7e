// Committing an eviction: the chosen entries are kept, the memory of the rest goes back.
#pragma once

#include <vector>

#include "cache/cache.h"
#include "kvedit/evict.h"

namespace kvedit {

/// Keeps exactly the entries kept[layer * kv_heads + head] of each lane (indices, strictly ascending),
/// lane by lane, and hands what they free to the system. A lane that keeps everything stays on the
/// pages it has, shared ones too, unless packing it would free a page.
///
/// Either all lanes change or none. Pages of the cache alone are packed in place, where nothing can
/// fail after the checks: the peak is the cache as it was. When a page is shared (a fork, undo), the
/// work is done on a fork that replaces the cache at the end: then the kept entries of the changed
/// lanes exist twice for a moment, and Error(no_memory) is possible at the pool's limit. Throws
/// Error(invalid_argument, out_of_range) for lists that do not fit the lanes.
///
/// Fills all of the report but policy, score_ms and spared_ms. pinned_bytes: of the pages that left this
/// cache, those another one still holds.
EvictReport keep_entries(Cache& cache, const std::vector<std::vector<int>>& kept);

}  // namespace kvedit
