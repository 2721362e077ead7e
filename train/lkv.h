// Learned eviction (LKV, arXiv 2605.06676): LKV-H's budgets and LKV-T's scorers trained together, so that the
// frozen model reads on from an evicted cache as from the full one. Steps of two kinds:
//   imitation     a start: LaProx with the queries to come, its scores and the lanes' shares of its highest
//   distillation  KL to the full cache on what follows, through the soft selection. Each kind of text and
//                 share kept weighs 1 / KL of the best heuristic there
#pragma once

#include <string>

#include "train/config.h"
#include "train/loop.h"

namespace kvedit::train {

struct LkvConfig {
  std::string model;
  std::string texts;
  std::string scores = "learned";   // LKV-T, or a scorer of evict/ (LKV-H alone)
  std::string budgets = "learned";  // LKV-H, or "uniform" (LKV-T alone)
  int hidden = 32;                  // units of LKV-T's map
  int imitation_steps = 150;        // the first ones
  int steps = 2000;                 // in all
  int batch = 2;                    // contexts a step
  int shortest = 832;               // tokens of a context
  int longest = 1216;
  double least_keep = 0.05;  // the share kept is drawn log-uniformly, so that one file serves all
  double most_keep = 0.5;
  int sinks = 4;
  int recent = 32;
  double first_temperature = 0.5;  // falls geometrically; a lane's scores start with a deviation of 1
  double last_temperature = 0.05;
  double learning_rate = 2e-3;
  double budget_learning_rate = 1e-2;  // of the lanes' logits
  int warm_up = 10;
  double flat = 0.6;
  double floor = 0.05;
  double clip = 1;             // of the gradient's norm
  int held_out = 16;           // contexts
  int held_out_length = 1024;  // tokens
  std::string held_out_keeps = "25%,10%,5%";
  LoopSettings loop;
  int seed = 1;
  int threads = 1;

  Settings settings();
};

/// Leaves best.lkv.gguf, last.lkv.gguf, log.jsonl and checkpoint.pt in the folder, and rivals.json, the
/// held-out figures of heuristics. All of these are of hard selection through the engine. Throws what loading
/// the model, the texts and run_loop() throw, Error(out_of_range, invalid_argument) for settings that cannot
/// be.
LoopResult train_lkv(LkvConfig config, const RunOptions& run);

}  // namespace kvedit::train
