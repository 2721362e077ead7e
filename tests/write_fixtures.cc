// Writes what compatibility_test reads: write_fixtures FOLDER makes a small model of two architectures,
// snapshots of sessions with every kind of history, adapters, learned eviction, and expected.json, what the
// sessions then were. Run once for each release, by hand; what is committed stays as it is.
#include <xxhash.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cache/snapshot_format.h"
#include "compatibility.h"
#include "model/lkv_testing.h"
#include "session/model_impl.h"
#include "tiny_adapter.h"
#include "tiny_model.h"

namespace {

using namespace kvedit;  // NOLINT: one entry point
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string text(int words, uint32_t seed) {
  std::mt19937 random(seed);
  std::string all;
  for (int i = 0; i < words; i++) all += "word" + std::to_string(random() % 100) + " ";
  return all;
}

// The same file as the first version wrote it: without cache.held nothing else differs.
void write_as_version_1(const fs::path& from, const fs::path& to) {
  std::ifstream in(from, std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(in), {});
  snapshot::Header header{};
  std::memcpy(&header, bytes.data(), sizeof header);
  header.version = 1;
  header.header_hash = XXH64(&header, offsetof(snapshot::Header, header_hash), 0);
  std::memcpy(bytes.data(), &header, sizeof header);
  std::ofstream(to, std::ios::binary) << bytes;
}

void write(const fs::path& folder) {
  fs::create_directories(folder);
  const TinySpec shape{.layers = 2,
                       .d_model = 32,
                       .heads = 2,
                       .kv_heads = 2,
                       .key_dim = 16,
                       .d_ff = 32,
                       .vocabulary = 280,
                       .window = 16};
  for (const char* architecture : {"llama", "gemma3"}) {
    TinySpec spec = shape;
    spec.architecture = architecture;
    write_tiny_model(spec, folder / (std::string(architecture) + ".gguf"));
  }
  const auto llama = fixture_model(folder / "llama.gguf");
  const Network& network = implementation(*llama)->network();
  write_lora_gguf(network, {.rank = 2, .steering_states = 3}, folder / "llama.eraser.gguf");
  write_peft(network, {.rank = 2, .steering_states = 3}, folder / "llama.peft");
  write_lkv(
      {.layers = 2, .kv_heads = 2, .key_dim = 16, .value_dim = 16, .fingerprint = network.fingerprint()},
      folder / "llama.lkv.gguf");

  Json expected;
  const auto keep = [&](const std::string& name, Session& session) {
    session.save(folder / name);
    expected[name] = described(session);
  };
  const auto conversation = [&](const std::shared_ptr<Model>& model, const SessionOptions& options) {
    Session session(model, options);
    session.append_messages(std::vector<Message>{{"system", text(3, 1)}, {"user", text(12, 2)}}, true);
    session.append(text(30, 3));
    return session;
  };
  Session exact = conversation(llama, {});
  keep("llama.exact.kv", exact);
  write_as_version_1(folder / "llama.exact.kv", folder / "llama.exact.1.kv");
  expected["llama.exact.1.kv"] = expected["llama.exact.kv"];
  Session steered = exact.fork();
  steered.erase({20, 40}, {.method = "steer", .adapter = llama->load_adapter(folder / "llama.eraser.gguf")});
  keep("llama.steered.kv", steered);
  Session dropped = exact.fork();
  dropped.erase({30, 36}, {.method = "drop"});
  keep("llama.dropped.kv", dropped);
  Session evicted = exact.fork();
  evicted.evict("snapkv:window=8", Budget::fraction(0.5));
  keep("llama.evicted.kv", evicted);
  Session window = conversation(fixture_model(folder / "gemma3.gguf"), {.swa = SlidingWindow::window});
  keep("gemma3.window.kv", window);
  std::ofstream(folder / "expected.json") << expected.dump(1) << "\n";
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) throw std::runtime_error("usage: write_fixtures FOLDER");
  write(argv[1]);
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
