// The loop that every training shares: AdamW, a log, checkpoints that a run continues from bit by bit,
// held-out evaluation, early stop.
//
// A run lives in a folder: log.jsonl (a line a step and an evaluation), checkpoint.pt, and what save()
// writes, of the best evaluation and of the last step.
#pragma once

#include <torch/types.h>

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "train/config.h"

namespace kvedit::train {

/// A model in training.
struct Trainee {
  std::vector<torch::Tensor> parameters;
  /// Adds the step's gradients and returns its loss, a function of the step and the parameters alone.
  std::function<double(int step)> backward;
  std::function<double(int step)> learning_rate;
  /// Returns held-out figures; "score", lower is better, chooses the best.
  std::function<Json()> evaluate;
  /// Writes the file that is served, `metrics` in it.
  std::function<void(const std::string& path, const Json& metrics)> save;
  std::string suffix;  // suffix of that file: ".eraser.gguf"
  Json description;    // settings, model, data: the log's first line; a resumed run must have the same
  int steps = 0;
  double weight_decay = 0;
  double clip = 0;  // largest norm of the gradient; 0: none
};

/// Settings that all trainings share.
struct LoopSettings {
  int evaluate_every = 100;  // steps
  int patience = 0;          // evaluations without a better score before it stops; 0: never
  double checkpoint_minutes = 5;

  Settings settings();
};

/// What a run needs beside the settings, without an effect on the result.
struct RunOptions {
  std::string folder;
  bool resume = false;
  const std::atomic<bool>* stop = nullptr;           // looked at after each step: saves and returns
  std::function<void(const std::string& line)> say;  // progress
};

struct LoopResult {
  int steps = 0;  // done
  bool finished = false;
  Json best;  // figures of the best evaluation
};

/// Throws Error: io, not_found for a run to resume, invalid_argument where its description differs, corrupt
/// for a damaged checkpoint.
LoopResult run_loop(Trainee& trainee, const LoopSettings& loop, const RunOptions& options);

/// Returns a learning rate: linear from 0 over `warm_up` steps, flat to `flat` of all, then linear to
/// `floor` of the peak.
double scheduled(int step, int steps, double peak, int warm_up, double flat, double floor);

}  // namespace kvedit::train
