// Writes what the fuzzers start from: fuzz_seeds FOLDER makes FOLDER/<fuzzer>/*. A fuzzer would not
// find a whole GGUF file or a snapshot's checksums by itself.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "cache/cache_testing.h"
#include "cache/snapshot.h"
#include "tiny_model.h"

namespace {

using namespace kvedit;  // NOLINT: one entry point
namespace fs = std::filesystem;

void write_models(const fs::path& folder) {
  fs::create_directories(folder);
  for (const char* architecture : {"llama", "qwen2", "qwen3", "gemma3"}) {
    const TinySpec spec{.architecture = architecture,
                        .layers = 1,
                        .d_model = 32,
                        .heads = 2,
                        .kv_heads = 1,
                        .d_ff = 32,
                        .vocabulary = 280};
    write_tiny_model(spec, folder / architecture);
  }
}

// The shape that src/cache/snapshot_fuzz.cc loads, behind the byte that says "a whole file".
void write_snapshots(const fs::path& folder) {
  fs::create_directories(folder);
  const fs::path file = folder / "cache";
  const auto pool = PagePool::create({.key_dim = 4, .value_dim = 2, .type = ElementType::f16});
  Cache cache(pool, 1, 2, test_ropes(1, 2));
  cache.append(range(0, 70));
  write_test_rows(cache, range(0, 70));
  SnapshotWriter writer(file);
  save_cache(writer, cache);
  writer.commit();

  std::ifstream in(file, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(in), {});
  std::ofstream(file, std::ios::binary) << '\0' << bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: fuzz_seeds FOLDER\n";
    return 2;
  }
  const fs::path folder = argv[1];
  write_models(folder / "network_fuzz");
  write_models(folder / "tokenizer_fuzz");
  write_snapshots(folder / "snapshot_fuzz");
  return 0;
}
