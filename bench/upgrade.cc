#include <algorithm>
#include <cstdio>

#include "bench/comparison.h"
#include "tools/text.h"

namespace kvedit::bench {
namespace {

double token_ms(Session& session) {
  const Stopwatch timer;
  session.generate({.max_tokens = 1});
  return timer.ms();
}

}  // namespace

std::vector<double> while_running(int tokens, const std::function<double()>& token,
                                  const std::function<bool()>& running) {
  std::vector<double> all;
  for (int i = 0; i < tokens; i++) {
    const double value = token();
    if (!running()) break;
    all.push_back(value);
  }
  return all;
}

Row upgrade_row(Comparison& comparison, int length, int tokens) {
  Row row{.kind = "upgrade", .length = length, .unit = "ms"};
  row.command = cat("upgrade --length ", length, " --tokens ", tokens);
  KveditRuntime& ours = comparison.ours();
  ours.hold(length);
  std::vector<double> alone, upgrade_ms, swap_ms;
  int background = 0, counted = tokens;
  for (int i = 0; i < comparison.repeat(); i++) {
    Session session = ours.held().fork();
    session.erase(Span{length / 10, length / 10 + 64}, {.method = "drop"});
    wait_until_idle();
    const auto token = [&] { return token_ms(session); };
    alone.push_back(summarize(while_running(tokens, token, [] { return true; })).median);
    session.upgrade();
    const std::vector<double> meanwhile =
        while_running(tokens, token, [&] { return session.upgrade_status().state == UpgradeState::running; });
    if (meanwhile.empty()) {
      fail(ErrorCode::invalid_argument, "bench", "the upgrade of ", length,
           " tokens was over before a token was generated: give it more");
    }
    row.ours.push_back(summarize(meanwhile).median);
    counted = std::min(counted, static_cast<int>(meanwhile.size()));
    UpgradeStatus status = session.upgrade_status();
    if (status.state != UpgradeState::done) status = session.finish_upgrade();
    upgrade_ms.push_back(status.ms);
    swap_ms.push_back(status.swap_ms);
    background = status.tokens_read;
  }
  row.details["alone_ms"] = to_json(summarize(alone));
  row.details["upgrade_ms"] = to_json(summarize(upgrade_ms));
  row.details["swap_ms"] = to_json(summarize(swap_ms));
  row.details["tokens_read"] = background;
  row.details["tokens_meanwhile"] = counted;
  char text[200];
  std::snprintf(text, sizeof text,
                "each of %d tokens while upgrading; %.3g ms alone; %d tokens in the background, %.3g s in "
                "all, swap %.3g ms",
                counted, summarize(alone).median, background, summarize(upgrade_ms).median / 1e3,
                summarize(swap_ms).median);
  row.note = text;
  return row;
}

}  // namespace kvedit::bench
