// The peer's settings beside each other: those that every row tries, and those that every row leaves as they
// are.
#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "bench/comparison.h"
#include "tools/text.h"

namespace kvedit::bench {
namespace {

std::string spelled_out(const PeerSetting& s) {
  return cat(s.flash_attention ? "flash on" : "flash off", ", ", s.threads,
             s.threads == 1 ? " thread" : " threads", ", poll ", s.poll);
}

std::vector<PeerSetting> every_setting(int threads) {
  std::vector<PeerSetting> all;
  for (const int n : std::set<int>{std::max(1, threads / 2), threads}) {
    for (const int poll : {0, 50, 100}) {
      for (const bool flash : {true, false}) all.push_back({flash, n, poll});
    }
  }
  return all;
}

}  // namespace

std::vector<Row> peer_rows(Comparison& comparison, int length, int tokens) {
  if (comparison.peers().empty())
    fail(ErrorCode::invalid_argument, "bench", "there is no peer whose settings could be compared");
  const LlamaPeer& first = *comparison.peers().front();
  std::map<std::string, std::unique_ptr<LlamaPeer>> peers;
  std::vector<std::string> order;
  for (const PeerSetting& setting : every_setting(first.setting().threads)) {
    order.push_back(spelled_out(setting));
    auto& peer = peers[order.back()] = first.another(setting, length + tokens, 1);
    peer->warm_up();
  }
  Row prefill{.kind = "peer", .length = length, .what = "prefill", .unit = "tok/s"};
  Row decode{.kind = "peer", .length = length, .what = "decode", .unit = "tok/s"};
  for (int i = 0; i < comparison.repeat(); i++) {
    for (const std::string& setting : order) {
      LlamaPeer& peer = *peers[setting];
      prefill.peers[setting].push_back(1e3 * length / peer.prefill(length));
      decode.peers[setting].push_back(peer.decode(length, tokens));
    }
    std::reverse(order.begin(), order.end());
  }
  std::vector<Row> rows = {std::move(prefill), std::move(decode)};
  for (Row& row : rows) {
    row.command = cat("peer --length ", length, " --tokens ", tokens);
    for (const auto& [setting, values] : row.peers)
      row.note += cat(row.note.empty() ? "" : "; ", setting, ": ", number(summarize(values).median));
  }
  return rows;
}

}  // namespace kvedit::bench
