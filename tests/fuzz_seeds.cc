// Writes what the fuzzers start from: fuzz_seeds FOLDER makes FOLDER/<fuzzer>/*. A fuzzer would not
// find a whole GGUF file or a snapshot's checksums by itself.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "cache/cache_testing.h"
#include "cache/snapshot.h"
#include "model/lkv_testing.h"
#include "tiny_adapter.h"
#include "tiny_model.h"

namespace {

using namespace kvedit;  // NOLINT: one entry point
namespace fs = std::filesystem;
using namespace std::string_literals;  // NOLINT: zeros in them

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

/// Adapters for the llama of write_models, whose shapes src/model/adapter/lora_fuzz.cc has.
void write_adapters(const fs::path& folder, const std::string& model) {
  for (const char* fuzzer : {"lora_fuzz", "safetensors_fuzz", "lora_config_fuzz"}) {
    fs::create_directories(folder / fuzzer);
  }
  const auto network = Network::load(model);
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_BF16, GGML_TYPE_Q8_0}) {
    const TinyAdapterSpec spec{.rank = type == GGML_TYPE_Q8_0 ? 32 : 2, .type = type};
    write_lora_gguf(*network, spec, folder / "lora_fuzz" / ggml_type_name(type));
  }
  const auto patterns = [](nlohmann::ordered_json& config) {
    config["rank_pattern"] = {{"layers.0.+(q|k)_proj", 4}};
    config["alpha_pattern"] = {{"0\\.mlp[.]\\w*", 16}};
  };
  const fs::path peft = write_peft(*network, {.rank = 2, .edit_config = patterns}, folder / "peft");
  fs::rename(peft / "adapter_config.json", folder / "lora_config_fuzz" / "peft");
  fs::rename(peft / "adapter_model.safetensors", folder / "safetensors_fuzz" / "peft");
  fs::remove(peft);
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

void write_lkvs(const fs::path& folder) {
  fs::create_directories(folder);
  write_lkv({.layers = 1}, folder / "hidden");
  write_lkv({.layers = 1, .hidden = 0}, folder / "linear");
}

void write_records(const fs::path& folder) {
  fs::create_directories(folder);
  std::ofstream(folder / "longbench") << R"({"input": "Who?", "context": "A. B.", "answers": ["A", "B C"], )"
                                      << R"("length": 2, "dataset": "trec", "all_classes": ["A", "B"]})";
  std::ofstream(folder / "ruler")
      << R"({"input": "x\nWhat is the special magic number for a?", "outputs": ["1"]})";
  std::ofstream(folder / "squad")
      << R"({"data": [{"paragraphs": [{"context": "One.", "qas": [{"question": "Q?", )"
      << R"("is_impossible": false, "answers": [{"text": "One"}]}]}]}]})";
  std::ofstream(folder / "hotpot") << R"([{"question": "Q?", "answer": "A", "context": [["T", ["One."]]]}])";
}

// A record of each data set that eval/qa_files_fuzz.cc reads.
void write_questions(const fs::path& folder) {
  fs::create_directories(folder);
  std::ofstream(folder / "musique")
      << R"([{"paragraphs":[{"title":"T","paragraph_text":"It is A.","is_supporting":true}],"question":"Q #1?",)"
      << R"("answer":"A","answer_aliases":["B"],"question_decomposition":[{"question":"T >> Q","answer":"A",)"
      << R"("paragraph_support_idx":0}]}])";
  std::ofstream(folder / "hotpotqa")
      << R"({"question":"Q?","answer":"A","supporting_facts":[["T",0]],"context":[["T",["It is A."," So."]]]})";
  std::ofstream(folder / "iirc")
      << R"({"title":"T","text":"Text","questions":[{"question":"Q?","answer":{"type":"span","answer_spans":)"
      << R"([{"text":"A"}]},"context":[{"passage":"main","text":"T"},{"passage":"P","text":"It is A."}]}]})";
}

void write_policies(const fs::path& folder) {
  fs::create_directories(folder);
  std::ofstream(folder / "pair") << "snapkv+adaptive:alpha=0.5,window=8";
  std::ofstream(folder / "mix") << "mix(lkv;critical(snapkv)):share=0.3,b.window=16";
  std::ofstream(folder / "squeeze") << "squeeze(expected-attention+global):least=0.2,recent=4";
}

void write_conversations(const fs::path& folder) {
  fs::create_directories(folder);
  std::ofstream(folder / "messages")
      << R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": null}]})";
  std::ofstream(folder / "parts")
      << R"([{"role": "user", "content": [{"type": "text", "text": "\ud83d\ude00"}], "n": -1.5e3, "tool_calls": []}])";
}

// Sequences of calls, and patches of a snapshot.
void write_sessions(const fs::path& folder) {
  fs::create_directories(folder);
  std::ofstream(folder / "talk") << "\0\1\0\4You!\0\1\1\2Hi\0\11\3\2\5\11\2\1\12\13\7"s;
  std::ofstream(folder / "patch") << "\1\1\3\0\7\5\0\0\2"s;
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
  write_adapters(folder, folder / "network_fuzz" / "llama");
  write_snapshots(folder / "snapshot_fuzz");
  write_lkvs(folder / "lkv_fuzz");
  write_records(folder / "records_fuzz");
  write_questions(folder / "qa_files_fuzz");
  write_policies(folder / "policy_fuzz");
  write_conversations(folder / "conversation_file_fuzz");
  write_sessions(folder / "session_fuzz");
  return 0;
}
