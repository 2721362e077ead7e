// Forward passes on tiny models: batches, blocks, captures, cancellation.
#include "compute/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>

#include "base/cancel.h"
#include "compute/kernels/attention.h"
#include "compute/kernels/attention_testing.h"
#include "model/gguf_file.h"
#include "tiny_model.h"
#include "tools/text.h"

namespace kvedit {
namespace {

class EngineTest : public testing::TestWithParam<std::string> {
 protected:
  EngineTest() {
    TinySpec spec;
    spec.architecture = GetParam();
    if (spec.architecture == "gemma3") spec.window = 24;
    network_ = Network::load(write_tiny_model(spec, temporary_path("engine.gguf")));
    const Hparams& h = network_->hparams();
    pool_ = PagePool::create({h.key_dim, h.value_dim, ElementType::f32});
    engine_ = std::make_unique<Engine>(network_, 2, LinearKernel::f32, 64);
    positions_.resize(400);
    std::iota(positions_.begin(), positions_.end(), 0);
  }

  Cache cache(int tokens) {
    const Hparams& h = network_->hparams();
    Cache made(pool_, h.layers, h.kv_heads, h.ropes);
    made.append(std::span(positions_).first(tokens));
    return made;
  }
  std::vector<Token> tokens(int n, uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<Token> all(n);
    for (Token& t : all) t = static_cast<Token>(random() % 300);
    return all;
  }
  std::vector<float> alone(std::span<const Token> tokens, Captures* captures = nullptr,
                           const CaptureRequest& record = {}) {
    Cache made = cache(static_cast<int>(tokens.size()));
    const kvedit::Run run{
        &made, tokens, std::span(positions_).first(tokens.size()), Logits::all, captures, 0, nullptr, record};
    return engine_->forward({&run, 1})[0];
  }
  static void expect_near(std::span<const float> a, std::span<const float> b, float tolerance) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); i++) ASSERT_NEAR(a[i], b[i], tolerance) << i;
  }

  std::shared_ptr<const Network> network_;
  std::shared_ptr<PagePool> pool_;
  std::unique_ptr<Engine> engine_;
  std::vector<Position> positions_;
};

TEST_P(EngineTest, AModelFileThatWasCutIsAnErrorNotTheEnd) {
  const std::string path = write_tiny_model({.architecture = GetParam()}, temporary_path("cut_in_use.gguf"));
  network_ = Network::load(path);
  Engine engine(network_, 2, LinearKernel::f32, 64);
  std::filesystem::resize_file(path, 100);
  Cache made = cache(10);
  const std::vector<Token> all = tokens(10, 1);
  const kvedit::Run run{&made, all, std::span(positions_).first(10), Logits::last, nullptr};
  try {
    engine.forward({&run, 1});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_NE(std::string(error.what()).find("was cut to 100"), std::string::npos) << error.what();
  }
}

// Multiplies a tensor of f32 in a file.
void scale_tensor(const std::string& path, const std::string& name, float factor) {
  std::vector<float> values;
  size_t at = 0;
  {
    const GgufFile file(path);
    const TensorEntry* entry = file.find(name);
    if (!entry) return;  // this architecture has none
    at = entry->data - file.bytes().data();
    values.resize(entry->size / sizeof(float));
    std::memcpy(values.data(), entry->data, entry->size);
  }
  for (float& v : values) v *= factor;
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(at));
  file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * 4));
}

TEST_P(EngineTest, KeysAndValuesBeyondF16AreCutAndItIsSaid) {
  TinySpec spec;
  spec.architecture = GetParam();
  const std::string path = write_tiny_model(spec, temporary_path("cut.gguf"));
  for (const char* name : {"attn_k.weight", "attn_k_norm.weight", "attn_v.weight"}) {
    scale_tensor(path, std::string("blk.0.") + name, 1e6F);
  }
  network_ = Network::load(path);
  const Hparams& h = network_->hparams();
  engine_ = std::make_unique<Engine>(network_, 2, LinearKernel::f32, 64);
  std::vector<std::string> warnings;
  set_log_sink([&](int level, std::string_view line) {
    if (level <= 4) warnings.emplace_back(line);
  });
  for (const ElementType type : {ElementType::f32, ElementType::f16}) {
    pool_ = PagePool::create({h.key_dim, h.value_dim, type});
    Cache made = cache(80);
    const std::vector<Token> all = tokens(80, 1);
    const kvedit::Run run{&made, all, std::span(positions_).first(80), Logits::last, nullptr};
    const std::vector<float> logits = engine_->forward({&run, 1})[0];
    EXPECT_TRUE(std::all_of(logits.begin(), logits.end(), [](float x) { return std::isfinite(x); }));
    std::vector<float> keys(size_t{80} * h.key_dim), values(size_t{80} * h.value_dim);
    made.lane(0, 0).read(0, 80, keys, values);
    for (const auto& of_entries : {keys, values}) {
      float largest = 0;
      for (const float x : of_entries) largest = std::max(largest, std::fabs(x));
      if (type == ElementType::f32) {
        EXPECT_GT(largest, 65520);
      } else {
        EXPECT_EQ(largest, 65504);
      }
    }
    EXPECT_EQ(warnings.size(), type == ElementType::f16 ? 1U : 0U);
  }
  set_log_sink({});
}

