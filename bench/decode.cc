#include <algorithm>
#include <map>
#include <memory>

#include "bench/comparison.h"
#include "tools/text.h"

namespace kvedit::bench {

Row decode_row(Comparison& comparison, int cached, int tokens) {
  Row row{.kind = "decode", .length = cached, .unit = "tok/s"};
  row.command = cat("decode --cached ", cached, " --tokens ", tokens);
  const int held = std::max(1, cached);
  comparison.hold_measured(held);
  comparison.interleave(
      [&] { row.ours.push_back(comparison.ours().decode(held, tokens)); },
      [&](LlamaPeer& peer) { row.peers[peer.name()].push_back(peer.decode(held, tokens)); });
  row.first_token_ms = comparison.first_token_ms(held);
  comparison.note_memory(row, held);
  comparison.note_agreement(row, comparison.ours().tops());
  return row;
}

Row prefill_row(Comparison& comparison, int length) {
  Row row{.kind = "prefill", .length = length, .unit = "tok/s"};
  row.command = cat("prefill --length ", length);
  comparison.interleave(
      [&] { row.ours.push_back(1e3 * length / comparison.ours().prefill(length)); },
      [&](LlamaPeer& peer) { row.peers[peer.name()].push_back(1e3 * length / peer.prefill(length)); });
  row.first_token_ms = comparison.first_token_ms(length);
  comparison.note_memory(row, length);
  return row;
}

Row fork_row(Comparison& comparison, int length) {
  Row row{.kind = "fork", .length = length, .unit = "ms"};
  row.command = cat("fork --length ", length);
  KveditRuntime& ours = comparison.ours();
  ours.hold(length);
  std::map<std::string, std::unique_ptr<LlamaPeer>> sequences;
  for (const auto& peer : comparison.peers()) {
    peer->hold(length);
    auto& copied = sequences[peer->name()] = peer->another(peer->setting(), length, 2);
    copied->restore(peer->copy());
    row.peer_action = "llama_memory_seq_cp: both share cells, and shifting one shifts the other";
  }
  const auto pages = [&ours] { return static_cast<int64_t>(ours.model()->pool().pages_in_use); };
  int64_t copied = 0;
  comparison.interleave(
      [&] {
        wait_until_idle();
        const int64_t before = pages();
        const Stopwatch timer;
        const Session fork = ours.held().fork();
        row.ours.push_back(timer.ms());
        copied = std::max(copied, pages() - before);
      },
      [&](LlamaPeer& peer) { row.peers[peer.name()].push_back(sequences[peer.name()]->copy_sequence()); });
  row.details["pages_copied"] = copied;
  row.details["pages_shared"] = pages();
  row.details["shared_bytes"] = ours.held().stats().bytes;
  row.note = cat(copied, " pages copied, ", pages(), " shared");
  return row;
}

}  // namespace kvedit::bench
