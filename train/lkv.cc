#include "train/lkv.h"

#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "eval/interval.h"
#include "evict/policy.h"
#include "kvedit/session.h"
#include "model/lkv.h"
#include "tools/fingerprint.h"
#include "tools/text.h"
#include "tools/write_file.h"
#include "train/lkv_loss.h"
#include "train/lkv_tasks.h"
#include "train/passages.h"

namespace kvedit::train {
namespace {

constexpr const char* kOracle = "laprox-joint:kernel=1";  // with the queries to come
constexpr const char* kRivals[] = {"snapkv", "h2o", "laprox", "laprox-joint"};
constexpr int kSampled = 4;  // contexts that features are normalised by
constexpr uint64_t kHeldOutSeed = 0x68656c64;
constexpr uint64_t kKeepSeed = 0x6b656570;

// Passages joined to running texts.
void check_lkv_config(const LkvConfig& c, const Hparams& h) {
  if (c.longest > h.context_length - 64 || c.shortest > c.longest) {
    fail(ErrorCode::out_of_range, "train", "contexts of ", c.shortest, " to ", c.longest,
         " tokens and 64 that follow are not within the model's ", h.context_length);
  }
  if (c.least_keep > c.most_keep || c.last_temperature > c.first_temperature || c.imitation_steps > c.steps) {
    fail(ErrorCode::out_of_range, "train", "least-keep ", c.least_keep, ", last-temperature ",
         c.last_temperature, " or imitation-steps ", c.imitation_steps,
         " is above its counterpart: ", c.most_keep, ", ", c.first_temperature, ", steps ", c.steps);
  }
  if (candidate_budget(h, c.shortest - 1, {c.least_keep, c.sinks, c.recent}) < 1) {
    fail(ErrorCode::out_of_range, "train", "keeping ", c.least_keep, " of ", c.shortest,
         " tokens has no room for ", c.sinks, " sinks and ", c.recent, " recent entries a lane");
  }
  if (c.budgets != "learned" && c.budgets != "uniform")
    fail(ErrorCode::invalid_argument, "train", "budgets are \"", c.budgets,
         "\", neither learned nor uniform");
  if (c.scores == "learned") return;
  // As a pair, so that its name is a scorer's; one with a window needs nothing but the context's last
  // queries.
  const CaptureRequest needs = make_policy(c.scores + "+uniform").needs();
  if (needs.window_queries == 0 || needs.attention_mass || needs.query_statistics) {
    fail(ErrorCode::invalid_argument, "train", "scores of \"", c.scores,
         "\" do not come from a window of queries, as those of laprox or snapkv do");
  }
  if (c.budgets == "uniform")
    fail(ErrorCode::invalid_argument, "train", "with scores of ", c.scores,
         " and uniform budgets nothing is learned");
}

// [continuation, vocabulary] before each of the continuation's tokens
Tensor log_probabilities(const Session& session, const LkvText& example) {
  const auto rows = static_cast<int64_t>(example.continuation.size());
  const auto logits = session.logits_after(std::span(example.continuation).first(rows - 1));
  return torch::tensor(logits).view({rows, -1}).log_softmax(-1);
}

class LkvTrainer {
 public:
  explicit LkvTrainer(const LkvConfig& config, const std::string& folder)
      : config_(config), draft_(folder + "/draft.lkv.gguf") {
    torch::set_num_threads(config.threads);
    ModelOptions options;
    options.threads = config.threads;
    model_ = Model::load(config.model, options);
    served_ = implementation(*model_);
    weights_ = load_weights(served_->shared_network());
    check_lkv_config(config_, weights_.hparams());
    std::istringstream list(config.held_out_keeps);
    for (std::string keep; std::getline(list, keep, ',');) {
      if (Budget::parse(keep).kind != Budget::Kind::fraction)
        fail(ErrorCode::invalid_argument, "train", "held-out-keeps are shares, not \"", keep, "\"");
      keeps_.push_back(keep);
    }
    if (keeps_.empty()) fail(ErrorCode::invalid_argument, "train", "held-out-keeps names none");
    const Passages passages = load_passages(config.texts);
    texts_hash_ = passages.hash;
    const Split parts = split(passages);
    training_ = std::make_unique<eval::Haystack>(haystack_of(parts.training));
    held_out_ = std::make_unique<eval::Haystack>(haystack_of(parts.held_out));
    parts_ = {.scores = config.scores == "learned", .budgets = config.budgets == "learned"};
    make_tensors();
  }

