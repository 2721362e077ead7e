// Text to tokens and back, and chat templates, through libllama's vocabulary (vocab_only).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvedit/types.h"

struct llama_model;
struct llama_vocab;

namespace kvedit {

/// SentencePiece vocabularies may ask for a space in front of a text (Llama 2, Mistral): libllama, as the
/// slow tokenizers of these models did, puts it where a text begins and behind each special token in it. It
/// is of the tokens and not of the text: encode() adds it, decode() takes it away, and both want to know what
/// stands in front.
class Tokenizer {
 public:
  /// Throws Error(corrupt) when libllama cannot read the vocabulary, Error(unsupported) for one that is
  /// neither BPE ("gpt2") nor SentencePiece ("llama"), Error(not_found, io) for the path.
  explicit Tokenizer(const std::string& path);

  int size() const;
  /// For libllama's samplers; as long as this tokenizer, or a copy of it.
  const llama_vocab* vocabulary() const { return vocab_; }
  /// Tokenises a text. special: "<|im_start|>" in it becomes the control token; otherwise it is plain text.
  /// begin: put the model's begin-of-text token first, if its metadata ask for one.
  /// Throws Error(invalid_argument) for invalid UTF-8 (naming the byte offset) and for NUL bytes.
  std::vector<Token> encode(std::string_view text, bool special, bool begin) const;
  /// Tokenises the parts of one text that goes on behind a token as a whole: a word may reach from one part
  /// into the next, a special token may not.
  std::vector<Token> encode(std::span<const TextPart> parts, Token behind) const;
  /// Returns the bytes this token stands for; control tokens give their name, e.g. "<|im_end|>".
  /// All that take a token throw Error(out_of_range) for one outside the vocabulary.
  std::string piece(Token token) const;
  /// Returns the bytes that a token adds to the text behind another one.
  std::string piece(Token token, Token behind) const;
  void append_piece(std::string& text, Token token, Token behind) const;
  std::string decode(std::span<const Token> tokens, Token behind = kNoToken) const;
  /// The token that the model wants in front of every text; nothing where its file asks for none.
  std::optional<Token> begin_token() const;
  bool is_end(Token token) const;  // ends generation
  bool is_control(Token token) const;
  /// Tells whether a token is found in text by its name and is never part of a word: control tokens, and
  /// those that the vocabulary's makers defined beside the trained ones.
  bool is_special(Token token) const;

  /// Tells whether messages can be formatted: the file has a template and libllama knows it.
  bool has_chat_template() const;
  /// Chooses a template of libllama's list by name ("chatml", "gemma", ...). Throws Error(not_found).
  void set_chat_template(const std::string& name);
  /// Formats the whole conversation; reply: with the opening of the assistant's turn.
  /// Throws Error(unsupported) naming the template's beginning where libllama does not know it,
  /// Error(invalid_argument) for an empty role.
  std::string format(std::span<const Message> messages, bool reply) const;

 private:
  struct Fragment {
    Token special = kNoToken;
    std::string_view text;
  };

  void check_token(Token token) const;
  void append_piece(std::string& text, Token token) const;
  bool spaced(Token behind) const;  // whether text behind this token begins with a space of the vocabulary's
  std::vector<Fragment> split(std::string_view text, int attributes) const;
  void add_special(std::vector<Token>& tokens, std::string& text, Token special, Token behind) const;
  void add_text(std::vector<Token>& tokens, std::string_view text, Token behind) const;
  void add_words(std::vector<Token>& tokens, std::string_view text) const;

  std::shared_ptr<llama_model> model_;
  const llama_vocab* vocab_ = nullptr;
  bool adds_space_ = false;
  std::vector<Token> specials_;  // the longest names first
  std::string template_;
};

/// Throws Error(invalid_argument) naming `where`, `what` and the byte offset of invalid UTF-8 or a NUL byte.
void check_text(std::string_view text, std::string_view where, std::string_view what = "text");

}  // namespace kvedit
