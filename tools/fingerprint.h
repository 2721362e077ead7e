// How fingerprints and hashes are written.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace kvedit {

/// Writes 16 hexadecimal digits.
inline std::string fingerprint_text(uint64_t fingerprint) {
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(fingerprint));
  return digits;
}

}  // namespace kvedit
