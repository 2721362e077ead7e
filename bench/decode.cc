#include <algorithm>
#include <map>
#include <memory>

#include "base/check.h"
#include "bench/contest.h"

namespace kvedit::bench {

Row decode_row(Contest& contest, int cached, int tokens) {
  Row row{.kind = "decode", .length = cached, .unit = "tok/s"};
  row.words = cat("decode --cached ", cached, " --tokens ", tokens);
  const int held = std::max(1, cached);
  contest.hold_measured(held);
  contest.interleave([&] { row.ours.push_back(contest.ours().decode(held, tokens)); },
                     [&](LlamaPeer& peer) { row.peers[peer.name()].push_back(peer.decode(held, tokens)); });
  row.first_token_ms = contest.first_token_ms(held);
  contest.note_memory(row, held);
  contest.note_agreement(row, contest.ours().tops());
  return row;
}

Row prefill_row(Contest& contest, int length) {
  Row row{.kind = "prefill", .length = length, .unit = "tok/s"};
  row.words = cat("prefill --length ", length);
  contest.interleave(
      [&] { row.ours.push_back(1e3 * length / contest.ours().prefill(length)); },
      [&](LlamaPeer& peer) { row.peers[peer.name()].push_back(1e3 * length / peer.prefill(length)); });
  row.first_token_ms = contest.first_token_ms(length);
  contest.note_memory(row, length);
  return row;
}

Row fork_row(Contest& contest, int length) {
  Row row{.kind = "fork", .length = length, .unit = "ms"};
  row.words = cat("fork --length ", length);
  Ours& ours = contest.ours();
  ours.hold(length);
  std::map<std::string, std::unique_ptr<LlamaPeer>> sequences;
  for (const auto& peer : contest.peers()) {
    peer->hold(length);
    auto& copied = sequences[peer->name()] = peer->another(peer->setting(), length, 2);
    copied->restore(peer->copy());
    row.beside = "llama_memory_seq_cp: both share cells, and shifting one shifts the other";
  }
  const auto pages = [&ours] { return static_cast<int64_t>(ours.model()->pool().pages_in_use); };
  int64_t copied = 0;
  contest.interleave(
      [&] {
        wait_until_idle();
        const int64_t before = pages();
        const Timer timer;
        const Session fork = ours.held().fork();
        row.ours.push_back(timer.ms());
        copied = std::max(copied, pages() - before);
      },
      [&](LlamaPeer& peer) { row.peers[peer.name()].push_back(sequences[peer.name()]->copy_sequence()); });
  row.more["pages_copied"] = copied;
  row.more["pages_shared"] = pages();
  row.more["shared_bytes"] = ours.held().stats().bytes;
  row.note = cat(copied, " pages copied, ", pages(), " shared");
  return row;
}

}  // namespace kvedit::bench
