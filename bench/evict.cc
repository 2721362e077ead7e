#include <cstdio>

#include "base/check.h"
#include "bench/contest.h"

namespace kvedit::bench {
namespace {

std::string mebibytes(size_t bytes) { return cat(bytes / (1024 * 1024), " MiB"); }

struct Seen {
  std::vector<double> evict_ms;
  std::vector<double> percent_of_prefill;
  size_t resident_before = 0;
  size_t resident_after = 0;
  EvictReport report;
  std::vector<Token> tops;
};

// One repetition, on a session that shares its pages with nobody; tokens a second afterwards.
double evict_and_decode(Ours& ours, int length, const std::string& policy, const Budget& budget, int tokens,
                        Seen& seen) {
  double prefill_ms = 0;
  Session session = ours.fresh(length, prefill_ms);
  wait_until_idle();
  seen.resident_before = resident_bytes();
  const Timer timer;
  seen.report = session.evict(policy, budget);
  seen.evict_ms.push_back(timer.ms());
  seen.percent_of_prefill.push_back(100 * seen.evict_ms.back() / prefill_ms);
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

Row evict_row(Contest& contest, int length, const std::string& policy, const std::string& keep, int tokens) {
  Row row{.name = cat("evict/", length, "/", policy, "@", keep), .unit = "tok/s"};
  row.words = cat("evict --length ", length, " --policy ", policy, " --keep ", keep, " --tokens ", tokens);
  const Budget budget = Budget::parse(keep);
  contest.ours().drop();
  if (contest.peer()) contest.peer()->hold_measured(length);
  Seen seen;
  contest.interleave(
      [&] { row.ours.push_back(evict_and_decode(contest.ours(), length, policy, budget, tokens, seen)); },
      [&](LlamaPeer& peer) { row.peer.push_back(peer.decode(length, tokens)); });
  const Summary ms = summarize(seen.evict_ms);
  const Summary percent = summarize(seen.percent_of_prefill);
  row.first_token_ms = contest.first_token_ms(length);
  row.peak_memory_bytes = contest.peak_memory(length, policy, keep);
  row.more["policy"] = seen.report.policy;
  row.more["evict_ms"] = to_json(ms);
  row.more["evict_percent_of_prefill"] = to_json(percent);
  row.more["kept"] = rounded(seen.report.keep);
  row.more["cache_bytes"] = {{"before", seen.report.bytes_before}, {"after", seen.report.bytes_after}};
  row.more["resident_bytes"] = {{"before", seen.resident_before}, {"after", seen.resident_after}};
  contest.note_agreement(row, seen.tops);
  char evicting[64];
  std::snprintf(evicting, sizeof evicting, "evicting %.1f ms (%.2f%% of prefill)", ms.median, percent.median);
  row.note = cat(evicting, ", cache ", mebibytes(seen.report.bytes_before), " -> ",
                 mebibytes(seen.report.bytes_after), ", resident ", mebibytes(seen.resident_before), " -> ",
                 mebibytes(seen.resident_after));
  return row;
}

}  // namespace kvedit::bench