TEST_P(EngineTest, RunsOfABatchDoNotSeeEachOther) {
  const std::vector<Token> a = tokens(100, 1);
  const std::vector<Token> b = tokens(3, 2);
  const std::vector<Token> c = tokens(70, 3);
  Cache caches[] = {cache(100), cache(3), cache(70)};
  const auto at = [&](size_t n) { return std::span<const Position>(positions_).first(n); };
  const kvedit::Run runs[] = {{&caches[0], a, at(100), Logits::all, nullptr},
                              {&caches[1], b, at(3), Logits::none, nullptr},
                              {&caches[2], c, at(70), Logits::last, nullptr}};
  const auto logits = engine_->forward(runs);
  const size_t vocabulary = network_->hparams().vocabulary;
  expect_near(logits[0], alone(a), 1e-4F);
  EXPECT_TRUE(logits[1].empty());
  expect_near(logits[2], std::span<const float>(alone(c)).last(vocabulary), 1e-4F);
}

TEST_P(EngineTest, ASpanForwardedAgainReplacesExactlyThatSpan) {
  const std::vector<Token> all = tokens(150, 4);
  std::vector<Token> other = all;
  for (int i = 40; i < 60; i++) other[i] = 7;
  Cache edited = cache(150);
  const kvedit::Run first{&edited, other, std::span(positions_).first(150), Logits::none, nullptr};
  engine_->forward({&first, 1});
  Cache before = edited.fork();
  const auto span = std::span<const Position>(positions_).subspan(40, 20);
  edited.overwrite(span);
  const kvedit::Run again{&edited, std::span(all).subspan(40, 20), span, Logits::none, nullptr};
  engine_->forward({&again, 1});
  Cache fresh = cache(60);
  const kvedit::Run reference{&fresh, std::span(all).first(60), std::span(positions_).first(60), Logits::none,
                              nullptr};
  engine_->forward({&reference, 1});
  const int dim = network_->hparams().key_dim;
  const auto keys = [&](const Cache& c, int layer, int begin, int end) {
    std::vector<float> values(static_cast<size_t>(end - begin) * dim);
    c.lane(layer, 0).read(begin, end, values, {});
    return values;
  };
  for (int layer = 0; layer < network_->hparams().layers; layer++) {
    EXPECT_EQ(keys(edited, layer, 0, 40), keys(before, layer, 0, 40));
    EXPECT_EQ(keys(edited, layer, 60, 150), keys(before, layer, 60, 150));
    expect_near(keys(edited, layer, 40, 60), keys(fresh, layer, 40, 60), 1e-4F);
  }
}

// The captured queries, with the cached keys, give the captured attention mass.
TEST_P(EngineTest, CapturesAgreeWithEachOther) {
  const int n = 100;
  const std::vector<Token> all = tokens(n, 5);
  Captures captures;
  Cache made = cache(n);
  const kvedit::Run run{&made,
                        all,
                        std::span(positions_).first(n),
                        Logits::none,
                        &captures,
                        0,
                        nullptr,
                        {.window_queries = n, .attention_mass = true}};
  engine_->forward({&run, 1});
  const Hparams& h = network_->hparams();
  ASSERT_EQ(captures.tokens, n);
  for (int layer = 0; layer < h.layers; layer++) {
    for (int head = 0; head < h.kv_heads; head++) {
      std::vector<float> keys(static_cast<size_t>(n) * h.key_dim);
      made.lane(layer, head).read(0, n, keys, {});
      std::vector<float> mass(n);
      for (int t = 0; t < n; t++) {
        for (int g = 0; g < h.group(); g++) {
          const float* q =
              &captures.queries[layer][(static_cast<size_t>(t) * h.heads + head * h.group() + g) * h.key_dim];
          std::vector<double> weights(n, 0.0);
          double sum = 0;
          const int window = h.window_of(layer);
          for (int e = window > 0 ? std::max(0, t - window + 1) : 0; e <= t; e++) {
            double dot = 0;
            for (int i = 0; i < h.key_dim; i++) dot += static_cast<double>(q[i]) * keys[e * h.key_dim + i];
            sum += weights[e] = std::exp(dot);
          }
          for (int e = 0; e < n; e++) mass[e] += static_cast<float>(weights[e] / sum);
        }
      }
      expect_near(captures.mass[static_cast<size_t>(layer) * h.kv_heads + head], mass, 2e-3F);
    }
  }
  expect_near(alone(all), alone(all, &captures, run.record), 1e-4F);  // looking changes nothing
}

