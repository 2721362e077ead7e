// Windows of a text that repair and mend forward again.
#include <algorithm>

#include "erase/method.h"

namespace kvedit {

std::vector<Span> repair_windows(const Transcript& t, std::span<const int> seams, int window, int tail) {
  const int cached = t.size() - 1;
  window = std::min(window, t.size());
  std::vector<Span> all;
  for (const int seam : seams) all.push_back({seam, seam + window});
  all.push_back({std::max(seams.front(), cached - std::min(tail, cached)), cached});
  return all;
}

void forward_windows(Edit& edit, std::vector<Span> spans) {
  const int cached = edit.transcript().size() - 1;
  std::sort(spans.begin(), spans.end(), [](Span a, Span b) { return a.begin < b.begin; });
  std::vector<Span> disjoint;
  int done = 0;
  for (Span span : spans) {
    span = {std::max(span.begin, done), std::min(span.end, cached)};
    if (span.size() <= 0) continue;
    disjoint.push_back(span);
    done = span.end;
  }
  edit.forward_again(disjoint);
}

}  // namespace kvedit
