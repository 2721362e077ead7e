// Files that were trained for a model are found beside those of others.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "model/lkv_testing.h"
#include "session_testing.h"

namespace kvedit {
namespace {

class CompanionsTest : public testing::Test {
 protected:
  CompanionsTest() : folder_(temporary_path("companions")) {
    std::filesystem::create_directories(folder_);
    options_.companions = {temporary_path("nowhere"), folder_};
    model_ = load({}, options_);
  }

  LkvSpec spec() const {
    const ModelInfo info = model_->info();
    return {.layers = info.layers,
            .kv_heads = info.kv_heads,
            .key_dim = info.key_dim,
            .value_dim = info.key_dim,
            .fingerprint = info.fingerprint};
  }

  Session session() const {
    Session session(model_);
    session.append_tokens(random_tokens(200, 1));
    return session;
  }

  std::string folder_;
  ModelOptions options_ = exact_options();
  std::shared_ptr<Model> model_;
};

TEST_F(CompanionsTest, ThePolicyLkvReadsTheModelsOwnFile) {
  LkvSpec others = spec();
  others.fingerprint++;
  write_lkv(others, folder_ + "/a.lkv.gguf");
  std::ofstream(folder_ + "/b.lkv.gguf") << "no GGUF file";
  EXPECT_EQ(code_of([&] { session().evict("lkv", Budget::fraction(0.5)); }), ErrorCode::not_found);

  const std::string own = write_lkv(spec(), folder_ + "/c.lkv.gguf");
  EXPECT_EQ(model_->companion(".lkv.gguf"), own);
  Session evicted = session(), named = session();
  const EvictReport report = evicted.evict("lkv", Budget::fraction(0.5));
  EXPECT_NE(report.policy.find(own), std::string::npos) << report.policy;
  named.evict("lkv:file=" + own, Budget::fraction(0.5));
  EXPECT_EQ(evicted.stats().policy.find(folder_), std::string::npos) << "another machine has it elsewhere";
  EXPECT_EQ(evicted.logits(), named.logits());
  evicted.erase(Span{0, 1});  // evicts again
  const std::string path = temporary_path("lkv.kv");
  named.save(path);
  EXPECT_EQ(Session::load(model_, path).stats().policy.find(folder_), std::string::npos);
  EXPECT_EQ(code_of([&] { session().evict("lkv:file=" + folder_ + "/a.lkv.gguf", Budget::fraction(0.5)); }),
            ErrorCode::invalid_argument);

  Session capped = session();
  capped.set_cap("mix(lkv;snapkv):window=8", Budget::tokens(100));
  capped.append_tokens(random_tokens(100, 2));
  EXPECT_LE(capped.stats().bytes, session().stats().bytes);
}

TEST_F(CompanionsTest, AnEraserIsToldByItsOwnKey) {
  LkvSpec spec = this->spec();
  write_lkv(spec, folder_ + "/a.eraser.gguf");  // names its model as an LKV file does
  EXPECT_EQ(model_->companion(".eraser.gguf"), "");
  spec.edit = [&](gguf_context* file) {
    gguf_set_val_str(file, "kvedit.model.fingerprint", fingerprint_text(spec.fingerprint).c_str());
  };
  const std::string own = write_lkv(spec, folder_ + "/b.eraser.gguf");
  EXPECT_EQ(model_->companion(".eraser.gguf"), own);
}

}  // namespace
}  // namespace kvedit
