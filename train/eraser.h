// KVEraser (arXiv 2606.17034): a LoRA adapter that is active while an erased span is read again, trained so
// that what follows reads as if the span had never been there.
//   stage 1  KL to the model that never saw the span, on the tokens after it, in plain text
//   stage 2  the same on answers to questions about facts, erased and retained ones, asked before and after
//            the erase; a share of the steps stays stage 1. A group of rows (neighbours, distant, stale,
//            fresh) weighs as much as `drop` is off there the less: the loss is what evaluations report,
//            KL / KL of drop, group by group
#pragma once

#include <memory>
#include <string>

#include "train/contexts.h"
#include "train/loop.h"

namespace kvedit::train {

struct EraserConfig {
  std::string model;
  std::string texts;
  std::string from;     // an adapter to go on from; empty: a new one
  std::string targets;  // comma-separated; empty: all seven
  int rank = 16;
  double alpha = 32;
  int steering_states = 8;  // of a span that stay, its last; 0: all, as in the paper
  double learning_rate_1 = 1e-3;
  double learning_rate_2 = 5e-4;
  int steps_1 = 600;
  int steps_2 = 2400;
  int batch = 2;  // contexts a step
  int warm_up = 10;
  double flat = 0.6;
  double floor = 0.05;
  double weight_decay = 0;
  double neighbours_share = 0.3;  // of stage 2's contexts
  double numbers_share = 0.5;     // erase-niah, of either kind of context of stage 2
  ContextSizes sizes;
  int checkpoint_span = 128;  // activations are computed again from this span length on
  int held_out = 24;          // contexts, half of them stage 1's
  LoopSettings loop;
  int seed = 1;
  int threads = 1;
  std::string device = "cpu";
  std::string products = "f32";  // f32, bf16, f16

  Settings settings();
};

/// Leaves best.eraser.gguf, last.eraser.gguf, log.jsonl and checkpoint.pt in the folder. Throws what loading
/// the model, the texts and run_loop() throw, Error(unsupported) for a device or type that is not there.
LoopResult train_eraser(EraserConfig config, const RunOptions& run);

}  // namespace kvedit::train
