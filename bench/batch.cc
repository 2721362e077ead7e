#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>

#include "bench/comparison.h"
#include "tools/text.h"

namespace kvedit::bench {
namespace {

std::vector<Session> forks(const Session& of, int sessions) {
  std::vector<Session> all;
  for (int i = 0; i < sessions; i++) all.push_back(of.fork());
  return all;
}

GenerateOptions tokens_to_make(int tokens) { return {.max_tokens = tokens, .min_tokens = tokens}; }

// Tokens a second of all sessions together, each making as many.
double in_a_batch(KveditRuntime& ours, int sessions, int tokens) {
  const std::vector<Session> all = forks(ours.held(), sessions);
  std::vector<Task<Generation>> tasks;
  Batch batch(ours.model());
  for (const Session& session : all) tasks.push_back(session.start_generate(tokens_to_make(tokens)));
  for (const Task<Generation>& task : tasks) batch.add(task);
  wait_until_idle();
  const Stopwatch timer;
  while (batch.step()) {
  }
  return 1e3 * sessions * tokens / timer.ms();
}

double one_after_the_other(KveditRuntime& ours, int sessions, int tokens) {
  std::vector<Session> all = forks(ours.held(), sessions);
  wait_until_idle();
  const Stopwatch timer;
  for (Session& session : all) session.generate(tokens_to_make(tokens));
  return 1e3 * sessions * tokens / timer.ms();
}

}  // namespace

Row batch_row(Comparison& comparison, int cached, int sessions, int tokens) {
  Row row{.kind = "batch", .length = cached, .what = std::to_string(sessions), .unit = "tok/s"};
  row.command = cat("batch --length ", cached, " --sessions ", sessions, " --tokens ", tokens);
  KveditRuntime& ours = comparison.ours();
  ours.hold(cached);
  std::map<std::string, std::unique_ptr<LlamaPeer>> batches;
  for (const auto& peer : comparison.peers()) {
    peer->hold(cached);
    const int room = cached + sessions * (tokens + 1);
    auto& batch = batches[peer->name()] = peer->another(peer->setting(), room, sessions);
    batch->restore(peer->copy());
    row.peer_action = "the sequences in one llama_decode";
  }
  std::vector<double> alone;
  comparison.interleave(
      [&] {
        row.ours.push_back(in_a_batch(ours, sessions, tokens));
        alone.push_back(one_after_the_other(ours, sessions, tokens));
      },
      [&](LlamaPeer& peer) {
        row.peers[peer.name()].push_back(batches[peer.name()]->decode_together(sessions, tokens));
      });
  row.details["sessions"] = sessions;
  row.details["one_after_the_other"] = to_json(summarize(alone));
  const double together = summarize(row.ours).median, apart = summarize(alone).median;
  row.note = cat("one after the other ", number(apart), " tok/s, ", number(together / apart),
                 " times that together");
  return row;
}

Row beside_row(Comparison& comparison, int length, int block_tokens) {
  Row row{.kind = "beside", .length = length, .what = cat("block ", block_tokens), .unit = "ms"};
  row.command = cat("batch --length ", length, " --block ", block_tokens);
  KveditRuntime& ours = comparison.ours();
  std::vector<double> alone, together;
  int most_blocks = 0, made = 0;
  double longest = 0;
  for (int i = 0; i < comparison.repeat(); i++) {
    ours.hold(std::min(length, 64));
    Session talking = ours.held().fork();
    ours.hold(length);
    const Span span{length / 10, length / 10 + 16};
    Session called = ours.held().fork(), reading = ours.held().fork();
    wait_until_idle();
    const Stopwatch called_for;
    called.erase(span);
    alone.push_back(called_for.ms());
    std::vector<double> gaps;
    Stopwatch since;
    int blocks = 0;
    GenerateOptions endless = tokens_to_make(length);
    endless.on_token = [&](const MadeToken&) {
      gaps.push_back(since.ms());
      since = Stopwatch();
      most_blocks = std::max(most_blocks, std::exchange(blocks, 0));
      return true;
    };
    Batch batch(ours.model(), {.block_tokens = block_tokens});
    auto erase = reading.start_erase({span});
    auto talk = talking.start_generate(endless);
    batch.add(erase);
    batch.add(talk);
    wait_until_idle();
    since = Stopwatch();
    const Stopwatch timer;
    while (!erase.done()) {
      blocks++;
      batch.step();
    }
    together.push_back(timer.ms());
    const Summary summary = summarize(gaps);
    row.ours.push_back(summary.median);
    longest = std::max(longest, summary.max);
    made = static_cast<int>(gaps.size());
  }
  row.details["block_tokens"] = block_tokens;
  row.details["tokens_meanwhile"] = made;
  row.details["longest_ms"] = rounded(longest);
  row.details["most_blocks"] = most_blocks;
  row.details["recompute_ms"] = to_json(summarize(together));
  row.details["recompute_alone_ms"] = to_json(summarize(alone));
  row.note = cat("each of ", made, " tokens while another session is recomputed; the longest ",
                 number(longest), " ms, ", most_blocks, most_blocks == 1 ? " block" : " blocks",
                 " of the batch; recomputed in ", number(summarize(together).median / 1e3), " s, alone in ",
                 number(summarize(alone).median / 1e3), " s");
  return row;
}

}  // namespace kvedit::bench