  /// Returns what the loop trains. rivals: figures that `measure` found of the policies to beat.
  Trainee trainee(const Json& rivals) {
    for (const auto& [policy, figures] : rivals.items()) {
      for (const auto& [keep, kinds] : figures.at("kl").items()) {
        for (const auto& [kind, kl] : kinds.items()) {
          double& best = best_rival_[kind].emplace(share_of(keep), kl.at(0)).first->second;
          best = std::max(1e-6, std::min(best, kl.at(0).get<double>()));
        }
      }
    }
    Trainee trainee;
    trainee.parameters = lkv_.parameters();
    trainee.backward = [this](int step) { return backward(step); };
    trainee.learning_rate = [this](int step) {
      return scheduled(step, config_.steps, config_.learning_rate, config_.warm_up, config_.flat,
                       config_.floor);
    };
    trainee.evaluate = [this] {
      write(draft_, {});
      const std::string policy = served_policy(draft_);
      Json figures = measure({policy}).at(policy);
      std::filesystem::remove(draft_);
      figures["score"] = score(figures);
      return figures;
    };
    trainee.save = [this](const std::string& path, const Json& metrics) { write(path, metrics); };
    trainee.suffix = ".lkv.gguf";
    trainee.steps = config_.steps;
    trainee.clip = config_.clip;
    trainee.description = description();
    return trainee;
  }

  /// {policy: {"kl": {keep: {kind: [mean, low, high]}}, "examples": n}}, of hard selection.
  Json measure(const std::vector<std::string>& policies) const {
    std::map<std::string, std::map<std::string, std::map<std::string, std::vector<double>>>> kl;
    for (int i = 0; i < config_.held_out; i++) {
      const LkvText example = make_lkv_text(*model_, *held_out_, config_.held_out_length, kHeldOutSeed, i);
      Session full(model_);
      full.append_tokens(example.context);
      const Tensor wanted = log_probabilities(full, example);
      for (const std::string& policy : policies) {
        for (const std::string& keep : keeps_) {
          Session session = full.fork();
          session.evict(policy, Budget::parse(keep));
          kl[policy][keep][example.kind].push_back(
              mean_kl(wanted, log_probabilities(session, example)).item<double>());
        }
      }
    }
    Json all;
    for (const std::string& policy : policies) {
      Json& of_policy = all[policy];
      for (const auto& [keep, kinds] : kl.at(policy)) {
        for (const auto& [kind, numbers] : kinds) {
          const eval::Interval i = eval::interval(numbers, eval::Mean::arithmetic);
          of_policy["kl"][keep][kind] = {i.mean, i.low, i.high};
        }
      }
      of_policy["examples"] = config_.held_out;
    }
    return all;
  }

 private:
  static double share_of(const std::string& keep) { return Budget::parse(keep).amount; }

  // Mean over keeps and kinds of KL / KL of the best rival there.
  double score(const Json& figures) const {
    double sum = 0;
    int count = 0;
    for (const auto& [keep, kinds] : figures.at("kl").items()) {
      for (const auto& [kind, kl] : kinds.items()) {
        sum += kl.at(0).get<double>() / best_rival_.at(kind).at(share_of(keep));
        count++;
      }
    }
    return sum / count;
  }

