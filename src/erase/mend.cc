// Repair where the span was felt most: delete and shift, then forward again, in place and in one pass,
//   - the first tokens after each span;
//   - places where the text repeats the span's wording, since attention continues what it has seen before:
//   they,
//     and what stands behind them, read the span more than others do;
//   - the text's last tokens: a question that was read while the span could be seen is read anew.
#include <algorithm>

#include "erase/method.h"
#include "erase/repeats.h"
#include "tools/text.h"

namespace kvedit {
namespace {

class Mend final : public EraseMethod {
 public:
  EraseMethodInfo info() const override {
    return {.name = "mend",
            .exactness = Exactness::approximate,
            .cost = "windows",
            .description =
                "shift, then forwards again what follows the span, repeats its wording, or ends the text",
            .parameters = {token_count("window", 128, "tokens after each span that are forwarded again", 1),
                           token_count("tail", 64, "tokens at the text's end that are forwarded again"),
                           token_count("copies", 128,
                                       "tokens that repeat the erased wording and are forwarded "
                                       "again, beside twice the erased tokens")}};
  }

  void apply(Edit& edit, const Erasure& erasure) const override {
    std::vector<std::vector<Token>> erased;
    int erased_tokens = 0;
    for (const Span span : erasure.spans) {
      erased.push_back(edit.transcript().text(span));
      erased_tokens += span.size();
    }
    const std::vector<int> seams = edit.remove_and_shift(erasure.spans);
    const Transcript& left = edit.transcript();
    const Parameters& p = erasure.parameters;
    // A long text has long copies: half a copy read again can be worse than none.
    const int budget = std::min(p.integer("copies"), left.size()) + 2 * erased_tokens;
    std::vector<Span> again = repair_windows(left, seams, p.integer("window"), p.integer("tail"));
    const Repeats repeats = repeats_of(erased, left.tokens, seams.front(), budget, again);
    again.insert(again.end(), repeats.spans.begin(), repeats.spans.end());
    forward_windows(edit, std::move(again));
    if (repeats.left > 0) {
      edit.set_note(cat(repeats.left, " tokens that repeat the erased wording are over the budget of ",
                        budget, " and were not read again"));
    }
  }
};

}  // namespace

const EraseMethod& mend_method() {
  static const Mend method;
  return method;
}

}  // namespace kvedit
