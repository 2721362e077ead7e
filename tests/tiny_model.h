// Small random models for tests: complete GGUF files that both kvedit and libllama can run.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <functional>
#include <string>

struct gguf_context;

namespace kvedit {

struct TinySpec {
  std::string architecture = "llama";  // llama, qwen2, qwen3, gemma3
  int layers = 2;
  int d_model = 64;
  int heads = 4;
  int kv_heads = 2;
  int key_dim = 16;      // qwen2 needs heads * key_dim == d_model
  int d_ff = 128;        // a multiple of the weight type's block
  int vocabulary = 320;  // at least 280: 3 control tokens, 256 bytes, 16 merges, then fillers
  int context = 512;
  int window = 8;          // gemma3 only; 0: none
  int window_pattern = 2;  // every second layer is full; < 0: leave the key out (then 6)
  ggml_type weight_type = GGML_TYPE_F32;
  bool tied = true;            // no output.weight
  bool biases = false;         // of q, k and v; always in qwen2
  bool sentencepiece = false;  // the vocabulary's kind: texts begin with a space of its own
  uint32_t seed = 1;

  double rope_base = 10000;
  std::string rope_scaling;  // "", none, linear, yarn
  double rope_factor = 1;
  int rope_original_context = 0;
  double rope_attention_factor = 1;
  double logit_softcap = 0;   // gemma3 only; 0: none
  bool rope_factors = false;  // the tensor rope_freqs.weight, llama only

  // Faults, for tests of errors.
  std::string drop_tensor;    // this one is left out
  std::string widen_tensor;   // this one's first dimension is 32 larger
  std::string retype_tensor;  // this one has type `retype`
  ggml_type retype = GGML_TYPE_I32;
  std::string extra_tensor;                 // one more, of one float
  std::function<void(gguf_context*)> edit;  // last change to the metadata: gguf_set_*, gguf_remove_key
};

/// Writes the file and returns `path`. Throws std::runtime_error where it cannot.
/// Tokens: 0 <|endoftext|> (begin and end), 1 <|im_start|>, 2 <|im_end|>, 3..258 the bytes 0..255.
/// SentencePiece: 0 <unk>, 1 <s> (begin), 2 </s> (end), 3..258 the bytes.
std::string write_tiny_model(const TinySpec& spec, const std::string& path);

/// For TinySpec::edit: the begin token begins every text, as in files of Llama and Gemma.
void begin_every_text(gguf_context* file);

/// Rewrites any GGUF with every tensor as F32, the same numbers. Returns `out`. For comparing with
/// libllama without the noise of quantised kernels.
std::string dequantize_model(const std::string& in, const std::string& out);

/// A path inside the test's own temporary folder, gone when the process ends normally.
std::string temporary_path(const std::string& name);
/// `text` as the whole of the file.
void write_file(const std::string& path, const std::string& text);

}  // namespace kvedit
