// LKV-H (LKV, arXiv 2605.06676): each KV head has a learned share of the whole budget, the softmax of its
// logit over all KV heads of the model. What a short lane cannot take goes to the others, by their shares.
#include <utility>

#include "evict/allocators/shares.h"
#include "evict/lkv_file.h"
#include "evict/parts.h"

namespace kvedit {
namespace {

class Learned : public Allocator {
 public:
  explicit Learned(std::shared_ptr<const Lkv> lkv) : lkv_(std::move(lkv)) {}

  void check(const Network& network) const override { check_lkv(lkv_.get(), network); }

  std::vector<int> allocate(std::span<const Candidates> lanes, int /*kv_heads*/,
                            size_t budget) const override {
    std::vector<double> shares;
    for (const Candidates& lane : lanes) shares.push_back(lkv_->share(lane.layer, lane.head));
    const auto counts = in_proportion(shares, room_of(lanes), budget);
    return {counts.begin(), counts.end()};
  }

 private:
  std::shared_ptr<const Lkv> lkv_;
};

}  // namespace

AllocatorPart learned_allocator() {
  return {.name = "learned",
          .paper = "arXiv 2605.06676",
          .description = "Each head's learned share of the whole budget.",
          .parameters = {lkv_file_parameter()},
          .make = [](const Parameters& parameters) -> std::unique_ptr<Allocator> {
            return std::make_unique<Learned>(load_lkv(parameters));
          }};
}

}  // namespace kvedit
