// Which kvedit this is. CMakeLists.txt reads the numbers here.
#pragma once

#define KVEDIT_VERSION_MAJOR 0
#define KVEDIT_VERSION_MINOR 2
#define KVEDIT_VERSION_PATCH 0

#define KVEDIT_VERSION_TEXT_OF(number) #number
#define KVEDIT_VERSION_TEXT(major, minor, patch) \
  KVEDIT_VERSION_TEXT_OF(major) "." KVEDIT_VERSION_TEXT_OF(minor) "." KVEDIT_VERSION_TEXT_OF(patch)
/// Version of these headers: "0.2.0".
#define KVEDIT_VERSION KVEDIT_VERSION_TEXT(KVEDIT_VERSION_MAJOR, KVEDIT_VERSION_MINOR, KVEDIT_VERSION_PATCH)

namespace kvedit {

/// Tells the version of the linked library, which may differ from the headers'. The ABI holds within a
/// minor version.
const char* version();

}  // namespace kvedit
