#include "train/loop.h"

#include <fcntl.h>
#include <torch/optim/adamw.h>
#include <torch/serialize/archive.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "tools/stopwatch.h"
#include "tools/text.h"

namespace kvedit::train {
namespace {

namespace fs = std::filesystem;

void sync_and_rename(const std::string& from, const std::string& to) {
  const int file = ::open(from.c_str(), O_RDONLY);
  const bool written = file >= 0 && ::fsync(file) == 0;
  if (file >= 0) ::close(file);
  if (!written || std::rename(from.c_str(), to.c_str()) != 0)
    fail(ErrorCode::io, "train", "cannot write \"", to, "\"");
}

// "settings.seed 1, not 2"
std::string first_difference(const Json& was, const Json& is) {
  const Json earlier = was.flatten(), now = is.flatten();
  for (const Json* each : {&earlier, &now}) {
    for (const auto& item : each->items()) {
      const std::string& key = item.key();
      const std::string a = earlier.contains(key) ? earlier.at(key).dump() : "nothing";
      const std::string b = now.contains(key) ? now.at(key).dump() : "nothing";
      if (a != b) return cat(key.substr(1), " ", a, ", not ", b);
    }
  }
  return "another description";
}

class Run {
 public:
  Run(Trainee& trainee, const LoopSettings& loop, const RunOptions& options)
      : trainee_(trainee),
        settings_(loop),
        options_(options),
        optimiser_(trainee.parameters, torch::optim::AdamWOptions(1).weight_decay(trainee.weight_decay)) {
    fs::create_directories(options.folder);
    if (options.resume) {
      load();
      fs::resize_file(path("log.jsonl"), log_bytes_);  // what came after the checkpoint comes again
      log_.open(path("log.jsonl"), std::ios::app);
    } else {
      if (fs::exists(path("checkpoint.pt"))) {
        fail(ErrorCode::invalid_argument, "train", "the folder \"", options.folder,
             "\" holds a run: resume it, or choose another folder");
      }
      log_.open(path("log.jsonl"), std::ios::trunc);
      write(trainee.description);
    }
    if (!log_) fail(ErrorCode::io, "train", "cannot write \"", path("log.jsonl"), "\"");
  }

  LoopResult operator()() {
    if (step_ == 0) evaluate();
    while (step_ < trainee_.steps && !exhausted()) {
      train_step();
      if (step_ % settings_.evaluate_every == 0 || step_ == trainee_.steps) evaluate();
      const bool stopped = options_.stop != nullptr && *options_.stop;
      if (stopped || since_checkpoint_.ms() > settings_.checkpoint_minutes * 60e3) checkpoint();
      if (stopped) return {step_, false, best_};
    }
    checkpoint();
    trainee_.save(path("last" + trainee_.suffix), last_);
    return {step_, true, best_};
  }

 private:
  std::string path(const std::string& name) const { return options_.folder + "/" + name; }
  bool exhausted() const { return settings_.patience > 0 && worse_ >= settings_.patience; }

  void write(const Json& line) {
    log_ << line.dump() << "\n" << std::flush;
    if (!log_) fail(ErrorCode::io, "train", "cannot write \"", path("log.jsonl"), "\"");
  }

  void train_step() {
    const Stopwatch watch;
    const double rate = trainee_.learning_rate(step_);
    for (auto& group : optimiser_.param_groups())
      static_cast<torch::optim::AdamWOptions&>(group.options()).lr(rate);
    optimiser_.zero_grad();
    const double loss = trainee_.backward(step_);
    double squares = 0;
    for (const torch::Tensor& p : trainee_.parameters) {
      if (p.grad().defined()) squares += p.grad().square().sum().item<double>();
    }
    const double norm = std::sqrt(squares);
    if (!std::isfinite(loss) || !std::isfinite(norm))
      fail(ErrorCode::corrupt, "train", "step ", step_, " has loss ", loss, " and a gradient of norm ", norm);
    if (trainee_.clip > 0 && norm > trainee_.clip) {
      for (const torch::Tensor& p : trainee_.parameters) {
        if (p.grad().defined()) p.grad().mul_(trainee_.clip / norm);
      }
    }
    optimiser_.step();
    step_++;
    write({{"step", step_}, {"loss", loss}, {"gradient", norm}, {"rate", rate}});
    seconds_ = seconds_ == 0 ? watch.ms() / 1e3 : 0.95 * seconds_ + 0.05 * watch.ms() / 1e3;
    smooth_ = smooth_ == 0 ? loss : 0.95 * smooth_ + 0.05 * loss;
    if (!options_.say) return;
    const double left = seconds_ * (trainee_.steps - step_) / 60;
    options_.say(cat("step ", step_, "/", trainee_.steps, "  loss ", smooth_, "  held-out ",
                     best_.is_null() ? "-" : last_.at("score").dump(), "  ", seconds_, " s a step, ", left,
                     " min left"));
  }

