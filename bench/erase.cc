#include <charconv>
#include <cstdio>

#include "base/check.h"
#include "bench/contest.h"

namespace kvedit::bench {
namespace {

// One repetition of one method, on a fork of the session held.
double erase_once(Ours& ours, Span span, const EraseOptions& options, EraseReport& report) {
  Session session = ours.held().fork();
  wait_until_idle();
  const Timer timer;
  report = session.erase(span, options);
  return timer.ms();
}

}  // namespace

Span erase_span(const EraseWords& words) {
  std::string_view text = words.depth;
  const bool percent = text.ends_with('%');
  if (percent) text.remove_suffix(1);
  double depth = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), depth);
  if (error != std::errc() || end != text.data() + text.size() ||
      !(depth >= 0 && depth <= (percent ? 100 : 1 << 24))) {
    fail(ErrorCode::invalid_argument, "bench", "depth '", words.depth,
         "' is neither a token's index nor a percentage like 10%");
  }
  const int begin = static_cast<int>(percent ? depth / 100 * words.length : depth);
  if (words.span < 1 || begin + words.span >= words.length) {
    fail(ErrorCode::out_of_range, "bench", "span ", begin, "..", begin + words.span,
         " leaves nothing behind it in a context of ", words.length, " tokens");
  }
  return {begin, begin + words.span};
}

std::vector<Row> erase_rows(Contest& contest, const EraseWords& words,
                            const std::vector<std::string>& methods) {
  const Span span = erase_span(words);
  Ours& ours = contest.ours();
  ours.hold(words.length);
  std::vector<Row> rows;
  for (const std::string& method : methods) {
    Row row{.kind = "erase",
            .length = words.length,
            .what = cat(span.size(), "@", words.depth, "/", method),
            .unit = "ms"};
    row.more["method"] = method;
    row.words = cat("erase --length ", words.length, " --span ", words.span, " --depth ", words.depth,
                    " --method ", method);
    rows.push_back(std::move(row));
  }
  EraseOptions options;
  options.adapter = words.adapter ? words.adapter : ours.held().model()->zero_adapter(16);
  std::vector<EraseReport> reports(methods.size());
  std::vector<double> peer_ms;
  int peer_tokens = 0;
  contest.interleave(
      [&] {
        for (size_t i = 0; i < methods.size(); i++) {
          options.method = methods[i];
          rows[i].ours.push_back(erase_once(ours, span, options, reports[i]));
        }
      },
      [&](LlamaPeer& peer) { peer_ms.push_back(peer.recompute_without(span, words.length, peer_tokens)); });
  double recompute_ms = 0;
  for (size_t i = 0; i < methods.size(); i++) {
    if (methods[i] == "recompute") recompute_ms = summarize(rows[i].ours).median;
  }
  for (size_t i = 0; i < methods.size(); i++) {
    Row& row = rows[i];
    row.peer = peer_ms;
    row.more["exactness"] = name(reports[i].exactness);
    row.more["tokens_recomputed"] = {{"ours", reports[i].tokens_recomputed}};
    if (!peer_ms.empty()) row.more["tokens_recomputed"]["peer"] = peer_tokens;
    row.more["cache_bytes"] = {{"before", reports[i].bytes_before}, {"after", reports[i].bytes_after}};
    row.note =
        cat(row.more["exactness"].get<std::string>(), ", ", reports[i].tokens_recomputed, " recomputed");
    if (recompute_ms > 0) {
      const double share = 100 * summarize(row.ours).median / recompute_ms;
      row.more["percent_of_our_recompute"] = rounded(share);
      char text[64];
      std::snprintf(text, sizeof text, ", %.3g%% of our recompute", share);
      row.note += text;
    }
  }
  return rows;
}

}  // namespace kvedit::bench
