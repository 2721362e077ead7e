// Work inside of pages: moving entries, turning keys, converting. Nothing here allocates,
// throws or looks at reference counts; callers hand in pages they may write.
// A number that f16 cannot hold is cut to its largest, 65,504, since an infinite key would make attention to
// its entry all or nothing. Functions that convert return whether they cut one; PagePool::warn_of_cut()
// tells.
#pragma once

#include <cstdint>
#include <span>

#include "base/rope.h"
#include "cache/page_pool.h"

namespace kvedit {

/// Copies entries [first, first + n) of `from` to [at, at + n) of `to`, positions included; counts stay.
/// Within one page, at <= first.
void copy_range(const PageShape& shape, const Page& from, int first, int n, Page& to, int at);

/// Copies the entries at `slots` (ascending) likewise; within one page, at <= slots[0].
void copy_slots(const PageShape& shape, const Page& from, std::span<const uint8_t> slots, Page& to, int at);

/// Turns the keys of entries [begin, end) by the angles whose cosines and sines [pairs] are given.
/// Key dimensions past rope.dims() stay. Reads `from`, writes `to`, which may be one page.
bool turn_keys(const PageShape& shape, const Page& from, Page& to, int begin, int end, const Rope& rope,
               std::span<const float> cosines, std::span<const float> sines);

/// Converts one entry from and to f32: key [key_dim], value [value_dim]; a null pointer is skipped.
bool store_entry(const PageShape& shape, Page& page, int slot, const float* key, const float* value);
void load_entry(const PageShape& shape, const Page& page, int slot, float* key, float* value);

}  // namespace kvedit
