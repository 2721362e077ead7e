#include "train/eraser.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

#include "session/model_impl.h"
#include "tools/text.h"
#include "train/device.h"
#include "train/example.h"
#include "train/export.h"

namespace kvedit::train {
namespace {

constexpr uint64_t kHeldOut = uint64_t{1} << 32;  // seeds of held-out contexts, apart from those of steps

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> all;
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, ',');) all.push_back(word);
  return all;
}

std::string targets_of(const LoraTensors& lora) {
  std::vector<std::string_view> all;
  for (size_t i = 0; i < kLoraTargets.size(); i++) {
    const bool has = std::any_of(lora.layers.begin(), lora.layers.end(),
                                 [&](const auto& layer) { return layer[i].a.defined(); });
    if (has) all.emplace_back(kLoraTargets[i].gguf);
  }
  return join(all, std::identity(), ",");
}

// Returns the baselines that a resumed run began with, whatever this machine would measure.
Json earlier_baselines(const std::string& folder) {
  std::ifstream log(folder + "/log.jsonl");
  std::string line;
  std::getline(log, line);
  const Json first = Json::parse(line, nullptr, false);
  if (!first.is_object() || !first.contains("baselines"))
    fail(ErrorCode::not_found, "train", "no run to resume in \"", folder, "\"");
  return first["baselines"];
}

// "stale/unique" counts as "stale".
std::string group_of(const std::string& kind) { return kind.substr(0, kind.find('/')); }

class Means {
 public:
  void add(const std::string& kind, double value) {
    auto& [sum, count] = sums_[kind];
    sum += value;
    count++;
  }
  std::map<std::string, double> all() const {
    std::map<std::string, double> means;
    for (const auto& [kind, sum] : sums_) means[kind] = sum.first / sum.second;
    return means;
  }

 private:
  std::map<std::string, std::pair<double, int>> sums_;
};

class EraserTraining {
 public:
  explicit EraserTraining(EraserConfig& config)
      : config_(config), settings_(config.settings()), products_(product_type(config.products)) {
    check(settings_);
    at::set_num_threads(config.threads);
    ModelOptions options;
    options.threads = config.threads;
    model_ = Model::load(config.model, options);
    const auto& served = *implementation(*model_);
    weights_ = load_weights(served.shared_network(), device_of(config.device), products_);
    Split texts = split(load_passages(config.texts));
    training_ = std::make_unique<ContextSource>(*model_, std::move(texts.training), config.sizes);
    held_out_ = std::make_unique<ContextSource>(*model_, std::move(texts.held_out), config.sizes);
    lora_ = config.from.empty()
                ? new_lora(weights_, config.rank, config.alpha, words(config.targets), config.seed)
                : trained_further(
                      lora_tensors(*Lora::load(config.from, *weights_.network), device_of(config.device)),
                      config.alpha);
    if (!config.from.empty()) {  // what the settings say of it is what it is
      config.rank = lora_.rank;
      config.targets = targets_of(lora_);
    }
    lora_.steering_states = config.steering_states;
  }

  LoopResult run(const RunOptions& run) {
    draw_held_out(run);
    Trainee trainee;
    trainee.parameters = lora_.parameters();
    trainee.backward = [this](int step) { return backward(step); };
    trainee.learning_rate = [this](int step) { return learning_rate(step); };
    trainee.evaluate = [this] { return evaluate(); };
    trainee.save = [this](const std::string& path, const Json& metrics) { save(path, metrics); };
    trainee.suffix = ".eraser.gguf";
    trainee.description = description();
    trainee.steps = config_.steps_1 + config_.steps_2;
    trainee.weight_decay = config_.weight_decay;
    return run_loop(trainee, config_.loop, run);
  }

 private:
  bool first_stage(int step) const { return step < config_.steps_1; }