// Of the first layer: its input is the embedding, its output follows from the queries, keys and values.
TEST_P(EngineTest, SimilaritiesAreOfTheHiddenStateAroundAttention) {
  const int n = 100, window = 7;
  const std::vector<Token> all = tokens(n, 8);
  Captures captures;
  Cache made = cache(n);
  const kvedit::Run run{&made,
                        all,
                        std::span(positions_).first(n),
                        Logits::none,
                        &captures,
                        0,
                        nullptr,
                        {.window_queries = window, .similarity = true}};
  engine_->forward({&run, 1});
  const Hparams& h = network_->hparams();
  const LayerWeights& weights = network_->layers()[0];
  ASSERT_EQ(captures.similarities.size(), static_cast<size_t>(h.layers) * window);
  for (int t = 0; t < window; t++) {
    std::vector<float> attended(static_cast<size_t>(h.heads) * h.value_dim);
    for (int head = 0; head < h.kv_heads; head++) {
      AttentionTask task;
      task.queries = &captures.queries[0][(static_cast<size_t>(t) * h.heads + head * h.group()) * h.key_dim];
      task.query_stride = static_cast<size_t>(h.heads) * h.key_dim;
      task.positions = std::span<const Position>(positions_).subspan(n - window + t, 1);
      task.group = h.group();
      task.key_dim = h.key_dim;
      task.value_dim = h.value_dim;
      task.type = ElementType::f32;
      task.pages = made.lane(0, head).pages();
      task.window = h.window_of(0);
      task.output = &attended[static_cast<size_t>(head) * h.group() * h.value_dim];
      task.output_stride = attended.size();
      attend_reference(task);
    }
    std::vector<double> output(h.d_model);
    double squares = 0;
    for (int i = 0; i < h.d_model; i++) {
      const float* row = static_cast<const float*>(weights.wo->data) + i * attended.size();
      for (size_t d = 0; d < attended.size(); d++) output[i] += static_cast<double>(row[d]) * attended[d];
      squares += output[i] * output[i];
    }
    const auto* embedding = static_cast<const float*>(network_->embedding()->data) +
                            static_cast<size_t>(all[n - window + t]) * h.d_model;
    double before = 0, after = 0, product = 0;
    for (int i = 0; i < h.d_model; i++) {
      if (weights.post_attention_norm) {
        output[i] *= static_cast<const float*>(weights.post_attention_norm->data)[i] /
                     std::sqrt(squares / h.d_model + h.norm_epsilon);
      }
      const double x = static_cast<double>(embedding[i]) * h.embedding_scale;
      before += x * x;
      after += (x + output[i]) * (x + output[i]);
      product += x * (x + output[i]);
    }
    EXPECT_NEAR(captures.similarities[t], product / std::sqrt(before * after), 1e-4);
  }
}

TEST_P(EngineTest, ACancelledPassThrows) {
  const std::vector<Token> all = tokens(200, 6);
  Cache made = cache(200);
  const kvedit::Run run{&made, all, std::span(positions_).first(200), Logits::last, nullptr};
  std::vector<size_t> seen;
  const auto stop_after_two = [&](size_t done, size_t total) {
    EXPECT_EQ(total, 200U);
    seen.push_back(done);
    return seen.size() < 2;
  };
  EXPECT_THROW(engine_->forward({&run, 1}, stop_after_two), Error);
  EXPECT_EQ(seen, (std::vector<size_t>{64, 128}));
  std::stop_source now;
  now.request_stop();
  {
    const CancelScope scope({.token = now.get_token()});
    EXPECT_THROW(engine_->forward({&run, 1}), Error);
  }
  EXPECT_EQ(engine_->forward({&run, 1})[0].size(), static_cast<size_t>(network_->hparams().vocabulary));
}

INSTANTIATE_TEST_SUITE_P(Architectures, EngineTest, testing::Values("llama", "qwen2", "qwen3", "gemma3"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace kvedit
