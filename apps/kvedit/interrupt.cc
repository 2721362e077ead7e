#include "interrupt.h"

#include <csignal>

namespace kvedit::cli {
namespace {

volatile std::sig_atomic_t interrupt_flag = 0;

}  // namespace

void arm_interrupt() {
  interrupt_flag = 0;
  struct sigaction action {};
  action.sa_handler = [](int) { interrupt_flag = 1; };
  action.sa_flags = SA_RESETHAND;  // the second one then acts as usual; no SA_RESTART: reads end too
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return interrupt_flag != 0; }

}  // namespace kvedit::cli