  double learning_rate(int step) const {
    const bool first = first_stage(step);
    return scheduled(first ? step : step - config_.steps_1, first ? config_.steps_1 : config_.steps_2,
                     first ? config_.learning_rate_1 : config_.learning_rate_2, config_.warm_up, config_.flat,
                     first ? 0.5 : config_.floor);
  }

  Context plain(const ContextSource& source, eval::Random random) const {
    const bool numbers = config_.steps_2 > 0 && random.unit() < config_.numbers_share;
    return numbers ? source.around_numbers(random) : source.neighbours(random);
  }

  Context task(const ContextSource& source, eval::Random random) const {
    return random.unit() < config_.numbers_share ? source.numbers(random) : source.facts(random);
  }

  // KL of drop, mean over groups / that of the probe's group; stage 1 has but one kind of loss.
  Tensor ask_weights(const Example& example) const {
    double all = 0;
    int groups = 0;
    for (const auto& [kind, mean] : drop_) {
      if (kind != group_of(kind)) continue;
      all += mean;
      groups++;
    }
    std::vector<float> weights;
    for (const std::string& kind : example.kinds) {
      const auto group = drop_.find(group_of(kind));
      weights.push_back(
          group == drop_.end() ? 1 : static_cast<float>(all / groups / std::max(1e-6, group->second)));
    }
    return torch::tensor(weights).to(weights_.device());
  }

  double backward(int step) {
    double loss = 0;
    for (int i = 0; i < config_.batch; i++) {
      eval::Random random{static_cast<uint64_t>(config_.seed), static_cast<uint64_t>(step),
                          static_cast<uint64_t>(i)};
      const bool first = first_stage(step);
      const bool neighbours = first || random.unit() < config_.neighbours_share;
      const Context context = first        ? training_->neighbours(random)
                              : neighbours ? plain(*training_, random)
                                           : task(*training_, random);
      const Example example = make_example(model_, weights_, context, config_.steering_states);
      const bool again = example.span.tokens.numel() >= config_.checkpoint_span;
      const Tensor each = divergences(weights_, example, &lora_, again) * ask_weights(example);
      const Tensor mean = each.mean() / config_.batch;
      mean.backward();
      loss += mean.item<double>();
    }
    return loss;
  }

  void draw_held_out(const RunOptions& run) {
    if (run.resume) baselines_ = earlier_baselines(run.folder);
    std::map<std::string, Means> means;  // by method
    for (int i = 0; i < config_.held_out; i++) {
      const eval::Random random{static_cast<uint64_t>(config_.seed), kHeldOut >> 32U, kHeldOut,
                                static_cast<uint64_t>(i)};
      const Context context = i % 2 == 0 ? plain(*held_out_, random) : task(*held_out_, random);
      examples_.push_back(make_example(model_, weights_, context, config_.steering_states));
      examples_.back().teacher = examples_.back().teacher.to(torch::kFloat16);
      if (!run.resume) {
        for (const char* method : {"drop", "shift", "repair"}) {
          const std::vector<double> all = served_divergences(model_, context, method);
          for (size_t k = 0; k < all.size(); k++) {
            means[method].add(context.probes[k].kind, all[k]);
            means[method].add(group_of(context.probes[k].kind), all[k]);
          }
        }
      }
      if (run.say) run.say(cat("held-out context ", i + 1, "/", config_.held_out));
    }
    for (const auto& [method, of_method] : means) baselines_[method] = of_method.all();
    baselines_.at("drop").get_to(drop_);
  }

  // The score: mean over neighbours, stale and fresh questions of KL / KL of drop.
  Json evaluate() const {
    const torch::NoGradGuard no_grad;
    Means means;
    for (Example example : examples_) {
      example.teacher = example.teacher.to(torch::kFloat32);
      const Tensor all = divergences(weights_, example, &lora_).cpu();
      for (size_t k = 0; k < example.kinds.size(); k++) {
        const double value = all[static_cast<int64_t>(k)].item<double>();
        means.add(example.kinds[k], value);
        means.add(group_of(example.kinds[k]), value);
      }
    }
    double score = 0;
    int groups = 0;
    for (const auto& [kind, mean] : means.all()) {
      if (kind.find('/') != std::string::npos) continue;
      score += mean / std::max(1e-6, drop_.at(kind));
      groups++;
    }
    return {{"score", score / std::max(1, groups)}, {"kl", means.all()}};
  }