  // 1 / KL of the best rival, at the nearest of the shares it was measured at.
  double weight(const std::string& kind, double share) const {
    const auto found = best_rival_.find(kind);
    if (found == best_rival_.end()) return 1;
    const auto distance = [&](const auto& at) { return std::fabs(std::log(at.first / share)); };
    const auto nearest =
        std::min_element(found->second.begin(), found->second.end(),
                         [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
    return 1 / nearest->second;
  }

  void make_tensors() {
    const Hparams& h = weights_.hparams();
    std::vector<std::vector<Tensor>> samples(h.layers);
    for (int i = 0; i < kSampled; i++) {
      const LkvExample read = read_example(*served_, make_lkv_text(*model_, *training_, config_.longest,
                                                                   static_cast<uint64_t>(config_.seed), i));
      for (int layer = 0; layer < h.layers; layer++)
        samples[layer].push_back(lkv_features(read.entries[layer], (*h.ropes)[layer]));
    }
    std::vector<Tensor> features;
    for (const auto& of_layer : samples) features.push_back(torch::cat(of_layer, 1));
    lkv_ = new_lkv(features, config_.hidden, config_.seed);
    lkv_.budget_gain = config_.budget_learning_rate / config_.learning_rate;
  }

  Json description() {
    return {{"settings", to_json(config_.settings())},
            {"model",
             {{"architecture", weights_.hparams().architecture},
              {"fingerprint", fingerprint_text(served_->network().fingerprint())}}},
            {"texts", fingerprint_text(texts_hash_)}};
  }

  double backward(int step) {
    const bool imitates = step < config_.imitation_steps;
    const double done = static_cast<double>(step - config_.imitation_steps) /
                        std::max(1, config_.steps - config_.imitation_steps);
    const double temperature =
        config_.first_temperature * std::pow(config_.last_temperature / config_.first_temperature, done);
    GivenScores given;
    if (!parts_.scores) given.policy = config_.scores + "+uniform";
    if (imitates) given = {kOracle, true};
    double sum = 0;
    for (int i = 0; i < config_.batch; i++) {
      const int index = step * config_.batch + i;
      const auto seed = static_cast<uint64_t>(config_.seed);
      eval::Random random{seed, kKeepSeed, static_cast<uint64_t>(index)};
      const int length =
          config_.shortest + static_cast<int>(random.below(config_.longest - config_.shortest + 1));
      const Keep keep{config_.least_keep * std::pow(config_.most_keep / config_.least_keep, random.unit()),
                      config_.sinks, config_.recent};
      const LkvText task = make_lkv_text(*model_, *training_, length, seed, index);
      const LkvExample read = read_example(*served_, task, given);
      const Tensor loss = imitates ? imitation_loss(weights_.hparams(), lkv_, parts_, read, keep)
                                   : distillation_loss(weights_, lkv_, parts_, read, keep, temperature) *
                                         weight(task.kind, keep.share);
      (loss / config_.batch).backward();
      sum += loss.item<double>();
    }
    return sum / config_.batch;
  }

  std::string served_policy(const std::string& file) const {
    return cat(parts_.scores ? "lkv" : config_.scores, parts_.budgets ? "+learned" : "+uniform",
               ":sinks=", config_.sinks, ",recent=", config_.recent, ",file=", file);
  }

  void write(const std::string& path, const Json& metrics) {
    LkvContents contents = lkv_contents(lkv_);
    contents.notes = {{"training.description", without_paths(description()).dump()},
                      {"training.metrics", metrics.dump()}};
    save_lkv(contents, served_->network(), path);
  }

  LkvConfig config_;
  std::string draft_;
  std::vector<std::string> keeps_;  // of held-out figures
  std::shared_ptr<Model> model_;
  std::shared_ptr<ModelImpl> served_;
  Weights weights_;
  std::unique_ptr<eval::Haystack> training_, held_out_;
  uint64_t texts_hash_ = 0;
  LkvParts parts_;
  LkvTensors lkv_;
  std::map<std::string, std::map<double, double>> best_rival_;  // [kind][share kept] KL
};

}  // namespace

Settings LkvConfig::settings() {
  return joined(
      {{"model", &model, "The GGUF file that is served"},
       {"texts", &texts, "JSON of passages, a text file or a folder of them"},
       {"scores", &scores, "learned, or a scorer: then budgets alone are learned"},
       {"budgets", &budgets, "learned, or uniform: then scores alone are learned"},
       {"hidden", &hidden, "Units of a head's map", 1, 4096},
       {"imitation-steps", &imitation_steps, "First steps, that imitate LaProx with the queries to come", 0},
       {"steps", &steps, "In all", 1},
       {"batch", &batch, "Contexts a step", 1, 1024},
       {"shortest", &shortest, "Tokens of a context", 160},
       {"longest", &longest, "Tokens of a context", 160},
       {"least-keep", &least_keep, "Share kept, drawn log-uniformly", 1e-3, 1},
       {"most-keep", &most_keep, "Share kept", 1e-3, 1},
       {"sinks", &sinks, "First entries, always kept", 0},
       {"recent", &recent, "Last entries, always kept", 0},
       {"first-temperature", &first_temperature, "Of the soft selection", 1e-4, 100},
       {"last-temperature", &last_temperature, "Of the soft selection", 1e-4, 100},
       {"learning-rate", &learning_rate, "Of the scorers", 1e-9, 1},
       {"budget-learning-rate", &budget_learning_rate, "Of the budgets' logits", 1e-9, 1},
       {"warm-up", &warm_up, "Steps", 0},
       {"flat", &flat, "Share of the steps before the rate falls", 0, 1},
       {"floor", &floor, "Share of the rate that it falls to", 0, 1},
       {"clip", &clip, "Of the gradient's norm; 0: none", 0},
       {"held-out", &held_out, "Contexts of an evaluation", 1},
       {"held-out-length", &held_out_length, "Tokens of these", 160}},
      loop.settings(),
      {{"seed", &seed, "Of parameters and examples", 0}, {"threads", &threads, "Of the CPU", 1, 1024}});
}

LoopResult train_lkv(LkvConfig config, const RunOptions& run) {
  check(config.settings());
  std::error_code error;
  std::filesystem::create_directories(run.folder, error);
  if (error) fail(ErrorCode::io, "train", "cannot make \"", run.folder, "\": ", error.message());
  LkvTrainer trainer(config, run.folder);
  const std::string path = run.folder + "/rivals.json";
  Json rivals;
  if (run.resume) {
    std::ifstream file(path);
    rivals = Json::parse(file, nullptr, false);
    if (rivals.is_discarded())
      fail(ErrorCode::not_found, "train", "no run to resume in \"", run.folder, "\"");
  } else {
    rivals = trainer.measure({std::begin(kRivals), std::end(kRivals)});
    write_file("train", path, rivals.dump(2) + "\n");
  }
  Trainee trainee = trainer.trainee(rivals);
  return run_loop(trainee, config.loop, run);
}

}  // namespace kvedit::train
