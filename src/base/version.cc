#include "kvedit/version.h"

namespace kvedit {

const char* version() { return KVEDIT_VERSION; }

}  // namespace kvedit