  Json description() {
    return {{"settings", to_json(settings_)},
            {"model", weights_.hparams().name},
            {"fingerprint", weights_.network->fingerprint()},
            {"texts", {{"training", training_->hash()}, {"held_out", held_out_->hash()}}},
            {"baselines", baselines_}};
  }

  void save(const std::string& path, const Json& metrics) {
    Json notes = without_paths(description());
    notes["metrics"] = metrics;
    write_adapter(lora_, *weights_.network, notes, path);
  }

  EraserConfig& config_;
  Settings settings_;
  torch::ScalarType products_;
  std::shared_ptr<Model> model_;
  Weights weights_;
  std::unique_ptr<ContextSource> training_, held_out_;
  LoraTensors lora_;
  std::vector<Example> examples_;
  Json baselines_;
  std::map<std::string, double> drop_;
};

}  // namespace

Settings EraserConfig::settings() {
  return joined(
      {{"model", &model, "The GGUF file"},
       {"texts", &texts, "A JSON array of {title, text}, a text file, or a folder of them"},
       {"from", &from, "An adapter to go on from, instead of a new one"},
       {"targets", &targets, "Projections with an adapter, comma-separated (default: all seven)"},
       {"rank", &rank, "Of the adapter", 1, 4096},
       {"alpha", &alpha, "Of the adapter", 1e-3, 1e6},
       {"steering-states", &steering_states, "Of a span that stay, its last; 0: all", 0, kMaxSteeringStates},
       {"learning-rate-1", &learning_rate_1, "Peak of stage 1", 0, 1},
       {"learning-rate-2", &learning_rate_2, "Peak of stage 2", 0, 1},
       {"steps-1", &steps_1, "Of stage 1", 0},
       {"steps-2", &steps_2, "Of stage 2", 0},
       {"batch", &batch, "Contexts a step", 1, 4096},
       {"warm-up", &warm_up, "Steps, of each stage", 1},
       {"flat", &flat, "Share of a stage at its peak", 0, 1},
       {"floor", &floor, "Share of the peak at the end", 0, 1},
       {"weight-decay", &weight_decay, "AdamW's", 0, 1},
       {"neighbours-share", &neighbours_share, "Contexts of stage 1 within stage 2", 0, 1},
       {"numbers-share", &numbers_share, "Of erase-niah among either kind of context of stage 2", 0, 1},
       {"context", &sizes.tokens, "Tokens of a context, at most", 128, 1 << 20},
       {"span-min", &sizes.span_min, "Tokens of an erased span of stage 1", 1, 4096},
       {"span-max", &sizes.span_max, "Tokens of an erased span of stage 1", 1, 4096},
       {"neighbours", &sizes.neighbours, "Tokens compared after a span", 1, 4096},
       {"questions", &sizes.questions, "About a context", 1, 64},
       {"evicted", &sizes.evicted, "Share of contexts that are evicted before", 0, 1},
       {"checkpoint-span", &checkpoint_span, "Span tokens from which activations are computed again", 1},
       {"held-out", &held_out, "Contexts of the held-out evaluation", 2, 4096}},
      loop.settings(),
      {{"seed", &seed, "Of contexts and adapter", 0, 1 << 30},
       {"threads", &threads, "Of the CPU", 1, 1024},
       {"device", &device, "cpu, cuda"},
       {"products", &products, "Type of the projections' products: f32, bf16, f16"}});
}

LoopResult train_eraser(EraserConfig config, const RunOptions& run) {
  return EraserTraining(config).run(run);
}

}  // namespace kvedit::train
