// Files of released versions load for ever, or are refused by their version. tests/fixtures/VERSION holds
// what write_fixtures made when VERSION was current.
#include "compatibility.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "cache/snapshot_format.h"
#include "model/lkv_testing.h"
#include "session_testing.h"

namespace kvedit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string read_all(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class CompatibilityTest : public testing::TestWithParam<std::string> {
 protected:
  fs::path file(const std::string& name) const { return fs::path(KVEDIT_FIXTURES) / GetParam() / name; }
};

TEST_P(CompatibilityTest, SnapshotsLoadWithAllThatWasInThem) {
  const Json expected = Json::parse(read_all(file("expected.json")));
  ASSERT_GE(expected.size(), 6U);
  for (const auto& [name, then] : expected.items()) {
    const auto model = fixture_model(file(name.substr(0, name.find('.')) + ".gguf"));
    Session session = Session::load(model, file(name));
    Json now = described(session), before = then;
    const auto logits = now["logits"].get<std::vector<float>>();
    const auto expected_logits = before["logits"].get<std::vector<float>>();
    now.erase("logits");
    before.erase("logits");
    EXPECT_EQ(now, before) << name;
    // f32 on both sides: what differs between machines is the order of sums.
    EXPECT_LT(divergence(expected_logits, logits, model->info().vocabulary).relative, 1e-4) << name;
    session.append("and so on");
    session.erase({0, 4});
    EXPECT_EQ(session.generate({.max_tokens = 2}).tokens.size(), 2U) << name;
  }
}

TEST_P(CompatibilityTest, AdaptersAndLearnedEvictionLoad) {
  const auto model = fixture_model(file("llama.gguf"));
  for (const char* name : {"llama.eraser.gguf", "llama.peft"}) {
    const AdapterInfo info = model->load_adapter(file(name))->info();
    EXPECT_EQ(info.rank, 2) << name;
    EXPECT_EQ(info.steering_states, 3) << name;
  }
  Session session(model);
  session.append_tokens(std::vector<Token>(100, 5));
  EXPECT_GT(session.evict("lkv:file=" + file("llama.lkv.gguf").string(), Budget::fraction(0.5)).bytes_before,
            0U);
}

TEST_P(CompatibilityTest, ANewerSnapshotIsRefusedByItsVersion) {
  std::string bytes = read_all(file("llama.exact.kv"));
  snapshot::Header header{};
  std::memcpy(&header, bytes.data(), sizeof header);
  header.version = 1000;
  header.header_hash = XXH64(&header, offsetof(snapshot::Header, header_hash), 0);
  std::memcpy(bytes.data(), &header, sizeof header);
  const std::string path = temporary_path("newer.kv");
  write_file(path, bytes);
  try {
    Session::load(fixture_model(file("llama.gguf")), path);
    FAIL() << "it loads";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("version 1000"), std::string::npos) << error.what();
  }
}

TEST_P(CompatibilityTest, NewerLearnedEvictionIsRefusedByItsVersion) {
  const auto model = fixture_model(file("llama.gguf"));
  const std::string path =
      write_lkv({.fingerprint = model->info().fingerprint,
                 .edit = [](gguf_context* file) { gguf_set_val_u32(file, "lkv.version", 1000); }},
                temporary_path("newer.lkv.gguf"));
  Session session(model);
  session.append_tokens(std::vector<Token>(100, 5));
  try {
    session.evict("lkv:file=" + path, Budget::fraction(0.5));
    FAIL() << "it loads";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("1000"), std::string::npos) << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(Versions, CompatibilityTest, testing::Values("0.1"),
                         [](const auto&) { return std::string("0_1"); });

}  // namespace
}  // namespace kvedit
