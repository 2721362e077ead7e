#include <filesystem>

#include "bench/comparison.h"
#include "bench/temporary.h"
#include "tools/text.h"

namespace kvedit::bench {
namespace {

// Times a call.
template <typename Work>
double ms_of(const Work& work) {
  wait_until_idle();
  const Stopwatch timer;
  work();
  return timer.ms();
}

}  // namespace

std::vector<Row> snapshot_rows(Comparison& comparison, int length) {
  KveditRuntime& ours = comparison.ours();
  ours.hold(length);
  for (const auto& peer : comparison.peers()) peer->hold(length);
  Row save{.kind = "save", .length = length, .unit = "ms"};
  Row load{.kind = "load", .length = length, .unit = "ms"};
  const TemporaryFile file, peer_file;
  comparison.interleave(
      [&] {
        save.ours.push_back(ms_of([&] { ours.held().save(file.path()); }));
        load.ours.push_back(ms_of([&] { Session::load(ours.model(), file.path()); }));
      },
      [&](LlamaPeer& peer) {
        save.peers[peer.name()].push_back(ms_of([&] { peer.save(peer_file.path()); }));
        load.peers[peer.name()].push_back(ms_of([&] { peer.load_state(peer_file.path()); }));
      });
  const bool peers = !comparison.peers().empty();
  if (peers) {
    save.peer_action = "no checksums, and it returns before the disk has the file";
    load.peer_action = "no checksums";
  }
  std::vector<Row> rows = {std::move(save), std::move(load)};
  for (Row& row : rows) {
    row.command = cat("snapshot --length ", length);
    row.details["file_bytes"] = {{"ours", file.bytes()}};
    if (peers) row.details["file_bytes"]["peer"] = peer_file.bytes();
    row.note = cat("file ", rounded(static_cast<double>(file.bytes()) / 0x1p20), " MiB");
    if (peers) row.note += cat(", peer's ", rounded(static_cast<double>(peer_file.bytes()) / 0x1p20));
  }
  return rows;
}

}  // namespace kvedit::bench
