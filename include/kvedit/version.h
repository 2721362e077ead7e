// Which kvedit this is. CMakeLists.txt reads the numbers here.
#pragma once

#define KVEDIT_VERSION_MAJOR 0
#define KVEDIT_VERSION_MINOR 2
#define KVEDIT_VERSION_PATCH 0

#define KVEDIT_VERSION_TEXT_OF(number) #number
#define KVEDIT_VERSION_TEXT(major, minor, patch) \
  KVEDIT_VERSION_TEXT_OF(major) "." KVEDIT_VERSION_TEXT_OF(minor) "." KVEDIT_VERSION_TEXT_OF(patch)
/// Of these headers: "0.2.0".
#define KVEDIT_VERSION KVEDIT_VERSION_TEXT(KVEDIT_VERSION_MAJOR, KVEDIT_VERSION_MINOR, KVEDIT_VERSION_PATCH)

namespace kvedit {

/// Of the library that is linked, which may be another than the headers': "0.2.0". The ABI holds within a
/// minor version.
const char* version();

}  // namespace kvedit
