// Ctrl-C and SIGTERM: the first one asks the running work to stop, a second one ends the process.
#pragma once

namespace kvedit::cli {

/// Forgets an earlier signal and catches the next.
void arm_interrupt();
bool interrupted();

}  // namespace kvedit::cli
