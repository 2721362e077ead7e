// Training of the eraser on tiny models: what the loss is made of, that it learns, and that runs go on.
#include "train/eraser.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "eval/wording.h"
#include "session/model_impl.h"
#include "session_testing.h"
#include "tools/text.h"
#include "train/example.h"
#include "train/export.h"

namespace kvedit::train {
namespace {

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Passages in which the patterns find something.
std::string write_passages(const std::string& name) {
  Json all = Json::array();
  std::mt19937 random(5);
  for (int i = 0; i < 40; i++) {
    std::string text = cat("Person ", i, " ( born ", 1 + random() % 28, " May ", 1900 + i, ") was a writer.");
    for (int k = 0; k < 3; k++)
      text += cat(" The number of house ", random() % 1000, " is ", random() % 1000, ".");
    all.push_back({{"title", cat("Person ", i)}, {"text", text}});
  }
  const std::string path = temporary_path(name);
  std::ofstream(path) << all;
  return path;
}

ModelOptions one_thread() {
  ModelOptions options = exact_options();
  options.threads = 1;
  return options;
}

class EraserTest : public testing::TestWithParam<std::string> {
 protected:
  EraserTest() {
    model_ = kvedit::load(spec_of(GetParam()), one_thread());
    const auto& served = *implementation(*model_);
    weights_ = load_weights(served.shared_network());
  }

  // Contexts of tokens at random, of every kind of probe.
  Context context(uint32_t seed, bool evicted = false) const {
    Context made;
    made.tokens = random_tokens(90, seed);
    made.erased = {{30, 42}, {50, 55}};
    made.probes = {
        {.kind = "fresh", .after = random_tokens(6, seed + 1), .forced = random_tokens(5, seed + 2)},
        {.kind = "stale", .before = random_tokens(7, seed + 3), .forced = random_tokens(4, seed + 4)},
        {.kind = "neighbours", .forced = random_tokens(6, seed + 5)},
        {.kind = "answer", .before = random_tokens(5, seed + 6), .answer_tokens = 6, .answer_before = 2}};
    if (evicted) {
      made.policy = "snapkv:window=8";
      made.keep = 0.6;
    }
    return made;
  }

  // With random numbers in place of zeros, as f16 holds them.
  LoraTensors random_lora() const {
    LoraTensors lora = new_lora(weights_, 4, 8, {}, 3);
    const torch::NoGradGuard no_grad;
    torch::manual_seed(1);
    for (const Tensor& p : lora.parameters()) p.copy_((0.2 * torch::randn_like(p)).to(torch::kFloat16));
    return lora;
  }

