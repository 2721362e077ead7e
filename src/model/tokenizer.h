// Text to tokens and back, and chat templates, through libllama's vocabulary (vocab_only).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvedit/model.h"

struct llama_model;
struct llama_vocab;

namespace kvedit {

class Tokenizer {
 public:
  /// Throws Error(corrupt) when libllama cannot read the vocabulary, Error(unsupported) for one that is
  /// neither BPE ("gpt2") nor SentencePiece ("llama"), Error(not_found, io) for the path.
  explicit Tokenizer(const std::string& path);

  int size() const;
  /// special: "<|im_start|>" in the text becomes the control token; otherwise it is plain text.
  /// begin: put the model's begin-of-text token first, if its metadata ask for one.
  /// Throws Error(invalid_argument) for invalid UTF-8 (naming the byte offset) and for NUL bytes.
  std::vector<Token> encode(std::string_view text, bool special, bool begin) const;
  /// The bytes this token stands for; control tokens give their name, e.g. "<|im_end|>".
  /// All that take a token throw Error(out_of_range) for one outside the vocabulary.
  std::string piece(Token token) const;
  std::string decode(std::span<const Token> tokens) const;
  /// What the model wants in front of every text; nothing where its file asks for none.
  std::optional<Token> begin_token() const;
  bool is_end(Token token) const;  // ends generation
  bool is_control(Token token) const;

  /// Whether messages can be formatted: the file has a template and libllama knows it.
  bool has_chat_template() const;
  /// Chooses a template of libllama's list by name ("chatml", "gemma", ...). Throws Error(not_found).
  void set_chat_template(const std::string& name);
  /// The whole conversation as text; reply: with the opening of the assistant's turn.
  /// Throws Error(unsupported) naming the template's beginning where libllama does not know it,
  /// Error(invalid_argument) for an empty role.
  std::string format(std::span<const Message> messages, bool reply) const;

 private:
  void check_token(Token token) const;

  std::shared_ptr<llama_model> model_;
  const llama_vocab* vocab_ = nullptr;
  std::string template_;
};

/// Throws Error(invalid_argument) naming `where` and the byte offset of invalid UTF-8 or a NUL byte.
void check_text(std::string_view text, std::string_view where);

}  // namespace kvedit
