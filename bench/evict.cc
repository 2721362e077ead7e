#include <algorithm>
#include <cstdio>

#include "bench/comparison.h"
#include "tools/resident.h"
#include "tools/text.h"

namespace kvedit::bench {
namespace {

std::string mebibytes(size_t bytes) { return cat(bytes / (1024 * 1024), " MiB"); }

struct Seen {
  std::vector<double> evict_ms, score_ms, compact_ms;
  size_t resident_before = 0;
  size_t resident_peak = 0;
  size_t resident_after = 0;
  EvictReport report;
  std::vector<Token> tops;
};

// One repetition; tokens a second afterwards.
double evict_and_decode(KveditRuntime& ours, int length, const std::string& policy, const Budget& budget,
                        int tokens, Seen& seen) {
  Session session = ours.unshared_session(length);
  wait_until_idle();
  reset_peak_resident();
  seen.resident_before = resident_bytes();
  const Stopwatch timer;
  seen.report = session.evict(policy, budget);
  seen.evict_ms.push_back(timer.ms());
  seen.score_ms.push_back(seen.report.score_ms);
  seen.compact_ms.push_back(seen.report.compact_ms);
  seen.resident_peak = std::max(seen.resident_before, peak_resident_bytes());
  seen.resident_after = resident_bytes();
  const std::vector<Token>& text = ours.text();
  Session warm = session.fork();
  session_step(warm, text[length]);
  wait_until_idle();
  seen.tops.clear();
  double ms = 0;
  for (int i = 0; i < tokens; i++) {
    const Step step = session_step(session, text[length + i]);
    ms += step.ms;
    seen.tops.push_back(step.top);
  }
  return 1e3 * tokens / ms;
}

}  // namespace

Row evict_row(Comparison& comparison, int length, const std::string& policy, const std::string& keep,
              int tokens) {
  Row row{.kind = "evict", .length = length, .what = cat(policy, "@", keep), .unit = "tok/s"};
  row.command = cat("evict --length ", length, " --policy ", policy, " --keep ", keep, " --tokens ", tokens);
  const Budget budget = Budget::parse(keep);
  for (int i = 0; i < comparison.repeat() && comparison.ours().prefills(length) < comparison.repeat(); i++)
    comparison.ours().prefill(length);
  for (const auto& peer : comparison.peers()) {
    peer->hold_measured(length);
    row.peer_action = "its full cache";
  }
  Seen seen;
  comparison.interleave(
      [&] { row.ours.push_back(evict_and_decode(comparison.ours(), length, policy, budget, tokens, seen)); },
      [&](LlamaPeer& peer) { row.peers[peer.name()].push_back(peer.decode(length, tokens)); });
  row.first_token_ms = comparison.first_token_ms(length);
  comparison.note_memory(row, length, policy, keep);
  const Summary ms = summarize(seen.evict_ms);
  const double score_ms = summarize(seen.score_ms).median, compact_ms = summarize(seen.compact_ms).median;
  const double percent = 100 * ms.median / row.first_token_ms.ours.value_or(0);
  row.details["policy"] = policy;
  row.details["keep"] = keep;
  row.details["resolved"] = seen.report.policy;
  row.details["evict_ms"] = to_json(ms);
  row.details["score_ms"] = to_json(summarize(seen.score_ms));
  row.details["compact_ms"] = to_json(summarize(seen.compact_ms));
  row.details["evict_percent_of_prefill"] = rounded(percent);
  row.details["kept"] = rounded(seen.report.keep);
  row.details["cache_bytes"] = {{"before", seen.report.bytes_before}, {"after", seen.report.bytes_after}};
  row.details["resident_while_evicting"] = {
      {"before", seen.resident_before}, {"peak", seen.resident_peak}, {"after", seen.resident_after}};
  const double over = 100.0 * static_cast<double>(seen.resident_peak - seen.resident_before) /
                      static_cast<double>(seen.report.bytes_before);
  row.details["peak_percent_over_cache"] = rounded(over);
  comparison.note_agreement(row, seen.tops);
  char evicting[120], peak[40];
  std::snprintf(peak, sizeof peak, " (peak +%.1f%% of the cache)", over);
  std::snprintf(evicting, sizeof evicting, "evicting %.1f ms = score %.1f + compact %.1f (%.2f%% of prefill)",
                ms.median, score_ms, compact_ms, percent);
  row.note = cat(evicting, ", cache ", mebibytes(seen.report.bytes_before), " -> ",
                 mebibytes(seen.report.bytes_after), ", resident ", mebibytes(seen.resident_before), " -> ",
                 mebibytes(seen.resident_after), peak);
  return row;
}

}  // namespace kvedit::bench
