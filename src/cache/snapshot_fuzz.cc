// Feeds foreign bytes to the snapshot reader and to load_cache. The first byte chooses: the rest as
// a whole file, or as sections with honest checksums, which a fuzzer would not find by itself.
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "cache/snapshot.h"
#include "kvedit/error.h"

namespace {

using namespace kvedit;  // NOLINT: one entry point

constexpr PageShape kShape{.key_dim = 4, .value_dim = 2, .type = ElementType::f16};

void load(const std::string& path) {
  static const auto pool = PagePool::create(kShape, size_t{64} << 20);
  static const auto ropes = std::make_shared<const std::vector<Rope>>(1, Rope{.frequencies = {1.0, 0.5}});
  try {
    const SnapshotReader reader(path);
    Cache cache = load_cache(reader, pool, 1, 2, ropes);
    cache.remove({3, 70});
    if (cache.last_position() < 1000000) cache.shift(1000, 5);
  } catch (const Error&) {
  }
  if (pool->stats().pages_in_use != 0) __builtin_trap();
}

void load_file(std::span<const uint8_t> bytes) {
  const int fd = memfd_create("snapshot", MFD_CLOEXEC);
  if (fd < 0 || write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) __builtin_trap();
  load("/proc/self/fd/" + std::to_string(fd));
  close(fd);
}

// lanes: 16 bytes of the layout's lane table, then "cache.lanes".
void load_sections(std::span<const uint8_t> bytes) {
  static const std::string path = "/dev/shm/kvedit-fuzz-" + std::to_string(getpid());
  const size_t table = std::min<size_t>(bytes.size(), 16);
  ByteWriter layout;
  layout.put(uint32_t{0});
  for (int32_t n : {kShape.key_dim, kShape.value_dim, 1, 2}) layout.put(n);
  layout.put_bytes(std::as_bytes(bytes.first(table)));
  SnapshotWriter writer(path);
  writer.section("cache.layout", layout.bytes());
  writer.section("cache.lanes", std::as_bytes(bytes.subspan(table)));
  writer.commit();
  load(path);
  unlink(path.c_str());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::span bytes(data + 1, size - 1);
  if (data[0] % 2 == 0) {
    load_file(bytes);
  } else {
    load_sections(bytes);
  }
  return 0;
}
