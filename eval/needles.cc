#include "eval/needles.h"

#include <array>

#include "tools/text.h"

namespace kvedit::eval {
namespace {

constexpr std::string_view kNoise =
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. ";
constexpr std::array<std::string_view, kMostNeedles> kKeys = {
    "apple",   "bridge", "candle", "desert", "engine", "forest", "garden", "hammer",
    "island",  "jacket", "kettle", "ladder", "mirror", "needle", "orange", "pencil",
    "quarter", "river",  "saddle", "table",  "violin", "window", "yard",   "zebra"};
constexpr size_t kLeastValue = 1000, kMostValue = 9999;

}  // namespace

std::string Needle::sentence() const { return cat("The magic number of the ", key, " is ", value, "."); }
std::string Needle::question() const {
  return cat("\n\nQuestion: What is the magic number of the ", key, "?\nAnswer:");
}
std::string Needle::opening() const { return cat(" The magic number of the ", key, " is"); }

std::vector<Needle> draw_needles(size_t count, Random& random) {
  const std::vector<size_t> keys = random.sample(count, kKeys.size());
  const std::vector<size_t> values = random.sample(count, kMostValue - kLeastValue + 1);
  std::vector<Needle> needles;
  for (size_t i = 0; i < count; i++) {
    const double depth = (static_cast<double>(i) + random.unit()) / static_cast<double>(count);
    needles.push_back({std::string(kKeys.at(keys[i])), std::to_string(kLeastValue + values[i]), depth});
  }
  return needles;
}

std::string draw_filler(bool noise, const Haystack& haystack, size_t bytes, Random& random) {
  if (!noise) return haystack.stretch(bytes, random);
  std::string filler;
  while (filler.size() < bytes) filler += kNoise;
  return filler;
}

size_t sentence_end(std::string_view text, size_t from) {
  if (from == 0) return 0;
  size_t last = text.size();
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] != '.' && text[i] != '!' && text[i] != '?') continue;
    if (i + 1 < text.size() && text[i + 1] != ' ' && text[i + 1] != '\n') continue;
    last = i + 1;
    if (last >= from) break;
  }
  return last;
}

}  // namespace kvedit::eval
