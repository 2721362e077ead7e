#include "session_testing.h"

#include <fstream>
#include <iterator>
#include <random>

#include "cache/snapshot.h"
#include "model/lkv_testing.h"
#include "session/model_impl.h"
#include "tiny_adapter.h"

namespace kvedit {

TinySpec spec_of(const std::string& architecture) {
  TinySpec spec;
  spec.architecture = architecture;
  spec.context = 512;
  if (architecture == "gemma3") spec.window = 24;
  return spec;
}

std::shared_ptr<Model> load(const TinySpec& spec, const ModelOptions& options) {
  return Model::load(write_tiny_model(spec, temporary_path(spec.architecture + ".gguf")), options);
}

ModelOptions exact_options() {
  ModelOptions options;
  options.threads = 2;
  options.linear = LinearKernel::f32;
  options.cache = CacheType::f32;
  options.block_tokens = 64;
  return options;
}

void reset_high_water(const Model& model) { implementation(model)->page_pool()->reset_high_water(); }

std::shared_ptr<const Adapter> random_eraser(const Model& model, float magnitude, int states) {
  const Network& network = implementation(model)->network();
  TinyAdapterSpec spec;
  spec.magnitude = magnitude;
  spec.steering_states = states;
  const std::string name = "eraser." + network.hparams().architecture + ".gguf";
  return model.load_adapter(write_lora_gguf(network, spec, temporary_path(name)));
}

std::vector<Token> random_tokens(int count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<Token> tokens(count);
  for (Token& t : tokens) t = static_cast<Token>(3 + random() % 300);
  return tokens;
}

Session filled(const std::shared_ptr<Model>& model, int tokens, uint32_t seed) {
  return fresh(model, random_tokens(tokens, seed));
}

Session fresh(const std::shared_ptr<Model>& model, std::span<const Token> tokens) {
  Session session(model);
  session.append_tokens(tokens);
  return session;
}

std::string snapshot_bytes(const Session& session) {
  const std::string path = temporary_path("snapshot.kvs");
  session.save(path);
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Cache cache_of(const Session& session) {
  const std::string path = temporary_path("cache.kvs");
  session.save(path);
  const auto& model = *implementation(*session.model());
  const Hparams& h = model.network().hparams();
  return load_cache(SnapshotReader(path), model.page_pool(), h.layers, h.kv_heads, h.ropes);
}

std::string with_window(const std::string& method, int tokens) {
  std::string text = method;
  for (const EraseMethodInfo& info : erase_methods()) {
    if (info.name != method) continue;
    for (const Parameter& p : info.parameters) {
      if (p.name == "window" || (p.name == "tail" && p.value > 0))
        text += (text == method ? ":" : ",") + p.name + "=" + std::to_string(tokens);
    }
  }
  return text;
}

std::vector<std::string> policy_texts(const Model& model) {
  const Network& network = implementation(model)->network();
  const Hparams& h = network.hparams();
  std::vector<std::string> texts;
  for (const PolicyInfo& policy : policies()) {
    texts.push_back(policy.name);
    for (const Parameter& parameter : policy.parameters) {
      if (parameter.name != "file") continue;
      LkvSpec spec;
      spec.layers = h.layers;
      spec.kv_heads = h.kv_heads;
      spec.key_dim = h.key_dim;
      spec.value_dim = h.value_dim;
      spec.fingerprint = network.fingerprint();
      spec.edit = [&](gguf_context* file) {
        gguf_set_val_str(file, "general.architecture", h.architecture.c_str());
      };
      texts.back() += ":file=" + write_lkv(spec, temporary_path("random.lkv.gguf"));
    }
  }
  return texts;
}

Divergence from(Session& exact, Session& other) {
  return divergence(exact.logits(), other.logits(), exact.model()->info().vocabulary);
}

ErrorCode code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find('['), std::string::npos);
    return e.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::io;
}

}  // namespace kvedit
