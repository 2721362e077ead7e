#include "model/lkv.h"

#include <cmath>
#include <filesystem>

#include "cache/cache_testing.h"
#include "model/lkv_testing.h"
#include "tiny_model.h"

namespace kvedit {
namespace {

std::shared_ptr<const Lkv> load(const LkvSpec& spec) {
  return Lkv::load(write_lkv(spec, temporary_path("test.lkv.gguf")));
}

const float* tensor(const GgufFile& file, const std::string& name) {
  return reinterpret_cast<const float*>(file.find(name)->data);
}

TEST(LkvTest, HoldsTheMapsOfEachLayer) {
  const std::string path = write_lkv({}, temporary_path("maps.lkv.gguf"));
  const auto lkv = Lkv::load(path);
  const GgufFile file(path);
  for (int layer = 0; layer < 2; layer++) {
    const LkvLayer& maps = lkv->layer(layer);
    const std::string prefix = "blk." + std::to_string(layer) + ".lkv_";
    EXPECT_EQ(maps.hidden, 5);
    ASSERT_EQ(maps.hidden_weight.size(), 2U * 5 * 24);
    ASSERT_EQ(maps.hidden_bias.size(), 2U * 5);
    ASSERT_EQ(maps.score_weight.size(), 2U * 5);
    EXPECT_EQ(maps.hidden_weight.back(), tensor(file, prefix + "hidden.weight")[2 * 5 * 24 - 1]);
    EXPECT_EQ(maps.score_weight.back(), tensor(file, prefix + "score.weight")[2 * 5 - 1]);
  }
  const auto linear = load({.hidden = 0});
  EXPECT_EQ(linear->layer(1).hidden, 0);
  EXPECT_EQ(linear->layer(1).score_weight.size(), 2U * 24);
}

TEST(LkvTest, SharesAreTheSoftmaxOverTheModel) {
  const std::string path = write_lkv({.layers = 3}, temporary_path("shares.lkv.gguf"));
  const auto lkv = Lkv::load(path);
  const GgufFile file(path);
  const auto logit = [&](int layer, int head) {
    return tensor(file, "blk." + std::to_string(layer) + ".lkv_budget")[head];
  };
  double sum = 0;
  for (int layer = 0; layer < 3; layer++) {
    for (int head = 0; head < 2; head++) {
      sum += lkv->share(layer, head);
      const double ratio = std::exp(static_cast<double>(logit(layer, head)) - logit(0, 0));
      EXPECT_NEAR(lkv->share(layer, head) / lkv->share(0, 0), ratio, 1e-12 * ratio);
    }
  }
  EXPECT_NEAR(sum, 1, 1e-12);
}

TEST(LkvTest, RefusesWhatIsNoLkvFile) {
  const auto refuses = [](const LkvSpec& spec, ErrorCode code, const std::string& part) {
    const auto [got, message] = error_of([&] { load(spec); });
    EXPECT_EQ(got, code) << message;
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  refuses({.drop_tensor = "blk.1.lkv_budget"}, ErrorCode::corrupt, "blk.1.lkv_budget");
  refuses({.drop_tensor = "blk.1.lkv_hidden.bias"}, ErrorCode::corrupt, "blk.1.lkv_hidden.bias");
  refuses({.widen_tensor = "blk.0.lkv_score.weight"}, ErrorCode::corrupt, "[6, 2], not [5, 2]");
  refuses({.widen_tensor = "blk.0.lkv_hidden.weight"}, ErrorCode::corrupt, "[25, 5, 2], not [24, 5, 2]");
  refuses({.spoil_tensor = "blk.0.lkv_budget"}, ErrorCode::corrupt, "not finite");
  refuses({.type = GGML_TYPE_F16}, ErrorCode::unsupported, "f16");
  refuses({.activation = "relu"}, ErrorCode::unsupported, "relu");
  const auto edited = [](const std::function<void(gguf_context*)>& edit) { return LkvSpec{.edit = edit}; };
  refuses(edited([](gguf_context* f) { gguf_set_val_str(f, "general.type", "adapter"); }),
          ErrorCode::unsupported, "\"adapter\"");
  refuses(edited([](gguf_context* f) { gguf_remove_key(f, "general.type"); }), ErrorCode::unsupported,
          "\"model\"");
  refuses(edited([](gguf_context* f) { gguf_set_val_u32(f, "lkv.version", 2); }), ErrorCode::unsupported,
          "2; 1");
  refuses(edited([](gguf_context* f) { gguf_remove_key(f, "lkv.model.fingerprint"); }), ErrorCode::corrupt,
          "lkv.model.fingerprint");
  refuses(edited([](gguf_context* f) { gguf_set_val_u32(f, "lkv.block_count", 60000); }), ErrorCode::corrupt,
          "60000 layers");
  refuses(edited([](gguf_context* f) { gguf_set_val_u32(f, "lkv.attention.key_length", 0); }),
          ErrorCode::corrupt, "key_length");
  EXPECT_EQ(error_of([] { Lkv::load("no/such.lkv.gguf"); }).first, ErrorCode::not_found);
}

TEST(LkvTest, ACutFileIsAnError) {
  const std::string path = write_lkv({}, temporary_path("cut.lkv.gguf"));
  for (auto size = std::filesystem::file_size(path) - 40; size > 100; size = size * 3 / 4) {  // past padding
    std::filesystem::resize_file(path, size);
    EXPECT_EQ(error_of([&] { Lkv::load(path); }).first, ErrorCode::corrupt) << size;
  }
}

TEST(LkvTest, FitsOnlyTheModelItWasTrainedFor) {
  const auto network = Network::load(write_tiny_model({}, temporary_path("tiny.gguf")));
  const LkvSpec fits{.key_dim = 16, .value_dim = 16, .fingerprint = network->fingerprint()};
  load(fits)->check(*network);
  LkvSpec other = fits;
  other.fingerprint++;
  const auto [code, message] = error_of([&] { load(other)->check(*network); });
  EXPECT_EQ(code, ErrorCode::invalid_argument);
  EXPECT_NE(message.find(fingerprint_text(other.fingerprint)), std::string::npos) << message;
  EXPECT_NE(message.find(fingerprint_text(network->fingerprint())), std::string::npos) << message;
  LkvSpec shape = fits;
  shape.layers = 3;
  EXPECT_EQ(error_of([&] { load(shape)->check(*network); }).first, ErrorCode::corrupt);
}

}  // namespace
}  // namespace kvedit
