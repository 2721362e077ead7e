#include <algorithm>
#include <cstdio>

#include "base/check.h"
#include "bench/contest.h"

namespace kvedit::bench {
namespace {

// The median time of a token over generating `tokens` tokens, one call each; `upgrading`: of those alone that
// were made before the upgrade was ready.
double token_ms(Session& session, int tokens, bool upgrading) {
  std::vector<double> ms;
  for (int i = 0; i < tokens; i++) {
    if (upgrading && i > 0 && session.upgrade_status().state != UpgradeState::running) break;
    const Timer timer;
    session.generate({.max_tokens = 1});
    ms.push_back(timer.ms());
  }
  return summarize(ms).median;
}

}  // namespace

Row upgrade_row(Contest& contest, int length, int tokens) {
  Row row{.kind = "upgrade", .length = length, .unit = "ms"};
  row.words = cat("upgrade --length ", length, " --tokens ", tokens);
  Ours& ours = contest.ours();
  ours.hold(length);
  std::vector<double> alone, upgrade_ms, swap_ms;
  int background = 0;
  for (int i = 0; i < contest.repeat(); i++) {
    Session session = ours.held().fork();
    session.erase(Span{length / 10, length / 10 + 64}, {.method = "drop"});
    wait_until_idle();
    alone.push_back(token_ms(session, tokens, false));
    session.upgrade();
    row.ours.push_back(token_ms(session, tokens, true));
    UpgradeStatus status = session.upgrade_status();
    if (status.state != UpgradeState::done) status = session.finish_upgrade();
    upgrade_ms.push_back(status.ms);
    swap_ms.push_back(status.swap_ms);
    background = status.tokens_read;
  }
  row.more["alone_ms"] = to_json(summarize(alone));
  row.more["upgrade_ms"] = to_json(summarize(upgrade_ms));
  row.more["swap_ms"] = to_json(summarize(swap_ms));
  row.more["tokens_read"] = background;
  char text[160];
  std::snprintf(
      text, sizeof text,
      "a token while upgrading; %.3g ms alone; %d tokens in the background, %.3g s in all, swap %.3g ms",
      summarize(alone).median, background, summarize(upgrade_ms).median / 1e3, summarize(swap_ms).median);
  row.note = text;
  return row;
}

}  // namespace kvedit::bench
