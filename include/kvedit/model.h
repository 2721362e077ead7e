// A model ready to serve: weights mapped from a GGUF file, its tokenizer, and the page pool that all
// its sessions share. Load once, make as many Sessions as wanted. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvedit/adapter.h"
#include "kvedit/error.h"
#include "kvedit/types.h"

namespace kvedit {

struct ModelOptions {
  int threads = 0;  // 0: one a core
  LinearKernel linear = LinearKernel::automatic;
  CacheType cache = CacheType::f16;
  size_t pool_limit_bytes = 0;    // for the caches of all sessions; 0: none
  bool zero_freed_pages = false;  // memory of caches is overwritten as soon as it is free
  int block_tokens = 512;         // prefill runs in blocks of this many tokens
  std::string chat_template;      // a name of libllama's list; empty: the file's own
  /// Folders of files trained for models. The policy `lkv` reads the one that is there for this model, unless
  /// its parameter names another.
  std::vector<std::string> companions;
};

struct ModelInfo {
  std::string architecture;
  std::string name;
  std::string path;
  std::string weight_types;  // "Q4_1 210, F32 61, Q8_0 1"
  size_t weight_bytes = 0;
  int layers = 0;
  int d_model = 0;
  int d_ff = 0;
  int heads = 0;
  int kv_heads = 0;
  int key_dim = 0;
  int vocabulary = 0;
  int context_length = 0;
  int window = 0;  // sliding window, 0: none
  int sliding_layers = 0;
  size_t bytes_per_token = 0;  // of cache, unevicted
  uint64_t fingerprint = 0;
  bool has_chat_template = false;
  std::string linear;     // kernel in use
  bool amx = false;       // its products run in AMX tiles
  std::string attention;  // instruction set in use
  int threads = 0;
};

class ModelImpl;  // internal

class Model final {
 public:
  /// Throws Error: not_found, io, corrupt, unsupported, each naming the cause.
  static std::shared_ptr<Model> load(const std::string& path, const ModelOptions& options = {});
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  ModelInfo info() const;
  PoolStats pool() const;
  /// Changes ModelOptions::pool_limit_bytes: what is in use stays, but no more is given out beyond it.
  void set_pool_limit(size_t bytes);

  /// Tokenises a whole text, and back; special: control tokens are recognised in the text. SentencePiece
  /// vocabularies may begin a text with a space of their own: text that goes on is read by Session::append.
  /// Throws Error(invalid_argument) for invalid UTF-8, naming the byte, and for NUL bytes.
  std::vector<Token> tokenize(std::string_view text, bool special = false) const;
  /// Tokenises the parts of one text that goes on behind a token as a whole: a word may reach from one part
  /// into the next, a control token may not.
  std::vector<Token> tokenize(std::span<const TextPart> parts, Token behind) const;
  std::string detokenize(std::span<const Token> tokens) const;
  /// Returns the bytes that a token adds to the text behind another one; a control token's name for it, as
  /// "<|im_end|>". Those that take a token throw Error(out_of_range) for one outside of the vocabulary.
  std::string piece(Token token, Token behind = kNoToken) const;
  /// Returns the token that the model wants in front of every text; nothing where its file asks for none.
  std::optional<Token> begin_token() const;
  bool is_end(Token token) const;      // ends generation
  bool is_control(Token token) const;  // part of a format, never of a plain text
  /// Formats a conversation as the model's chat template does; reply: with the opening of the assistant's
  /// turn. Throws Error(unsupported) when the model has no template, or one that is not known.
  std::string format(std::span<const Message> messages, bool reply, const Cancel& cancel = {}) const;

  /// Reads a LoRA adapter, a GGUF file or a PEFT folder, and checks it against this model. Throws Error:
  /// not_found, io, corrupt, unsupported, invalid_argument naming the tensor that does not fit.
  std::shared_ptr<const Adapter> load_adapter(const std::string& path) const;
  /// Makes an adapter of all seven projections that changes nothing, to measure the cost of this rank.
  std::shared_ptr<const Adapter> zero_adapter(int rank) const;
  /// Returns the file in ModelOptions::companions that was trained for exactly this model (its fingerprint),
  /// of those that end in ".eraser.gguf" or ".lkv.gguf"; empty: none.
  std::string companion(std::string_view ending) const;

 private:
  explicit Model(std::shared_ptr<ModelImpl> implementation);
  friend const std::shared_ptr<ModelImpl>& implementation(const Model& model);
  std::shared_ptr<ModelImpl> impl_;
};

}  // namespace kvedit
