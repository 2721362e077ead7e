// Memory of this process as the kernel counts it: pages that are in memory, those mapped from files too.
#pragma once

#include <cstddef>

namespace kvedit {

/// All throw Error(unsupported) where /proc does not say.
size_t resident_bytes();
/// Tells the most there were since the process began or since the last reset.
size_t peak_resident_bytes();
void reset_peak_resident();

}  // namespace kvedit
