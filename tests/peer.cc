#include "peer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <ostream>
#include <random>
#include <stdexcept>

#include "llama.h"

namespace kvedit {
namespace {

using AdapterPtr = std::unique_ptr<llama_adapter_lora, decltype(&llama_adapter_lora_free)>;

AdapterPtr load_adapter(llama_model* model, const std::string& path) {
  AdapterPtr adapter(path.empty() ? nullptr : llama_adapter_lora_init(model, path.c_str()),
                     llama_adapter_lora_free);
  if (!path.empty() && !adapter) throw std::runtime_error("libllama cannot load " + path);
  return adapter;
}

}  // namespace

Peer::Peer(const std::string& path) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  model_.reset(llama_model_load_from_file(path.c_str(), llama_model_default_params()), llama_model_free);
  if (!model_) throw std::runtime_error("libllama cannot load " + path);
}

int Peer::vocabulary() const { return llama_vocab_n_tokens(llama_model_get_vocab(model_.get())); }

std::vector<float> Peer::logits(std::span<const Token> tokens, const PeerOptions& options) const {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<uint32_t>(tokens.size() + 64);
  params.n_batch = params.n_ubatch = static_cast<uint32_t>(options.block);
  params.n_threads = params.n_threads_batch = 2;
  params.flash_attn_type =
      options.flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  if (options.f32_cache) params.type_k = params.type_v = GGML_TYPE_F32;
  const AdapterPtr adapter = load_adapter(model_.get(), options.adapter);  // outlives the context
  const std::unique_ptr<llama_context, decltype(&llama_free)> ctx(llama_init_from_model(model_.get(), params),
                                                                  llama_free);
  if (adapter) {
    llama_adapter_lora* active = adapter.get();
    float scale = 1;
    if (llama_set_adapters_lora(ctx.get(), &active, 1, &scale) != 0) {
      throw std::runtime_error("libllama cannot apply " + options.adapter);
    }
  }
  std::vector<float> all;
  for (size_t first = 0; first < tokens.size(); first += options.block) {
    const auto count = static_cast<int>(std::min<size_t>(options.block, tokens.size() - first));
    llama_batch batch = llama_batch_init(count, 0, 1);
    batch.n_tokens = count;
    for (int i = 0; i < count; i++) {
      batch.token[i] = tokens[first + i];
      batch.pos[i] = static_cast<llama_pos>(first + i);
      batch.n_seq_id[i] = 1;
      batch.seq_id[i][0] = 0;
      batch.logits[i] = 1;
    }
    const int status = llama_decode(ctx.get(), batch);
    for (int i = 0; i < count && status == 0; i++) {
      const float* row = llama_get_logits_ith(ctx.get(), i);
      all.insert(all.end(), row, row + vocabulary());
    }
    llama_batch_free(batch);
    if (status != 0) throw std::runtime_error("llama_decode failed");
  }
  return all;
}

Divergence divergence(std::span<const float> p, std::span<const float> q, int vocabulary) {
  Divergence d;
  const size_t rows = p.size() / vocabulary;
  for (size_t row = 0; row < rows; row++) {
    const auto a = p.subspan(row * vocabulary, vocabulary);
    const auto b = q.subspan(row * vocabulary, vocabulary);
    const auto top_a = std::max_element(a.begin(), a.end());
    const auto top_b = std::max_element(b.begin(), b.end());
    double sum_a = 0;
    double sum_b = 0;
    double size = 0;
    double difference = 0;
    for (int i = 0; i < vocabulary; i++) {
      sum_a += std::exp(static_cast<double>(a[i]) - *top_a);
      sum_b += std::exp(static_cast<double>(b[i]) - *top_b);
      size = std::max(size, std::fabs(static_cast<double>(a[i])));
      difference = std::max(difference, std::fabs(static_cast<double>(a[i]) - b[i]));
    }
    double kl = 0;
    for (int i = 0; i < vocabulary; i++) {
      const double log_a = a[i] - *top_a - std::log(sum_a);
      const double log_b = b[i] - *top_b - std::log(sum_b);
      kl += std::exp(log_a) * (log_a - log_b);
    }
    d.mean += kl / static_cast<double>(rows);
    d.max = std::max(d.max, kl);
    d.same_top += (top_a - a.begin() == top_b - b.begin() ? 1.0 : 0.0) / static_cast<double>(rows);
    d.relative = std::max(d.relative, difference / size);
  }
  return d;
}

std::ostream& operator<<(std::ostream& out, const Divergence& d) {
  return out << "KL mean " << d.mean << ", max " << d.max << ", same top token " << 100 * d.same_top
             << " %, max relative difference " << d.relative;
}

std::string RealModel::path() const {
  const std::string path = std::string(KVEDIT_MODELS) + "/" + file;
  return std::filesystem::exists(path) ? path : "";
}

std::ostream& operator<<(std::ostream& out, const RealModel& model) { return out << model.name; }

std::string prose(size_t words, unsigned seed) {
  static const std::array<const char*, 8> kWho = {"The old baker",    "A tired teacher", "My neighbour",
                                                  "The young doctor", "Our postman",     "Her grandmother",
                                                  "The captain",      "A quiet gardener"};
  static const std::array<const char*, 8> kDid = {"walked slowly through",  "remembered the smell of",
                                                  "painted a picture of",   "wrote a letter about",
                                                  "argued at length about", "was proud of",
                                                  "sold some bread near",   "spent the winter beside"};
  static const std::array<const char*, 8> kWhat = {
      "the market square",   "a narrow bridge",   "the harbour at night", "an empty library",
      "the railway station", "a field of barley", "the broken clock",     "the river in spring"};
  static const std::array<const char*, 8> kWhy = {
      "because the rain had stopped.",  "while the bells were ringing.", "and nobody seemed to notice.",
      "before the children came home.", "as people did in those years.", "although it was getting late.",
      "since there was time enough.",   "and thought of the sea."};
  std::mt19937 random(seed);
  std::string text;
  for (size_t n = 0; n < words; n += 12) {
    text += kWho[random() % 8];
    text += ' ';
    text += kDid[random() % 8];
    text += ' ';
    text += kWhat[random() % 8];
    text += ' ';
    text += kWhy[random() % 8];
    text += ' ';
  }
  return text;
}

}  // namespace kvedit