  void evaluate() {
    if (!trainee_.evaluate) return;
    last_ = trainee_.evaluate();
    last_["step"] = step_;
    write({{"evaluation", last_}});
    if (options_.say) options_.say("evaluation " + last_.dump());
    const double score = last_.at("score").get<double>();
    if (!best_.is_null() && score >= best_.at("score").get<double>()) {
      worse_++;
      return;
    }
    worse_ = 0;
    best_ = last_;
    trainee_.save(path("best" + trainee_.suffix), best_);
  }

  void checkpoint() {
    torch::serialize::OutputArchive archive, optimiser;
    optimiser_.save(optimiser);
    archive.write("optimiser", optimiser);
    for (size_t i = 0; i < trainee_.parameters.size(); i++)
      archive.write(std::to_string(i), trainee_.parameters[i].detach());
    log_.flush();
    const Json state = {{"step", step_},
                        {"worse", worse_},
                        {"best", best_},
                        {"last", last_},
                        {"log_bytes", fs::file_size(path("log.jsonl"))},
                        {"description", trainee_.description}};
    archive.write("state", c10::IValue(state.dump()));
    archive.save_to(path("checkpoint.pt.new"));
    sync_and_rename(path("checkpoint.pt.new"), path("checkpoint.pt"));
    since_checkpoint_ = {};
  }

  void load() {
    if (!fs::exists(path("checkpoint.pt")))
      fail(ErrorCode::not_found, "train", "no run to resume in \"", options_.folder, "\"");
    torch::serialize::InputArchive archive, optimiser;
    try {
      archive.load_from(path("checkpoint.pt"));
      c10::IValue text;
      archive.read("state", text);
      const Json state = Json::parse(text.toStringRef());
      if (state.at("description") != trainee_.description) {
        fail(ErrorCode::invalid_argument, "train", "the run in \"", options_.folder, "\" has ",
             first_difference(state.at("description"), trainee_.description));
      }
      for (size_t i = 0; i < trainee_.parameters.size(); i++) {
        torch::Tensor value;
        archive.read(std::to_string(i), value);
        const torch::NoGradGuard no_grad;
        trainee_.parameters[i].copy_(value);
      }
      archive.read("optimiser", optimiser);
      optimiser_.load(optimiser);
      step_ = state.at("step");
      worse_ = state.at("worse");
      best_ = state.at("best");
      last_ = state.at("last");
      log_bytes_ = state.at("log_bytes");
    } catch (const c10::Error& error) {
      fail(ErrorCode::corrupt, "train", "\"", path("checkpoint.pt"), "\": ", error.what_without_backtrace());
    } catch (const Json::exception& error) {
      fail(ErrorCode::corrupt, "train", "\"", path("checkpoint.pt"), "\": ", error.what());
    }
  }

  Trainee& trainee_;
  const LoopSettings& settings_;
  const RunOptions& options_;
  torch::optim::AdamW optimiser_;
  std::ofstream log_;
  uintmax_t log_bytes_ = 0;
  int step_ = 0;
  int worse_ = 0;  // evaluations since the best
  Json best_, last_;
  double seconds_ = 0, smooth_ = 0;
  Stopwatch since_checkpoint_;
};

}  // namespace

Settings LoopSettings::settings() {
  return {{"evaluate-every", &evaluate_every, "Steps", 1},
          {"patience", &patience, "Evaluations without a better one before it stops; 0: never", 0},
          {"checkpoint-minutes", &checkpoint_minutes, "Between checkpoints", 0}};
}

LoopResult run_loop(Trainee& trainee, const LoopSettings& loop, const RunOptions& options) {
  return Run(trainee, loop, options)();
}

double scheduled(int step, int steps, double peak, int warm_up, double flat, double floor) {
  if (step < warm_up) return peak * (step + 1) / warm_up;
  const double turn = flat * steps;
  if (step <= turn) return peak;
  return peak * (1 - (1 - floor) * (step - turn) / std::max(1.0, steps - turn));
}

}  // namespace kvedit::train
