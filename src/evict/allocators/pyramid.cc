// PyramidKV (Cai et al., "PyramidKV: Dynamic KV Cache Compression based on Pyramidal Information
// Funneling", arXiv 2406.02069, equation 3): attention narrows going up, so budgets fall linearly with the
// layer, around the mean budget k of a layer,
//
//   k_0 = (2 - 1/beta) k,  k_(m-1) = k / beta.
//
// Where k_0 passes what a layer has, the line runs from there, with the same mean (as kvpress does it).
// Within a layer all lanes get the same.
#include <algorithm>

#include "evict/allocators/shares.h"
#include "evict/parts.h"

namespace kvedit {
namespace {

class Pyramid : public Allocator {
 public:
  explicit Pyramid(double beta) : beta_(beta) {}

  std::vector<int> allocate(std::span<const Candidates> lanes, int kv_heads, size_t budget) const override {
    const auto layers = by_layer(lanes, kv_heads);
    const auto room = room_of(layers);
    if (room.empty()) return {};
    const double mean = static_cast<double>(budget) / static_cast<double>(layers.size());
    const auto most = static_cast<double>(*std::max_element(room.begin(), room.end()));
    const double bottom = std::max(mean, std::min((2 - 1 / beta_) * mean, most));
    const double top = 2 * mean - bottom;
    std::vector<double> line;
    for (size_t i = 0; i < layers.size(); i++) {
      const double height =
          layers.size() == 1 ? 0.5 : static_cast<double>(i) / static_cast<double>(layers.size() - 1);
      line.push_back(bottom + (top - bottom) * height);
    }
    const auto budgets = in_proportion(line, room, budget);
    std::vector<int> counts;
    for (size_t i = 0; i < layers.size(); i++) {
      for (const size_t count : water_fill(room_of(layers[i].lanes), budgets[i])) {
        counts.push_back(static_cast<int>(count));
      }
    }
    return counts;
  }

 private:
  double beta_;
};

}  // namespace

AllocatorPart pyramid_allocator() {
  return {.name = "pyramid",
          .paper = "arXiv 2406.02069",
          .description = "Falling linearly with the layer; within a layer the same number a lane.",
          .parameters = {{.name = "beta",
                          .value = 20,
                          .description = "the last layer gets this part of the mean: 1/beta",
                          .minimum = 1,
                          .maximum = 1000,
                          .whole = false}},
          .make = [](const Parameters& parameters) -> std::unique_ptr<Allocator> {
            return std::make_unique<Pyramid>(parameters.get("beta"));
          }};
}

}  // namespace kvedit