  std::shared_ptr<Model> model_;
  Weights weights_;
};

// What is trained is what is served: the loss of an example is the divergence of a session that steers.
TEST_P(EraserTest, TheLossIsTheServedDivergence) {
  LoraTensors lora = random_lora();
  const std::string path = temporary_path("served.eraser.gguf");
  for (const int states : {0, 1, 7}) {  // of spans of 12 and 5 tokens
    lora.steering_states = states;
    write_adapter(lora, *weights_.network, {}, path);
    for (const bool evicted : {false, true}) {
      const Context made = context(10, evicted);
      const Tensor ours = divergences(weights_, make_example(model_, weights_, made, states), &lora);
      const std::vector<double> served =
          served_divergences(model_, made, "steer", model_->load_adapter(path));
      ASSERT_EQ(ours.numel(), static_cast<int64_t>(served.size()));
      for (size_t i = 0; i < served.size(); i++) {
        EXPECT_NEAR(ours[static_cast<int64_t>(i)].item<double>(), served[i], 0.01 * served[i] + 2e-5)
            << made.probes[i].kind << ", " << states << " states" << (evicted ? ", evicted" : "");
        EXPECT_GT(served[i], 5e-5);
      }
    }
  }
}

TEST_P(EraserTest, WithoutAnAdapterTheLossIsThatOfDrop) {
  const Context made = context(11);
  const Tensor ours = divergences(weights_, make_example(model_, weights_, made, 0), nullptr);
  const std::vector<double> served = served_divergences(model_, made, "drop");
  for (size_t i = 0; i < served.size(); i++)
    EXPECT_NEAR(ours[static_cast<int64_t>(i)].item<double>(), served[i], 0.01 * served[i] + 1e-4);
}

TEST_P(EraserTest, AnUntrainedAdapterErasesNothing) {
  const Context made = context(12);
  const Example example = make_example(model_, weights_, made, 0);
  const LoraTensors zero = new_lora(weights_, 4, 8, {}, 1);
  const Entries* const before[] = {&example.before};
  const Entries with = forward(weights_, example.span, before, {.lora = &zero, .entries_only = true}).entries;
  const Entries without = forward(weights_, example.span, before, {.entries_only = true}).entries;
  for (size_t layer = 0; layer < with.size(); layer++) {
    EXPECT_TRUE(torch::equal(with[layer].keys, without[layer].keys));
    EXPECT_TRUE(torch::equal(with[layer].values, without[layer].values));
  }
  const Tensor ours = divergences(weights_, example, &zero);
  const std::vector<double> none = served_divergences(model_, made, "none");
  for (size_t i = 0; i < none.size(); i++)
    EXPECT_NEAR(ours[static_cast<int64_t>(i)].item<double>(), none[i], 0.01 * none[i] + 1e-4);
}

// Adapters that reach no key or value are left out; all others learn.
TEST_P(EraserTest, EveryParameterHasAGradient) {
  const LoraTensors lora = random_lora();
  divergences(weights_, make_example(model_, weights_, context(13), 0), &lora).mean().backward();
  for (const Tensor& p : lora.parameters()) {
    ASSERT_TRUE(p.grad().defined());
    EXPECT_GT(p.grad().abs().max().item<double>(), 0);
  }
  for (size_t i = 0; i < kLoraTargets.size(); i++) {
    const bool cached = kLoraTargets[i].gguf == "attn_k" || kLoraTargets[i].gguf == "attn_v";
    EXPECT_EQ(lora.layers.back()[i].a.defined(), cached) << kLoraTargets[i].gguf;
  }
}

TEST_P(EraserTest, CheckpointedGradientsAreTheSame) {
  const LoraTensors lora = random_lora();
  const Example example = make_example(model_, weights_, context(14), 0);
  std::vector<Tensor> kept;
  for (const bool again : {false, true}) {
    divergences(weights_, example, &lora, again).mean().backward();
    for (size_t i = 0; i < lora.parameters().size(); i++) {
      const Tensor p = lora.parameters()[i];
      if (again) {
        EXPECT_TRUE(torch::allclose(kept[i], p.grad(), 1e-4, 1e-7));
      } else {
        kept.push_back(p.grad().clone());
      }
      p.mutable_grad() = Tensor();
    }
  }
}

TEST_P(EraserTest, BothFormatsHoldWhatWasTrained) {
  const LoraTensors lora = random_lora();
  const std::string file = temporary_path("round.eraser.gguf");
  const std::string folder = temporary_path("round.peft");
  write_adapter(lora, *weights_.network, {{"seed", 1}}, file);
  write_peft_folder(lora, *weights_.network, folder);
  const std::string again_folder = temporary_path("again.peft");
  write_peft_folder(lora_tensors(*Lora::load(file, *weights_.network)), *weights_.network, again_folder);
  for (const std::string& path : {file, folder, again_folder}) {
    const LoraTensors again = lora_tensors(*Lora::load(path, *weights_.network));
    for (size_t layer = 0; layer < lora.layers.size(); layer++) {
      for (size_t i = 0; i < kLoraTargets.size(); i++) {
        const LowRankTensors& was = lora.layers[layer][i];
        const LowRankTensors& is = again.layers[layer][i];
        ASSERT_EQ(was.a.defined(), is.a.defined());
        if (!was.a.defined()) continue;
        EXPECT_TRUE(torch::equal(was.a, is.a));
        EXPECT_TRUE(torch::allclose(was.b * lora.scale(), is.b * again.scale()));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, EraserTest, testing::Values("llama", "qwen2", "qwen3", "gemma3"),
                         [](const auto& info) { return info.param; });

class EraserRunTest : public testing::Test {
 protected:
  EraserRunTest() {
    TinySpec spec = spec_of("llama");
    spec.context = 4096;
    config_.model = write_tiny_model(spec, temporary_path("run.gguf"));
    config_.texts = write_passages("run.json");
    config_.rank = 4;
    config_.steps_1 = 3;
    config_.steps_2 = 3;
    config_.batch = 1;
    config_.held_out = 2;
    config_.loop.evaluate_every = 2;
    config_.numbers_share = 0;  // they need longer contexts
    config_.sizes = {.tokens = 200, .span_max = 16, .neighbours = 8, .questions = 2};
  }
  EraserConfig config_;
};

TEST_F(EraserRunTest, AResumedRunIsTheUninterruptedOne) {
  const std::string whole = temporary_path("whole"), parts = temporary_path("parts");
  EXPECT_TRUE(train_eraser(config_, {.folder = whole}).finished);
  std::atomic<bool> stop = false;
  const LoopResult first =
      train_eraser(config_, {.folder = parts, .stop = &stop, .say = [&](const std::string& line) {
                               if (line.starts_with("step 3/")) stop = true;
                             }});
  EXPECT_FALSE(first.finished);
  EXPECT_EQ(first.steps, 3);
  EXPECT_TRUE(train_eraser(config_, {.folder = parts, .resume = true}).finished);
  for (const char* file : {"last.eraser.gguf", "best.eraser.gguf", "log.jsonl"})
    EXPECT_EQ(contents(whole + "/" + file), contents(parts + "/" + file)) << file;
}

TEST_F(EraserRunTest, ARunGoesOnOnlyWithItsOwnSettings) {
  const std::string folder = temporary_path("settings");
  EXPECT_EQ(code_of([&] { train_eraser(config_, {.folder = folder, .resume = true}); }),
            ErrorCode::not_found);
  config_.steps_2 = 0;
  train_eraser(config_, {.folder = folder});
  config_.seed = 2;
  EXPECT_EQ(code_of([&] { train_eraser(config_, {.folder = folder, .resume = true}); }),
            ErrorCode::invalid_argument);
  std::ofstream(folder + "/checkpoint.pt") << "no checkpoint";
  EXPECT_EQ(code_of([&] { train_eraser(config_, {.folder = folder, .resume = true}); }), ErrorCode::corrupt);
}

TEST_F(EraserRunTest, WhatDiffersFromTheRunIsNamed) {
  const std::string folder = temporary_path("named");
  config_.steps_1 = config_.steps_2 = 1;
  train_eraser(config_, {.folder = folder});
  config_.warm_up = 7;
  try {
    train_eraser(config_, {.folder = folder, .resume = true});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("has settings/warm-up 10, not 7"), std::string::npos)
        << error.what();
  }
}

// Baselines that are measured again may differ in their last digits, on another CPU in more.
TEST_F(EraserRunTest, ARunGoesOnWithTheBaselinesItBeganWith) {
  const std::string folder = temporary_path("baselines");
  std::atomic<bool> stop = true;
  train_eraser(config_, {.folder = folder, .stop = &stop});
  std::string log = contents(folder + "/log.jsonl");
  const size_t at = log.find("\"drop\":{");
  ASSERT_NE(at, std::string::npos);
  log.replace(at, 8, "\"gone\":{");
  std::ofstream(folder + "/log.jsonl", std::ios::binary) << log;
  EXPECT_ANY_THROW(train_eraser(config_, {.folder = folder, .resume = true})) << "they are read from the log";
}

TEST_F(EraserRunTest, AnAdapterTrainedFurtherIsNotedAsItIs) {
  const std::string first = temporary_path("first"), second = temporary_path("second");
  config_.steps_1 = config_.steps_2 = 1;
  config_.targets = "attn_k,attn_v";
  train_eraser(config_, {.folder = first});
  config_.from = first + "/last.eraser.gguf";
  config_.rank = 16;
  config_.targets.clear();
  train_eraser(config_, {.folder = second});
  std::ifstream log(second + "/log.jsonl");
  std::string line;
  std::getline(log, line);
  const Json settings = Json::parse(line).at("settings");
  EXPECT_EQ(settings.at("rank"), 4);
  EXPECT_EQ(settings.at("targets"), "attn_k,attn_v");
}

TEST(PassagesTest, WhatIsHeldOutIsNeverTrainedOn) {
  for (int count = 2; count < 40; count++) {
    Passages passages;
    for (int i = 0; i < count; i++) passages.all.push_back({"", cat("Passage ", i % 30, " of ", count)});
    const Split parts = split(passages);
    EXPECT_FALSE(parts.training.all.empty()) << count;
    EXPECT_FALSE(parts.held_out.all.empty()) << count;
    EXPECT_EQ(parts.training.all.size() + parts.held_out.all.size(), passages.all.size());
    for (const Passage& a : parts.training.all) {
      for (const Passage& b : parts.held_out.all) EXPECT_NE(a.text, b.text) << count;
    }
  }
  const Passages same{{{"", "one text"}, {"", "one text"}}, 0};
  EXPECT_EQ(code_of([&] { split(same); }), ErrorCode::invalid_argument);
}

TEST(FactsTest, AContradictionNeverAgrees) {
  eval::Random random{4};
  for (int i = 0; i < 3000; i++) {
    const Fact fact = invent_fact(random);
    EXPECT_TRUE(eval::says(fact.statement, fact.value));
    ASSERT_FALSE(eval::says(fact.contradiction, fact.value)) << fact.contradiction;
  }
  Passages passages;
  for (int i = 0; i < 30; i++) {
    passages.all.push_back(
        {cat("Film ", i), cat("Film ", i, " is a ", 1960 + i % 3, " film directed by ",
                              i % 2 == 0 ? "Otto Lang" : "Ida Berg", ". Langers saw it 19601 times.")});
  }
  const FactFinder finder(passages);
  ASSERT_FALSE(finder.empty());
  for (int i = 0; i < 300; i++) {
    const Fact fact = finder.draw(random);
    ASSERT_FALSE(eval::says(fact.contradiction, fact.value)) << fact.value << ": " << fact.contradiction;
    EXPECT_NE(fact.contradiction.find("Langers saw it 19601 times."), std::string::npos)
        << fact.contradiction;
  }
}

TEST_F(EraserRunTest, SettingsAreChecked) {
  config_.rank = 0;
  EXPECT_EQ(code_of([&] { train_eraser(config_, {.folder = temporary_path("never")}); }),
            ErrorCode::out_of_range);
  const Settings settings = config_.settings();
  EXPECT_EQ(code_of([&] { read_json(settings, {{"no-such", 1}}); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { read_json(settings, {{"rank", "many"}}); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { read_json(settings, {{"batch", 0}}); }), ErrorCode::out_of_range);
  read_json(settings, {{"rank", 7}});
  EXPECT_EQ(config_.rank, 7);
}

// Four examples by heart.
TEST_F(EraserRunTest, LearnsToErase) {
  const auto model = kvedit::load(spec_of("llama"), one_thread());
  const auto& served = *implementation(*model);
  const Weights weights = load_weights(served.shared_network());
  std::vector<Example> examples;
  double drop = 0;
  for (uint32_t i = 0; i < 4; i++) {
    Context context;
    context.tokens = random_tokens(41, 20 + i);
    context.erased = {{24, 40}};
    context.probes = {{.kind = "neighbours", .forced = random_tokens(8, 30 + i)}};
    examples.push_back(make_example(model, weights, context, 0));
    drop += divergences(weights, examples.back(), nullptr).mean().item<double>() / 4;
  }
  LoraTensors lora = new_lora(weights, 16, 32, {}, 1);
  double loss = 0;
  Trainee trainee;
  trainee.parameters = lora.parameters();
  trainee.learning_rate = [](int step) { return scheduled(step, 250, 1e-2, 5, 0.5, 0.02); };
  trainee.backward = [&](int) {
    Tensor sum = torch::zeros({});
    for (const Example& example : examples) sum = sum + divergences(weights, example, &lora).mean() / 4;
    sum.backward();
    return loss = sum.item<double>();
  };
  trainee.save = [](const std::string&, const Json&) {};
  trainee.steps = 250;
  run_loop(trainee, {}, {.folder = temporary_path("overfit")});
  EXPECT_LT(loss, 0.05 * drop) << "drop " << drop;
}

}  // namespace
}  // namespace kvedit::train
