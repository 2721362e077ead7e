// A whole training of learned eviction.
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <iterator>

#include "model/lkv.h"
#include "session_testing.h"
#include "train/lkv.h"

namespace kvedit::train {
namespace {

class LkvRunTest : public testing::Test {
 protected:
  LkvRunTest() {
    config_.model = write_tiny_model({}, temporary_path("run.gguf"));
    config_.texts = temporary_path("run.txt");
    std::ofstream texts(config_.texts);
    for (unsigned i = 0; i < 40; i++) texts << prose(200, i) << "\n\n";
    config_.steps = 6;
    config_.imitation_steps = 2;
    config_.batch = 1;
    config_.shortest = 400;
    config_.longest = 440;
    config_.least_keep = 0.2;
    config_.held_out = 4;
    config_.held_out_length = 400;
    config_.held_out_keeps = "50%,20%";
    config_.loop.evaluate_every = 3;
  }
  LoopResult run(const std::string& name, bool resume = false,
                 const std::atomic<bool>* stop = nullptr) const {
    return train_lkv(config_, {.folder = temporary_path(name), .resume = resume, .stop = stop, .say = {}});
  }
  static std::string bytes(const std::string& path) {
    std::ifstream file(temporary_path(path), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  LkvConfig config_;
};

TEST_F(LkvRunTest, ResumedIsAsIfNeverStopped) {
  const LoopResult whole = run("lkv-whole");
  EXPECT_TRUE(whole.finished);
  EXPECT_EQ(whole.best.at("examples"), 4);
  const std::atomic<bool> stop{true};  // after each step
  EXPECT_FALSE(run("lkv-parts", false, &stop).finished);
  for (int i = 0; i < 2; i++) EXPECT_FALSE(run("lkv-parts", true, &stop).finished);
  EXPECT_TRUE(run("lkv-parts", true).finished);
  const std::string written = bytes("lkv-whole/last.lkv.gguf");
  EXPECT_FALSE(written.empty());
  EXPECT_TRUE(written == bytes("lkv-parts/last.lkv.gguf"));
  EXPECT_TRUE(bytes("lkv-whole/best.lkv.gguf") == bytes("lkv-parts/best.lkv.gguf"));
  Lkv::load(temporary_path("lkv-whole/last.lkv.gguf"))->check(*Network::load(config_.model));
}

TEST_F(LkvRunTest, TrainsEitherHalf) {
  config_.steps = 3;
  config_.budgets = "uniform";
  EXPECT_TRUE(run("scores").finished);
  config_.budgets = "learned";
  config_.scores = "laprox";
  EXPECT_TRUE(run("budgets").finished);
}

TEST_F(LkvRunTest, RefusesWhatCannotBe) {
  const auto refuses = [&](const std::function<void(LkvConfig&)>& change, ErrorCode code) {
    const LkvConfig before = config_;
    change(config_);
    EXPECT_EQ(code_of([&] { run("refused"); }), code);
    config_ = before;
  };
  refuses([](LkvConfig& c) { c.longest = 500; }, ErrorCode::out_of_range);
  refuses([](LkvConfig& c) { c.least_keep = 0.05; }, ErrorCode::out_of_range);
  refuses([](LkvConfig& c) { c.first_temperature = 0.01; }, ErrorCode::out_of_range);
  refuses([](LkvConfig& c) { c.batch = 0; }, ErrorCode::out_of_range);
  refuses([](LkvConfig& c) { c.budgets = "even"; }, ErrorCode::invalid_argument);
  refuses([](LkvConfig& c) { c.scores = "h2o"; }, ErrorCode::invalid_argument);
  refuses([](LkvConfig& c) { c.scores = "best"; }, ErrorCode::not_found);
  refuses([](LkvConfig& c) { c.scores = "snapkv", c.budgets = "uniform"; }, ErrorCode::invalid_argument);
  refuses([](LkvConfig& c) { c.texts = "no/such.txt"; }, ErrorCode::not_found);
  refuses([](LkvConfig& c) { c.held_out_keeps = "20%,none"; }, ErrorCode::invalid_argument);
  refuses([](LkvConfig& c) { c.held_out_keeps = "20%,512"; }, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace kvedit::train
