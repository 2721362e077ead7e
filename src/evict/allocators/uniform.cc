// The same number of entries a lane; what short lanes cannot take goes to the others.
#include "evict/allocators/shares.h"
#include "evict/parts.h"

namespace kvedit {
namespace {

class Uniform : public Allocator {
 public:
  std::vector<int> allocate(std::span<const Candidates> lanes, int /*kv_heads*/,
                            size_t budget) const override {
    const auto shares = water_fill(room_of(lanes), budget);
    return {shares.begin(), shares.end()};
  }
};

}  // namespace

AllocatorPart uniform_allocator() {
  return {
      .name = "uniform",
      .paper = "",
      .description = "The same number a lane; what short lanes cannot take goes to the others.",
      .make = [](const Parameters&) -> std::unique_ptr<Allocator> { return std::make_unique<Uniform>(); }};
}

}  // namespace kvedit
