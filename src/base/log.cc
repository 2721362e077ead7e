#include "base/log.h"

#include <mutex>
#include <utility>

namespace kvedit {
namespace {

struct Sink {
  std::mutex mutex;
  LogSink sink;
};

Sink& the_sink() {
  static Sink sink;
  return sink;
}

}  // namespace

void set_log_sink(LogSink sink) {
  std::scoped_lock lock(the_sink().mutex);
  the_sink().sink = std::move(sink);
}

void log(int level, std::string_view line) {
  std::scoped_lock lock(the_sink().mutex);
  if (the_sink().sink) the_sink().sink(level, line);
}

}  // namespace kvedit
