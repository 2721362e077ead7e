// Ctrl-C: the first one asks the running work to stop, a second one ends the process.
#pragma once

namespace kvedit::cli {

/// Forgets an earlier Ctrl-C and catches the next one.
void arm_interrupt();
bool interrupted();

}  // namespace kvedit::cli
